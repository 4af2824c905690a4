#include "ssl/losses/masked_siamese.h"

#include <cmath>

#include "autograd/ops.h"
#include "ssl/losses/sinkhorn.h"

namespace juxta::ssl {

namespace {

void check_msn(const Var& anchors, const Var& targets, const Var& prototypes, const MsnParams& p) {
  check_embeddings("msn", {{"anchors", anchors}});
  check_embeddings("msn", {{"targets", targets}});
  check_embeddings("msn", {{"prototypes", prototypes}});
  for (const Named& x : {Named{"targets", targets}, Named{"prototypes", prototypes}})
    JX_CHECK(x.value.size(1) == anchors.size(1) && x.value.dtype() == anchors.dtype(), "msn: ", x.name,
             ": expected rows like anchors, ", anchors, ", got ", x.value);
  JX_CHECK(anchors.size(0) % targets.size(0) == 0, "msn: anchors: expected a multiple of the ",
           targets.size(0), " targets, one row per view, got ", anchors);
  check_temperature("msn", p.temperature);
  check_temperature("msn", p.target_sharpen, "target_sharpen");
}

}  // namespace

Loss msn(const Var& anchors, const Var& targets, const Var& prototypes, const MsnParams& p) {
  check_msn(anchors, targets, prototypes, p);
  const Var c = l2_normalize(at_least_f32(prototypes));
  const auto scores = [&](const Var& x) { return matmul(l2_normalize(at_least_f32(x)), transpose(c, 0, 1)); };
  Tensor target;
  {
    const NoGrad no_grad;
    // softmax(x)^{1/T} renormalised is softmax(x / T).
    const Var sharp = log_softmax(affine(scores(targets), 1.0 / (p.temperature * p.target_sharpen), 0.0));
    const Var one(balance("msn", sharp.value(), p.sinkhorn_iterations));
    const std::vector<Var> of_views(static_cast<size_t>(anchors.size(0) / targets.size(0)), one);
    target = cat(of_views, 0).value();
  }
  const Var log_p = log_softmax(affine(scores(anchors), 1.0 / p.temperature, 0.0));
  const Var samples = neg(sum(mul(Var(target), log_p), {1})), ce = mean(samples);
  // log of the mean p over rows, without forming p: it may be far below the smallest float.
  const auto rows = static_cast<double>(anchors.size(0)), k = static_cast<double>(prototypes.size(0));
  const Var log_mean = affine(logsumexp(transpose(log_p, 0, 1)), 1.0, -std::log(rows));
  const Var me_max = affine(sum(mul(exp(log_mean), log_mean)), 1.0, std::log(k));
  Var loss = add(ce, affine(me_max, p.me_max_weight, 0.0));
  if (p.entropy_weight != 0) {
    const Var entropy = neg(mean(sum(mul(exp(log_p), log_p), {1})));
    loss = add(loss, affine(entropy, p.entropy_weight, 0.0));
  }
  return {loss, {{"ce", stop_gradient(ce)}, {"me_max", stop_gradient(me_max)}, {"target_prob", Var(target)}}};
}

}  // namespace juxta::ssl

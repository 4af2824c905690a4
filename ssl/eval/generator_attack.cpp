#include "ssl/eval/generator_attack.h"

#include <cmath>
#include <limits>
#include <utility>

#include "autograd/ops.h"
#include "nn/module.h"
#include "ssl/eval/attack.h"
#include "ssl/losses/loss.h"
#include "ssl/optim/optimizer.h"

namespace juxta::ssl {

namespace {

constexpr const char* kName = "sd_miae";

void check(const Tensor& e, const Tensor& y, const SdMiaeParams& p) {
  JX_CHECK(
      e.defined() && (e.dtype() == DType::f32 || e.dtype() == DType::f64) && e.ndim() == 2 && e.numel() > 0,
      kName, ": e: expected f32 or f64 [N, E], got ", e);
  check_finite(kName, {"e", Var(e)});
  JX_CHECK(y.defined() && y.dtype() == DType::i64 && y.dims() == Dims({e.size(0)}), kName,
           ": y: expected i64 [", e.size(0), "], got ", y);
  JX_CHECK(p.phase1_steps >= 0, kName, ": phase1_steps: expected 0 or more, got ", p.phase1_steps);
  JX_CHECK(p.phase2_steps >= 1, kName, ": phase2_steps: expected at least 1, got ", p.phase2_steps);
  JX_CHECK(p.lr > 0 && std::isfinite(p.lr), kName, ": lr: expected a positive number, got ", p.lr);
  JX_CHECK(p.reg >= 0 && std::isfinite(p.reg), kName, ": reg: expected 0 or more, got ", p.reg);
  JX_CHECK(p.mu >= 0 && std::isfinite(p.mu), kName, ": mu: expected 0 or more, got ", p.mu);
  JX_CHECK(p.radius > 0 && std::isfinite(p.radius), kName, ": radius: expected a positive number, got ",
           p.radius);
  JX_CHECK(p.step > 0 && std::isfinite(p.step), kName, ": step: expected a positive number, got ", p.step);
}

// Values without a graph.
Tensor value_of(const FrozenNetwork& network, const Tensor& x) {
  const NoGrad no_grad;
  return network(Var(x)).value().contiguous();
}

void check_labels(const Tensor& logits, const Tensor& y) {
  JX_CHECK(logits.ndim() == 2 && logits.size(0) == y.size(0), kName, ": classifier: expected logits [",
           y.size(0), ", K], got ", logits);
  for (int64_t i = 0; i < y.size(0); ++i)
    JX_CHECK(y.at({i}) >= 0 && y.at({i}) < static_cast<double>(logits.size(1)), kName, ": y: expected 0 to ",
             logits.size(1) - 1, ", got ", y.at({i}), " in row ", i);
}

Var cross_entropy_of(const FrozenNetwork& logits, const Var& x, const Tensor& y) {
  return mean(cross_entropy(logits(x), y));
}

// Phase 1: the embeddings after each step.
std::vector<Tensor> search_embedding(const FrozenNetwork& logits, const Tensor& e0, const Tensor& y,
                                     const SdMiaeParams& p) {
  Var e = Var::leaf(e0.clone());
  Optimizer adam("adam", {{"embedding", &e}}, default_options("adam"));
  const Var start = l2_normalize(Var(e0));
  std::vector<Tensor> out;
  for (int64_t t = 0; t < p.phase1_steps; ++t) {
    adam.zero_grad();
    const Var drift = affine(mean(sum(mul(l2_normalize(e), start), {1})), -1.0, 1.0);
    backward(add(neg(cross_entropy_of(logits, e, y)), affine(drift, p.reg, 0.0)));
    adam.step(p.lr, 0.0);
    out.push_back(e.value().clone());
  }
  return out;
}

}  // namespace

SdMiae sd_miae(const FrozenNetwork& generator, const FrozenNetwork& classifier, const Tensor& e0,
               const Tensor& y, const SdMiaeParams& p) {
  check(e0, y, p);
  const FrozenNetwork through = [&](const Var& e) { return classifier(generator(e)); };
  SdMiae out;
  out.clean_logits = value_of(through, e0);
  check_labels(out.clean_logits, y);
  out.phase1 = search_embedding(through, e0, y, p);
  const Tensor e1 = out.phase1.empty() ? e0 : out.phase1.back();
  MiFgsmOptions o;
  o.steps = p.phase2_steps, o.mu = p.mu, o.eps = p.radius;
  const bool pixels = p.phase2 == MiaePhase::pixel;
  if (!pixels) {
    o.alpha = p.step, o.centre = e0;
    o.low = -std::numeric_limits<double>::infinity(), o.high = std::numeric_limits<double>::infinity();
  }
  Attack a = mi_fgsm(pixels ? classifier : through, pixels ? value_of(generator, e1) : e1, y, o);
  out.phase2 = std::move(a.x), out.momentum = std::move(a.momentum);
  out.image = pixels ? out.phase2.back() : value_of(generator, out.phase2.back());
  out.logits = a.logits, out.fooled = a.fooled;
  return out;
}

}  // namespace juxta::ssl

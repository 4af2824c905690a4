#include "ssl/losses/metric_losses.h"

#include <cmath>

#include "autograd/contrast.h"
#include "autograd/ops.h"

namespace juxta::ssl {

Loss multi_similarity(const Var& embeddings, const Tensor& labels, const MultiSimilarityParams& p) {
  check_embeddings("multi_similarity", {{"embeddings", embeddings}});
  JX_CHECK(labels.defined() && labels.dtype() == DType::i64 && labels.dims() == Dims({embeddings.size(0)}),
           "multi_similarity: labels: expected i64 [", embeddings.size(0), "], got ", labels);
  check_temperature("multi_similarity", p.alpha, "alpha");
  check_temperature("multi_similarity", p.beta, "beta");
  JX_CHECK(std::isfinite(p.base), "multi_similarity: base: expected a number, got ", p.base);
  const Var x = l2_normalize(at_least_f32(embeddings)), opposite = neg(x);
  ContrastOptions o;
  o.op = "multi_similarity";
  o.row_ids = o.column_ids = Tensor::arange(x.size(0));
  o.row_groups = o.column_groups = labels;
  // log sum e^{rate s} over one kind of pairs; (-x_i) . x_j = -s_ij
  const auto lse = [&](const Var& rows, double rate, LseOver over) {
    o.over = over;
    return contrast({&rows, 1}, {&x, 1}, constant_temperature(1.0 / rate, x), o).lse;
  };
  const Var pull = softplus(affine(lse(opposite, p.alpha, LseOver::positives), 1.0, p.alpha * p.base));
  const Var push = softplus(affine(lse(x, p.beta, LseOver::negatives), 1.0, -p.beta * p.base));
  const Var samples = add(affine(pull, 1.0 / p.alpha, 0.0), affine(push, 1.0 / p.beta, 0.0));
  return {mean(samples), {}, stop_gradient(samples)};
}

Loss cosent(const Var& z1, const Var& z2, const Tensor& gold, const CoSentParams& p) {
  check_embeddings("cosent", {{"z1", z1}, {"z2", z2}});
  const int64_t n = z1.size(0);
  JX_CHECK(gold.defined() && is_float(gold.dtype()) && gold.dims() == Dims({n}),
           "cosent: gold: expected a float [", n, "], got ", gold);
  check_finite("cosent", {"gold", Var(gold)});
  check_temperature("cosent", p.scale, "scale");
  const Tensor g = gold.to(DType::f64).contiguous();
  Tensor ordered = Tensor::empty({n * n}, DType::boolean);
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j)
      ordered.write<bool>("cosent")[i * n + j] = g.data<double>()[i] < g.data<double>()[j];
  // In f64: a scale of 500 makes the rounding of cosines in f32 larger than what a loss may be off.
  const Var a = l2_normalize(cast(z1, DType::f64)), b = l2_normalize(cast(z2, DType::f64));
  const Var cosine = sum(mul(a, b), {1});
  const Var gap =
      affine(sub(unsqueeze(cosine, 1), unsqueeze(cosine, 0)), p.scale, 0.0);  // [N, N]: of numbers
  const Var loss = softplus(logsumexp(reshape(gap, {n * n}), ordered));
  return {cast(loss, at_least_f32(z1).dtype()), {}};
}

}  // namespace juxta::ssl

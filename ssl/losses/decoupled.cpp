#include "ssl/losses/decoupled.h"

#include "autograd/contrast.h"
#include "autograd/ops.h"

namespace juxta::ssl {

namespace {

void check_views(const char* loss, const Var& z1, const Var& z2, double temperature) {
  check_embeddings(loss, {{"z1", z1}, {"z2", z2}});
  check_temperature(loss, temperature);
  JX_CHECK(z1.size(0) >= 2, loss, ": z1: expected N >= 2, since other samples are the negatives, got ", z1);
}

// Row a = 0 .. rows - 1 of [z1; z2] has its positive at (a + N) mod 2N.
Tensor positives(int64_t rows, int64_t n) {
  Tensor t = Tensor::empty({rows}, DType::i64);
  for (int64_t a = 0; a < rows; ++a) t.write<int64_t>("dcl")[a] = (a + n) % (2 * n);
  return t;
}

// lse = log U_a and positive = s_a,a+ of every anchor.
ContrastResult anchors(const char* op, const Var& z1, const Var& z2, double temperature, bool normalize,
                       bool symmetric) {
  const int64_t n = z1.size(0);
  const std::vector<Var> z{z1, z2};
  ContrastOptions o;
  o.op = op;
  o.normalize = normalize;
  o.over = LseOver::negatives;
  o.row_ids = Tensor::arange(symmetric ? 2 * n : n);
  o.positive = positives(symmetric ? 2 * n : n, n);
  const Var t = constant_temperature(temperature, z1);
  if (symmetric) return contrast_symmetric(z, t, o);
  o.column_ids = Tensor::arange(2 * n);
  return contrast({&z1, 1}, z, t, o);
}

// 2 - N softmax(cosine / sigma), [N].
Var pair_weight(const Var& cosine, double sigma, bool detach) {
  const Var w = affine(softmax(affine(cosine, 1.0 / sigma, 0.0)), -static_cast<double>(cosine.size(0)), 2.0);
  return detach ? stop_gradient(w) : w;
}

Loss mean_of(const Var& samples) { return {mean(samples), {}, stop_gradient(samples)}; }

}  // namespace

Loss dcl(const Var& z1, const Var& z2, const DclParams& p) {
  check_views("dcl", z1, z2, p.temperature);
  const ContrastResult s = anchors("dcl", z1, z2, p.temperature, p.normalize, p.symmetric);
  return mean_of(sub(s.lse, s.positive));
}

Loss dclw(const Var& z1, const Var& z2, const DclwParams& p) {
  check_views("dclw", z1, z2, p.temperature);
  check_temperature("dclw", p.sigma, "sigma");
  const ContrastResult s = anchors("dclw", z1, z2, p.temperature, p.normalize, p.symmetric);
  const Var cosine = affine(slice(s.positive, 0, 0, z1.size(0)), p.temperature, 0.0);
  const Var w = pair_weight(cosine, p.sigma, p.detach_weight);
  const Var each = p.symmetric ? cat(std::vector{w, w}, 0) : w;
  Loss out = mean_of(sub(s.lse, mul(each, s.positive)));
  out.terms.emplace_back("weight", stop_gradient(w));
  return out;
}

Loss dcl_queue(const Var& query, const Var& key, const Var& queue, const DclQueueParams& p) {
  check_embeddings("dcl_queue", {{"query", query}, {"key", key}});
  check_temperature("dcl_queue", p.temperature);
  if (p.sigma) check_temperature("dcl_queue", *p.sigma, "sigma");
  JX_CHECK(queue.defined() && queue.ndim() == 2 && queue.size(0) >= 1 && queue.size(1) == query.size(1) &&
               is_float(queue.dtype()),
           "dcl_queue: queue: expected a float [M, ", query.size(1), "] with M >= 1, got ", queue);
  check_finite("dcl_queue", {"queue", queue});
  // Cosines in f32 end at 6e-8. Below a temperature of 0.01 a loss that is the small difference of two large
  // logits would show it; nobody trains there, so the time that f64 takes does not matter.
  const DType dtype = p.temperature < 0.01 ? DType::f64 : at_least_f32(query).dtype();
  const auto unit = [&](const Var& x) { return p.normalize ? l2_normalize(cast(x, dtype)) : cast(x, dtype); };
  const Var q = unit(query), k = stop_gradient(unit(key)), past = stop_gradient(cast(queue, dtype));
  const Var cosine = sum(mul(q, k), {1});
  ContrastOptions o;
  o.op = "dcl_queue";
  const Var lse = contrast({&q, 1}, {&past, 1}, constant_temperature(p.temperature, q), o).lse;
  Var pull = affine(cosine, 1.0 / p.temperature, 0.0);
  if (p.sigma) pull = mul(pair_weight(cosine, *p.sigma, p.detach_weight), pull);
  return mean_of(cast(sub(lse, pull), at_least_f32(query).dtype()));
}

Loss npc_multiplier(const Var& z1, const Var& z2, const NpcMultiplierParams& p) {
  check_views("npc_multiplier", z1, z2, p.temperature);
  const ContrastResult s =
      anchors("npc_multiplier", stop_gradient(z1), stop_gradient(z2), p.temperature, p.normalize, true);
  const Var q = sigmoid(sub(s.lse, s.positive));
  return {{}, {{"q", q}, {"q_mean", mean(q)}, {"q_std", sqrt(variance(q, {}, false, false))}}};
}

}  // namespace juxta::ssl

#include "ssl/losses/in_batch.h"

#include <algorithm>
#include <cmath>

#include "autograd/contrast.h"
#include "autograd/ops.h"

namespace juxta::ssl {

namespace {

// CE(rows_i columns^T / temperature, i) of every row, [N].
Var cross_entropies(const char* op, const Var& rows, const Var& columns, double temperature, bool normalize,
                    bool constant_columns) {
  ContrastOptions o;
  o.op = op;
  o.normalize = normalize;
  o.positive = Tensor::arange(rows.size(0));
  o.stop_columns = constant_columns;
  const ContrastResult s = contrast({&rows, 1}, {&columns, 1}, constant_temperature(temperature, rows), o);
  return sub(s.lse, s.positive);
}

Loss mean_of(const Var& samples) { return {mean(samples), {}, stop_gradient(samples)}; }

Var checked_queue(const char* loss, const Var& queue, const Var& like) {
  JX_CHECK(queue.defined() && is_float(queue.dtype()) && queue.ndim() == 2 && queue.size(0) >= 1 &&
               queue.size(1) == like.size(1),
           loss, ": queue: expected a float [K, ", like.size(1), "] with K >= 1, got ", queue);
  check_finite(loss, {"queue", queue});
  return stop_gradient(cast(queue, like.dtype()));
}

}  // namespace

Loss moco_v3(const Var& q1, const Var& q2, const Var& k1, const Var& k2, const MocoV3Params& p) {
  check_embeddings("moco_v3", {{"q1", q1}, {"q2", q2}, {"k1", k1}, {"k2", k2}});
  check_temperature("moco_v3", p.temperature);
  const Var samples = add(cross_entropies("moco_v3", q1, k2, p.temperature, true, true),
                          cross_entropies("moco_v3", q2, k1, p.temperature, true, true));
  return mean_of(affine(samples, 2 * p.temperature, 0.0));
}

Loss n_pair(const Var& anchors, const Var& positives, const NPairParams& p) {
  check_embeddings("n_pair", {{"anchors", anchors}, {"positives", positives}});
  JX_CHECK(p.l2_reg >= 0 && std::isfinite(p.l2_reg), "n_pair: l2_reg: expected 0 or more, got ", p.l2_reg);
  const Var a = at_least_f32(anchors), b = at_least_f32(positives);
  const auto squared = [](const Var& x) { return sum(square(x), {1}); };
  const Var samples = add(cross_entropies("n_pair", a, b, 1.0, false, false),
                          affine(add(squared(a), squared(b)), p.l2_reg / 4, 0.0));
  return mean_of(samples);
}

Loss simcse(const Var& z1, const Var& z2, const Var& z3, const SimCseParams& p) {
  check_embeddings("simcse", {{"z1", z1}, {"z2", z2}});
  if (z3.defined()) check_embeddings("simcse", {{"z1", z1}, {"z3", z3}});
  check_temperature("simcse", p.temperature);
  JX_CHECK(std::isfinite(p.hard_negative_weight), "simcse: hard_negative_weight: expected a number, got ",
           p.hard_negative_weight);
  if (!z3.defined()) return mean_of(cross_entropies("simcse", z1, z2, p.temperature, true, false));
  const int64_t n = z1.size(0);
  ContrastOptions o;
  o.op = "simcse";
  o.normalize = true;
  o.positive = Tensor::arange(n);
  // The own hard negative is left out of the sum and added with its weight.
  o.row_ids = Tensor::arange(n);
  o.column_ids = Tensor::full({2 * n}, -1.0, DType::i64);
  for (int64_t i = 0; i < n; ++i) o.column_ids.write<int64_t>("simcse")[n + i] = i;
  const ContrastResult s =
      contrast({&z1, 1}, std::vector{z2, z3}, constant_temperature(p.temperature, z1), o);
  const Var cosine = sum(mul(l2_normalize(at_least_f32(z1)), l2_normalize(at_least_f32(z3))), {1});
  const Var own = affine(cosine, 1.0 / p.temperature, p.hard_negative_weight);
  const Var lse = add(s.lse, softplus(sub(own, s.lse)));  // log(e^lse + e^own)
  return mean_of(sub(lse, s.positive));
}

Loss esimcse(const Var& anchor, const Var& positive, const Var& queue, const EsimCseParams& p) {
  check_embeddings("esimcse", {{"anchor", anchor}, {"positive", positive}});
  check_temperature("esimcse", p.temperature);
  JX_CHECK(
      !queue.defined() || (is_float(queue.dtype()) && queue.ndim() == 2 && queue.size(1) == anchor.size(1)),
      "esimcse: queue: expected a float [M, ", anchor.size(1), "] (M = 0 allowed), got ", queue);
  check_finite("esimcse", {"queue", queue});
  ContrastOptions o;
  o.op = "esimcse";
  o.normalize = true;
  o.positive = Tensor::arange(anchor.size(0));
  std::vector<Var> columns{positive};
  if (queue.defined() && queue.size(0) > 0) columns.push_back(stop_gradient(cast(queue, positive.dtype())));
  const ContrastResult s = contrast({&anchor, 1}, columns, constant_temperature(p.temperature, anchor), o);
  return mean_of(sub(s.lse, s.positive));
}

namespace {

// Row of the queue with the largest dot product with each row of unit z, i64 [N]; the matrix exists in blocks
// only.
Tensor nearest_rows(const Var& z, const Var& queue) {
  constexpr int64_t kBlock = 64;
  const NoGrad no_grad;
  Tensor found = Tensor::empty({z.size(0)}, DType::i64);
  for (int64_t begin = 0; begin < z.size(0); begin += kBlock) {
    const int64_t end = std::min(begin + kBlock, z.size(0));
    const Tensor best = argmax(matmul(slice(z, 0, begin, end), transpose(queue, 0, 1)).value(), -1);
    std::copy_n(best.data<int64_t>(), end - begin, found.write<int64_t>("nnclr") + begin);
  }
  return found;
}

}  // namespace

Loss nnclr(const Var& z1, const Var& z2, const Var& p1, const Var& p2, const Var& queue,
           const NnclrParams& p) {
  check_embeddings("nnclr", {{"z1", z1}, {"z2", z2}, {"p1", p1}, {"p2", p2}});
  check_temperature("nnclr", p.temperature);
  const Var past = l2_normalize(checked_queue("nnclr", queue, at_least_f32(z1)));
  const auto direction = [&](const Var& z, const Var& prediction, Tensor& index) {
    index = nearest_rows(stop_gradient(l2_normalize(at_least_f32(z))), past);
    const Var neighbour = stop_gradient(index_select(past, 0, index));
    return cross_entropies("nnclr", neighbour, at_least_f32(prediction), p.temperature, true, false);
  };
  Tensor index1, index2;
  const Var first = direction(z1, p2, index1), second = direction(z2, p1, index2);
  Loss out = mean_of(affine(add(first, second), 0.5, 0.0));
  out.terms = {{"index1", Var(index1)}, {"index2", Var(index2)}};
  return out;
}

Loss ressl(const Var& query, const Var& key, const Var& queue, const RessLParams& p) {
  check_embeddings("ressl", {{"query", query}, {"key", key}});
  check_temperature("ressl", p.student_temperature, "student_temperature");
  check_temperature("ressl", p.teacher_temperature, "teacher_temperature");
  const Var q = l2_normalize(at_least_f32(query)), k = stop_gradient(l2_normalize(at_least_f32(key)));
  const Var past = checked_queue("ressl", queue, q), columns = transpose(past, 0, 1);
  // In blocks of rows, so that no N x K matrix is kept. Both terms of the cross-entropy come from the same
  // similarities, less their maximum: as a difference of a log-sum-exp and a product with the mean target it
  // would lose all digits of a small loss at temperatures of 0.002 in f32.
  const auto per_row = [columns, p](std::span<const Var> rows) {
    const Var target = softmax(affine(matmul(rows[1], columns), 1.0 / p.teacher_temperature, 0.0));
    return soft_cross_entropy(affine(matmul(rows[0], columns), 1.0 / p.student_temperature, 0.0),
                              target.value());
  };
  constexpr int64_t kSimilarities = 1 << 22;  // of one block
  const int64_t block = std::max<int64_t>(1, kSimilarities / past.size(0));
  return mean_of(in_chunks(per_row, std::vector{q, k}, block < q.size(0) ? block : 0));
}

namespace {

// The 2N anchors of two views: lse over the rows of other samples, and the positive similarity.
ContrastResult anchors(const char* op, const Var& z1, const Var& z2, double temperature, bool normalize) {
  const int64_t n = z1.size(0);
  const std::vector<Var> z{z1, z2};
  ContrastOptions o;
  o.op = op;
  o.normalize = normalize;
  o.over = LseOver::negatives;
  o.row_ids = Tensor::arange(2 * n);
  o.positive = Tensor::empty({2 * n}, DType::i64);
  for (int64_t a = 0; a < 2 * n; ++a) o.positive.write<int64_t>(op)[a] = (a + n) % (2 * n);
  return contrast_symmetric(z, constant_temperature(temperature, z1), o);
}

void check_debiased(const char* loss, const Var& z1, const Var& z2, const DebiasedParams& p) {
  check_embeddings(loss, {{"z1", z1}, {"z2", z2}});
  check_temperature(loss, p.temperature);
  JX_CHECK(p.tau_plus >= 0 && p.tau_plus < 1, loss, ": tau_plus: expected 0 to below 1, got ", p.tau_plus);
}

// -log(p / (p + g)) from log sum n and log p. Everything is divided by e^top, the larger of the two.
Loss corrected(const Var& log_negatives, const Var& log_positive, int64_t n, const DebiasedParams& p) {
  const Var top = stop_gradient(maximum(log_negatives, log_positive));
  const Var positive = exp(sub(log_positive, top)), negatives = exp(sub(log_negatives, top));
  const double others = 2.0 * static_cast<double>(n) - 2.0;  // M
  const Var unbiased =
      affine(sub(negatives, affine(positive, p.tau_plus * others, 0.0)), 1.0 / (1.0 - p.tau_plus), 0.0);
  const Var floor = affine(exp(affine(top, -1.0, -1.0 / p.temperature)), others, 0.0);
  return mean_of(sub(log(add(positive, maximum(unbiased, floor))), sub(log_positive, top)));
}

}  // namespace

Loss debiased_contrastive(const Var& z1, const Var& z2, const DebiasedParams& p) {
  check_debiased("debiased_contrastive", z1, z2, p);
  const ContrastResult s = anchors("debiased_contrastive", z1, z2, p.temperature, p.normalize);
  return corrected(s.lse, s.positive, z1.size(0), p);
}

Loss hard_negative_contrastive(const Var& z1, const Var& z2, const HardNegativeParams& p) {
  check_debiased("hard_negative_contrastive", z1, z2, p);
  JX_CHECK(p.beta >= 0 && std::isfinite(p.beta), "hard_negative_contrastive: beta: expected 0 or more, got ",
           p.beta);
  JX_CHECK(
      z1.size(0) >= 2,
      "hard_negative_contrastive: z1: expected N >= 2, since the weights are a mean over negatives, got ",
      z1);
  const auto lse_at = [&](double temperature) {
    return anchors("hard_negative_contrastive", z1, z2, temperature, p.normalize);
  };
  const ContrastResult s = lse_at(p.temperature);
  if (p.beta == 0) return corrected(s.lse, s.positive, z1.size(0), p);
  // log(sum w n / mean w) = lse((beta + 1) s) - lse(beta s) + log M
  const Var weighted = sub(lse_at(p.temperature / (p.beta + 1)).lse, lse_at(p.temperature / p.beta).lse);
  const double others = 2.0 * static_cast<double>(z1.size(0)) - 2.0;
  return corrected(affine(weighted, 1.0, std::log(others)), s.positive, z1.size(0), p);
}

}  // namespace juxta::ssl

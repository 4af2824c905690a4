#include "ssl/losses/class_pairs.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "autograd/ops.h"

namespace juxta::ssl {

namespace {

constexpr const char* kName = "hydra";
constexpr int64_t kBlock = 256;  // anchors whose similarities exist at a time

// Who is a positive and who a negative of the anchors [begin, end), bool [rows, N] each.
struct Relations {
  Tensor positives, negatives;
};
Relations relations(const Tensor& y1, const Tensor& y2, const Tensor& yc, int64_t begin, int64_t end) {
  const int64_t n = yc.numel();
  Relations r{Tensor::empty({end - begin, n}, DType::boolean),
              Tensor::empty({end - begin, n}, DType::boolean)};
  bool *positive = r.positives.write<bool>(kName), *negative = r.negatives.write<bool>(kName);
  for (int64_t b = begin; b < end; ++b)
    for (int64_t i = 0; i < n; ++i) {
      const int64_t y = yc.data<int64_t>()[i];
      *positive++ = y == y2.data<int64_t>()[b];
      *negative++ = y != y2.data<int64_t>()[b] && y != y1.data<int64_t>()[b];
    }
  return r;
}

// max(sqrt(squares), eps)
Var length(const Var& squares) { return clamp(sqrt(squares), 1e-12, 1e30); }

// c [B, N]. The gated candidates [B, N, D] are never built: |g_b z_n|^2 = g_b^2 . z_n^2.
Var similarities(const Var& z1, const Var& gate, const Var& z2, GateForm form) {
  const Var open = square(gate);
  if (form == GateForm::square) return matmul(mul(l2_normalize(z1), open), transpose(l2_normalize(z2), 0, 1));
  const Var products = matmul(mul(z1, open), transpose(z2, 0, 1));
  const Var anchors = length(sum(mul(open, square(z1)), {1}, true));
  return div(div(products, anchors), length(matmul(open, transpose(square(z2), 0, 1))));
}

// sum_{n in P_b} l_bn of some anchors, [rows].
Var sums_over_positives(const Var& z1, const Var& gate, const Var& z2, const Relations& r,
                        const HydraParams& p) {
  const Var s = affine(similarities(z1, gate, z2, p.form), 1.0 / p.temperature, 0.0);
  // log(e^s + e^lse) - s = softplus(lse - s); without negatives lse = -inf and the term is 0
  const Var each = softplus(sub(unsqueeze(logsumexp(s, r.negatives), 1), s));
  return sum(where(r.positives, each, Var(Tensor::zeros({1}, each.dtype()))), {1});
}

void check_labels(const char* name, const Tensor& labels, int64_t n) {
  JX_CHECK(labels.defined() && labels.dtype() == DType::i64 && labels.dims() == Dims({n}), kName, ": ", name,
           ": expected i64 [", n, "], got ", labels);
}

// mean of -g log g - (1 - g) log(1 - g)
Var mean_entropy(const Var& gate) {
  const Tensor given = gate.value().to(DType::f64).contiguous();
  for (int64_t i = 0; i < given.numel(); ++i)
    JX_CHECK(given.data<double>()[i] > 0 && given.data<double>()[i] < 1, kName,
             ": gate: gate_penalty needs gates in (0, 1), got ", given.data<double>()[i]);
  const Var closed = affine(gate, -1.0, 1.0);
  return neg(mean(add(mul(gate, log(gate)), mul(closed, log(closed)))));
}

}  // namespace

Loss hydra(const Var& z1, const Var& z2, const Var& gate, const Tensor& y1, const Tensor& y2,
           const Tensor& yc, const HydraParams& p) {
  check_embeddings(kName, {{"z1", z1}, {"gate", gate}});
  check_embeddings(kName, {{"z2", z2}});
  JX_CHECK(z2.size(1) == z1.size(1) && z2.dtype() == z1.dtype(), kName, ": z2: expected ", z1.dtype(),
           " [N, ", z1.size(1), "] like z1, got ", z2);
  const int64_t anchors = z1.size(0);
  check_labels("y1", y1, anchors);
  check_labels("y2", y2, anchors);
  check_labels("yc", yc, z2.size(0));
  check_temperature(kName, p.temperature);
  JX_CHECK(std::isfinite(p.gate_penalty), kName, ": gate_penalty: expected a number, got ", p.gate_penalty);
  const Tensor own = y1.contiguous(), partner = y2.contiguous(), candidate = yc.contiguous();
  const Var a = at_least_f32(z1), g = at_least_f32(gate), c = at_least_f32(z2);
  std::vector<Var> sums;
  for (int64_t begin = 0; begin < anchors; begin += kBlock) {
    const int64_t end = std::min(begin + kBlock, anchors);
    const Relations r = relations(own, partner, candidate, begin, end);
    if (anchors <= kBlock) {
      sums.push_back(sums_over_positives(a, g, c, r, p));
      continue;
    }
    const std::vector<Var> in{slice(a, 0, begin, end), slice(g, 0, begin, end), c};
    const CheckpointFn fn = [r, p](std::span<const Var> x) {
      return std::vector<Var>{sums_over_positives(x[0], x[1], x[2], r, p)};
    };
    sums.push_back(checkpoint(fn, in)[0]);
  }
  const Var total = cat(sums, 0);                         // [B]
  Tensor inverse = Tensor::empty({anchors}, DType::f64);  // 1 / |P_b|, 0 without positives
  double pairs = 0, with_positives = 0;
  for (int64_t b = 0; b < anchors; ++b) {
    const auto n = static_cast<double>(std::count(candidate.data<int64_t>(),
                                                  candidate.data<int64_t>() + candidate.numel(),
                                                  partner.data<int64_t>()[b]));
    inverse.write<double>(kName)[b] = n > 0 ? 1 / n : 0.0;
    pairs += n;
    with_positives += n > 0 ? 1 : 0;
  }
  const Var means = mul(total, Var(inverse.to(total.dtype())));
  const Var loss = p.reduction == PairReduction::pairs
                       ? affine(sum(total), 1 / std::max(pairs, 1.0), 0.0)
                       : affine(sum(means), 1 / std::max(with_positives, 1.0), 0.0);
  if (p.gate_penalty == 0) return {loss, {}, stop_gradient(means)};
  return {add(loss, affine(mean_entropy(g), p.gate_penalty, 0.0)), {}, stop_gradient(means)};
}

}  // namespace juxta::ssl

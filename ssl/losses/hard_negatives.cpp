#include "ssl/losses/hard_negatives.h"

#include <algorithm>
#include <cmath>
#include <functional>

#include "autograd/contrast.h"
#include "autograd/ops.h"
#include "tensor/parallel.h"

namespace juxta::ssl {

namespace {

void check_bank(const char* loss, const Var& query, const Var& key, const Tensor& bank,
                const Tensor& bank_index, int64_t top_k) {
  check_embeddings(loss, {{"query", query}, {"key", key}});
  check_embeddings(loss, {{"bank", Var(bank)}});
  JX_CHECK(bank.size(1) == query.size(1) && bank.dtype() == query.dtype(), loss, ": bank: expected ",
           query.dtype(), " [M, ", query.size(1), "] like query, got ", bank);
  JX_CHECK(top_k >= 0, loss, ": top_k: expected 0 (all) or more, got ", top_k);
  if (!bank_index.defined()) return;
  JX_CHECK(bank_index.dtype() == DType::i64 && bank_index.dims() == Dims({query.size(0)}), loss,
           ": bank_index: expected i64 [", query.size(0), "], got ", bank_index);
  for (int64_t i = 0; i < query.size(0); ++i)
    JX_CHECK(bank_index.at({i}) >= -1 && bank_index.at({i}) < static_cast<double>(bank.size(0)), loss,
             ": bank_index: expected -1 to ", bank.size(0) - 1, ", got ", bank_index.at({i}), " in row ", i);
}

// Row by row of similarities: true for the negatives at or above the top_k-th.
template <class T>
void choose(const T* s, int64_t m, int64_t own, int64_t top_k, bool* kept) {
  const int64_t negatives = m - (own >= 0);
  if (top_k == 0 || top_k >= negatives) {
    std::fill(kept, kept + m, true);
  } else {
    std::vector<T> sorted;
    for (int64_t j = 0; j < m; ++j)
      if (j != own) sorted.push_back(s[j]);
    std::nth_element(sorted.begin(), sorted.begin() + (top_k - 1), sorted.end(), std::greater<>());
    const T threshold = sorted[static_cast<size_t>(top_k - 1)];
    for (int64_t j = 0; j < m; ++j) kept[j] = s[j] >= threshold;
  }
  if (own >= 0) kept[own] = false;
}

// bool [N, M]: which rows of the bank are kept as negatives. In blocks of rows: no N x M similarities.
Tensor kept_negatives(const Var& query, const Var& bank, const Tensor& bank_index, int64_t top_k) {
  const NoGrad no_grad;
  const int64_t n = query.size(0), m = bank.size(0), block = 64;
  Tensor kept = Tensor::empty({n, m}, DType::boolean);
  const Var columns = transpose(bank, 0, 1);
  for (int64_t begin = 0; begin < n; begin += block) {
    const int64_t end = std::min(begin + block, n);
    const Tensor s = matmul(slice(query, 0, begin, end), columns).value().contiguous();
    dispatch_float(s.dtype(), "hard_contrastive", [&]<class T>() {
      parallel_for(end - begin, grain_for(4 * m), [&](int64_t from, int64_t to) {
        for (int64_t i = from; i < to; ++i) {
          const int64_t own =
              bank_index.defined() ? static_cast<int64_t>(bank_index.at({begin + i})) : int64_t{-1};
          choose(s.data<T>() + i * m, m, own, top_k, kept.write<bool>("hard_contrastive") + (begin + i) * m);
        }
      });
    });
  }
  return kept;
}

struct Prepared {
  Var query, key, bank;
};
Prepared prepare(const Var& query, const Var& key, const Tensor& bank, bool normalize) {
  const auto one = [&](const Var& x) { return normalize ? l2_normalize(at_least_f32(x)) : at_least_f32(x); };
  return {one(query), one(key), at_least_f32(Var(bank))};  // its rows were scaled when they were written
}

}  // namespace

Loss hard_contrastive(const Var& query, const Var& key, const Tensor& bank, const Tensor& bank_index,
                      const HardContrastiveParams& p) {
  check_bank("hard_contrastive", query, key, bank, bank_index, p.top_k);
  check_temperature("hard_contrastive", p.temperature);
  const Prepared x = prepare(query, key, bank, p.normalize);
  ContrastOptions o;
  o.op = "hard_contrastive";
  o.stop_columns = true;
  o.mask = kept_negatives(x.query, x.bank, bank_index, p.top_k);
  const Var lse = contrast({&x.query, 1}, {&x.bank, 1}, constant_temperature(p.temperature, x.query), o).lse;
  const Var positive = affine(sum(mul(x.query, x.key), {1}), 1 / p.temperature, 0.0);
  const Var samples = softplus(sub(lse, positive));
  Tensor kept = sum(cast(Var(o.mask.to(DType::f64)), DType::f64), {1}).value().to(DType::i64);
  return {mean(samples), {{"kept", Var(kept)}}, stop_gradient(samples)};
}

Loss simple_contrastive(const Var& query, const Var& key, const Tensor& bank, const Tensor& bank_index,
                        const SimpleContrastiveParams& p) {
  check_bank("simple_contrastive", query, key, bank, bank_index, p.top_k);
  JX_CHECK(!p.lambda || std::isfinite(*p.lambda), "simple_contrastive: lambda: expected a number, got ",
           *p.lambda);
  const Prepared x = prepare(query, key, bank, p.normalize);
  ContrastOptions o;
  o.op = "simple_contrastive";
  o.stop_columns = true;
  o.positive_mask = kept_negatives(x.query, x.bank, bank_index, p.top_k);
  const ContrastResult kept = contrast({&x.query, 1}, {&x.bank, 1}, constant_temperature(1, x.query), o);
  Tensor weight = kept.count.to(DType::f64).clone();
  double* w = weight.write<double>("simple_contrastive");
  // The card's 1/#hard is a number in single precision, as the golden cases show (0.2 there is 0.2f).
  for (int64_t i = 0; i < weight.numel(); ++i)
    w[i] = p.lambda ? *p.lambda : static_cast<double>(1.0f / static_cast<float>(std::max(w[i], 1.0)));
  const Var samples =
      sub(mul(kept.positive, Var(weight.to(kept.positive.dtype()))), sum(mul(x.query, x.key), {1}));
  return {mean(samples), {}, stop_gradient(samples)};
}

HardnessWeights hardness_weights(const Tensor& positive, const Tensor& negative, double temperature) {
  constexpr const char* kName = "hardness_weights";
  check_temperature(kName, temperature);
  JX_CHECK(positive.defined() && is_float(positive.dtype()) && positive.ndim() == 1 && positive.numel() >= 1,
           kName, ": positive: expected a float [N], got ", positive);
  const int64_t n = positive.size(0);
  JX_CHECK(negative.defined() && is_float(negative.dtype()) && negative.ndim() == 2 &&
               negative.size(0) == n && negative.size(1) >= 1,
           kName, ": negative: expected a float [", n, ", M], got ", negative);
  check_finite(kName, {"positive", Var(positive)});
  check_finite(kName, {"negative", Var(negative)});
  const NoGrad no_grad;
  const double rate = 1 / temperature;
  const Var own = affine(Var(positive.to(DType::f64)), rate, 0.0),
            others = affine(Var(negative.to(DType::f64)), rate, 0.0);
  const Var lse = logsumexp(others), log_ratio = log_softmax(others), ratio = softmax(others);
  // 1 - P_ii = sigma(lse - s_ii/t)
  const Var outside = sigmoid(sub(lse, own));
  const Var entropy = neg(sum(mul(ratio, log_ratio), {1}));
  return {softplus(sub(lse, own)).value(), affine(outside, -rate, 0.0).value(),
          affine(mul(ratio, unsqueeze(outside, 1)), rate, 0.0).value(), ratio.value(), entropy.value()};
}

}  // namespace juxta::ssl

#include "ssl/losses/policy.h"

#include <algorithm>
#include <cmath>

#include "autograd/ops.h"

namespace juxta::ssl {

Var grace_pool(const Var& hidden, const Tensor& mask, const GracePoolParams& p) {
  constexpr const char* kLoss = "grace_pool";
  JX_CHECK(hidden.defined() && is_float(hidden.dtype()) && hidden.ndim() == 3 && hidden.numel() > 0, kLoss,
           ": hidden: expected a float [N, L, D], got ", hidden);
  check_finite(kLoss, {"hidden", hidden});
  JX_CHECK(p.prefix >= 0, kLoss, ": prefix: expected 0 or more, got ", p.prefix);
  const int64_t n = hidden.size(0), length = hidden.size(1);
  const std::vector<int64_t> visible = integers_for(kLoss, "mask", mask, {n, length});
  const Var h = at_least_f32(hidden);
  Tensor weight = Tensor::zeros({n, 1, length}, DType::f64);
  double* w = weight.write<double>(kLoss);
  for (int64_t i = 0; i < n; ++i) {
    const int64_t* row = visible.data() + i * length;
    const int64_t first = std::find_if(row, row + length, [](int64_t v) { return v != 0; }) - row;
    JX_CHECK(first < length, kLoss, ": mask: expected a visible token in every row, got none in row ", i);
    const auto count = [&](int64_t from) {
      return std::count_if(row + std::min(from, length), row + length, [](int64_t v) { return v != 0; });
    };
    const int64_t from = count(first + p.prefix) > 0 ? first + p.prefix : first;
    for (int64_t t = from; t < length; ++t)
      w[i * length + t] = row[t] != 0 ? 1 / static_cast<double>(count(from)) : 0;
  }
  const Var pooled = reshape(matmul(Var(weight.to(h.dtype())), h), {n, hidden.size(2)});
  return p.normalize ? l2_normalize(pooled) : pooled;
}

namespace {

// Weights [B, T] whose sum with the tokens' values is their aggregate.
Tensor token_weights(const Tensor& mask, int64_t b, int64_t t, TokenMean aggregate) {
  const std::vector<int64_t> given = mask.defined() ? integers_for("grpo_loss", "mask", mask, {b, t})
                                                    : std::vector<int64_t>(static_cast<size_t>(b * t), 1);
  std::vector<double> length(static_cast<size_t>(b), 0.0);
  double all = 0;
  for (size_t i = 0; i < given.size(); ++i)
    if (given[i]) length[i / static_cast<size_t>(t)] += 1, all += 1;
  Tensor weight = Tensor::zeros({b, t}, DType::f64);
  double* w = weight.write<double>("grpo_loss");
  for (size_t i = 0; i < given.size(); ++i) {
    if (!given[i]) continue;
    const double sequences = static_cast<double>(b);
    w[i] = aggregate == TokenMean::token_mean ? 1 / all
           : aggregate == TokenMean::sequence_mean_token_sum
               ? 1 / sequences
               : 1 / (sequences * length[i / static_cast<size_t>(t)]);
  }
  return weight;
}

void check_grpo(const Var& log_prob, const Tensor& old, const Tensor& advantage, const Tensor& reference,
                const GrpoParams& p) {
  constexpr const char* kLoss = "grpo_loss";
  check_embeddings(kLoss, {{"log_prob", log_prob}, {"old_log_prob", Var(old)}});
  if (reference.defined())
    check_embeddings(kLoss, {{"log_prob", log_prob}, {"ref_log_prob", Var(reference)}});
  JX_CHECK(advantage.defined() && is_float(advantage.dtype()) && advantage.dims() == Dims({log_prob.size(0)}),
           kLoss, ": advantage: expected [", log_prob.size(0), "], got ", advantage);
  check_finite(kLoss, {"advantage", Var(advantage)});
  JX_CHECK(p.clip_low >= 0 && p.clip_low <= 1, kLoss, ": clip_low: expected 0 to 1, got ", p.clip_low);
  JX_CHECK(p.clip_high >= 0, kLoss, ": clip_high: expected 0 or more, got ", p.clip_high);
  JX_CHECK(p.clip_dual > 1, kLoss, ": clip_dual: expected more than 1, got ", p.clip_dual);
  JX_CHECK(p.kl_coef >= 0, kLoss, ": kl_coef: expected 0 or more, got ", p.kl_coef);
  JX_CHECK(p.kl_coef == 0 || reference.defined(), kLoss,
           ": ref_log_prob: missing beside kl_coef = ", p.kl_coef);
}

}  // namespace

Loss grpo_loss(const Var& log_prob, const Tensor& old_log_prob, const Tensor& mask, const Tensor& advantage,
               const Tensor& ref_log_prob, const GrpoParams& p) {
  check_grpo(log_prob, old_log_prob, advantage, ref_log_prob, p);
  const int64_t b = log_prob.size(0), t = log_prob.size(1);
  const Var x = at_least_f32(log_prob), old = at_least_f32(Var(old_log_prob));
  const Var a = expand(reshape(cast(Var(advantage), x.dtype()), {b, 1}), {b, t});
  const Var weight(token_weights(mask, b, t, p.aggregate).to(x.dtype()));
  const Var ratio = exp(clamp(sub(x, old), -20, 20)), minus_a = neg(a);
  const Var clipped =
      maximum(mul(minus_a, ratio), mul(minus_a, clamp(ratio, 1 - p.clip_low, 1 + p.clip_high)));
  Tensor falls = Tensor::empty({b, t}, DType::boolean);
  for (int64_t i = 0; i < b * t; ++i) falls.write<bool>("grpo_loss")[i] = advantage.at({i / t}) < 0;
  const Var each = where(falls, minimum(clipped, affine(minus_a, p.clip_dual, 0.0)), clipped);
  const Var per_sequence = sum(mul(weight, each), {1}), policy = sum(per_sequence);
  if (!ref_log_prob.defined())
    return {policy, {{"policy_loss", stop_gradient(policy)}}, stop_gradient(per_sequence)};
  const Var d = clamp(sub(at_least_f32(Var(ref_log_prob)), x), -20, 20);
  // e^d - d - 1 without the cancellation near 0
  const Var divergence = sum(mul(weight, clamp(sub(expm1(d), d), -10, 10)), {1}), kl = sum(divergence);
  return {add(policy, affine(kl, p.kl_coef, 0.0)),
          {{"policy_loss", stop_gradient(policy)}, {"kl", stop_gradient(kl)}},
          stop_gradient(add(per_sequence, affine(divergence, p.kl_coef, 0.0)))};
}

}  // namespace juxta::ssl

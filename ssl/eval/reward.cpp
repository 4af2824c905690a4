#include "ssl/eval/reward.h"

#include <cmath>

#include "ssl/eval/matrix.h"

namespace juxta::ssl {

namespace {

// Unit rows of a float [G, K, D] as [G K, D].
Matrix unit_of(const char* who, const Tensor& x) {
  return unit_rows(who, x.contiguous().view({x.size(0) * x.size(1), x.size(2)}), 1);
}

void check_rewards(const Tensor& positive, const Tensor& query, const Tensor& negative,
                   const GraceRewardParams& p) {
  constexpr const char* kRule = "grace_reward";
  JX_CHECK(positive.defined() && is_float(positive.dtype()) && positive.ndim() == 3 && positive.numel() > 0,
           kRule, ": positive: expected a float [G, K, D], got ", positive);
  const int64_t g = positive.size(0), d = positive.size(2);
  JX_CHECK(query.defined() && is_float(query.dtype()) && query.dims() == Dims({g, d}), kRule,
           ": query: expected [", g, ", ", d, "], got ", query);
  JX_CHECK(p.temperature > 0 && std::isfinite(p.temperature), kRule,
           ": temperature: expected a positive number, got ", p.temperature);
  if (p.mode == GraceMode::unsupervised) {
    JX_CHECK(!negative.defined(), kRule, ": negative: mode \"unsupervised\" has none, got ", negative);
    return;
  }
  JX_CHECK(negative.defined() && is_float(negative.dtype()) && negative.ndim() == 3 &&
               negative.size(0) == g && negative.size(2) == d && negative.size(1) >= 1,
           kRule, ": negative: expected [", g, ", M, ", d, "], got ", negative);
}

// R - mean, by group; over the sample deviation where asked for. A group of one keeps its reward.
Matrix advantages(const Matrix& reward, bool normalize_std) {
  const Eigen::Index k = reward.cols();
  if (k == 1) return reward;
  Matrix a = reward.colwise() - reward.rowwise().mean();
  if (normalize_std)
    for (Eigen::Index i = 0; i < a.rows(); ++i)
      a.row(i) /= std::sqrt(a.row(i).squaredNorm() / static_cast<double>(k - 1)) + 1e-6;
  return a;
}

}  // namespace

GraceReward grace_reward(const Tensor& positive, const Tensor& query, const Tensor& negative,
                         const Tensor& cut, const GraceRewardParams& p) {
  check_rewards(positive, query, negative, p);
  const int64_t g = positive.size(0), k = positive.size(1);
  const bool supervised = p.mode == GraceMode::supervised;
  const Matrix pos = unit_of("grace_reward: positive", positive),
               anchor = unit_rows("grace_reward: query", query, 1);
  const Matrix neg = supervised ? unit_of("grace_reward: negative", negative) : Matrix();
  const int64_t m = supervised ? negative.size(1) : 0;
  const std::vector<int64_t> is_cut = cut.defined() ? integers_of("grace_reward: cut", cut, {g, k})
                                                    : std::vector<int64_t>(static_cast<size_t>(g * k), 0);
  Matrix similarity(g, k), consistency = Matrix::Zero(g, k), cross = Matrix::Zero(g, k), reward(g, k);
  std::vector<double> against(static_cast<size_t>(g), 0.0);
  for (int64_t i = 0; i < g; ++i) {
    const auto own = pos.middleRows(i * k, k);
    similarity.row(i) = (own * anchor.row(i).transpose()).transpose();
    if (supervised)
      against[static_cast<size_t>(i)] = (neg.middleRows(i * m, m) * anchor.row(i).transpose()).sum();
    if (k > 1) {
      const Matrix among = own * own.transpose();
      consistency.row(i) =
          (among.rowwise().sum() - among.diagonal()).transpose() / static_cast<double>(k - 1);
    }
    for (int64_t j = 0; j < g; ++j) {
      if (j == i) continue;
      if (supervised)  // the other texts' best rationale for this query, the same for all k
        cross.row(i).array() += (pos.middleRows(j * k, k) * anchor.row(i).transpose()).maxCoeff();
      else
        cross.row(i) += (own * anchor.row(j).transpose()).transpose();
    }
    if (g > 1) cross.row(i) /= static_cast<double>(g - 1);
    for (int64_t l = 0; l < k; ++l) {
      const double r = similarity(i, l) - against[static_cast<size_t>(i)] +
                       p.lambda_consistency * consistency(i, l) - p.lambda_hard * cross(i, l);
      reward(i, l) = is_cut[static_cast<size_t>(i * k + l)] ? p.cut_reward : r / p.temperature;
    }
  }
  return {tensor_of(reward),      tensor_of(similarity), tensor_of(std::span<const double>(against)),
          tensor_of(consistency), tensor_of(cross),      tensor_of(advantages(reward, p.normalize_std))};
}

}  // namespace juxta::ssl

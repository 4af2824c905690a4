#pragma once
// Contrast as a reward (GRACE, Sun et al. 2025, arXiv 2510.04506): how good are the rationales that a policy
// wrote?
#include "ssl/params.h"
#include "tensor/tensor.h"

namespace juxta::ssl {

enum class GraceMode { supervised, unsupervised };

struct GraceRewardParams {
  GraceMode mode = GraceMode::supervised;
  double lambda_consistency = 0.2, lambda_hard = 0.2, temperature = 0.1;
  double cut_reward = -1;      // of rationales that hit the length limit
  bool normalize_std = false;  // divide advantages by the group's sample deviation + 1e-6
  void fields(Params& f) {
    f("mode", mode, {"supervised", "unsupervised"}), f("lambda_consistency", lambda_consistency);
    f("lambda_hard", lambda_hard), f("temperature", temperature), f("cut_reward", cut_reward);
    f("normalize_std", normalize_std);
  }
};

// Rewards of K rationales for each of G texts, all f64 [G, K] but `negative` [G].
struct GraceReward {
  Tensor reward, similarity, negative, consistency, cross, advantage;
};

// positive [G, K, D] (the rationales), query [G, D] (the anchor), negative [G, M, D] (supervised only), cut
// i64 [G, K] or undefined. With sim the cosine:
//   similarity = sim(query_i, pos_ik),  negative = sum_m sim(query_i, neg_im)
//   consistency = 1/(K - 1) sum_{l != k} sim(pos_ik, pos_il)      0 for K = 1
//   cross = 1/(G - 1) sum_{j != i} max_l sim(query_i, pos_jl);
//     unsupervised: sum_{j != i} sim(pos_ik, query_j)
//   reward = (similarity - negative + lambda_consistency consistency - lambda_hard cross) / temperature
// or cut_reward where cut; cross is 0 for G = 1. advantage = reward - mean_k reward, for K = 1 the reward
// itself. Computed in double.
GraceReward grace_reward(const Tensor& positive, const Tensor& query, const Tensor& negative,
                         const Tensor& cut, const GraceRewardParams& p = {});

}  // namespace juxta::ssl

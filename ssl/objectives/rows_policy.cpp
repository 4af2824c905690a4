#include "autograd/ops.h"
#include "ssl/eval/reward.h"
#include "ssl/losses/policy.h"
#include "ssl/objectives/rows.h"

namespace juxta::ssl {

namespace {

constexpr InputRow kPool[] = {{"hidden", "[N, L, D]"}, {"mask", "i64 [N, L]"}, {"probe", "[N, D]"}};
constexpr InputRow kReward[] = {{"positive", "[G, K, D]"},
                                {"query", "[G, D]"},
                                {"negative", "[G, M, D]", true},
                                {"cut", "i64 [G, K]", true}};
constexpr InputRow kGrpo[] = {{"log_prob", "[N, T]"},
                              {"old_log_prob", "[N, T]"},
                              {"mask", "i64 [N, T]", true},
                              {"advantage", "[N]"},
                              {"ref_log_prob", "[N, T]", true}};

Outcome run_pool(const Inputs& in, Params& f) {
  const Var embedding = grace_pool(in["hidden"], in.tensor("mask"), f.read<GracePoolParams>());
  return {sum(mul(embedding, in["probe"])), {{"embedding", stop_gradient(embedding)}}};
}

Outcome run_reward(const Inputs& in, Params& f) {
  const GraceReward r =
      grace_reward(in.tensor("positive"), in.tensor("query"), in.optional_tensor("negative"),
                   in.optional_tensor("cut"), f.read<GraceRewardParams>());
  return {{},
          {{"reward", Var(r.reward)},
           {"similarity", Var(r.similarity)},
           {"negative", Var(r.negative)},
           {"consistency", Var(r.consistency)},
           {"cross", Var(r.cross)},
           {"advantage", Var(r.advantage)}}};
}

constexpr const char* kGrace = "Sun et al. 2025, arXiv 2510.04506";

constexpr Objective kRows[] = {
    {"grace_pool", "GRACE", kGrace, "h = unit(mean of the visible hidden states behind the prefix)",
     Kind::layer, Across::local, kPool, list_params<GracePoolParams>, run_pool},
    {"grace_reward", "GRACE", kGrace,
     "R = (sim(q, p) - sum sim(q, n) + l1 consistency - l2 cross)/t;  A = R - mean of the group", Kind::rule,
     Across::statistics, kReward, list_params<GraceRewardParams>, run_reward},
    {"grpo_loss", "GRPO", "Shao et al. 2024, arXiv 2402.03300",
     "L = agg max(-A rho, -A clip(rho)), at most -c A where A < 0;  + beta agg(e^d - d - 1)", Kind::loss,
     Across::statistics, kGrpo, list_params<GrpoParams>,
     [](const Inputs& in, Params& f) {
       return grpo_loss(in["log_prob"], in.tensor("old_log_prob"), in.optional_tensor("mask"),
                        in.tensor("advantage"), in.optional_tensor("ref_log_prob"), f.read<GrpoParams>());
     }},
};

}  // namespace

std::span<const Objective> policy_rows() { return kRows; }

}  // namespace juxta::ssl

#pragma once
// Contrast as a reward: a policy writes rationales, their pooled hidden states are the embedding (GRACE, Sun
// et al. 2025, arXiv 2510.04506), trained by group-relative policy optimisation.
#include "ssl/losses/loss.h"
#include "ssl/params.h"

namespace juxta::ssl {

struct GracePoolParams {
  int64_t prefix = 0;     // tokens of the system prompt, from the first visible one
  bool normalize = true;  // to unit length
  void fields(Params& f) { f("prefix", prefix), f("normalize", normalize); }
};

// hidden [N, L, D], mask i64 [N, L] -> [N, D]: the mean over the visible tokens without the first `prefix`
// places from the first visible one. A row that has no others keeps all of its tokens; a row without visible
// tokens is an Error.
Var grace_pool(const Var& hidden, const Tensor& mask, const GracePoolParams& p = {});

enum class TokenMean { token_mean, sequence_mean_token_sum, sequence_mean_token_mean };

struct GrpoParams {
  double clip_low = 0.2, clip_high = 0.2, clip_dual = 3;
  TokenMean aggregate = TokenMean::token_mean;
  double kl_coef = 0;
  void fields(Params& f) {
    f("clip_low", clip_low), f("clip_high", clip_high), f("clip_dual", clip_dual);
    f("aggregate", aggregate, {"token_mean", "sequence_mean_token_sum", "sequence_mean_token_mean"});
    f("kl_coef", kl_coef);
  }
};

// Clipped surrogate of a policy gradient (GRPO, Shao et al. 2024, arXiv 2402.03300, with the dual clip of Ye
// et al. 2020, arXiv 1912.09729). log_prob, old_log_prob [B, T] of sampled tokens, advantage [B], mask i64
// [B, T] (0: no token) or undefined, ref_log_prob [B, T] where a reference is kept.
//   rho = e^{clamp(log_prob - old, +-20)};   l = max(-A rho, -A clip(rho, 1 - clip_low, 1 + clip_high))
//   A < 0: l = min(l, -clip_dual A)
//   kl = clamp(e^d - d - 1, +-10), d = clamp(ref - log_prob, +-20);   L = agg(l) + kl_coef agg(kl)
// agg: the mean over all tokens; or per sequence their sum or mean, averaged over sequences (one without
// tokens counts as 0). All constants but log_prob. Terms: policy_loss, kl (with a reference).
Loss grpo_loss(const Var& log_prob, const Tensor& old_log_prob, const Tensor& mask, const Tensor& advantage,
               const Tensor& ref_log_prob = {}, const GrpoParams& p = {});

}  // namespace juxta::ssl

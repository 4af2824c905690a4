#pragma once
// A soft mixture of expert encoders beside a base stream that is kept at random.
#include "autograd/ops.h"

namespace juxta::nn {

struct ExpertFusionOptions {
  double probability = 0.3;  // of the base stream being added in training
  double temperature = 1;    // of the softmax over experts
};

struct ExpertFusion {
  Var out;      // [N, L, D]
  Var weights;  // [N, E]
  Var balance;  // scalar, 1 when the load is even
};

// Fusion in the manner of Astrea (Yang et al. 2025, arXiv 2503.09445; the paper gives no equations). x [E, N,
// L, D] tokens of E experts, base [N, L, D], gate_w [E, D], gate_b [E].
//   h = mean over L and E of x,   w = softmax((h gate_w^T + gate_b) / temperature),   F = sum_e w_e x_e
//   out_n = F_n + keep_n base_n in training (keep i64 [N] of 0 and 1, one draw per sample),
//   out   = F + probability base at inference: the mean
//   balance = E sum_e f_e mean_n w_ne,   f_e the share of samples whose largest weight is e (no gradient)
ExpertFusion expert_fusion(const Var& x, const Var& base, const Var& gate_w, const Var& gate_b,
                           const Tensor& keep, const ExpertFusionOptions& options, bool training);

}  // namespace juxta::nn

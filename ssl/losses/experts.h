#pragma once
// Alignment of several experts with one space by momentum contrast.
#include "ssl/losses/loss.h"
#include "ssl/params.h"

namespace juxta::ssl {

struct AstreaPrealignParams {
  double temperature = 0.07;
  void fields(Params& f) { f("temperature", temperature); }
};

// Progressive pre-alignment in the manner of Astrea (Yang et al. 2025, arXiv 2503.09445; the paper gives no
// equations). expert [E, N, D], one embedding per expert and sample, normalised here; anchor_m [N, D], the
// momentum embeddings of the same samples, and queue [Q, D] of older ones (may be undefined), both with unit
// rows; stage_weight [E] of numbers >= 0, not all 0.
//   l_e = mean_i CE( z_ei [anchor_m; queue]^T / temperature, i ),   L = sum_e s_e l_e / sum_e s_e
// The gradient reaches the experts alone. Terms: expert_loss [E]. Samples: the same mean per sample, [N].
Loss astrea_prealign(const Var& expert, const Var& anchor_m, const Tensor& stage_weight, const Var& queue,
                     const AstreaPrealignParams& p = {});

}  // namespace juxta::ssl

#pragma once
// Prediction of the future of a sequence.
#include "ssl/losses/loss.h"
#include "ssl/params.h"

namespace juxta::ssl {

enum class CpcNegatives { batch, all };

struct CpcParams {
  CpcNegatives negatives = CpcNegatives::batch;
  void fields(Params& f) { f("negatives", negatives, {"batch", "all"}); }
};

// Contrastive predictive coding (van den Oord et al. 2018, arXiv 1807.03748). context [N, T, C], latent [N,
// T, D], weight [S, D, C], S < T: step k = 1..S scores z_{t+k}^T W_k c_t, neither normalised nor divided by a
// temperature.
//   L = mean over all (k, t, i) of -log [ e^{score of i's own latent} / sum over candidates ]
// Candidates: the latents at the same t + k of all N sequences (batch), or those of every sequence at every
// position
// >= k (all).
Loss cpc(const Var& context, const Var& latent, const Var& weight, const CpcParams& p = {});

}  // namespace juxta::ssl

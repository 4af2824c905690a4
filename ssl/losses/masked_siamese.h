#pragma once
// Masked views against prototypes.
#include "ssl/losses/loss.h"
#include "ssl/params.h"

namespace juxta::ssl {

struct MsnParams {
  double temperature = 0.1;
  double target_sharpen = 0.25;     // T of the targets' power 1/T
  int64_t sinkhorn_iterations = 3;  // 0: targets are not balanced
  double me_max_weight = 1, entropy_weight = 0;
  void fields(Params& f) {
    f("temperature", temperature), f("target_sharpen", target_sharpen);
    f("sinkhorn_iterations", sinkhorn_iterations), f("me_max_weight", me_max_weight);
    f("entropy_weight", entropy_weight);
  }
};

// MSN (Assran et al. 2022, arXiv 2204.07141). anchors [A N, D], view-major; targets [N, D], constants;
// prototypes [K, D], learnable; all scaled to unit length here.
//   p = softmax(a C^T / temperature)
//   t = softmax(t C^T / temperature)^{1/T}, renormalised, balanced by Sinkhorn as it is: constants
//   L = mean - sum t log p + me_max_weight (log K - H(mean p)) + entropy_weight mean H(p)
// Terms: ce, me_max (log K - H(mean p)), target_prob [A N, K].
Loss msn(const Var& anchors, const Var& targets, const Var& prototypes, const MsnParams& p = {});

}  // namespace juxta::ssl

#pragma once
// The behaviour of the contrastive loss (Wang & Liu 2021, arXiv 2012.09740): losses on the hardest negatives
// of a memory bank, and the figures that explain them.
#include <optional>

#include "ssl/losses/loss.h"
#include "ssl/params.h"

namespace juxta::ssl {

struct HardContrastiveParams {
  double temperature = 0.2;
  int64_t top_k = 0;  // negatives kept per anchor; 0: all
  bool normalize = true;
  void fields(Params& f) { f("temperature", temperature), f("top_k", top_k), f("normalize", normalize); }
};

// query, key [N, D]: two views; bank [M, D], a constant of unit rows, used as it is, whose row bank_index[i]
// (i64 [N], -1: none; undefined: none at all) is the image's own and no negative. Kept are the negatives at
// or above the top_k-th similarity, ties included; the choice is not differentiated.
//   L = mean_i -log [ e^{s_ii/t} / (e^{s_ii/t} + sum_{k kept} e^{s_ik/t}) ]
// Term: kept, i64 [N].
Loss hard_contrastive(const Var& query, const Var& key, const Tensor& bank, const Tensor& bank_index,
                      const HardContrastiveParams& p = {});

struct SimpleContrastiveParams {
  std::optional<double> lambda{};  // none: 1 / kept, the limit of a large temperature
  int64_t top_k = 0;
  bool normalize = true;
  void fields(Params& f) { f("lambda", lambda), f("top_k", top_k), f("normalize", normalize); }
};

// The same without the softmax: L = mean_i [ -s_ii + lambda sum_{k kept} s_ik ].
Loss simple_contrastive(const Var& query, const Var& key, const Tensor& bank, const Tensor& bank_index,
                        const SimpleContrastiveParams& p = {});

// What the softmax loss does to one anchor, from its similarities; f64.
struct HardnessWeights {
  Tensor loss;           // [N]
  Tensor grad_positive;  // [N]    -(1 - P_ii) / t
  Tensor grad_negative;  // [N, M]  P_ij / t
  Tensor ratio;    // [N, M]  r_ij = |dL/ds_ij| / |dL/ds_ii|, a Boltzmann distribution over the negatives
  Tensor entropy;  // [N]     of r_i, nats
};
// positive [N], negative [N, M].
HardnessWeights hardness_weights(const Tensor& positive, const Tensor& negative, double temperature);

}  // namespace juxta::ssl

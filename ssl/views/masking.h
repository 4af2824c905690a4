#pragma once
// Which patches a masked-image model is shown.
#include <cstdint>

#include "autograd/var.h"

namespace juxta::ssl {

// MAE (He et al. 2022, arXiv 2111.06377). noise [N, L]: the int(L (1 - mask_ratio)) patches with the smallest
// noise stay, ties by position. ids_keep i64 [N, K] in that order; ids_restore i64 [N, L]: where each patch
// stands in the order of noise; mask i64 [N, L], 1 = removed. Error when no patch stays.
struct MaeMask {
  Tensor ids_keep, ids_restore, mask;
};
MaeMask mae_mask(const Tensor& noise, double mask_ratio);
// The patches that stay: tokens [N, L, D] -> [N, K, D].
Var keep_tokens(const Var& tokens, const Tensor& ids_keep);

// SimMIM (Xie et al. 2022, arXiv 2111.09886) for images of side S. order i64 [N, (S / m)^2]: a permutation of
// the coarse cells of side m = mask_patch_size per image, of which the first ceil(count mask_ratio) are
// masked; i64 [N, S / p, S / p] over the model's patches of side p = model_patch_size, 1 = masked.
struct SimMimMask {
  int64_t mask_patch_size = 32, model_patch_size = 4;
  double mask_ratio = 0.6;
};
Tensor simmim_mask(const Tensor& order, int64_t side, const SimMimMask& p);

}  // namespace juxta::ssl

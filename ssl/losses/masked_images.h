#pragma once
// Reconstruction of masked patches.
#include "ssl/losses/loss.h"
#include "ssl/params.h"

namespace juxta::ssl {

struct MaeLossParams {
  int64_t patch_size = 16;
  bool norm_pix = true;
  double eps = 1e-6;
  void fields(Params& f) { f("patch_size", patch_size), f("norm_pix", norm_pix), f("eps", eps); }
};

// MAE (He et al. 2022, arXiv 2111.06377). images [N, H, W, C] (constants), pred [N, L, p^2 C] with the pixels
// of a patch by row, column, channel; mask i64 [N, L], 1 = removed; at least one is.
//   x = patches; norm_pix: (x - mean x) / sqrt(var x + eps) per patch, the variance unbiased
//   L = sum_{removed patches} mean (pred - x)^2 / number of them
// Terms: target [N, L, p^2 C].
Loss mae_loss(const Var& images, const Var& pred, const Tensor& mask, const MaeLossParams& p = {});

struct SimMimParams {
  double eps = 1e-5;
  void fields(Params& f) { f("eps", eps); }
};

// SimMIM (Xie et al. 2022, arXiv 2111.09886). images (constants), recon [N, S, S, C], mask i64 [N, S / p, S /
// p], 1 = masked (ssl/views/masking.h), a patch of p by p pixels each.
//   L = sum_{masked pixels} |x - recon| / (number of masked pixels + eps) / C
Loss simmim(const Var& images, const Var& recon, const Tensor& mask, const SimMimParams& p = {});

}  // namespace juxta::ssl

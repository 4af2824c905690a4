#pragma once
// Losses that are sums over pairs without a softmax: the logistic loss of SigLIP, alignment and uniformity.
#include "ssl/losses/loss.h"
#include "ssl/params.h"

namespace juxta::ssl {

struct SigLipParams {
  int64_t chunk = 0;  // texts per chunk; 0: all at once
  void fields(Params& f) { f("chunk", chunk); }
};

// SigLIP (Zhai et al. 2023, arXiv 2303.15343). image, text [N, D]; logit_scale, logit_bias of one element.
//   L = -1/N sum_i sum_j log sigma(y_ij (e^logit_scale i_i . t_j + logit_bias)),  y = 1 for i = j, -1
//   otherwise
// with unit rows. A sum over columns and a mean over rows only: a plain sum over chunks of texts, which may
// come from other processes in turn. Starts: logit_scale log 10, logit_bias -10. Terms: chunk_loss [chunks],
// whose sum is the loss.
Loss siglip(const Var& image, const Var& text, const Var& logit_scale, const Var& logit_bias,
            const SigLipParams& p = {});

struct AlignUniformParams {
  double alpha = 2, t = 2;
  double align_weight = 1, uniform_weight = 1;
  bool normalize = true;
  void fields(Params& f) {
    f("alpha", alpha), f("t", t), f("align_weight", align_weight), f("uniform_weight", uniform_weight);
    f("normalize", normalize);
  }
};

// Alignment and uniformity (Wang & Isola 2020, arXiv 2005.10242). z1, z2 [N, D], N >= 2.
//   align = mean_i |z1_i - z2_i|^alpha,  uniform = 1/2 sum_{x = z1, z2} log mean_{i<j} e^{-t |x_i - x_j|^2}
//   L = align_weight align + uniform_weight uniform
// Terms: align, uniform.
Loss align_uniform(const Var& z1, const Var& z2, const AlignUniformParams& p = {});

}  // namespace juxta::ssl

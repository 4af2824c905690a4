#pragma once
// Losses that keep embeddings from collapsing by the statistics of the batch: correlations, variances,
// spread.
#include "ssl/losses/loss.h"
#include "ssl/params.h"

namespace juxta::ssl {

struct BarlowTwinsParams {
  double lambd = 0.0051, scale = 1, eps = 1e-5;
  void fields(Params& f) { f("lambd", lambd), f("scale", scale), f("eps", eps); }
};

// Barlow Twins (Zbontar et al. 2021, arXiv 2103.03230). z1, z2 [N, D]; columns standardised by the batch
// (biased variance + eps), C = z1^T z2 / N.
//   L = scale [ sum_i (C_ii - 1)^2 + lambd sum_{i != j} C_ij^2 ]
// Terms: on_diagonal, off_diagonal (the two sums).
Loss barlow_twins(const Var& z1, const Var& z2, const BarlowTwinsParams& p = {});

struct BarLipParams {
  double lambd = 5e-3, scale = 0.025;
  void fields(Params& f) { f("lambd", lambd), f("scale", scale); }
};

// BarLIP (Fini et al. 2023, arXiv 2305.08675): the same between images and texts, already standardised by the
// last layer of their projectors. v_image, v_text [N, D]; of A local views v_image_local, v_text_local [A, N,
// D] or undefined. The mean over the global pair and the A^2 local pairs.
Loss barlip(const Var& v_image, const Var& v_text, const Var& v_image_local, const Var& v_text_local,
            const BarLipParams& p = {});

struct VicRegParams {
  double sim_weight = 25, var_weight = 25, cov_weight = 1, gamma = 1, eps = 1e-4;
  void fields(Params& f) {
    f("sim_weight", sim_weight), f("var_weight", var_weight), f("cov_weight", cov_weight);
    f("gamma", gamma), f("eps", eps);
  }
};

// VICReg (Bardes et al. 2022, arXiv 2105.04906). z1, z2 [N, D], N >= 2; variances and covariances are
// unbiased (N - 1).
//   invariance = mean over N D of (z1 - z2)^2
//   variance   = 1/2 sum over views of mean_d max(0, gamma - sqrt(Var_d + eps))
//   covariance = sum over views of 1/D sum_{i != j} Cov_ij^2
//   L = sim_weight invariance + var_weight variance + cov_weight covariance.   Terms: the three.
Loss vicreg(const Var& z1, const Var& z2, const VicRegParams& p = {});

struct TicoParams {
  double beta = 0.9, rho = 8;
  void fields(Params& f) { f("beta", beta), f("rho", rho); }
};

// TiCo (Zhu et al. 2022, arXiv 2206.10698) over T steps. z1, z2 [T, N, D]; covariance [D, D] is the state
// before the first.
//   C_t = beta C_{t-1} + (1 - beta) sg(z1^T z1) / N,  L_t = 1 - mean_i z1_i . z2_i + rho mean_i z1_i^T C_t
//   z1_i  (unit rows)
// The loss is the sum of L_t. Terms: losses [T], covariance [D, D] after the last step.
Loss tico(const Var& z1, const Var& z2, const Tensor& covariance, const TicoParams& p = {});

struct KoLeoParams {
  double eps = 1e-8;
  void fields(Params& f) { f("eps", eps); }
};

// KoLeo (Sablayrolles et al. 2019, arXiv 1806.03198; DINOv2). x [N, D], N >= 2, per crop: never between views
// of one image.
//   L = -mean_i log(|x_i - x_nn(i) + eps| + eps),  unit rows, nn by the largest dot product
// The gradient reaches both ends. Terms: neighbour i64 [N].
Loss koleo(const Var& x, const KoLeoParams& p = {});

}  // namespace juxta::ssl

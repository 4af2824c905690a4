#pragma once
// Losses without a global temperature: none at all, one per sample, and global contrast through moving
// averages (Qiu et al. 2023, arXiv 2305.11965; SogCLR: Yuan et al. 2022, arXiv 2202.12387; Kim & Kim 2025,
// arXiv 2501.17683).
#include "ssl/losses/loss.h"
#include "ssl/params.h"

namespace juxta::ssl {

enum class FreeForm { nt_xent, in_batch };

struct TemperatureFreeParams {
  double eps = 1e-6;
  FreeForm form = FreeForm::nt_xent;
  void fields(Params& f) { f("eps", eps), f("form", form, {"nt_xent", "in_batch"}); }
};

// InfoNCE with 2 artanh(s) = log((1 + s)/(1 - s)) in place of s / temperature (arXiv 2501.17683). z1, z2 [N,
// D]; s cosines, clamped to [-1 + eps, 1 - eps] with zero gradient outside. nt_xent: 2N anchors against the
// 2N - 1 others; in_batch: row i of z1 against all of z2. 1 - s of close rows comes from their difference.
// Memory N^2.
Loss temperature_free_nce(const Var& z1, const Var& z2, const TemperatureFreeParams& p = {});

struct RgclParams {
  double rho = 0.4;
  bool bimodal = false, normalize = true;
  void fields(Params& f) { f("rho", rho), f("bimodal", bimodal), f("normalize", normalize); }
};

// Robust global contrastive loss on one batch: z1, z2 [N, D], N >= 2; tau [N], and tau2 [N] when bimodal,
// which get gradients too.
//   F = mean_i [ tau_i log mean_j e^{h_ij / tau_i} + tau_i rho ],  h_ij = s_ij - s_i+
// Unimodal: both views are anchors, against both views of the other samples (2N - 2), and their losses add.
// Bimodal: image i over its row with tau, text i over its column with tau2 (N - 1 negatives), added.
Loss rgcl(const Var& z1, const Var& z2, const Var& tau, const Var& tau2, const RgclParams& p = {});

// One row per sample of the data set, f64 [n]; visited i64 [n]. Belongs in checkpoints.
struct SampleTable {
  Tensor log_s;  // log of the moving average s of the denominator; 0 before the first visit, without meaning
  Tensor u;      // moving average of the gradient of tau
  Tensor tau;
  Tensor visited;
  SampleTable(int64_t n, double tau_init);
};

struct SogclrParams {
  double temperature = 0.1, gamma = 0.8;
  int64_t n_total = 0;  // samples of the data set
  bool normalize = true;
  void fields(Params& f) {
    f("temperature", temperature), f("gamma", gamma), f("n_total", n_total), f("normalize", normalize);
  }
};

// SogCLR: contrast with the whole data set at a small batch. z1, z2 [B, D], B >= 2; index i64 [B], distinct
// rows of the table. With M = 2B - 2 negatives of each of the two anchors a of sample i, and w constant:
//   g_ia = 1/M sum_j e^{s_ij/t};   s_ia = g_ia at the first visit, else (1 - gamma) s_i + gamma g_ia
//   w_ij = e^{s_ij/t} / s_ia
//   L = 1/B sum_i sum_a [ 1/M sum_j w_ij s_ij - s_i+ ];   s_i <- (s_i1 + s_i2) / 2
// The gradient of L is the stochastic gradient of the global loss; its value is not that loss. Writes the
// table.
Loss sogclr(const Var& z1, const Var& z2, const Tensor& index, SampleTable& table, const SogclrParams& p);

struct IsogclrParams {
  double gamma = 0.8, rho = 0.4, beta = 0.5, eta = 0.03;
  double tau_init = 0.1, tau_min = 0.05, tau_max = 1, grad_clip = 3;
  int64_t n_total = 0;
  bool normalize = true;
  void fields(Params& f) {
    f("gamma", gamma), f("rho", rho), f("beta", beta), f("eta", eta), f("tau_init", tau_init);
    f("tau_min", tau_min), f("tau_max", tau_max), f("grad_clip", grad_clip), f("n_total", n_total);
    f("normalize", normalize);
  }
};

// iSogCLR: the same with a temperature per sample, moved after the loss by its own step:
//   G_ia = log s_ia + rho - 1/M sum_j w_ij s_ij / tau_i,  G_i = clip(mean_a G_ia, +-grad_clip)
//   u_i <- (1 - beta) u_i + beta G_i,  tau_i <- clip(tau_i - eta u_i, tau_min, tau_max)
Loss isogclr(const Var& z1, const Var& z2, const Tensor& index, SampleTable& table, const IsogclrParams& p);

struct IsogclrBimodalParams : IsogclrParams {
  bool first_visit = true, include_diagonal = false, learn_tau = true;
  IsogclrBimodalParams() { rho = 6, beta = 0.9, tau_init = 0.01, tau_min = 0.005, grad_clip = 5; }
  void fields(Params& f) {
    IsogclrParams::fields(f);
    f("first_visit", first_visit), f("include_diagonal", include_diagonal), f("learn_tau", learn_tau);
  }
};

// The bimodal form: images z1 against texts z2 [B, D] and back, indices and tables of their own, h_ij = S_ij
// - S_ii, M = B - 1 negatives. first_visit false: s starts at 0, as in the authors' code; include_diagonal
// adds j = i to the sums, still divided by M; learn_tau false is SogCLR.
Loss isogclr_bimodal(const Var& z1, const Var& z2, const Tensor& index1, const Tensor& index2,
                     SampleTable& images, SampleTable& texts, const IsogclrBimodalParams& p);

}  // namespace juxta::ssl

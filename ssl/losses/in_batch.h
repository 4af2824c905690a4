#pragma once
// In-batch cross-entropies of two sides that differ in what is a constant and what else stands in the
// denominator.
#include "ssl/losses/loss.h"
#include "ssl/params.h"

namespace juxta::ssl {

struct MocoV3Params {
  double temperature = 0.2;
  void fields(Params& f) { f("temperature", temperature); }
};

// MoCo v3 (Chen et al. 2021, arXiv 2104.02057). q1, q2, k1, k2 [N, D]; keys are constants.
//   ctr(q, k) = 2 temperature mean_i CE(q_i k^T / temperature, i),  L = ctr(q1, k2) + ctr(q2, k1)
Loss moco_v3(const Var& q1, const Var& q2, const Var& k1, const Var& k2, const MocoV3Params& p = {});

struct NPairParams {
  double l2_reg = 0;
  void fields(Params& f) { f("l2_reg", l2_reg); }
};

// N-pair loss (Sohn 2016, NeurIPS). anchors, positives [N, D], not normalised.
//   L = mean_i CE(a_i P^T, i) + l2_reg / 4 (mean_i |a_i|^2 + mean_i |p_i|^2)
Loss n_pair(const Var& anchors, const Var& positives, const NPairParams& p = {});

struct SimCseParams {
  double temperature = 0.05, hard_negative_weight = 0;
  void fields(Params& f) { f("temperature", temperature), f("hard_negative_weight", hard_negative_weight); }
};

// SimCSE (Gao et al. 2021, arXiv 2104.08821). z1, z2 [N, D]; z3 [N, D] or undefined: hard negatives, of all
// rows, the own one with hard_negative_weight added to its logit.
//   L = mean_i CE([cos(z1_i, z2_.) ; cos(z1_i, z3_.) + temperature hard_negative_weight [. = i]] /
//   temperature, i)
Loss simcse(const Var& z1, const Var& z2, const Var& z3, const SimCseParams& p = {});

struct EsimCseParams {
  double temperature = 0.05;
  void fields(Params& f) { f("temperature", temperature); }
};

// ESimCSE (Wu et al. 2022, arXiv 2109.04380). anchor, positive [N, D]; queue [M, D] of momentum embeddings,
// constants; M may be 0.
//   L = mean_i CE([cos(a_i, p_.) ; cos(a_i, queue)] / temperature, i)
// The queue faces the anchors only. Both views carry gradient.
Loss esimcse(const Var& anchor, const Var& positive, const Var& queue, const EsimCseParams& p = {});

struct NnclrParams {
  double temperature = 0.1;
  void fields(Params& f) { f("temperature", temperature); }
};

// NNCLR (Dwibedi et al. 2021, arXiv 2104.14548). z1, z2, p1, p2 [N, D]; queue [K, D] of unit rows, searched
// before this batch enters it. nn(z): the queue's row of largest cosine, a constant of unit
// length.
//   L = 1/2 [ mean_i CE(nn(z1)_i p2^T / temperature, i) + mean_i CE(nn(z2)_i p1^T / temperature, i) ],  p
//   unit
// Terms: index1, index2 i64 [N], the rows found.
Loss nnclr(const Var& z1, const Var& z2, const Var& p1, const Var& p2, const Var& queue,
           const NnclrParams& p = {});

struct RessLParams {
  double student_temperature = 0.1, teacher_temperature = 0.04;
  void fields(Params& f) {
    f("student_temperature", student_temperature), f("teacher_temperature", teacher_temperature);
  }
};

// ReSSL (Zheng et al. 2021, arXiv 2107.09282). query, key [N, D], queue [K, D] of unit rows; the key and the
// queue are constants.
//   L = mean_i -sum_m softmax_m(k_i Q^T / teacher_temperature) log softmax_m(q_i Q^T / student_temperature)
Loss ressl(const Var& query, const Var& key, const Var& queue, const RessLParams& p = {});

struct DebiasedParams {
  double temperature = 0.5, tau_plus = 0.1;
  bool normalize = true;
  void fields(Params& f) {
    f("temperature", temperature), f("tau_plus", tau_plus), f("normalize", normalize);
  }
};

// Debiased contrastive loss (Chuang et al. 2020, arXiv 2007.00224). z1, z2 [N, D]; for each of 2N anchors M =
// 2N - 2 rows of other samples, n_j = e^{s_aj}, p = e^{s_a,a+}:
//   g = max((sum_j n_j - tau_plus M p) / (1 - tau_plus), M e^{-1/temperature}),  L = mean_a -log(p / (p + g))
// The gradient flows through p inside g, and not through g where the floor holds. tau_plus = 0 is NT-Xent.
Loss debiased_contrastive(const Var& z1, const Var& z2, const DebiasedParams& p = {});

struct HardNegativeParams : DebiasedParams {
  double beta = 1;
  void fields(Params& f) {
    DebiasedParams::fields(f);
    f("beta", beta);
  }
};

// Hard negatives by importance (HCL, Robinson et al. 2021, arXiv 2010.04592): as above with sum_j w_j n_j /
// mean_j w_j in place of sum_j n_j, w_j = n_j^beta (not detached). beta = 0 is the debiased loss.
Loss hard_negative_contrastive(const Var& z1, const Var& z2, const HardNegativeParams& p = {});

}  // namespace juxta::ssl

#pragma once
// Contrast for regression: embeddings ordered as their labels.
#include "ssl/losses/loss.h"
#include "ssl/params.h"

namespace juxta::ssl {

struct RncParams {
  double temperature = 2;
  void fields(Params& f) { f("temperature", temperature); }
};

// Rank-N-Contrast (Zha et al. 2023, arXiv 2210.01189). features [N, V, D], as they are; labels [N, L]; the M
// = V N rows of all views repeat their labels. sim(a, b) = -|f_a - f_b|, d(a, b) = |y_a - y_b|_1, and S(a, b)
// = {c != a : d(a, c) >= d(a, b)}:
//   L = -1/(M (M - 1)) sum_a sum_{b != a} log [ e^{sim(a,b)/temperature} / sum_{c in S(a,b)}
//   e^{sim(a,c)/temperature} ]
// The gradient of the distance of coinciding features is 0. Time M^2 log M.
Loss rnc(const Var& features, const Tensor& labels, const RncParams& p = {});

enum class Weighting { l1, l2, none };

struct SupReMixParams {
  double temperature = 0.5, window = 5;
  bool mix_neg = true, mix_pos = true;
  Weighting weighting = Weighting::l1;
  bool normalize = true;
  void fields(Params& f) {
    f("temperature", temperature), f("window", window), f("mix_neg", mix_neg), f("mix_pos", mix_pos);
    f("weighting", weighting, {"l1", "l2", "none"}), f("normalize", normalize);
  }
};

// SupReMix (Wu et al. 2023, arXiv 2309.16633). features [N, V, D], labels [N], lam [M, M] with M = V N: row a
// holds lambda_ab of anchor a, drawn from Beta(2, 8). zbar: constants; P the other rows of a's label.
//   v_ab = lam_ab zbar_a + (1 - lam_ab) zbar_b   y_b != y_a (mix-neg): label lam_ab y_a + (1 - lam_ab) y_b
//   u_bc = alpha zbar_b + (1 - alpha) zbar_c     y_b < y_a < y_c, both gaps < window (mix-pos): label y_a
//   Z_a = sum_{b != a} w e^{z_a.z_b/t} + sum_b w e^{z_a.v_ab/t} + sum_{bc} e^{z_a.u_bc/t}
//   w = 1 + |y_a - label|^(1|2)
//   L = mean_a -1/(|P| + #u) sum_{p in P and u} [ z_a.p/t - log Z_a ];   an anchor without any p gives 0
// No mixture is formed: its similarity is a mixture of similarities. Memory M^2, time M^3 at most.
Loss supremix(const Var& features, const Tensor& labels, const Tensor& lam, const SupReMixParams& p = {});

}  // namespace juxta::ssl

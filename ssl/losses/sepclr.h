#pragma once
// Contrastive analysis: what two sets of images share, and what the second adds.
#include "ssl/losses/loss.h"
#include "ssl/params.h"

namespace juxta::ssl {

struct SepClrParams {
  double tau = 0.5;  // width of the Gaussian kernel
  double w_uniform = 2, w_salient = 1000, w_infoless = 1000, w_jem = 10;
  void fields(Params& f) {
    f("tau", tau), f("w_uniform", w_uniform), f("w_salient", w_salient), f("w_infoless", w_infoless);
    f("w_jem", w_jem);
  }
};

// The parts, for codes a, b [N, D] at kernel width tau; k(x, y) = e^{-|x - y|^2 / (2 tau)}.
//   align(a, b) = mean_i |a_i - b_i|^2 / (2 tau)                     over the rows with kept != 0; none: 0
//   uniform(a) = log mean_{i < j} k(a_i, a_j)                        no self pairs; N >= 2
//   jem(a, b) = mean_i log mean_j k(a_i, a_j) k(b_i, b_j)            self pairs included
// jem is minus the kernel estimate of the joint entropy of (a, b). Distances come from differences:
// background rows coincide exactly, and large codes keep their digits.
Var align_term(const Var& a, const Var& b, const Tensor& kept, double tau);
Var gaussian_uniformity(const Var& a, double tau);
Var kernel_joint_entropy(const Var& a, const Var& b, double tau);

// SepCLR (Louiset et al. 2024, arXiv 2402.11928). Two views of a batch: common codes c1, c2 [N, C] (unit
// length is taken here), salient codes s1, s2 [N, S] as they are; target i64 [N]: 0 background, 1 target. s'
// is s for targets and 0 for background.
//   common = align(c1, c2) + w_uniform / 2 (uniform(c1) + uniform(c2))
//   salient = align(s1, s2 over targets) + w_uniform / 2 (uniform(s'1) + uniform(s'2))
//   infoless = 1/2 (align(0, s1 over background) + align(0, s2 over background))
//   jem = 1/2 (jem(c1, s'1) + jem(c2, s'2))
//   L = common + w_salient salient + w_infoless infoless + w_jem jem
// Terms: common, salient, infoless, jem.
Loss sepclr(const Var& c1, const Var& c2, const Var& s1, const Var& s2, const Tensor& target,
            const SepClrParams& p = {});

}  // namespace juxta::ssl

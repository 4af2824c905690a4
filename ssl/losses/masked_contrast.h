#pragma once
// Masked image modelling, self-distillation of patches and contrast of whole images in one loss.
#include "ssl/losses/loss.h"
#include "ssl/params.h"

namespace juxta::ssl {

struct MmcParams {
  double temp_student = 0.1, temp_teacher = 0.04, temperature = 0.2;
  double w_rec = 1, w_dist = 1, w_con = 1;
  bool masked_only = false;      // distil corrupted patches alone
  bool two_tau = true;           // the contrast times 2 temperature, as in MoCo v3
  double center_momentum = 0.9;  // of the teacher's centre
  void fields(Params& f) {
    f("temp_student", temp_student), f("temp_teacher", temp_teacher), f("temperature", temperature);
    f("w_rec", w_rec), f("w_dist", w_dist), f("w_con", w_con), f("masked_only", masked_only);
    f("two_tau", two_tau), f("center_momentum", center_momentum);
  }
};

struct MmcInputs {
  Var recon, target;     // [2N, L, P]: reconstructed and true patches, all first views, then all second
  Tensor mask;           // i64 [2N, L]: 1 where a patch was corrupted
  Var s_patch, t_patch;  // [2N, L, K]: patch logits of student and teacher
  Tensor center;         // [K], of the teacher's logits
  Var q, k;              // [2N, D]: class embeddings of student and teacher
};

// MMC (Wu et al. 2023, arXiv 2308.11448), the three terms as the same group's code has them (SiT, MC-SSL).
//   rec  = sum M |recon - target| / sum M                               over elements of corrupted patches
//   dist = mean_{n,l} -sum_k P_t log P_s,   P_t = softmax((t - c) / temp_teacher),
//          P_s = softmax(s / temp_student)
//   con  = 2 temperature [ CE(q1 k2^T / temperature) + CE(q2 k1^T / temperature) ]      unit rows
//   L = w_rec rec + w_dist dist + w_con con,   c' = m c + (1 - m) mean over all teacher patches
// Targets and everything of the teacher are constants. Nothing corrupted: rec, and dist when masked_only, are
// 0. Terms: rec, dist, con, next_center [K].
Loss mmc(const MmcInputs& in, const MmcParams& p = {});

}  // namespace juxta::ssl

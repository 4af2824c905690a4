#pragma once
// Pre-training of encoders of wearable biosignals: positives are two segments of one participant.
#include "ssl/losses/loss.h"
#include "ssl/params.h"

namespace juxta::ssl {

struct BiosignalParams {
  double tau = 0.04, lambda_sim = 1, gamma_koleo = 0.1;
  void fields(Params& f) { f("tau", tau), f("lambda_sim", lambda_sim), f("gamma_koleo", gamma_koleo); }
};

// Abbaspourazad et al. 2024, arXiv 2312.05409. student1, student2, teacher1, teacher2 [N, D], N >= 2, pid i64
// [N]: the participant of each row. u, v are the unit rows of x, y; M_ij = [pid_i != pid_j].
//   C = e^{u v^T / tau},  X = e^{u u^T / tau} M,  Y = e^{v v^T / tau} M
//   nce(x, y)  = 1/2 mean_i -log C_ii / sum_j (C_ij + X_ij) + 1/2 mean_i -log C_ii / sum_j (C_ji + Y_ij)
//   crit(x, y) = lambda_sim nce(x, y) + gamma_koleo (koleo(x) + koleo(y)) / 2
//   L = ( crit(student1, teacher2) + crit(student2, teacher1) ) / 2
// Teachers are constants: their spread adds to the value alone. The mask acts within a view; the other view's
// rows of the same participant stay negatives. Terms: nce, koleo (unweighted, both directions averaged).
// Samples: the per-row mean of the four cross-entropies.
Loss biosignal_nce_koleo(const Var& student1, const Var& student2, const Var& teacher1, const Var& teacher2,
                         const Tensor& pid, const BiosignalParams& p = {});

}  // namespace juxta::ssl

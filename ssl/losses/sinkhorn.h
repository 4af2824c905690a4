#pragma once
// Balanced assignments by Sinkhorn-Knopp, in the log domain: no exponential of a score over epsilon is ever
// formed, so that any epsilon works in single precision.
#include "ssl/params.h"
#include "tensor/tensor.h"

namespace juxta::ssl {

struct SinkhornParams {
  double epsilon = 0.05;
  int64_t iterations = 3;
  int64_t last = 0;  // return the last rows only (those of the batch behind a queue); 0: all
  void fields(Params& f) { f("epsilon", epsilon), f("iterations", iterations), f("last", last); }
};

// The codes of SwAV (Caron et al. 2020, arXiv 2006.09882): scores [M, K], rows are samples, columns
// prototypes. With Q = e^{scores / epsilon}, `iterations` times
//   Q[:, k] /= K sum_m Q[m, k],   Q[m, :] /= M sum_k Q[m, k];   then Q M.
// Rows sum to 1 exactly, columns to M / K nearly. A constant; f32, f64 for f64. Errors: scores that are not
// finite, epsilon <= 0.
Tensor sinkhorn_knopp(const Tensor& scores, const SinkhornParams& p = {});

// The same on log Q: log_weights [M, K] finite. iterations 0: Q M / sum Q. `who` is named in errors.
Tensor balance(const char* who, const Tensor& log_weights, int64_t iterations);

}  // namespace juxta::ssl

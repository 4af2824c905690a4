#pragma once
// Agreement of whitened embeddings.
#include "ssl/losses/loss.h"
#include "ssl/params.h"

namespace juxta::ssl {

struct WMseParams {
  int64_t w_size = 128;  // rows per whitening; at least 2 D in practice
  double eps = 0;        // shrinkage of the covariance towards the identity
  bool normalize = true;
  void fields(Params& f) { f("w_size", w_size), f("eps", eps), f("normalize", normalize); }
};

// W-MSE (Ermolov et al. 2021, arXiv 2007.06346). z [V, N, D]; perm i64 [I, N], permutations of the rows, each
// cut into sub-batches of w_size (which divides N). In each sub-batch and view
//   S = (1 - eps) Cov + eps I,  S = L L^T,  w = L^-1 (z - mean)
// (Cov with n - 1); L is the mean over permutations and pairs of views of mean_n (2 - 2 cos(w, w')), or
// without `normalize` of the mean of (w - w')^2 over elements. V >= 2. Error when S is not positive definite.
Loss w_mse(const Var& z, const Tensor& perm, const WMseParams& p = {});

// Rows of x [n, D] whitened: (x - mean) L^-T with the lower Cholesky factor L of (1 - eps) Cov + eps I. n >=
// 2.
Var whiten(const Var& x, double eps);

}  // namespace juxta::ssl

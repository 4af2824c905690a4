#pragma once
// The memory-saving cross-entropy over similarities, tile by tile, as processes in a ring compute it.
#include "ssl/losses/loss.h"
#include "ssl/params.h"

namespace juxta::ssl {

struct TiledContrastiveParams {
  int64_t row_tile = 0, col_tile = 0;  // rows and columns of a tile; 0: all
  bool symmetric = true;               // the mean of both directions; needs as many queries as keys
  void fields(Params& f) { f("row_tile", row_tile), f("col_tile", col_tile), f("symmetric", symmetric); }
};

// Inf-CL (Cheng et al. 2024, arXiv 2410.17243). q [N, D], k [M, D] as given (no normalisation), labels i64
// [N]: the key of each query, logit_scale of one element.
//   s_ij = e^logit_scale q_i . k_j,  L = mean_i (LSE_i - s_i,label(i)),  LSE_i = log sum_j e^{s_ij}
// Partial sums of two tiles merge as a - log sigma(a - b). symmetric: half of it and half of the same over
// the keys, the query of key labels(i) being i (labels must be a permutation). Terms: lse [N] and running_lse
// [tiles, N], after each tile of columns; when symmetric also lse_columns [M] and running_lse_columns, after
// each tile of rows.
Loss tiled_contrastive(const Var& q, const Var& k, const Tensor& labels, const Var& logit_scale,
                       const TiledContrastiveParams& p = {});

}  // namespace juxta::ssl

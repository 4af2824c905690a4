#pragma once
// Meta-path neighbours of a heterogeneous graph.
#include "tensor/tensor.h"

namespace juxta::ssl {

struct MetapathGraph {
  Tensor score;       // f64 [N, N]: 2 C_ij / (C_ii + C_jj)
  Tensor top;         // i64 [N, N]: C_ij of the k best of every row, else 0
  Tensor normalized;  // f64 [N, N]: D^-1/2 top^T D^-1/2, D = row sums of top
};

// PathSim (Sun et al. 2011) as MEOW filters with it (arXiv 2212.13847): commuting i64 [N, N] >= 0 counts the
// instances of a meta-path. Ties in a row: the lower column; k >= N keeps all. Top-k makes the graph
// asymmetric, and the normalised one is the transpose. 0 / 0 is 0.
MetapathGraph metapath_pathsim(const Tensor& commuting, int64_t k);

}  // namespace juxta::ssl

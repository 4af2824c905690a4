#pragma once
// Prototypes of few-shot classes carried to where the queries are.
#include <cstdint>
#include <vector>

#include "tensor/tensor.h"

namespace juxta::ssl {

struct OptaOptions {
  double eps = 0.05;        // entropy of the plan
  int64_t max_iter = 1000;  // of Sinkhorn
  double threshold = 1e-4;  // it stops when the sum of changes of the row potentials is below
  int64_t passes = 0;       // 0: 5 for one shot, 1 otherwise
  double ratio = 0.7;       // share of the carried prototypes where there is more than one shot
  bool standardize = true;  // every feature row to mean 0 and standard deviation 1 (n - 1) over its channels
};
struct Opta {
  Tensor prototypes;                // [C, D]
  Tensor plan;                      // [C, Q], of the last pass
  std::vector<int64_t> iterations;  // of each pass
};
// OpTA (Poulakakis-Daktylidis & Jamali-Rad 2024, arXiv 2402.02444). support [C, shots, D], queries [Q, D]; P
// the means over shots. In each pass, with C_ij = |P_i - Z_j|^2 / max and the entropic plan pi of uniform
// marginals
//   P <- diag(pi 1)^-1 pi Z
// queries stay; with more shots than one the result is ratio P + (1 - ratio) P_0. f64. Error on a feature row
// that is constant where it is to be standardised.
Opta opta(const Tensor& support, const Tensor& queries, const OptaOptions& options = {});

}  // namespace juxta::ssl

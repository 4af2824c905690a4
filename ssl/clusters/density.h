#pragma once
// How tight clusters are, as temperatures of prototypical contrast (PCL, Li et al. 2021, arXiv 2005.04966).
#include "ssl/params.h"
#include "tensor/tensor.h"

namespace juxta::ssl {

struct DensityParams {
  double temperature = 0.2, smooth = 10, low_percentile = 10, high_percentile = 90;
  void fields(Params& f) {
    f("temperature", temperature), f("smooth", smooth);
    f("low_percentile", low_percentile), f("high_percentile", high_percentile);
  }
};

// features [n, D], centroids [K, D] as k-means left them (PCL normalises them only afterwards), assign i64
// [n] in [0, K).
//   phi_c = mean_{x in c} |x - c| / log(n_c + smooth);  clusters of at most one row take the largest phi
// then clipped to the two percentiles (linear between order statistics) and scaled to mean `temperature`.
// f64 [K], computed in f64. Error when all rows lie on their centroids: there is nothing to scale.
Tensor pcl_density(const Tensor& features, const Tensor& centroids, const Tensor& assign,
                   const DensityParams& p = {});

}  // namespace juxta::ssl

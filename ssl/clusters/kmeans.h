#pragma once
// k-means on embeddings: Lloyd's iterations in Euclidean distance, and its spherical form.
#include <vector>

#include "tensor/rng.h"
#include "tensor/tensor.h"

namespace juxta::ssl {

struct KMeans {
  Tensor label;                        // i64 [n], by the final centroids; ties go to the first
  Tensor centroids;                    // [K, D], in the dtype of the rows (f32 for bf16)
  double inertia = 0;                  // sum_i |x_i - c_label(i)|^2 of those
  std::vector<double> inertia_before;  // the same before each round's update
};

// Lloyd 1982: `rounds` times assign every row of x [n, D] to its nearest centroid and move each centroid to
// the mean of its rows; a centroid without rows stays. Sums are in double, in the order of the rows. Errors
// on shapes, values that are not finite, rounds < 0.
KMeans kmeans(const Tensor& x, const Tensor& centroids, int64_t rounds);

// The best of `restarts` runs of k-means from k distinct random rows: least inertia, the first of ties.
KMeans best_kmeans(const Tensor& x, int64_t k, int64_t rounds, int64_t restarts, Rng& rng);

// Spherical k-means (Dhillon & Modha 2001; DeepCluster-v2, arXiv 2006.09882) on unit rows: assign by the
// largest dot product, mean, scale to unit length; an empty cluster keeps its centre. inertia is
// sum_i 1 - x_i . c_label(i).
KMeans spherical_kmeans(const Tensor& features, const Tensor& centroids, int64_t rounds);

// Row ids i64 [K] of x as centroids [K, D]. Error on ids out of range.
Tensor rows_at(const char* who, const Tensor& x, const Tensor& ids);

// Mean of the rows of each label, [K, D]; a label without rows keeps its row of `before`. labels i64 [n] in
// [0, K), -1 for rows that belong to none.
Tensor label_means(const Tensor& x, const Tensor& labels, const Tensor& before);

}  // namespace juxta::ssl

#pragma once
// How well clusters agree with labels.
#include <vector>

#include "tensor/tensor.h"

namespace juxta::ssl {

struct ClusteringMetrics {
  double nmi = 0;       // 2 I(C; Y) / (H(C) + H(Y)); 1 when both have a single part
  double ari = 0;       // adjusted Rand index (Hubert & Arabie 1985); 1 when all pairs agree
  double purity = 0;    // share of rows with their cluster's most frequent label
  double accuracy = 0;  // share of rows that the best one-to-one map of clusters to labels gets right
};

// clusters, labels i64 [N], N >= 1; any integers are names of parts.
ClusteringMetrics clustering_metrics(const Tensor& clusters, const Tensor& labels);

// The one-to-one map of rows to columns of the matrix [rows, columns] with the largest sum (Kuhn 1955,
// shortest augmenting paths): for each row its column, -1 for those left over when rows > columns.
// `gain` is in row-major order. O(n^3).
std::vector<int64_t> best_matching(const std::vector<double>& gain, int64_t rows, int64_t columns);

}  // namespace juxta::ssl

#pragma once
// Correlation of paired numbers, and of sentence similarities with human scores.
#include <cstdint>
#include <span>
#include <vector>

#include "tensor/tensor.h"

namespace juxta::ssl {

// Ranks from 1; ties share the mean of their places.
std::vector<double> average_ranks(std::span<const double> x);
// Error when the two differ in length, have fewer than 2 values, or one of them is constant.
double pearson(std::span<const double> a, std::span<const double> b);
double spearman(std::span<const double> a, std::span<const double> b);  // Pearson of the average ranks
// Kendall's tau-b: (concordant - discordant) / sqrt((n0 - ties in a) (n0 - ties in b)), n0 = n (n - 1) / 2.
double kendall(std::span<const double> a, std::span<const double> b);

// Semantic textual similarity (SentEval). Spearman between the cosines of paired sentence vectors and gold
// scores: over all pairs, and over subsets (sub-data-sets of one year), where the mean, plain or weighted by
// their sizes, is another number.
struct StsSpearman {
  std::vector<double> cosine, per_subset;  // [P]; by ascending subset number
  double all = 0, mean = 0, wmean = 0, pearson_all = 0;
};
// a, b [P, D] (the cosine of a zero vector is 0), gold [P], subset i64 [P] or undefined: one.
StsSpearman sts_spearman(const Tensor& a, const Tensor& b, const Tensor& gold, const Tensor& subset = {});

}  // namespace juxta::ssl

#pragma once
// A map of embeddings: exact t-SNE (van der Maaten & Hinton, JMLR 9, 2008). Points that are neighbours in the
// feature space are drawn near each other; distances between far groups, sizes and densities of groups mean
// little.
//
//   p(j|i) ~ exp(-beta_i |x_i - x_j|^2), beta_i such that the entropy is log(perplexity);  P = (p + p^T) / 2N
//   q_ij   ~ 1 / (1 + |y_i - y_j|^2)
//   dC/dy_i = 4 sum_j (P_ij - Q_ij) (y_i - y_j) / (1 + |y_i - y_j|^2),  C = KL(P || Q)
//
// Started from the first two principal components (Kobak & Berens, Nature Communications 10, 2019), so
// nothing is random, and the result is the same for any number of threads. Time and memory grow with N^2.
#include "tensor/tensor.h"

namespace juxta::ssl {

struct MapOptions {
  double perplexity = 30;  // neighbours that a point attends to; at most (N - 1) / 3 is used
  int iterations = 750;
  int early_iterations = 250;  // of these, with attraction exaggerated and less momentum
  double early_exaggeration = 12;
};

// features: any float dtype [N, F], N >= 1, finite; Euclidean distances count, so give unit rows for cosine.
// Returns f32 [N, 2] with mean 0. Error on other shapes, on values that are not finite and on N > 20,000.
Tensor embedding_map(const Tensor& features, const MapOptions& options = {});

// First `count` principal components of the rows of features [N, F]: f32 [N, count], the coordinates of the
// centred rows, each with its largest entry positive; zeros beyond the rank. By orthogonal iteration on the
// Gram matrix.
Tensor principal_components(const Tensor& features, int count);

}  // namespace juxta::ssl

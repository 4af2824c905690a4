#pragma once
// Geometry of a set of embeddings: the cheapest alarm against collapse. Plain functions on tensors [N, D] of
// any float dtype, computed in double (card 00, section 8, `embedding_geometry`). Those over pairs cost N^2
// D: a few thousand rows are enough.
#include "tensor/tensor.h"

namespace juxta::ssl {

// exp(-sum_k p_k log p_k), p_k = s_k / sum(s) + eps over the singular values s of the raw, uncentred matrix:
// how many dimensions are in use (RankMe, Garrido et al. 2023, arXiv 2210.02885). From 1 (collapsed) to
// min(N, D); 0 for a zero matrix.
double rankme(const Tensor& z, double eps = 1e-7);
// The same entropy without eps over the singular values that are not 0 (Roy & Vetterli, EUSIPCO 2007).
double effective_rank(const Tensor& z);
// (sum l)^2 / sum l^2 over the eigenvalues of the covariance; 0 when it is 0. N >= 2.
double participation_ratio(const Tensor& z);
// Mean over the dimensions of the standard deviation (N - 1) of the unit rows: about 1/sqrt(D) when healthy,
// 0 when collapsed. N >= 2.
double feature_std(const Tensor& z);
// max(0, 1 - sqrt(D) feature_std).
double collapse(const Tensor& z);

// Mean of |x - y|^alpha over paired unit rows (Wang & Isola 2020, arXiv 2005.10242); lower is better.
double alignment(const Tensor& x, const Tensor& y, double alpha = 2.0);
// log of the mean over pairs i < j of exp(-t |z_i - z_j|^2) of unit rows; lower is better, 0 when collapsed.
// N >= 2.
double uniformity(const Tensor& z, double t = 2.0);

// Mean cosine over pairs i != j of one label; 0 when there is none (tolerance, Wang & Liu 2021,
// arXiv 2012.09740). labels i64 [N].
double tolerance(const Tensor& z, const Tensor& labels);
// Sum of the same cosines divided by the number of all pairs i != j.
double tolerance_all(const Tensor& z, const Tensor& labels);
// Mean cosine over all pairs i != j. N >= 2.
double mean_cosine(const Tensor& z);

}  // namespace juxta::ssl

#pragma once
// Metric-learning losses over pairs of labelled embeddings.
#include "ssl/losses/loss.h"
#include "ssl/params.h"

namespace juxta::ssl {

struct MultiSimilarityParams {
  double alpha = 2, beta = 50, base = 0.5;
  void fields(Params& f) { f("alpha", alpha), f("beta", beta), f("base", base); }
};

// Multi-similarity loss (Wang et al. 2019, arXiv 1904.06627). embeddings [N, D], labels i64 [N]; s cosines, p
// the other rows of i's class, n those of other classes; empty sums are 0.
//   L = mean_i [ 1/alpha log(1 + sum_p e^{-alpha (s_ip - base)}) + 1/beta log(1 + sum_n e^{beta (s_in -
//   base)}) ]
Loss multi_similarity(const Var& embeddings, const Tensor& labels, const MultiSimilarityParams& p = {});

struct CoSentParams {
  double scale = 20;
  void fields(Params& f) { f("scale", scale); }
};

// CoSENT (Su 2022). z1, z2 [N, D], gold [N]: graded similarities of the pairs, constants; cos_i the cosine of
// pair i.
//   L = log(1 + sum_{i, j: gold_i < gold_j} e^{scale (cos_i - cos_j)})
// A sum over pairs of pairs; equal golds form none.
Loss cosent(const Var& z1, const Var& z2, const Tensor& gold, const CoSentParams& p = {});

}  // namespace juxta::ssl

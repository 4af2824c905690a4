#pragma once
// Multistage contrastive learning (MCL, Zhang et al. 2024, arXiv 2402.11816): what lies between two stages.
// A stage's negatives are samples that no earlier stage tells apart, those of one cell of all clusterings so
// far.
#include <cstdint>

#include "tensor/tensor.h"

namespace juxta::ssl {

// Cells of the stages so far. clusters i64 [S, n] with values in [0, k).
//   pseudo_t(x) = sum_{u <= t} c_u(x) k^(t - u)
// (the paper's; the published script uses the newest clustering in every place). Error when k^S overflows.
struct PseudoLabels {
  Tensor pseudo;  // i64 [S, n]
  Tensor group;   // i64 [S, n]: the same cells numbered 0, 1, .. as they first appear
  Tensor groups;  // i64 [S]: how many there are
};
PseudoLabels mcl_pseudo_labels(const Tensor& clusters, int64_t k);

// One epoch of batches, each from one cell. labels i64 [n] >= 0; key [n], random numbers: a cell's rows are
// shuffled by ascending key, cut to a multiple of batch and taken from the back, as the published sampler
// does; one from each in
// turn, in the order of labels, until all are used up.
struct CellBatches {
  Tensor batches;  // i64 [T, batch]: rows
  Tensor label;    // i64 [T]: their cell
  Tensor dropped;  // i64 [G]: rows of every label that no batch has; G = largest label + 1
};
CellBatches mcl_batches(const Tensor& labels, const Tensor& key, int64_t batch);

// Joins stages: features [S, n, D], other [S, m, D]; concatenates a sample's stages and normalises the row.
// normalize_stages: every stage is normalised first, so that similarity is the mean of the stages' cosines;
// otherwise a stage counts in proportion to its norms, as in the authors' evaluation.
struct JoinedStages {
  Tensor joined;      // [n, S D]
  Tensor similarity;  // [n, m], cosine with other, joined likewise
};
JoinedStages mcl_integrate(const Tensor& features, const Tensor& other, bool normalize_stages);

}  // namespace juxta::ssl

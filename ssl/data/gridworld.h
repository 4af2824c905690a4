#pragma once
// The gridworld of similarity queries (card 34): paths on an n x n grid past objects, what a person values in
// them, and how a simulated person answers.
#include "tensor/tensor.h"

namespace juxta::ssl {

struct GridWorld {
  int64_t n;       // side
  Tensor objects;  // i64 [O, 2]: (x, y)
  Tensor scale;    // [O + 2]: of each feature
  Tensor weights;  // [O + 2]: of the true reward
};

// f64 [P, O + 2] of paths cells i64 [P, T, 2]: means along the path of the distance to each object over the
// diagonal (n - 1) sqrt 2, of x / (n - 1) and of |x - y| / (n - 1), times scale.
Tensor gridworld_features(const GridWorld& world, const Tensor& cells);
// The simulated person: of each query i64 [Q, 3], the two whose features are nearest (first of ties, in the
// order of the pairs 01, 02, 12), then the third: i64 [Q, 3].
Tensor similarity_answers(const Tensor& features, const Tensor& queries);
// Of each pair i64 [Q, 2] = (A, B): 1 where the reward weights . features of A is larger, else 0; f64 [Q].
Tensor preference_labels(const GridWorld& world, const Tensor& features, const Tensor& pairs);

}  // namespace juxta::ssl

#pragma once
// Real and generated images in one training list (AdaInf, Wang et al. 2024, arXiv 2403.12448).
#include "tensor/tensor.h"

namespace juxta::ssl {

// dup copies of the n_real real images, then one of the n_gen generated ones: a virtual list, no image is
// copied.
struct Mixture {
  int64_t n_real = 0, n_gen = 0, dup = 10;
  int64_t size() const { return dup * n_real + n_gen; }
  // Of a place in the list: source 0 (real) or 1 (generated), and the row in that set.
  struct Item {
    int64_t source, row;
  };
  Item at(int64_t place) const {
    const int64_t copies = dup * n_real;
    return place < copies ? Item{0, place % n_real} : Item{1, place - copies};
  }
  double real_fraction() const;  // share of real draws, dup n_real / size
};

// One epoch in whole batches.
struct MixedBatches {
  Tensor source, row;  // i64 [S, B]; the short last batch is dropped
  Tensor
      repeats;  // i64 [S]: draws of a real image that the batch holds already (its own negatives, in effect)
};
// order: i64 [size], a permutation of the places of the list.
MixedBatches mixed_batches(const Mixture& mixture, const Tensor& order, int64_t batch);

}  // namespace juxta::ssl

#pragma once
// Inputs and outputs of rows that run several steps: one tensor [steps, ..] per figure.
#include "tensor/tensor.h"

namespace juxta::ssl {

// Step t of [steps, ..] as a tensor of its own.
inline Tensor at_step(const Tensor& x, int64_t t) { return x.select(0, t).clone(); }

// A tensor [steps, ..] that is written one step at a time, with the dims and dtype of the first value.
struct History {
  Tensor all;
  void put(int64_t step, int64_t steps, const Tensor& value) {
    if (!all.defined()) {
      Dims dims{steps};
      for (const int64_t d : value.dims()) dims.push_back(d);
      all = Tensor::empty(dims, value.dtype());
    }
    Tensor slot = all.select(0, step);
    slot.copy_from(value, "history");
  }
};

}  // namespace juxta::ssl

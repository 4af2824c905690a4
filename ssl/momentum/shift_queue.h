#pragma once
// The queue of SwAV (Caron et al. 2020, arXiv 2006.09882): past embeddings of each assigning view, newest
// first, so that a small batch has enough rows to balance its codes over.
#include "nn/module.h"
#include "tensor/tensor.h"

namespace juxta::ssl {

class ShiftQueue {
 public:
  // Zeros; rows count once all `size` of a view are written.
  ShiftQueue(int64_t views, int64_t size, int64_t dim, DType dtype = DType::f32);
  // A queue that starts with these rows [A, L, D] (copied).
  static ShiftQueue from_rows(const Tensor& rows);
  // Is a view's queue full: is its last row not zero? i64 [A]. Ask before the batch is pushed.
  Tensor active() const;
  // embeddings [A, B, D], B <= L: every row moves down by B, the batch takes the first B places.
  void push(const Tensor& embeddings);
  const Tensor& rows() const { return rows_; }  // [A, L, D]
  void visit(nn::Visitor& v) { v("rows", rows_); }

 private:
  Tensor rows_;
};

}  // namespace juxta::ssl

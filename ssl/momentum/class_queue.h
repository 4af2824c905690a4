#pragma once
// One ring of normalised keys per class, so that a frequent class cannot flush a rare one (card HPCL).
#include "nn/module.h"
#include "tensor/tensor.h"

namespace juxta::ssl {

class ClassQueue {
 public:
  ClassQueue(int64_t classes, int64_t size, int64_t dim, DType dtype = DType::f32);
  // Writes the rows of batch [B, D], scaled to unit length, into the rings of their labels (i64 [B]; -1 is
  // not stored), oldest out first: at most max_per_step rows of each class, the first ones in the batch.
  void push(const Tensor& batch, const Tensor& labels, int64_t max_per_step);
  // Keys of class c that count, [count, D]; shares the queue's memory.
  Tensor rows(int64_t c) const;
  const Tensor& keys() const { return keys_; }    // [C, K, D]; unwritten rows are 0
  const Tensor& count() const { return count_; }  // i64 [C]
  const Tensor& pointer() const { return ptr_; }  // i64 [C]: where the next row goes
  void visit(nn::Visitor& v) { v("keys", keys_), v("count", count_), v("ptr", ptr_); }

 private:
  Tensor keys_, count_, ptr_;
};

}  // namespace juxta::ssl

#include "ssl/momentum/class_queue.h"

#include <algorithm>

#include "autograd/ops.h"

namespace juxta::ssl {

ClassQueue::ClassQueue(int64_t classes, int64_t size, int64_t dim, DType dtype) {
  JX_CHECK(classes >= 1 && size >= 1 && dim >= 1,
           "class_queue: classes, size and dim: expected at least 1, got ", classes, ", ", size, " and ",
           dim);
  keys_ = Tensor::zeros({classes, size, dim}, dtype);
  count_ = Tensor::zeros({classes}, DType::i64);
  ptr_ = Tensor::zeros({classes}, DType::i64);
}

void ClassQueue::push(const Tensor& batch, const Tensor& labels, int64_t max_per_step) {
  const int64_t classes = keys_.size(0), size = keys_.size(1), dim = keys_.size(2);
  JX_CHECK(batch.defined() && batch.dtype() == keys_.dtype() && batch.ndim() == 2 && batch.size(1) == dim,
           "class_queue: batch: expected ", keys_.dtype(), " [B, ", dim, "], got ", batch);
  JX_CHECK(labels.defined() && labels.dtype() == DType::i64 && labels.dims() == Dims({batch.size(0)}),
           "class_queue: labels: expected i64 [", batch.size(0), "], got ", labels);
  JX_CHECK(max_per_step >= 1, "class_queue: max_per_step: expected at least 1, got ", max_per_step);
  const Tensor y = labels.contiguous();
  for (int64_t i = 0; i < y.numel(); ++i)
    JX_CHECK(y.data<int64_t>()[i] >= -1 && y.data<int64_t>()[i] < classes,
             "class_queue: labels: expected -1 to ", classes - 1, ", got ", y.data<int64_t>()[i], " in row ",
             i);
  const NoGrad no_grad;
  const Tensor unit = l2_normalize(Var(batch)).value();
  std::vector<int64_t> written(static_cast<size_t>(classes), 0);
  for (int64_t i = 0; i < y.numel(); ++i) {
    const int64_t c = y.data<int64_t>()[i];
    if (c < 0 || written[static_cast<size_t>(c)]++ >= max_per_step) continue;
    int64_t &at = ptr_.write<int64_t>("class_queue")[c], &count = count_.write<int64_t>("class_queue")[c];
    keys_.select(0, c).select(0, at).copy_from(unit.select(0, i), "class_queue");
    at = (at + 1) % size;
    count = std::min(count + 1, size);
  }
}

Tensor ClassQueue::rows(int64_t c) const { return keys_.select(0, c).slice(0, 0, count_.data<int64_t>()[c]); }

}  // namespace juxta::ssl

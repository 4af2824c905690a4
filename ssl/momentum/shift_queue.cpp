#include "ssl/momentum/shift_queue.h"

namespace juxta::ssl {

ShiftQueue::ShiftQueue(int64_t views, int64_t size, int64_t dim, DType dtype) {
  JX_CHECK(views >= 1 && size >= 1 && dim >= 1, "swav_queue: views, size and dim: expected at least 1, got ",
           views, ", ", size, " and ", dim);
  rows_ = Tensor::zeros({views, size, dim}, dtype);
}

ShiftQueue ShiftQueue::from_rows(const Tensor& rows) {
  JX_CHECK(rows.defined() && is_float(rows.dtype()) && rows.ndim() == 3,
           "swav_queue: queue: expected a float [A, L, D], got ", rows);
  ShiftQueue queue(rows.size(0), rows.size(1), rows.size(2), rows.dtype());
  queue.rows_.copy_from(rows, "swav_queue");
  return queue;
}

Tensor ShiftQueue::active() const {
  Tensor active = Tensor::zeros({rows_.size(0)}, DType::i64);
  for (int64_t a = 0; a < rows_.size(0); ++a) {
    const Tensor last = rows_.select(0, a).select(0, rows_.size(1) - 1).to(DType::f64).contiguous();
    for (int64_t c = 0; c < last.numel(); ++c)
      if (last.data<double>()[c] != 0) active.write<int64_t>("swav_queue")[a] = 1;
  }
  return active;
}

void ShiftQueue::push(const Tensor& embeddings) {
  const int64_t views = rows_.size(0), size = rows_.size(1), dim = rows_.size(2);
  JX_CHECK(embeddings.defined() && embeddings.dtype() == rows_.dtype() && embeddings.ndim() == 3 &&
               embeddings.size(0) == views && embeddings.size(1) <= size && embeddings.size(2) == dim,
           "swav_queue: embeddings: expected ", rows_.dtype(), " [", views, ", B, ", dim,
           "] with B <= ", size, ", got ", embeddings);
  const int64_t batch = embeddings.size(1);
  const Tensor kept = rows_.slice(1, 0, size - batch).clone();  // the move down overlaps itself
  rows_.slice(1, batch, size).copy_from(kept, "swav_queue");
  rows_.slice(1, 0, batch).copy_from(embeddings, "swav_queue");
}

}  // namespace juxta::ssl

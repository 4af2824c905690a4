#include "ssl/momentum/queue.h"

#include <algorithm>
#include <cmath>

namespace juxta::ssl {

Queue::Queue(int64_t size, int64_t dim, QueueInit init, Rng& rng, QueueOverflow overflow)
    : overflow_(overflow) {
  JX_CHECK(size > 0 && dim > 0, "queue: size ", size, " and dim ", dim, " must be positive");
  rows_ = Tensor::zeros({size, dim});
  ids_ = Tensor::full({size}, -1, DType::i64);
  state_ = Tensor::from<int64_t>({0, init == QueueInit::random ? size : 0}, {2});
  if (init == QueueInit::empty) return;
  const Draw draw = rng.next();
  float* p = rows_.write<float>("queue");
  for (int64_t r = 0; r < size; ++r) {
    double norm = 0;
    for (int64_t c = 0; c < dim; ++c) {
      const float v = draw.normal(static_cast<uint64_t>(r * dim + c));
      p[r * dim + c] = v;
      norm += static_cast<double>(v) * static_cast<double>(v);
    }
    const float inv = static_cast<float>(1.0 / std::max(std::sqrt(norm), 1e-12));
    for (int64_t c = 0; c < dim; ++c) p[r * dim + c] *= inv;
  }
}

Queue Queue::from_rows(const Tensor& rows, QueueInit init, QueueOverflow overflow) {
  JX_CHECK(rows.ndim() == 2 && rows.size(0) > 0 && rows.size(1) > 0 &&
               (rows.dtype() == DType::f32 || rows.dtype() == DType::f64),
           "queue: rows: expected f32 or f64 [K, D], got ", rows);
  Queue q;
  q.overflow_ = overflow;
  q.rows_ = rows.clone();
  q.ids_ = Tensor::full({rows.size(0)}, -1, DType::i64);
  q.state_ = Tensor::from<int64_t>({0, init == QueueInit::random ? rows.size(0) : 0}, {2});
  return q;
}

int64_t Queue::pointer() const { return state_.data<int64_t>()[0]; }
int64_t Queue::valid() const { return state_.data<int64_t>()[1]; }
Tensor Queue::rows() const { return rows_.slice(0, 0, valid()); }
Tensor Queue::oldest_first() const {
  const int64_t n = valid(), oldest = n < size() ? 0 : pointer();  // the ring is full: the next to go
  Tensor out = Tensor::empty({n, rows_.size(1)}, rows_.dtype());
  Tensor old = out.slice(0, 0, n - oldest), recent = out.slice(0, n - oldest, n);
  old.copy_from(rows_.slice(0, oldest, n), "queue.oldest_first");
  recent.copy_from(rows_.slice(0, 0, oldest), "queue.oldest_first");
  return out;
}
Tensor Queue::ids() const { return ids_.slice(0, 0, valid()); }

void Queue::push(const Tensor& keys_in, const Tensor& ids) {
  JX_CHECK(keys_in.ndim() == 2 && keys_in.size(1) == rows_.size(1), "queue.push: expected keys [N, ",
           rows_.size(1), "], got ", keys_in);
  JX_CHECK(!ids.defined() || (ids.dtype() == DType::i64 && ids.ndim() == 1 && ids.size(0) == keys_in.size(0)),
           "queue.push: expected ids [", keys_in.size(0), "], got ", ids);
  Tensor keys = keys_in.to(rows_.dtype()).contiguous(), key_ids = ids.defined() ? ids.contiguous() : ids;
  const int64_t K = size();
  int64_t at = pointer(), count = valid();
  if (overflow_ == QueueOverflow::truncate && at + keys.size(0) > K) {
    keys = keys.slice(0, 0, K - at);
    if (key_ids.defined()) key_ids = key_ids.slice(0, 0, K - at);
  }
  int64_t first = 0;
  if (keys.size(0) > K) {  // only the last K survive, at the places a row-by-row push would have left them
    first = keys.size(0) - K;
    at = (at + first) % K;
  }
  int64_t* id_rows = ids_.write<int64_t>("queue.push");
  for (int64_t begin = first; begin < keys.size(0);) {
    const int64_t n = std::min(keys.size(0) - begin, K - at);
    Tensor slot = rows_.slice(0, at, at + n);
    slot.copy_from(keys.slice(0, begin, begin + n), "queue.push");
    for (int64_t i = 0; i < n; ++i)
      id_rows[at + i] = key_ids.defined() ? key_ids.data<int64_t>()[begin + i] : -1;
    begin += n;
    at = (at + n) % K;
    count = std::max(count, std::min(K, at == 0 ? K : std::max(count, at)));
  }
  int64_t* state = state_.write<int64_t>("queue.push");
  state[0] = at;
  state[1] = count;
}

double queue_accuracy(const Tensor& q, const Tensor& k, const Tensor& rows, const Tensor& ids,
                      const Tensor& row_ids) {
  JX_CHECK(
      q.ndim() == 2 && q.size(0) > 0 && q.dims() == k.dims() && rows.ndim() == 2 && rows.size(1) == q.size(1),
      "queue_accuracy: expected q, k [N, D] and rows [n, D], got ", q, ", ", k, " and ", rows);
  const bool masked = ids.defined() && row_ids.defined();
  JX_CHECK(!masked || (ids.dims() == Dims({q.size(0)}) && row_ids.dims() == Dims({rows.size(0)})),
           "queue_accuracy: expected ids [", q.size(0), "] and row_ids [", rows.size(0), "]");
  const int64_t n = rows.size(0), D = q.size(1);
  const auto wide = [](const Tensor& t) { return t.to(DType::f64).contiguous(); };
  const Tensor a = wide(q), b = wide(k), past = wide(rows);
  const Tensor own = masked ? ids.contiguous() : ids, theirs = masked ? row_ids.contiguous() : row_ids;
  const auto dot = [D](const double* x, const double* y) {
    double sum = 0;
    for (int64_t c = 0; c < D; ++c) sum += x[c] * y[c];
    return sum;
  };
  int64_t hits = 0;
  for (int64_t i = 0; i < q.size(0); ++i) {
    const double* query = a.data<double>() + i * D;
    const double positive = dot(query, b.data<double>() + i * D);
    bool first = true;
    for (int64_t j = 0; j < n && first; ++j) {
      if (masked && own.data<int64_t>()[i] == theirs.data<int64_t>()[j]) continue;
      first = positive >= dot(query, past.data<double>() + j * D);
    }
    hits += first;
  }
  return static_cast<double>(hits) / static_cast<double>(q.size(0));
}

}  // namespace juxta::ssl

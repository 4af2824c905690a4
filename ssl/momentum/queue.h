#pragma once
// Queue of past keys (MoCo, He et al. 1911.05722): a ring [K, D] of unit rows with optional sample ids (card
// 23b).
//
// Order of use: logits read the queue as it was before this batch's keys; backward; then push. A push before
// backward is caught: it changes the version of a tensor that the loss saved.
#include <string>

#include "nn/module.h"
#include "tensor/rng.h"

namespace juxta::ssl {

// Start: random, K random unit rows that serve as negatives until they are overwritten (MoCo); empty, only
// written rows count.
enum class QueueInit { random, empty };
// A batch that reaches the end: wrap goes on at the start (exact ring); truncate drops what does not fit and
// restarts at row 0.
enum class QueueOverflow { wrap, truncate };

class Queue {
 public:
  Queue() = default;
  Queue(int64_t size, int64_t dim, QueueInit init, Rng& rng, QueueOverflow overflow = QueueOverflow::wrap);
  // A queue that starts as these unit rows [K, D] (f32 or f64, copied): negatives under `random`, to be
  // overwritten before they count under `empty`.
  static Queue from_rows(const Tensor& rows, QueueInit init, QueueOverflow overflow = QueueOverflow::wrap);
  // Rows that count, [n, D], in memory order; shares the queue's memory.
  Tensor rows() const;
  // A copy of them in the order of their pushes.
  Tensor oldest_first() const;
  // Ids of those rows, i64 [n]; -1 for random rows and rows pushed without ids.
  Tensor ids() const;
  int64_t size() const { return rows_.size(0); }
  int64_t valid() const;
  int64_t pointer() const;
  // Every row, [K, D], and its id, in memory order; those that do not count yet included.
  const Tensor& all_rows() const { return rows_; }
  const Tensor& all_ids() const { return ids_; }
  // Writes keys [N, D] (detached, in the queue's dtype) at the pointer, oldest out first. N may exceed K: the
  // last K rows stay. ids: i64 [N] or undefined.
  void push(const Tensor& keys, const Tensor& ids = {});
  void visit(nn::Visitor& v) { v("rows", rows_), v("ids", ids_), v("state", state_); }

 private:
  Tensor rows_;   // [K, D]
  Tensor ids_;    // [K]
  Tensor state_;  // i64 [2]: pointer, valid rows
  QueueOverflow overflow_ = QueueOverflow::wrap;
};

// Top-1 accuracy of the pretext task: the share of queries whose key is at least as similar as every row of
// the queue that counts. q, k [N, D]; rows [n, D]; rows with the query's id (both given) do not compete.
double queue_accuracy(const Tensor& q, const Tensor& k, const Tensor& rows, const Tensor& ids = {},
                      const Tensor& row_ids = {});

}  // namespace juxta::ssl

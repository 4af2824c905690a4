#pragma once
// Softmax family over the rows of x [rows, cols]: softmax, log-softmax, logsumexp, cross-entropy.
//
// With a row's stats  m = max_c x_c,  l = log sum_c e^(x_c - m)  (logsumexp = m + l):
//   softmax         p_c = e^(x_c - m - l)                     dx = p (dy - sum_c p_c dy_c)
//   log_softmax     y_c = (x_c - m) - l                       dx = dy - e^y sum_c dy_c
//   logsumexp       y = m + l                                 dx = dy p
//   cross_entropy   y = (1 - s)(l + m - x_t) + s/C sum_c (l + m - x_c),  s = label smoothing, t = target
//                                                             dx = dy (p - (1 - s) [c = t] - s/C)
//   soft_cross_entropy  y = sum_c q_c (l + m - x_c)           dx = dy (p sum_c q_c - q),  no gradient to q
// Saved: softmax and log_softmax y; the others x and the stats (m, l), never probabilities. m and l are kept
// apart: with logits of 1e5 (500 / 0.002) a float holds m + l to 0.01 only, which would be 1 % of p; the
// differences x - m are exact where they matter.
//
// Masks and infinities. An entry hidden by the mask counts as x = -inf: p = 0, and log_softmax there is the
// constant -inf whose cotangent is ignored, so dx = 0. A row of nothing but -inf has p = 0, logsumexp -inf,
// dx = 0. m is replaced by 0 when it is not finite, so that -inf - m is no NaN; a row with +inf gives
// logsumexp +inf and NaN in softmax where the +inf is; a NaN makes its whole row NaN. A pair q_c = 0,
// x_c = -inf adds 0 to the soft cross-entropy, and a row without any target mass is 0 with dx = 0.
//
// One pass: m and the sum are taken together, block by block of a row; a block with a larger maximum rescales
// the sum (Milakov & Gimelshein 2018, arXiv 1805.02867). A row within one block is read from L1 twice.
#include <array>
#include <cmath>
#include <limits>

#include "kernels/table.h"
#include "tensor/dtype.h"
#include "tensor/shape.h"

namespace juxta {

// A bool mask broadcast to the rows: the leading axes outermost first, merged where they allow it.
struct MaskRows {
  const bool* data;  // null: nothing is hidden
  int64_t col_step;  // 1, or 0: one entry for the whole row
  int n;
  int64_t size[kMaxDims], step[kMaxDims];
};
// Entry [row, 0] of the mask, or null.
[[gnu::always_inline]] JX_HD inline const bool* mask_row(const MaskRows& m, int64_t row) {
  if (!m.data) return nullptr;
  const bool* p = m.data;
  for (int i = m.n - 1; i >= 0; --i) {
    p += row % m.size[i] * m.step[i];
    row /= m.size[i];
  }
  return p;
}

template <class T>
struct SoftmaxFwd {
  const T* x;  // [rows, cols], rows x_stride apart
  T* y;        // [rows, cols] contiguous
  MaskRows mask;
  int64_t cols, x_stride;
  bool log;  // log_softmax
};

template <class T>
struct SoftmaxBwd {
  const T *y, *dy;  // [rows, cols]
  T* dx;            // [rows, cols]
  int64_t cols;
  bool log;
};

template <class T>
struct LogSumExpFwd {
  const T* x;     // [rows, cols], rows x_stride apart
  Acc<T>* y;      // [rows]
  Acc<T>* stats;  // [rows, 2]: m, l
  MaskRows mask;
  int64_t cols, x_stride;
};

template <class T>
struct LogSumExpBwd {
  const T* x;               // [rows, cols], rows x_stride apart
  const Acc<T>*stats, *dy;  // [rows, 2], [rows]
  T* dx;                    // [rows, cols]
  MaskRows mask;
  int64_t cols, x_stride;
};

template <class T>
struct CrossEntropyFwd {
  const T* x;             // [rows, cols], rows x_stride apart
  const int64_t* target;  // [rows], in [0, cols) or `ignore`: such rows give 0
  Acc<T>* y;              // [rows]
  Acc<T>* stats;          // [rows, 2]: m, l
  int64_t cols, x_stride, ignore;
  double smoothing;
};

template <class T>
struct CrossEntropyBwd {
  const T* x;
  const int64_t* target;
  const Acc<T>*stats, *dy;  // [rows, 2], [rows]
  T* dx;                    // [rows, cols]
  int64_t cols, x_stride, ignore;
  double smoothing;
};

template <class T>
struct SoftCrossEntropyFwd {
  const T* x;       // [rows, cols], rows x_stride apart
  const Acc<T>* q;  // [rows, cols], rows q_stride apart
  Acc<T>* y;        // [rows]
  Acc<T>* stats;    // [rows, 3]: m, l, sum of q
  int64_t cols, x_stride, q_stride;
};

template <class T>
struct SoftCrossEntropyBwd {
  const T* x;
  const Acc<T>*q, *stats, *dy;  // [rows, cols], [rows, 3], [rows]
  T* dx;                        // [rows, cols]
  int64_t cols, x_stride, q_stride;
};

template <class T>
struct SoftmaxTable {
  static constexpr const char* kFamily = "softmax";
  static constexpr std::array kNames{
      "softmax_fwd",       "softmax_bwd",       "logsumexp_fwd",          "logsumexp_bwd",
      "cross_entropy_fwd", "cross_entropy_bwd", "soft_cross_entropy_fwd", "soft_cross_entropy_bwd"};
  // All ranges count rows.
  void (*softmax_fwd)(const SoftmaxFwd<T>&, int64_t row, int64_t row_end);
  void (*softmax_bwd)(const SoftmaxBwd<T>&, int64_t row, int64_t row_end);
  void (*logsumexp_fwd)(const LogSumExpFwd<T>&, int64_t row, int64_t row_end);
  void (*logsumexp_bwd)(const LogSumExpBwd<T>&, int64_t row, int64_t row_end);
  void (*cross_entropy_fwd)(const CrossEntropyFwd<T>&, int64_t row, int64_t row_end);
  void (*cross_entropy_bwd)(const CrossEntropyBwd<T>&, int64_t row, int64_t row_end);
  void (*soft_cross_entropy_fwd)(const SoftCrossEntropyFwd<T>&, int64_t row, int64_t row_end);
  void (*soft_cross_entropy_bwd)(const SoftCrossEntropyBwd<T>&, int64_t row, int64_t row_end);
};

template <class T>
const TableChoice<SoftmaxTable<T>>& softmax_tables();  // T: float, bf16, double

namespace ref {

// Entries of one row with the mask applied.
template <class T>
struct MaskedRow {
  using A = Acc<T>;
  const T* x;
  const bool* mask;
  int64_t col_step;
  A operator[](int64_t c) const {
    return mask && !mask[c * col_step] ? -std::numeric_limits<A>::infinity() : static_cast<A>(x[c]);
  }
};
template <class A>
struct RowStats {
  A max, log_sum;
};

template <class T>
RowStats<Acc<T>> row_stats(const MaskedRow<T>& x, int64_t cols) {
  using A = Acc<T>;
  A max = -std::numeric_limits<A>::infinity(), sum = 0;
  for (int64_t c = 0; c < cols; ++c) max = x[c] > max ? x[c] : max;
  if (!std::isfinite(max)) max = 0;
  for (int64_t c = 0; c < cols; ++c) sum += std::exp(x[c] - max);
  return {max, std::log(sum)};
}

template <class T>
void softmax_fwd(const SoftmaxFwd<T>& a, int64_t row, int64_t row_end) {
  using A = Acc<T>;
  for (int64_t r = row; r < row_end; ++r) {
    const MaskedRow<T> x{a.x + r * a.x_stride, mask_row(a.mask, r), a.mask.col_step};
    auto [max, log_sum] = row_stats(x, a.cols);
    if (log_sum == -std::numeric_limits<A>::infinity()) log_sum = 0;  // nothing but -inf
    for (int64_t c = 0; c < a.cols; ++c) {
      const A y = x[c] - max - log_sum;
      a.y[r * a.cols + c] = static_cast<T>(a.log ? y : std::exp(y));
    }
  }
}

template <class T>
void softmax_bwd(const SoftmaxBwd<T>& a, int64_t row, int64_t row_end) {
  using A = Acc<T>;
  for (int64_t r = row; r < row_end; ++r) {
    const T *y = a.y + r * a.cols, *dy = a.dy + r * a.cols;
    A sum = 0;
    for (int64_t c = 0; c < a.cols; ++c) {
      const A p = static_cast<A>(y[c]), g = static_cast<A>(dy[c]);
      if (!a.log)
        sum += p * g;
      else if (p != -std::numeric_limits<A>::infinity())
        sum += g;
    }
    for (int64_t c = 0; c < a.cols; ++c) {
      const A p = static_cast<A>(y[c]), g = static_cast<A>(dy[c]);
      A dx = a.log ? g - std::exp(p) * sum : p * (g - sum);
      if (a.log && p == -std::numeric_limits<A>::infinity()) dx = 0;
      a.dx[r * a.cols + c] = static_cast<T>(dx);
    }
  }
}

template <class T>
void logsumexp_fwd(const LogSumExpFwd<T>& a, int64_t row, int64_t row_end) {
  for (int64_t r = row; r < row_end; ++r) {
    const MaskedRow<T> x{a.x + r * a.x_stride, mask_row(a.mask, r), a.mask.col_step};
    const auto [max, log_sum] = row_stats(x, a.cols);
    a.y[r] = max + log_sum;
    a.stats[2 * r] = max;
    a.stats[2 * r + 1] = log_sum;
  }
}

template <class T>
void logsumexp_bwd(const LogSumExpBwd<T>& a, int64_t row, int64_t row_end) {
  using A = Acc<T>;
  for (int64_t r = row; r < row_end; ++r) {
    const MaskedRow<T> x{a.x + r * a.x_stride, mask_row(a.mask, r), a.mask.col_step};
    const A max = a.stats[2 * r], log_sum = a.stats[2 * r + 1];
    const bool empty = log_sum == -std::numeric_limits<A>::infinity();
    for (int64_t c = 0; c < a.cols; ++c)
      a.dx[r * a.cols + c] = static_cast<T>(empty ? A(0) : a.dy[r] * std::exp(x[c] - max - log_sum));
  }
}

template <class T>
void cross_entropy_fwd(const CrossEntropyFwd<T>& a, int64_t row, int64_t row_end) {
  using A = Acc<T>;
  const A s = static_cast<A>(a.smoothing), inv_cols = A(1) / static_cast<A>(a.cols);
  for (int64_t r = row; r < row_end; ++r) {
    const T* x = a.x + r * a.x_stride;
    const auto [max, log_sum] = row_stats(MaskedRow<T>{x, nullptr, 0}, a.cols);
    a.stats[2 * r] = max;
    a.stats[2 * r + 1] = log_sum;
    a.y[r] = 0;
    if (a.target[r] == a.ignore) continue;
    a.y[r] = (A(1) - s) * (log_sum + (max - static_cast<A>(x[a.target[r]])));
    if (s == A(0)) continue;
    A below = 0;
    for (int64_t c = 0; c < a.cols; ++c) below += max - static_cast<A>(x[c]);
    a.y[r] += s * (log_sum + below * inv_cols);
  }
}

template <class T>
void cross_entropy_bwd(const CrossEntropyBwd<T>& a, int64_t row, int64_t row_end) {
  using A = Acc<T>;
  const A s = static_cast<A>(a.smoothing), each = s / static_cast<A>(a.cols);
  for (int64_t r = row; r < row_end; ++r) {
    const T* x = a.x + r * a.x_stride;
    const A max = a.stats[2 * r], log_sum = a.stats[2 * r + 1];
    for (int64_t c = 0; c < a.cols; ++c) {
      const A p = std::exp(static_cast<A>(x[c]) - max - log_sum);
      const A g = c == a.target[r] ? p - (A(1) - s) - each : p - each;
      a.dx[r * a.cols + c] = static_cast<T>(a.target[r] == a.ignore ? A(0) : a.dy[r] * g);
    }
  }
}

template <class T>
void soft_cross_entropy_fwd(const SoftCrossEntropyFwd<T>& a, int64_t row, int64_t row_end) {
  using A = Acc<T>;
  for (int64_t r = row; r < row_end; ++r) {
    const T* x = a.x + r * a.x_stride;
    const A* q = a.q + r * a.q_stride;
    const auto [max, log_sum] = row_stats(MaskedRow<T>{x, nullptr, 0}, a.cols);
    A below = 0, mass = 0;
    for (int64_t c = 0; c < a.cols; ++c) {
      if (q[c] != A(0)) below += q[c] * (max - static_cast<A>(x[c]));
      mass += q[c];
    }
    a.y[r] = below + (mass == A(0) ? A(0) : mass * log_sum);
    a.stats[3 * r] = max;
    a.stats[3 * r + 1] = log_sum;
    a.stats[3 * r + 2] = mass;
  }
}

template <class T>
void soft_cross_entropy_bwd(const SoftCrossEntropyBwd<T>& a, int64_t row, int64_t row_end) {
  using A = Acc<T>;
  for (int64_t r = row; r < row_end; ++r) {
    const T* x = a.x + r * a.x_stride;
    const A *q = a.q + r * a.q_stride, *stats = a.stats + 3 * r;
    for (int64_t c = 0; c < a.cols; ++c) {
      const A p = stats[2] == A(0) ? A(0) : std::exp(static_cast<A>(x[c]) - stats[0] - stats[1]);
      a.dx[r * a.cols + c] = static_cast<T>(a.dy[r] * (p * stats[2] - q[c]));
    }
  }
}

template <class T>
inline constexpr SoftmaxTable<T> softmax_table{
    softmax_fwd<T>,       softmax_bwd<T>,       logsumexp_fwd<T>,          logsumexp_bwd<T>,
    cross_entropy_fwd<T>, cross_entropy_bwd<T>, soft_cross_entropy_fwd<T>, soft_cross_entropy_bwd<T>};

}  // namespace ref
}  // namespace juxta

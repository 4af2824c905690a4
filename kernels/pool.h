#pragma once
// Pooling of images [N, H, W, C] with square windows (kernel k, stride s, padding p), and global averages.
//
// Output size J = (in + 2 p - k) / s + 1. The window of output j covers positions i = j s - p + r, 0 <= r <
// k.
//   max:  y[j] = max over the window; positions outside x do not take part. The first of equal values wins,
//   NaN
//         wins over numbers. Saved: which r (row-major in the window). dx[i] = sum of dy[j] where i won.
//   avg:  y[j] = 1/k^2 sum over the window; positions outside count as 0 (count_include_pad of PyTorch).
//         dx[i] = 1/k^2 sum of dy[j] over the windows that cover i. Nothing saved.
//   global average of [N, P, C]: y[n, c] = 1/P sum_p x[n, p, c];  dx = dy / P.
// Both gradients gather: each element of dx is written once, by the task that owns its row, and overlapping
// windows need neither atomics nor an order.
#include <array>

#include "kernels/table.h"
#include "tensor/dtype.h"

namespace juxta {

struct PoolShape {
  int64_t height, width, channels;  // of x
  int64_t out_height, out_width;
  int64_t kernel, stride, padding;
};

// Items are rows of the tensor that is written: n * out_height + j forward, n * height + i backward.
template <class T>
struct MaxPoolFwd {
  PoolShape s;
  const T* x;
  T* y;
  int32_t* winner;  // [N, out_height, out_width, C]
};
template <class T>
struct MaxPoolBwd {
  PoolShape s;
  const T* dy;
  const int32_t* winner;
  T* dx;
};
template <class T>
struct AvgPoolFwd {
  PoolShape s;
  const T* x;
  T* y;
};
template <class T>
struct AvgPoolBwd {
  PoolShape s;
  const T* dy;
  T* dx;
};

// An item is a sample.
template <class T>
struct GlobalAvgFwd {
  const T* x;  // [N, pixels, channels]
  T* y;        // [N, channels]
  int64_t pixels, channels;
};
template <class T>
struct GlobalAvgBwd {
  const T* dy;  // [N, channels]
  T* dx;        // [N, pixels, channels]
  int64_t pixels, channels;
};

template <class T>
struct PoolTable {
  static constexpr const char* kFamily = "pool";
  static constexpr std::array kNames{"max_fwd", "max_bwd",        "avg_fwd",
                                     "avg_bwd", "global_avg_fwd", "global_avg_bwd"};
  void (*max_fwd)(const MaxPoolFwd<T>&, int64_t row, int64_t row_end);
  void (*max_bwd)(const MaxPoolBwd<T>&, int64_t row, int64_t row_end);
  void (*avg_fwd)(const AvgPoolFwd<T>&, int64_t row, int64_t row_end);
  void (*avg_bwd)(const AvgPoolBwd<T>&, int64_t row, int64_t row_end);
  void (*global_avg_fwd)(const GlobalAvgFwd<T>&, int64_t sample, int64_t sample_end);
  void (*global_avg_bwd)(const GlobalAvgBwd<T>&, int64_t sample, int64_t sample_end);
};

template <class T>
const TableChoice<PoolTable<T>>& pool_tables();  // T: float, bf16, double

// Half-open range.
struct PoolRange {
  int64_t begin, end;
};
// The r of a window at output j that lie inside an axis of `size` positions.
[[gnu::always_inline]] inline PoolRange pool_window(const PoolShape& s, int64_t j, int64_t size) {
  const int64_t first = j * s.stride - s.padding, begin = first < 0 ? -first : 0;
  return {begin, first + s.kernel > size ? size - first : s.kernel};
}
// The outputs j whose windows cover position i of an axis with `out` outputs.
[[gnu::always_inline]] inline PoolRange pool_cover(const PoolShape& s, int64_t i, int64_t out) {
  const int64_t last = (i + s.padding) / s.stride, before = i + s.padding - s.kernel;  // `before` misses i
  return {before < 0 ? 0 : before / s.stride + 1, last + 1 < out ? last + 1 : out};
}

namespace ref {

template <class T>
void max_pool_fwd(const MaxPoolFwd<T>& a, int64_t row, int64_t row_end) {
  const PoolShape& s = a.s;
  for (int64_t k = row; k < row_end; ++k)
    for (int64_t w = 0; w < s.out_width; ++w)
      for (int64_t c = 0; c < s.channels; ++c) {
        const PoolRange rows = pool_window(s, k % s.out_height, s.height), cols = pool_window(s, w, s.width);
        T best{};
        int32_t winner = -1;
        for (int64_t r = rows.begin; r < rows.end; ++r)
          for (int64_t q = cols.begin; q < cols.end; ++q) {
            const int64_t i = k / s.out_height * s.height + k % s.out_height * s.stride - s.padding + r,
                          j = w * s.stride - s.padding + q;
            const T v = a.x[(i * s.width + j) * s.channels + c];
            if (winner >= 0 && !(v > best) && v == v) continue;
            best = v;
            winner = static_cast<int32_t>(r * s.kernel + q);
          }
        const int64_t at = (k * s.out_width + w) * s.channels + c;
        a.y[at] = best;
        a.winner[at] = winner;
      }
}

// sum over the windows that cover pixel (i of item k, j) of f(output element, index in the window)
template <class A, class F>
A pool_gather(const PoolShape& s, int64_t k, int64_t j, int64_t c, F f) {
  const int64_t i = k % s.height, n = k / s.height;
  const PoolRange rows = pool_cover(s, i, s.out_height), cols = pool_cover(s, j, s.out_width);
  A sum = 0;
  for (int64_t h = rows.begin; h < rows.end; ++h)
    for (int64_t w = cols.begin; w < cols.end; ++w) {
      const int64_t r = i + s.padding - h * s.stride, q = j + s.padding - w * s.stride;
      sum += f(((n * s.out_height + h) * s.out_width + w) * s.channels + c, r * s.kernel + q);
    }
  return sum;
}

template <class T>
void max_pool_bwd(const MaxPoolBwd<T>& a, int64_t row, int64_t row_end) {
  using A = Acc<T>;
  for (int64_t k = row; k < row_end; ++k)
    for (int64_t j = 0; j < a.s.width; ++j)
      for (int64_t c = 0; c < a.s.channels; ++c)
        a.dx[(k * a.s.width + j) * a.s.channels + c] =
            static_cast<T>(pool_gather<A>(a.s, k, j, c, [&](int64_t at, int64_t r) {
              return a.winner[at] == r ? static_cast<A>(a.dy[at]) : A(0);
            }));
}

template <class T>
void avg_pool_fwd(const AvgPoolFwd<T>& a, int64_t row, int64_t row_end) {
  using A = Acc<T>;
  const PoolShape& s = a.s;
  for (int64_t k = row; k < row_end; ++k)
    for (int64_t w = 0; w < s.out_width; ++w)
      for (int64_t c = 0; c < s.channels; ++c) {
        const PoolRange rows = pool_window(s, k % s.out_height, s.height), cols = pool_window(s, w, s.width);
        A sum = 0;
        for (int64_t r = rows.begin; r < rows.end; ++r)
          for (int64_t q = cols.begin; q < cols.end; ++q) {
            const int64_t i = k / s.out_height * s.height + k % s.out_height * s.stride - s.padding + r,
                          j = w * s.stride - s.padding + q;
            sum += static_cast<A>(a.x[(i * s.width + j) * s.channels + c]);
          }
        a.y[(k * s.out_width + w) * s.channels + c] =
            static_cast<T>(sum / static_cast<A>(s.kernel * s.kernel));
      }
}

template <class T>
void avg_pool_bwd(const AvgPoolBwd<T>& a, int64_t row, int64_t row_end) {
  using A = Acc<T>;
  const A scale = A(1) / static_cast<A>(a.s.kernel * a.s.kernel);
  for (int64_t k = row; k < row_end; ++k)
    for (int64_t j = 0; j < a.s.width; ++j)
      for (int64_t c = 0; c < a.s.channels; ++c)
        a.dx[(k * a.s.width + j) * a.s.channels + c] =
            static_cast<T>(scale * pool_gather<A>(a.s, k, j, c, [&](int64_t at, int64_t) {
                             return static_cast<A>(a.dy[at]);
                           }));
}

template <class T>
void global_avg_fwd(const GlobalAvgFwd<T>& a, int64_t sample, int64_t sample_end) {
  using A = Acc<T>;
  for (int64_t n = sample; n < sample_end; ++n)
    for (int64_t c = 0; c < a.channels; ++c) {
      A sum = 0;
      for (int64_t p = 0; p < a.pixels; ++p) sum += static_cast<A>(a.x[(n * a.pixels + p) * a.channels + c]);
      a.y[n * a.channels + c] = static_cast<T>(sum / static_cast<A>(a.pixels));
    }
}

template <class T>
void global_avg_bwd(const GlobalAvgBwd<T>& a, int64_t sample, int64_t sample_end) {
  using A = Acc<T>;
  for (int64_t n = sample; n < sample_end; ++n)
    for (int64_t p = 0; p < a.pixels; ++p)
      for (int64_t c = 0; c < a.channels; ++c)
        a.dx[(n * a.pixels + p) * a.channels + c] =
            static_cast<T>(static_cast<A>(a.dy[n * a.channels + c]) / static_cast<A>(a.pixels));
}

template <class T>
inline constexpr PoolTable<T> pool_table{max_pool_fwd<T>, max_pool_bwd<T>,   avg_pool_fwd<T>,
                                         avg_pool_bwd<T>, global_avg_fwd<T>, global_avg_bwd<T>};

}  // namespace ref
}  // namespace juxta

#pragma once
// Reductions of x [outer, reduce, inner] over the middle axis, and what runs along the last axis: cumulative
// sum, arg-max, top-k.
//
//   sum           y[o, i] = sum_r x[o, r, i];   maximum, minimum likewise (a NaN wins)
//   extreme_bwd   dx[o, r, i] = dy[o, i] / (number of ties) where x[o, r, i] == y[o, i], else 0
//   cumsum        y[r, c] = sum_{k <= c} x[r, k];   its gradient is the cumulative sum from the right
//   topk          the k largest of each row, descending; ties by the lower index; NaN above all numbers
//
// Long axes are reduced in two steps: chunks of `chunk` elements first (items of the entry's range are
// (outer, chunk) pairs), then the chunk results in order. The chunk is a function of the shape alone, so the
// bits do not depend on threads; it also keeps f32 sums accurate, since no accumulator sees more than a
// chunk. Results are in Acc<T>.
#include <array>
#include <cmath>

#include "kernels/table.h"
#include "tensor/dtype.h"

namespace juxta {

template <class T>
struct ReduceArgs {
  const T* x;  // [outer, reduce, inner]
  Acc<T>* y;   // [outer, chunks, inner]
  int64_t reduce, inner, chunk;
  int64_t chunks() const { return (reduce + chunk - 1) / chunk; }
};

template <class T>
struct ExtremeBwd {
  const T *x, *y, *dy;  // [outer, reduce, inner], [outer, inner] twice
  T* dx;
  int64_t reduce, inner;  // the range counts outer
};

template <class T>
struct RowScan {
  const T* x;  // [rows, cols]
  T* y;        // [rows, cols]
  int64_t cols;
  bool reverse;
};

template <class T>
struct TopKArgs {
  const T* x;        // [rows, cols]
  T* values;         // [rows, k]
  int64_t* indices;  // [rows, k]
  int64_t cols, k;   // 1 <= k <= cols
};

template <class T>
struct ReduceTable {
  static constexpr const char* kFamily = "reduce";
  static constexpr std::array kNames{"sum", "maximum", "minimum", "extreme_bwd", "cumsum", "topk"};
  void (*sum)(const ReduceArgs<T>&, int64_t item, int64_t item_end);
  void (*maximum)(const ReduceArgs<T>&, int64_t item, int64_t item_end);
  void (*minimum)(const ReduceArgs<T>&, int64_t item, int64_t item_end);
  void (*extreme_bwd)(const ExtremeBwd<T>&, int64_t outer, int64_t outer_end);
  void (*cumsum)(const RowScan<T>&, int64_t row, int64_t row_end);
  void (*topk)(const TopKArgs<T>&, int64_t row, int64_t row_end);
};

template <class T>
const TableChoice<ReduceTable<T>>& reduce_tables();  // T: float, bf16, double

namespace ref {

template <class T, class F>
void reduce_chunks(const ReduceArgs<T>& a, int64_t item, int64_t item_end, F combine) {
  for (int64_t k = item; k < item_end; ++k) {
    const int64_t o = k / a.chunks(), begin = k % a.chunks() * a.chunk;
    const int64_t end = begin + a.chunk < a.reduce ? begin + a.chunk : a.reduce;
    for (int64_t i = 0; i < a.inner; ++i) {
      Acc<T> acc = static_cast<Acc<T>>(a.x[(o * a.reduce + begin) * a.inner + i]);
      for (int64_t r = begin + 1; r < end; ++r)
        acc = combine(acc, static_cast<Acc<T>>(a.x[(o * a.reduce + r) * a.inner + i]));
      a.y[k * a.inner + i] = acc;
    }
  }
}

template <class T>
void reduce_sum(const ReduceArgs<T>& a, int64_t item, int64_t item_end) {
  reduce_chunks(a, item, item_end, [](Acc<T> p, Acc<T> q) { return p + q; });
}
template <class T>
void reduce_maximum(const ReduceArgs<T>& a, int64_t item, int64_t item_end) {
  reduce_chunks(a, item, item_end, [](Acc<T> p, Acc<T> q) { return p >= q || p != p ? p : q; });
}
template <class T>
void reduce_minimum(const ReduceArgs<T>& a, int64_t item, int64_t item_end) {
  reduce_chunks(a, item, item_end, [](Acc<T> p, Acc<T> q) { return p <= q || p != p ? p : q; });
}

template <class T>
void extreme_bwd(const ExtremeBwd<T>& a, int64_t outer, int64_t outer_end) {
  using A = Acc<T>;
  for (int64_t o = outer; o < outer_end; ++o) {
    const T *x = a.x + o * a.reduce * a.inner, *y = a.y + o * a.inner, *dy = a.dy + o * a.inner;
    T* dx = a.dx + o * a.reduce * a.inner;
    for (int64_t i = 0; i < a.inner; ++i) {
      int64_t ties = 0;
      for (int64_t r = 0; r < a.reduce; ++r)
        ties += static_cast<A>(x[r * a.inner + i]) == static_cast<A>(y[i]);
      const A share = ties ? static_cast<A>(dy[i]) / static_cast<A>(ties) : A(0);
      for (int64_t r = 0; r < a.reduce; ++r)
        dx[r * a.inner + i] =
            static_cast<T>(static_cast<A>(x[r * a.inner + i]) == static_cast<A>(y[i]) ? share : A(0));
    }
  }
}

template <class T>
void cumsum(const RowScan<T>& a, int64_t row, int64_t row_end) {
  for (int64_t r = row; r < row_end; ++r) {
    Acc<T> sum = 0;
    for (int64_t k = 0; k < a.cols; ++k) {
      const int64_t c = r * a.cols + (a.reverse ? a.cols - 1 - k : k);
      sum += static_cast<Acc<T>>(a.x[c]);
      a.y[c] = static_cast<T>(sum);
    }
  }
}

// The order of topk: a NaN is larger than any number, as in PyTorch, so that it is seen and not lost.
template <class A>
bool beats(A a, A b) {
  return a > b || (a != a && b == b);
}

// Insertion into the k best so far, kept in descending order; a later equal value goes behind.
template <class T>
void topk_insert(T* values, int64_t* indices, int64_t held, int64_t k, T value, int64_t index) {
  int64_t at = held < k ? held : k - 1;
  for (; at > 0 && beats(static_cast<Acc<T>>(value), static_cast<Acc<T>>(values[at - 1])); --at) {
    values[at] = values[at - 1];
    indices[at] = indices[at - 1];
  }
  values[at] = value;
  indices[at] = index;
}

template <class T>
void topk(const TopKArgs<T>& a, int64_t row, int64_t row_end) {
  for (int64_t r = row; r < row_end; ++r) {
    T* values = a.values + r * a.k;
    int64_t* indices = a.indices + r * a.k;
    for (int64_t c = 0; c < a.cols; ++c) {
      const T v = a.x[r * a.cols + c];
      if (c < a.k || beats(static_cast<Acc<T>>(v), static_cast<Acc<T>>(values[a.k - 1])))
        topk_insert(values, indices, c, a.k, v, c);
    }
  }
}

template <class T>
inline constexpr ReduceTable<T> reduce_table{reduce_sum<T>,  reduce_maximum<T>, reduce_minimum<T>,
                                             extreme_bwd<T>, cumsum<T>,         topk<T>};

}  // namespace ref
}  // namespace juxta

#pragma once
// Bilinear resizing of images [N, H, W, C] with half-pixel centres and no antialiasing
// (align_corners = false of torch.nn.functional.interpolate).
//
// Per axis, output o looks at position  p = max(0, (o + 1/2) in / out - 1/2),  between the inputs
//   low = floor(p)  and  high = min(low + 1, in - 1)  with weight  f = p - low  on the second;
//   y[i, j] = sum over both inputs of both axes of weight x.
// dx[i, j] = sum of weight dy over the outputs that look at (i, j): those of one input are a contiguous run,
// so the gradient gathers and every element is written once.
#include <array>

#include "kernels/table.h"
#include "tensor/dtype.h"

namespace juxta {

struct ResizeAxis {
  int64_t in, out;
  const int32_t *low, *high;    // [out]
  const double* fraction;       // [out], weight of `high`
  const int32_t *first, *last;  // [in]: outputs [first, last) look at this input
};

// weight of input i at output o
template <class A>
[[gnu::always_inline]] inline A resize_weight(const ResizeAxis& a, int64_t o, int64_t i) {
  const A f = static_cast<A>(a.fraction[o]);
  return (a.low[o] == i ? A(1) - f : A(0)) + (a.high[o] == i ? f : A(0));
}

// Items are rows of the tensor that is written: n * out height + i forward, n * in height + i backward.
template <class T>
struct ResizeFwd {
  ResizeAxis rows, cols;
  int64_t channels;
  const T* x;
  T* y;
};
template <class T>
struct ResizeBwd {
  ResizeAxis rows, cols;
  int64_t channels;
  const T* dy;
  T* dx;
};

template <class T>
struct ResizeTable {
  static constexpr const char* kFamily = "resize";
  static constexpr std::array kNames{"bilinear_fwd", "bilinear_bwd"};
  void (*bilinear_fwd)(const ResizeFwd<T>&, int64_t row, int64_t row_end);
  void (*bilinear_bwd)(const ResizeBwd<T>&, int64_t row, int64_t row_end);
};

template <class T>
const TableChoice<ResizeTable<T>>& resize_tables();  // T: float, bf16, double

namespace ref {

template <class T>
void bilinear_fwd(const ResizeFwd<T>& a, int64_t row, int64_t row_end) {
  using A = Acc<T>;
  for (int64_t k = row; k < row_end; ++k) {
    const int64_t n = k / a.rows.out, i = k % a.rows.out;
    const A fy = static_cast<A>(a.rows.fraction[i]);
    const T* top = a.x + (n * a.rows.in + a.rows.low[i]) * a.cols.in * a.channels;
    const T* bottom = a.x + (n * a.rows.in + a.rows.high[i]) * a.cols.in * a.channels;
    for (int64_t j = 0; j < a.cols.out; ++j) {
      const A fx = static_cast<A>(a.cols.fraction[j]);
      const int64_t left = a.cols.low[j] * a.channels, right = a.cols.high[j] * a.channels;
      for (int64_t c = 0; c < a.channels; ++c) {
        const A above = (A(1) - fx) * static_cast<A>(top[left + c]) + fx * static_cast<A>(top[right + c]);
        const A below =
            (A(1) - fx) * static_cast<A>(bottom[left + c]) + fx * static_cast<A>(bottom[right + c]);
        a.y[(k * a.cols.out + j) * a.channels + c] = static_cast<T>((A(1) - fy) * above + fy * below);
      }
    }
  }
}

template <class T>
void bilinear_bwd(const ResizeBwd<T>& a, int64_t row, int64_t row_end) {
  using A = Acc<T>;
  for (int64_t k = row; k < row_end; ++k) {
    const int64_t n = k / a.rows.in, i = k % a.rows.in;
    for (int64_t j = 0; j < a.cols.in; ++j)
      for (int64_t c = 0; c < a.channels; ++c) {
        A sum = 0;
        for (int64_t h = a.rows.first[i]; h < a.rows.last[i]; ++h)
          for (int64_t w = a.cols.first[j]; w < a.cols.last[j]; ++w)
            sum += resize_weight<A>(a.rows, h, i) * resize_weight<A>(a.cols, w, j) *
                   static_cast<A>(a.dy[((n * a.rows.out + h) * a.cols.out + w) * a.channels + c]);
        a.dx[(k * a.cols.in + j) * a.channels + c] = static_cast<T>(sum);
      }
  }
}

template <class T>
inline constexpr ResizeTable<T> resize_table{bilinear_fwd<T>, bilinear_bwd<T>};

}  // namespace ref
}  // namespace juxta

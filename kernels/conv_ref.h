#pragma once
// Reference kernels of convolution: the definition in plain loops; formulas in conv.h, which includes this
// file.
#include <type_traits>

#include "kernels/conv.h"

namespace juxta::ref {

// The value of a weight beside activations of type T: bf16 kernels multiply rounded weights.
template <class T>
Acc<T> conv_weight(Acc<T> w) {
  if constexpr (std::is_same_v<T, bf16>)
    return static_cast<float>(bf16(w));
  else
    return w;
}

// packed [groups, taps, in_group, out_group]
template <class T>
void conv_pack(const ConvPack<T>& a, int64_t item, int64_t item_end) {
  auto* packed = static_cast<Acc<T>*>(a.packed);
  const int64_t items = conv_pack_items(a.groups, a.in_group, a.out_group);
  const int64_t rows = a.groups * a.out_group;
  for (int64_t r = rows * item / items; r < rows * item_end / items; ++r) {
    const int64_t g = r / a.out_group, o = r % a.out_group;
    for (int64_t t = 0; t < a.tap_count; ++t)
      for (int64_t c = 0; c < a.in_group; ++c)
        packed[((g * a.tap_count + t) * a.in_group + c) * a.out_group + o] =
            conv_weight<T>(a.w[g * a.group_stride + o * a.out_stride + c * a.in_stride + a.taps[t].weight]);
  }
}

// Address of channel 0 at the position of x that tap t sees from output position (d, h, w) of image n; null
// outside.
template <class T>
const T* conv_pixel(const ConvGeometry& g, const T* x, const ConvTap& t, int64_t n, int64_t d, int64_t h,
                    int64_t w) {
  const int64_t at[3] = {d, h, w};
  int64_t index = n;
  for (int axis = 0; axis < 3; ++axis) {
    const int64_t i = at[axis] * g.in_step[axis] + t.offset[axis];
    if (i < 0 || i >= g.in[axis]) return nullptr;
    index = index * g.in[axis] + i;
  }
  return x + index * g.groups * g.in_group;
}

template <class T>
void tap_conv_pixel(const TapConv<T>& a, int64_t n, int64_t d, int64_t h, int64_t w) {
  using A = Acc<T>;
  const ConvGeometry& g = a.g;
  const int64_t od = d * a.out_step[0] + a.out_first[0], oh = h * a.out_step[1] + a.out_first[1],
                ow = w * a.out_step[2] + a.out_first[2];
  T* y = a.y + (((n * a.y_size[0] + od) * a.y_size[1] + oh) * a.y_size[2] + ow) * g.groups * g.out_group;
  for (int64_t group = 0; group < g.groups; ++group) {
    const A* packed = static_cast<const A*>(a.packed) + group * g.tap_count * g.in_group * g.out_group;
    for (int64_t o = 0; o < g.out_group; ++o) {
      A sum = a.bias ? a.bias[group * g.out_group + o] : A(0);
      for (int64_t t = 0; t < g.tap_count; ++t) {
        const T* x = conv_pixel(g, a.x, g.taps[t], n, d, h, w);
        if (!x) continue;
        for (int64_t c = 0; c < g.in_group; ++c)
          sum += static_cast<A>(x[group * g.in_group + c]) * packed[(t * g.in_group + c) * g.out_group + o];
      }
      T* to = y + group * g.out_group + o;
      const ConvEpilogue<T>& e = a.epilogue;
      const A z = act(e.act, sum);
      if (e.saved) e.saved[to - a.y] = static_cast<T>(act_needs_input(e.act) ? sum : z);
      *to = static_cast<T>(e.residual ? z + static_cast<A>(e.residual[to - a.y]) : z);
    }
  }
}

template <class T>
void tap_conv(const TapConv<T>& a, int64_t task, int64_t task_end) {
  for (int64_t k = task; k < task_end; ++k) {
    const ConvTask t = conv_task(a.g, k);
    for (int64_t n = t.image; n < t.image_end; ++n)
      for (int64_t h = t.row; h < t.row_end; ++h)
        for (int64_t w = t.col; w < t.col_end; ++w) tap_conv_pixel(a, n, t.d, h, w);
  }
}

// part[group, tap, c, o] += x dy at one output position, for channels [c, c_end) of one group.
template <class T>
void conv_weight_grad_pixel(const ConvWeightGrad<T>& a, Acc<T>* part, int64_t group, int64_t c, int64_t c_end,
                            int64_t n, int64_t d, int64_t h, int64_t w) {
  using A = Acc<T>;
  const ConvGeometry& g = a.g;
  const T* dy = a.dy + (((n * g.out[0] + d) * g.out[1] + h) * g.out[2] + w) * g.groups * g.out_group +
                group * g.out_group;
  for (int64_t t = 0; t < g.tap_count; ++t) {
    const T* x = conv_pixel(g, a.x, g.taps[t], n, d, h, w);
    if (!x) continue;
    for (int64_t k = c; k < c_end; ++k) {
      A* sum = part + ((group * g.tap_count + t) * g.in_group + k) * g.out_group;
      const A xk = static_cast<A>(x[group * g.in_group + k]);
      for (int64_t o = 0; o < g.out_group; ++o) sum[o] += xk * static_cast<A>(dy[o]);
    }
  }
}

template <class T>
void conv_weight_grad(const ConvWeightGrad<T>& a, int64_t item, int64_t item_end) {
  const ConvGeometry& g = a.g;
  const bool depthwise = g.in_group == 1 && g.out_group == 1;
  const int64_t runs = conv_channel_runs(g, a.channels), lots = depthwise ? 1 : g.groups,
                size = g.groups * g.tap_count * g.in_group * g.out_group, tasks = conv_tasks(g);
  for (int64_t k = item; k < item_end; ++k) {
    const int64_t part = k / (runs * lots), lot = k / runs % lots, run = k % runs;
    const int64_t first = run * a.channels, limit = depthwise ? g.groups : g.in_group,
                  last = first + a.channels < limit ? first + a.channels : limit;
    Acc<T>* sums = a.part + part * size;
    // a run of a depthwise gradient is a run of groups with one channel each
    const int64_t group = depthwise ? first : lot, group_end = depthwise ? last : lot + 1;
    const int64_t c = depthwise ? 0 : first, c_end = depthwise ? 1 : last;
    for (int64_t q = group; q < group_end; ++q) {
      for (int64_t t = 0; t < g.tap_count; ++t)
        for (int64_t e = c * g.out_group; e < c_end * g.out_group; ++e)
          sums[(q * g.tap_count + t) * g.in_group * g.out_group + e] = 0;
      for (int64_t m = conv_part_begin(tasks, a.parts, part); m < conv_part_begin(tasks, a.parts, part + 1);
           ++m) {
        const ConvTask t = conv_task(g, m);
        for (int64_t n = t.image; n < t.image_end; ++n)
          for (int64_t h = t.row; h < t.row_end; ++h)
            for (int64_t w = t.col; w < t.col_end; ++w)
              conv_weight_grad_pixel(a, sums, q, c, c_end, n, t.d, h, w);
      }
    }
  }
}

template <class A>
void conv_weight_sum(const ConvWeightSum<A>& a, int64_t row, int64_t row_end) {
  const int64_t size = a.groups * a.tap_count * a.in_group * a.out_group;
  for (int64_t r = row; r < row_end; ++r) {
    const int64_t g = r / a.out_group, o = r % a.out_group;
    for (int64_t c = 0; c < a.in_group; ++c)
      for (int64_t t = 0; t < a.tap_count; ++t) {
        A sum = 0;
        for (int64_t p = 0; p < a.parts; ++p)
          sum += a.part[p * size + ((g * a.tap_count + t) * a.in_group + c) * a.out_group + o];
        a.dw[(r * a.in_group + c) * a.tap_count + a.taps[t].weight] = sum;
      }
  }
}

template <class T>
void conv_bias_grad(const ConvBiasGrad<T>& a, int64_t run, int64_t run_end) {
  for (int64_t k = run; k < run_end; ++k) {
    Acc<T>* sum = a.part + k * a.channels;
    for (int64_t c = 0; c < a.channels; ++c) sum[c] = 0;
    for (int64_t p = k * a.chunk; p < a.pixels && p < (k + 1) * a.chunk; ++p)
      for (int64_t c = 0; c < a.channels; ++c) sum[c] += static_cast<Acc<T>>(a.dy[p * a.channels + c]);
  }
}

template <class T>
inline constexpr ConvTable<T> conv_table{conv_pack<T>, tap_conv<T>, conv_weight_grad<T>,
                                         conv_weight_sum<Acc<T>>, conv_bias_grad<T>};

}  // namespace juxta::ref

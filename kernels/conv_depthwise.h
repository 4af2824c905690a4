#pragma once
// Depthwise convolution (one input and one output channel per group): vectors run over the channels.
#include "kernels/conv_block.h"

namespace juxta::JX_ISA {

// Weights [tap][channel].
template <class T>
static void depthwise_pack(const ConvPack<T>& a, int64_t item, int64_t item_end) {
  auto* packed = static_cast<float*>(a.packed);
  for (int64_t c = item * kConvPackChunk; c < a.groups && c < item_end * kConvPackChunk; ++c)
    for (int64_t t = 0; t < a.tap_count; ++t)
      packed[t * a.groups + c] = WideUnits<T>::pack(a.w + c * a.group_stride + a.taps[t].weight, 0, 1);
}

template <class T>
static void depthwise_pixel(const TapConv<T>& a, int64_t n, int64_t d, int64_t h, int64_t w) {
  const ConvGeometry& g = a.g;
  const T* x[kConvMaxTaps];
  const float* weight[kConvMaxTaps];
  int taps = 0;
  for (int64_t t = 0; t < g.tap_count; ++t)
    if (const T* p = pixel_under(g, a.x, g.taps[t], n, d, h, w)) {
      x[taps] = p;
      weight[taps++] = static_cast<const float*>(a.packed) + t * g.groups;
    }
  const int64_t od = d * a.out_step[0] + a.out_first[0], oh = h * a.out_step[1] + a.out_first[1],
                ow = w * a.out_step[2] + a.out_first[2];
  T* y = a.y + (((n * a.y_size[0] + od) * a.y_size[1] + oh) * a.y_size[2] + ow) * g.groups;
  const bool plain = !has_epilogue(a);
  const auto put = [&](int64_t i, F32 z, int n) __attribute__((always_inline)) {
    plain ? store_part(y + i, z, n) : put_epilogue(a.epilogue, a.y, y + i - a.y, z, n);
  };
  int64_t c = 0;
  for (; c + 2 * kWidth <= g.groups; c += 2 * kWidth) {  // two sums in flight
    F32 s0 = a.bias ? load(a.bias + c) : F32(0.0f), s1 = a.bias ? load(a.bias + c + kWidth) : F32(0.0f);
    for (int t = 0; t < taps; ++t) {
      s0 = fma(load(x[t] + c), load(weight[t] + c), s0);
      s1 = fma(load(x[t] + c + kWidth), load(weight[t] + c + kWidth), s1);
    }
    put(c, s0, kWidth);
    put(c + kWidth, s1, kWidth);
  }
  for_lanes(g.groups - c, [&](int64_t i, int lanes) {
    F32 s = a.bias ? load_part(a.bias + c + i, lanes) : F32(0.0f);
    for (int t = 0; t < taps; ++t)
      s = fma(load_part(x[t] + c + i, lanes), load_part(weight[t] + c + i, lanes), s);
    put(c + i, s, lanes);
  });
}

template <class T>
static void depthwise_conv(const TapConv<T>& a, int64_t task, int64_t task_end) {
  for (int64_t k = task; k < task_end; ++k) {
    const ConvTask t = conv_task(a.g, k);
    for (int64_t n = t.image; n < t.image_end; ++n)
      for (int64_t h = t.row; h < t.row_end; ++h)
        for (int64_t w = t.col; w < t.col_end; ++w) depthwise_pixel(a, n, t.d, h, w);
  }
}

// One row of dy against the row of x under one tap: sums of up to 4 vectors of channels.
template <class T>
[[gnu::always_inline]] static inline void depthwise_row(const T* x, int64_t x_step, const T* dy,
                                                        int64_t dy_step, int64_t cols, int channels,
                                                        F32 (&sum)[4]) {
  for (int64_t q = 0; q < cols; ++q, x += x_step, dy += dy_step)
#pragma GCC unroll 4
    for (int v = 0; v < 4; ++v) {
      const int left = channels - v * kWidth, n = left < kWidth ? left : kWidth;
      if (n > 0) sum[v] = fma(load_part(x + v * kWidth, n), load_part(dy + v * kWidth, n), sum[v]);
    }
}

// One item: part sums of the channels [c, c_end), at most 64.
template <class T>
static void depthwise_grad(const ConvWeightGrad<T>& a, int64_t part, int64_t c, int64_t c_end) {
  const ConvGeometry& g = a.g;
  float* sums = a.part + part * g.groups * g.tap_count;  // [channel][tap]
  const int64_t tasks = conv_tasks(g), step = g.in_step[2];
  for (int64_t first = c; first < c_end; first += 4 * kWidth) {
    const int channels = static_cast<int>(c_end - first < 4 * kWidth ? c_end - first : 4 * kWidth);
    for (int64_t tap = 0; tap < g.tap_count; ++tap) {
      const int64_t offset = g.taps[tap].offset[2];
      F32 sum[4] = {F32(0.0f), F32(0.0f), F32(0.0f), F32(0.0f)};
      for (int64_t k = conv_part_begin(tasks, a.parts, part); k < conv_part_begin(tasks, a.parts, part + 1);
           ++k) {
        const ConvTask t = conv_task(g, k);
        int64_t w = t.col, w_end = t.col_end;  // columns whose pixel lies inside the row
        while (w < w_end && w * step + offset < 0) ++w;
        while (w < w_end && (w_end - 1) * step + offset >= g.in[2]) --w_end;
        for (int64_t n = t.image; n < t.image_end && w < w_end; ++n)
          for (int64_t h = t.row; h < t.row_end; ++h)
            if (const T* x = pixel_under(g, a.x, g.taps[tap], n, t.d, h, w)) {
              const T* dy = a.dy + (((n * g.out[0] + t.d) * g.out[1] + h) * g.out[2] + w) * g.groups;
              depthwise_row(x + first, step * g.groups, dy + first, g.groups, w_end - w, channels, sum);
            }
      }
      float lanes[4 * kWidth];
      for (int v = 0; v < 4; ++v) store(lanes + v * kWidth, sum[v]);
      for (int i = 0; i < channels; ++i) sums[(first + i) * g.tap_count + tap] = lanes[i];
    }
  }
}

}  // namespace juxta::JX_ISA

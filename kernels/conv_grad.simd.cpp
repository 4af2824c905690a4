// The gradients of convolution's weights and bias on vectors; tiles in conv_grad.h.
#include "kernels/conv_grad.h"

#include "kernels/conv_depthwise.h"
#include "kernels/conv_entries.h"
#include "kernels/simd.h"

namespace juxta::JX_ISA {

namespace {

template <class M>
void weight_grad(const ConvWeightGrad<typename M::Input>& a, int64_t item, int64_t item_end) {
  const int64_t runs = conv_channel_runs(a.g, a.channels);
  for (int64_t k = item; k < item_end; ++k) {
    if (a.g.in_group == 1 && a.g.out_group == 1) {
      const int64_t c = k % runs * a.channels, end = c + a.channels;
      depthwise_grad(a, k / runs, c, end < a.g.groups ? end : a.g.groups);
    } else {
      grad_item<M>(a, k / (runs * a.g.groups), k / runs % a.g.groups, k % runs);
    }
  }
}

template <class T>
void bias_grad(const ConvBiasGrad<T>& a, int64_t run, int64_t run_end) {
  for (int64_t k = run; k < run_end; ++k) {
    const int64_t begin = k * a.chunk, end = begin + a.chunk < a.pixels ? begin + a.chunk : a.pixels;
    for_lanes(a.channels, [&](int64_t i, int n) {
      F32 s0(0.0f), s1(0.0f);  // two chains hide the latency of the additions
      int64_t p = begin;
      for (; p + 2 <= end; p += 2) {
        s0 += load_part(a.dy + p * a.channels + i, n);
        s1 += load_part(a.dy + (p + 1) * a.channels + i, n);
      }
      if (p < end) s0 += load_part(a.dy + p * a.channels + i, n);
      store_part(a.part + k * a.channels + i, s0 + s1, n);
    });
  }
}

#if JX_LEVEL >= 3
using Bf16Grad = PixelPairs;
#else
using Bf16Grad = WideUnits<bf16>;
#endif

}  // namespace

#if JX_OWN_F32
void conv_weight_grad(const ConvWeightGrad<float>& a, int64_t item, int64_t item_end) {
  weight_grad<WideUnits<float>>(a, item, item_end);
}
#endif
void conv_weight_grad(const ConvWeightGrad<bf16>& a, int64_t item, int64_t item_end) {
  weight_grad<Bf16Grad>(a, item, item_end);
}

// kWidth output channels at a time: their sums are contiguous in `part`, far apart in dw.
void conv_weight_sum(const ConvWeightSum<float>& a, int64_t row, int64_t row_end) {
  const int64_t size = a.groups * a.tap_count * a.in_group * a.out_group, out_row = a.in_group * a.tap_count;
  for (int64_t r = row, n; r < row_end; r += n) {
    const int64_t group = r / a.out_group, o = r % a.out_group;
    n = a.out_group - o < row_end - r ? a.out_group - o : row_end - r;
    if (n > kWidth) n = kWidth;
    for (int64_t c = 0; c < a.in_group; ++c)
      for (int64_t t = 0; t < a.tap_count; ++t) {
        const float* part = a.part + ((group * a.tap_count + t) * a.in_group + c) * a.out_group + o;
        F32 sum(0.0f);
        for (int64_t p = 0; p < a.parts; ++p) sum += load_part(part + p * size, static_cast<int>(n));
        float lanes[kWidth];
        store(lanes, sum);
        float* dw = a.dw + r * out_row + c * a.tap_count + a.taps[t].weight;
        for (int64_t i = 0; i < n; ++i) dw[i * out_row] = lanes[i];
      }
  }
}

#if JX_OWN_F32
void conv_bias_grad(const ConvBiasGrad<float>& a, int64_t run, int64_t run_end) {
  bias_grad(a, run, run_end);
}
#endif
void conv_bias_grad(const ConvBiasGrad<bf16>& a, int64_t run, int64_t run_end) { bias_grad(a, run, run_end); }

}  // namespace juxta::JX_ISA

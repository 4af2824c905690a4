// Convolution on vectors, forward and dx; formulas in conv.h, the block of x in conv_block.h, tiles in
// conv_tile.h and conv_task.h. dw is in conv_grad.simd.cpp.
#include "kernels/conv.h"

#include "kernels/conv_depthwise.h"
#include "kernels/conv_entries.h"
#include "kernels/conv_task.h"
#include "kernels/simd.h"

namespace juxta::JX_ISA {

namespace {

constexpr int kPanel = 2 * kWidth;  // output channels of a full panel of weights

// Units of one output channel under one tap.
template <class M>
[[gnu::always_inline]] inline int64_t tap_units(int64_t channels) {
  const int64_t blocks = (channels + M::kChannels - 1) / M::kChannels;
  return (blocks - 1) * kUnits + M::units(static_cast<int>(channels - (blocks - 1) * M::kChannels));
}
// Floats of packed weights per group.
template <class M>
[[gnu::always_inline]] inline int64_t group_floats(int64_t taps, int64_t in, int64_t out) {
  return (out + 15) / 16 * 16 * taps * tap_units<M>(in);
}

// One panel [channel block][tap][unit][vectors * kWidth] from output channel `o` on.
template <class M, class T>
void pack_panel(const ConvPack<T>& a, const float* w, int64_t o, int vectors, float* to) {
  constexpr int kStep = M::kChannels / kUnits;  // channels per unit
  for (int64_t c = 0; c < a.in_group; c += M::kChannels)
    for (int64_t t = 0; t < a.tap_count; ++t)
      for (int64_t k = c; k < a.in_group && k < c + M::kChannels; k += kStep)
        for (int64_t i = 0; i < vectors * kWidth; ++i)
          *to++ = o + i < a.out_group
                      ? M::pack(w + (o + i) * a.out_stride + k * a.in_stride + a.taps[t].weight, a.in_stride,
                                a.in_group - k)
                      : 0.0f;
}

template <class M, class T>
void pack(const ConvPack<T>& a, int64_t item, int64_t item_end) {
  if (a.in_group == 1 && a.out_group == 1) return depthwise_pack(a, item, item_end);
  const int64_t chunks = (a.out_group + kConvPackChunk - 1) / kConvPackChunk,
                units = a.tap_count * tap_units<M>(a.in_group);
  for (int64_t k = item; k < item_end; ++k) {
    const int64_t group = k / chunks, first = k % chunks * kConvPackChunk;
    float* to = static_cast<float*>(a.packed) + group * group_floats<M>(a.tap_count, a.in_group, a.out_group);
    for (int64_t o = first; o < a.out_group && o < first + kConvPackChunk; o += kPanel)
      pack_panel<M>(a, a.w + group * a.group_stride, o, a.out_group - o > kWidth ? 2 : 1, to + o * units);
  }
}

// All output channels of one group over one task, while `next` (null: none) is fetched.
template <class M>
void conv_group(const TapConv<typename M::Input>& a, const ConvTask& t, const ConvTask* next, int64_t group,
                float* block) {
  using T = typename M::Input;
  const ConvGeometry& g = a.g;
  const BlockMap m = map_block<M>(g, t, g.in_group);
  const T* x = a.x + group * g.in_group;
  int64_t offset[kConvMaxTaps];
  if (!g.tile.gather) {
    fill_block<M>(g, t, m, x, block);
    for (int64_t k = 0; k < g.tap_count; ++k) offset[k] = tap_offset(g, m, g.taps[k]);
  }
  const int64_t pixel = g.groups * g.out_group, row = a.y_size[2] * pixel, plane = a.y_size[1] * row;
  TaskTiles<M> s{g,
                 t,
                 block,
                 {},
                 m.image,
                 m.row * g.in_step[1],
                 a.y_size[0] * plane,
                 row * a.out_step[1],
                 nullptr,
                 t.row_end - t.row,
                 t.col_end - t.col,
                 {}};
  if (next)
    s.ahead = ahead_of_x(g, a.x, *next, 0, g.in_group, s.row_count() * ((g.out_group + kPanel - 1) / kPanel));
  T* y = a.y + t.image * s.y_image + (t.d * a.out_step[0] + a.out_first[0]) * plane +
         (t.row * a.out_step[1] + a.out_first[1]) * row + (t.col * a.out_step[2] + a.out_first[2]) * pixel +
         group * g.out_group;
  const float* weights =
      static_cast<const float*>(a.packed) + group * group_floats<M>(g.tap_count, g.in_group, g.out_group);
  const int64_t units = g.tap_count * tap_units<M>(g.in_group);
  for (int64_t o = 0; o < g.out_group; o += kPanel) {
    const int64_t left = g.out_group - o;
    s.y = y + o;
    s.tile.w = weights + o * units;
    s.tile.offset = offset;
    s.tile.taps = g.tap_count;
    s.tile.blocks = m.blocks;
    s.tile.block_stride = m.block;
    s.tile.last_units = M::units(m.last);
    s.tile.y_pixel = a.out_step[2] * pixel;
    s.tile.bias = a.bias ? a.bias + group * g.out_group + o : nullptr;
    s.tile.lanes = static_cast<int>(left < kPanel ? left : kPanel);
    s.tile.epilogue = has_epilogue(a) ? &a : nullptr;
    if (g.tile.gather)
      left > kWidth ? gather_panel<M, 2>(s, x) : gather_panel<M, 1>(s, x);
    else
      left > kWidth ? block_panel<M, 2>(s) : block_panel<M, 1>(s);
  }
}

template <class M>
void conv(const TapConv<typename M::Input>& a, int64_t task, int64_t task_end) {
  if (a.g.in_group == 1 && a.g.out_group == 1) return depthwise_conv(a, task, task_end);
  float* block = scratch_floats(Scratch::conv, kConvBlock);
  for (int64_t k = task; k < task_end; ++k) {
    const ConvTask t = conv_task(a.g, k), next = conv_task(a.g, k + 1);
    const bool fetch = k + 1 < task_end && a.g.groups == 1;
    for (int64_t group = 0; group < a.g.groups; ++group)
      conv_group<M>(a, t, fetch ? &next : nullptr, group, block);
  }
}

#if JX_LEVEL >= 3
using Bf16Units = PairUnits;
#else
using Bf16Units = WideUnits<bf16>;
#endif

}  // namespace

#if JX_OWN_F32
extern const ConvTable<float> conv_f32{pack<WideUnits<float>, float>, conv<WideUnits<float>>,
                                       conv_weight_grad, conv_weight_sum, conv_bias_grad};
#endif
extern const ConvTable<bf16> conv_bf16{pack<Bf16Units, bf16>, conv<Bf16Units>, conv_weight_grad,
                                       conv_weight_sum, conv_bias_grad};

}  // namespace juxta::JX_ISA

#pragma once
// The part of x under one task, copied with its padding into a block of cache:
//   [channel block][image][plane][row][phase][column][16 units]
// A unit is 32 bits: one channel as f32, or a pair of channels as bf16 where the CPU has dot products of
// pairs. With a stride s along a row, the columns are sorted by their remainder modulo s (the phase), so that
// neighbouring output pixels always read units 16 apart, whatever the stride: a register tile needs one
// pointer and constant displacements.
#include "kernels/conv.h"
#include "kernels/gemm_core_epilogue.h"
#include "kernels/scratch.h"
#include "kernels/simd.h"

namespace juxta::JX_ISA {

inline constexpr int kUnits = 16;

// One f32 per channel; T is f32 or bf16 in memory.
template <class T>
struct WideUnits {
  using Input = T;
  static constexpr int kChannels = kUnits;  // per channel block
  static constexpr int kPixels = 1;         // per unit
  [[gnu::always_inline]] static int units(int channels) { return channels; }
  [[gnu::always_inline]] static F32 mul_add(F32 a, F32 w, F32 acc) { return fma(a, w, acc); }
  // All 16 units of `to` are written: channels n.. count as 0.
  [[gnu::always_inline]] static void copy(float* to, const T* from, int n) {
    if (n == kUnits) {
      for (int i = 0; i < kUnits; i += kWidth) store(to + i, load(from + i));
      return;
    }
    for (int i = 0; i < kUnits; i += kWidth) {
      const int rest = n - i;
      store(to + i, rest <= 0 ? F32(0.0f) : load_part(from + i, rest < kWidth ? rest : kWidth));
    }
  }
  [[gnu::always_inline]] static float pack(const float* w, int64_t /*channel_stride*/, int64_t /*left*/) {
    if constexpr (__is_same(T, bf16)) {
      const uint32_t u = __builtin_bit_cast(uint32_t, *w);
      if ((u & 0x7fffffffu) > 0x7f800000u) return *w;
      return __builtin_bit_cast(float, (u + 0x7fffu + ((u >> 16) & 1u)) & 0xffff0000u);
    } else {
      return *w;
    }
  }
};

#if JX_LEVEL >= 3
// Two bf16 channels per unit, multiplied and summed by one instruction.
struct PairUnits {
  using Input = bf16;
  static constexpr int kChannels = 2 * kUnits, kPixels = 1;
  [[gnu::always_inline]] static int units(int channels) { return (channels + 1) / 2; }
  [[gnu::always_inline]] static F32 mul_add(F32 a, F32 w, F32 acc) {
    return VF(_mm512_dpbf16_ps(acc.v, __builtin_bit_cast(__m512bh, a.v), __builtin_bit_cast(__m512bh, w.v)));
  }
  [[gnu::always_inline]] static void copy(float* to, const bf16* from, int n) {
    const __mmask32 lanes = n >= 32 ? 0xffffffffu : (1u << n) - 1u;
    _mm512_storeu_si512(to, _mm512_maskz_loadu_epi16(lanes, from));
  }
  [[gnu::always_inline]] static uint32_t round(float f) {
    const uint32_t u = __builtin_bit_cast(uint32_t, f);
    return (u & 0x7fffffffu) > 0x7f800000u ? (u >> 16) | 0x40u : (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
  }
  // Channels c and c + 1 of a weight; `left` channels are left, this one included.
  [[gnu::always_inline]] static float pack(const float* w, int64_t channel_stride, int64_t left) {
    return __builtin_bit_cast(float, round(*w) | (left > 1 ? round(w[channel_stride]) << 16 : 0u));
  }
};

// Two neighbouring pixels of one channel per unit, for sums over pixels: unit q holds pixels q and q + 1, so
// that every tap finds its pairs aligned.
struct PixelPairs {
  using Input = bf16;
  static constexpr int kChannels = kUnits, kPixels = 2;
  [[gnu::always_inline]] static F32 mul_add(F32 a, F32 w, F32 acc) { return PairUnits::mul_add(a, w, acc); }
  // Channels 0 to n - 1 of a pixel, the others 0.
  [[gnu::always_inline]] static VU channels(const bf16* from, int n) {
    const __mmask16 lanes = n >= kUnits ? 0xffffu : static_cast<__mmask16>((1u << n) - 1u);
    return __builtin_convertvector(__builtin_bit_cast(VH, _mm256_maskz_loadu_epi16(lanes, from)), VU);
  }
  [[gnu::always_inline]] static void join(float* to, VU first, VU second) {
    store(to, F32(__builtin_bit_cast(VF, first | (second << 16))));
  }
};
#endif

// The first n lanes of z to y + at, through the epilogue. Not inlined: plain convolutions, which are most,
// keep their registers and their code small.
template <class T>
[[gnu::noinline]] static void put_epilogue(const ConvEpilogue<T>& e, T* y, int64_t at, F32 z, int n) {
  const bool saves_input = act_needs_input(e.act);
  if (e.saved && saves_input) store_part(e.saved + at, z, n);
  z = apply_act(e.act, z);
  if (e.saved && !saves_input) store_part(e.saved + at, z, n);
  if (e.residual) z += load_part(e.residual + at, n);
  store_part(y + at, z, n);
}
template <class T>
[[gnu::always_inline]] static inline bool has_epilogue(const TapConv<T>& a) {
  return a.epilogue.act != Act::none || a.epilogue.residual;
}

// Strides of a block, in floats, and its extents.
struct BlockMap {
  int64_t phase, row, plane, image, block;
  int64_t cols, phases, rows, planes, blocks;
  int last;  // channels in the last channel block
};

template <class M>
[[gnu::always_inline]] static inline BlockMap map_block(const ConvGeometry& g, const ConvTask& t,
                                                        int64_t channels) {
  BlockMap m;
  m.blocks = (channels + M::kChannels - 1) / M::kChannels;
  m.last = static_cast<int>(channels - (m.blocks - 1) * M::kChannels);
  m.phases = g.in_step[2] < g.tap_span[2] + 1 ? g.in_step[2] : g.tap_span[2] + 1;
  m.cols = t.col_end - t.col + g.tap_span[2] / g.in_step[2];
  m.rows = (t.row_end - t.row - 1) * g.in_step[1] + g.tap_span[1] + 1;
  m.planes = g.tap_span[0] + 1;
  m.phase = m.cols * kUnits;
  m.row = m.phase * m.phases;
  m.plane = m.row * m.rows;
  m.image = m.plane * m.planes;
  m.block = m.image * (t.image_end - t.image);
  return m;
}

// Where the window of a tap starts in the block, for output row 0 and column 0 of the task.
JX_INLINE int64_t tap_offset(const ConvGeometry& g, const BlockMap& m, const ConvTap& tap) {
  const int64_t w = tap.offset[2] - g.tap_min[2];
  return (tap.offset[0] - g.tap_min[0]) * m.plane + (tap.offset[1] - g.tap_min[1]) * m.row +
         w % g.in_step[2] * m.phase + w / g.in_step[2] * kUnits;
}

JX_INLINE void zero_columns(float* to, const BlockMap& m, int64_t col, int64_t col_end) {
  for (int64_t b = 0; b < m.blocks; ++b)
    for (int64_t i = col * kUnits; i < col_end * kUnits; i += kWidth) store(to + b * m.block + i, F32(0.0f));
}

#if JX_LEVEL >= 3
// Columns [begin, end) of a phase hold pixels, the others padding; x is the address of column 0.
JX_INLINE void copy_pairs(const BlockMap& m, const bf16* x, int64_t step, int64_t begin, int64_t end,
                          float* to) {
  for (int64_t b = 0; b < m.blocks; ++b, to += m.block) {
    const int n = b + 1 < m.blocks ? kUnits : m.last;
    VU first{};
    if (begin == 0 && end > 0) first = PixelPairs::channels(x + b * kUnits, n);
    for (int64_t q = 0; q < m.cols; ++q) {
      VU second{};
      if (q + 1 >= begin && q + 1 < end) second = PixelPairs::channels(x + (q + 1) * step + b * kUnits, n);
      PixelPairs::join(to + q * kUnits, first, second);
      first = second;
    }
  }
}
#endif

// One row of x (null: padding) into all phases of one block row; `first` is the position of column 0, phase
// 0.
template <class M>
[[gnu::always_inline]] static inline void copy_row(const ConvGeometry& g, const BlockMap& m,
                                                   const typename M::Input* x, int64_t first, float* to) {
  const int64_t step = g.in_step[2], pixel = g.groups * g.in_group;
  for (int64_t f = 0; f < m.phases; ++f, to += m.phase) {
    const int64_t at = first + f;
    int64_t begin = at < 0 ? (-at + step - 1) / step : 0, end = (g.in[2] - at + step - 1) / step;
    if (end > m.cols) end = m.cols;
    if (end < 0 || !x) end = 0;
    if (begin > end) begin = end;
    if constexpr (M::kPixels == 2) {
      copy_pairs(m, x + at * pixel, step * pixel, begin, end, to);
    } else {
      zero_columns(to, m, 0, begin);
      for (int64_t q = begin; q < end; ++q) {
        const typename M::Input* from = x + (at + q * step) * pixel;
        float* unit = to + q * kUnits;
        for (int64_t b = 0; b + 1 < m.blocks; ++b, unit += m.block, from += M::kChannels)
          M::copy(unit, from, M::kChannels);
        M::copy(unit, from, m.last);
      }
      zero_columns(to, m, end, m.cols);
    }
  }
}

// Channels from `x` on (its address is that of the first channel wanted in pixel 0 of image 0).
template <class M>
static void fill_block(const ConvGeometry& g, const ConvTask& t, const BlockMap& m,
                       const typename M::Input* x, float* block) {
  const int64_t pixel = g.groups * g.in_group;
  for (int64_t n = t.image; n < t.image_end; ++n)
    for (int64_t p = 0; p < m.planes; ++p) {
      const int64_t d = t.d * g.in_step[0] + g.tap_min[0] + p;
      for (int64_t r = 0; r < m.rows; ++r) {
        if (r % g.in_step[1] > g.tap_span[1]) continue;  // between the windows of a stride beyond the kernel
        const int64_t h = t.row * g.in_step[1] + g.tap_min[1] + r;
        const bool inside = d >= 0 && d < g.in[0] && h >= 0 && h < g.in[1];
        const typename M::Input* row =
            inside ? x + ((n * g.in[0] + d) * g.in[1] + h) * g.in[2] * pixel : nullptr;
        copy_row<M>(g, m, row, t.col * g.in_step[2] + g.tap_min[2],
                    block + (n - t.image) * m.image + p * m.plane + r * m.row);
      }
    }
}

// Fetches the memory of the next task into the second cache, a little with each register tile: copying it
// then need not wait. Rows of `stride` bytes, of which the first `bytes` are wanted.
struct Ahead {
  const char *at = nullptr, *end = nullptr;
  int64_t stride = 64, bytes = 64, rows = 0;  // rows per call of next()

  [[gnu::always_inline]] void next() {
    for (int64_t r = 0; r < rows && at < end; ++r, at += stride)
      for (int64_t b = 0; b < bytes; b += 64) __builtin_prefetch(at + b, 0, 2);
  }
};

// Channels [c, c + channels) of x under a task, to be fetched in `calls` calls; nothing where they are not
// one run of pixels.
template <class T>
[[gnu::always_inline]] static inline Ahead ahead_of_x(const ConvGeometry& g, const T* x, const ConvTask& t,
                                                      int64_t c, int64_t channels, int64_t calls) {
  if (g.in[0] > 1 || (t.col_end - t.col < g.out[2] && g.in[1] > 1)) return {};
  const auto first = [&](int axis, int64_t j) {
    const int64_t i = j * g.in_step[axis] + g.tap_min[axis];
    return i < 0 ? 0 : i;
  };
  const auto last = [&](int axis, int64_t j) {
    const int64_t i = j * g.in_step[axis] + g.tap_min[axis] + g.tap_span[axis];
    return i < g.in[axis] ? i : g.in[axis] - 1;
  };
  const int64_t pixel = g.groups * g.in_group,
                begin = (t.image * g.in[1] + first(1, t.row)) * g.in[2] + first(2, t.col),
                end = ((t.image_end - 1) * g.in[1] + last(1, t.row_end - 1)) * g.in[2] +
                      last(2, t.col_end - 1) + 1;
  Ahead a;
  const int64_t size = sizeof(T);
  a.at = reinterpret_cast<const char*>(x + begin * pixel + c);
  a.end = reinterpret_cast<const char*>(x + end * pixel);
  if (channels < pixel && channels * size >= 64) {
    a.stride = pixel * size;
    a.bytes = channels * size;
  }
  a.rows = ((a.end - a.at) / a.stride + calls) / calls;
  return a;
}

// Address of the pixel that a tap sees from output position (d, h, w) of image n; null in the padding.
template <class T>
[[gnu::always_inline]] static inline const T* pixel_under(const ConvGeometry& g, const T* x,
                                                          const ConvTap& tap, int64_t n, int64_t d, int64_t h,
                                                          int64_t w) {
  const int64_t z = d * g.in_step[0] + tap.offset[0], i = h * g.in_step[1] + tap.offset[1],
                j = w * g.in_step[2] + tap.offset[2];
  if (z < 0 || z >= g.in[0] || i < 0 || i >= g.in[1] || j < 0 || j >= g.in[2]) return nullptr;
  return x + (((n * g.in[0] + z) * g.in[1] + i) * g.in[2] + j) * g.groups * g.in_group;
}

}  // namespace juxta::JX_ISA

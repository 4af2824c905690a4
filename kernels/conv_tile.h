#pragma once
// Register tiles of the tap convolution: rows x pixels x vectors of output channels stay in registers while
// the taps and channels go by. One step multiplies `pixels` broadcast units with `vectors` registers of
// weights.
#include "kernels/conv_block.h"

namespace juxta::JX_ISA {

template <class T>
struct ConvTile {
  const float* a[4];      // the block at the first pixel, per row
  T* y[4];                // the first output channel of the first pixel, per row
  const float* w;         // [channel block][tap][unit][vectors * kWidth]
  const int64_t* offset;  // per tap, into the block
  int64_t taps, blocks, block_stride;
  int64_t tap, tap_end;  // the taps that see more than padding
  int last_units;        // of the last channel block; the others have kUnits
  int64_t y_pixel;       // elements of y between pixels
  const float* bias;     // of these output channels, or null
  int lanes;             // output channels to store, <= vectors * kWidth
  float* partial;        // sums between calls [rows * pixels][vectors * kWidth]; null: one call does it all
  bool resume, finish;   // with partial: start from it; store y rather than it
  const TapConv<T>* epilogue;  // whose epilogue the sums go through; null: none
};

// Register budget: 28 of 32 with AVX-512, 12 of 16 otherwise; one more vector per operand must fit.
inline constexpr int kAccumulators = JX_LEVEL >= 2 ? 28 : 12;
inline constexpr int kTilePixels = JX_LEVEL >= 2 ? 16 : 12;
// Most pixels of a row in a tile of V vectors and R rows.
template <int V, int R>
inline constexpr int kMostPixels = kAccumulators / (V * R) < kTilePixels / R ? kAccumulators / (V * R)
                                                                             : kTilePixels / R;

// y of `pixels` pixels from each of `rows` rows, from sums [rows * pixels][V * kWidth]. A loop, not unrolled
// and shared by the shapes: it takes the place of a thousand instructions in each, for one pass through L1.
template <class T, int V>
[[gnu::noinline]] static void put_tile(const ConvTile<T>& t, const float* sums, int rows, int pixels) {
  for (int v = 0; v < V; ++v) {
    const auto put_lanes = [&](int n) __attribute__((always_inline)) {
      const F32 bias = t.bias ? load_part(t.bias + v * kWidth, n) : F32(0.0f);
      const float* from = sums + v * kWidth;
      for (int r = 0; r < rows; ++r) {
        T* to = t.y[r] + v * kWidth;
        for (int q = 0; q < pixels; ++q, from += V * kWidth, to += t.y_pixel) {
          const F32 z = load(from) + bias;
          if (t.epilogue)
            put_epilogue(t.epilogue->epilogue, t.epilogue->y, to - t.epilogue->y, z, n);
          else
            store_part(to, z, n);
        }
      }
    };
    const int left = t.lanes - v * kWidth;
    if (left >= kWidth)
      put_lanes(kWidth);
    else if (left > 0)
      put_lanes(left);
  }
}

template <class T, int V, int R, int P>
[[gnu::always_inline]] static inline void finish_tile(const ConvTile<T>& t, F32 (&acc)[R * P * V]) {
  if (t.lanes == V * kWidth && !t.partial && !t.epilogue) {
    F32 bias[V];
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) bias[v] = t.bias ? load(t.bias + v * kWidth) : F32(0.0f);
#pragma GCC unroll 32
    for (int i = 0; i < R * P; ++i)
#pragma GCC unroll 4
      for (int v = 0; v < V; ++v)
        store(t.y[i / P] + i % P * t.y_pixel + v * kWidth, acc[i * V + v] + bias[v]);
    return;
  }
  alignas(64) float sums[R * P * V * kWidth];
  float* to = t.partial ? t.partial : sums;
#pragma GCC unroll 32
  for (int i = 0; i < R * P * V; ++i) store(to + i * kWidth, acc[i]);
  if (!t.partial || t.finish) put_tile<T, V>(t, to, R, P);
}

template <class M, int V, int R, int P>
static void conv_tile(const ConvTile<typename M::Input>& t) {
  F32 acc[R * P * V];
#pragma GCC unroll 32
  for (int i = 0; i < R * P * V; ++i)
    acc[i] = t.partial && t.resume ? load(t.partial + i * kWidth) : F32(0.0f);
  for (int64_t b = 0; b < t.blocks; ++b) {
    const int units = b + 1 < t.blocks ? kUnits : t.last_units;
    const float* w = t.w + (b * t.taps * kUnits + t.tap * units) * V * kWidth;
    for (int64_t tap = t.tap; tap < t.tap_end; ++tap) {
      const int64_t at = b * t.block_stride + t.offset[tap];
      for (int k = 0; k < units; ++k, w += V * kWidth) {
        F32 weight[V];
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) weight[v] = load(w + v * kWidth);
#pragma GCC unroll 32
        for (int i = 0; i < R * P; ++i) {
          const F32 a(t.a[i / P][at + k + i % P * kUnits]);
#pragma GCC unroll 4
          for (int v = 0; v < V; ++v) acc[i * V + v] = M::mul_add(a, weight[v], acc[i * V + v]);
        }
      }
    }
  }
  finish_tile<typename M::Input, V, R, P>(t, acc);
}

template <class T>
using ConvTileFn = void (*)(const ConvTile<T>&);

// The tile of `pixels` pixels, 1 <= pixels <= kMostPixels<V, R>.
template <class M, int V, int R, int P = kMostPixels<V, R>>
[[gnu::always_inline]] static inline ConvTileFn<typename M::Input> pick_tile(int pixels) {
  if constexpr (P > 1)
    if (pixels < P) return pick_tile<M, V, R, P - 1>(pixels);
  return conv_tile<M, V, R, P>;
}

}  // namespace juxta::JX_ISA

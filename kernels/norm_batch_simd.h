#pragma once
// What batch norm's kernels on vectors share: norm_batch.simd.cpp and norm_batch_grad.simd.cpp include it,
// and their entries stand in the tables of norm.simd.cpp. Two files, because they take the compiler longest
// of all.
//
// Channels are the lanes. Where all channels fit four vectors, their constants and sums stay in registers
// while the rows stream by. Otherwise ("wide") they come from L1. Either way memory is read in its own order:
// walking down the columns of a large matrix costs more than half of the bandwidth.
#include "kernels/norm_batch_entries.h"
#include "kernels/simd.h"

#define JX_INLINED __attribute__((always_inline))

namespace juxta::JX_ISA {

namespace {

template <int N>
struct Vectors {
  static constexpr int count = N;
};

JX_INLINE bool wide(int64_t channels) { return channels > 4 * kWidth; }

// Calls f(Vectors<V>, c, n) for V = 4, 2 or 1 vectors of channels; n lanes of each exist. Not for wide rows.
template <class F>
[[gnu::always_inline]] inline void for_channels(int64_t channels, F f) {
  if (channels == 4 * kWidth) return f(Vectors<4>{}, int64_t{0}, kWidth);
  const int64_t pair = 2 * kWidth <= channels ? 2 * kWidth : 0;
  if (pair) f(Vectors<2>{}, int64_t{0}, kWidth);
  for_lanes(channels - pair, [&](int64_t i, int n) JX_INLINED { f(Vectors<1>{}, pair + i, n); });
}

// Calls f(begin, end) for blocks of rows of about 8 KiB: L1 holds them for the next vectors of channels.
template <class T, class F>
[[gnu::always_inline]] inline void for_row_blocks(int64_t begin, int64_t end, int64_t channels, F f) {
  const int64_t step = 8192 / (channels * static_cast<int64_t>(sizeof(T)));
  for (int64_t r = begin; r < end; r += step) f(r, end - r < step ? end : r + step);
}

// Calls element(constants, k, i, n) for every vector of the rows: i is its first element and k its place in
// constants = make(Vectors<V>, group, c, n), which stand for V vectors of channels from c on.
template <class T, class Make, class Element>
[[gnu::always_inline]] inline void for_elements(const BatchRows& s, int64_t row, int64_t row_end, Make make,
                                                Element element) {
  const int64_t C = s.channels, per = s.group_rows();
  while (row < row_end) {
    const int64_t group = row / per, last = (group + 1) * per, end = last < row_end ? last : row_end;
    if (wide(C)) {
      for (int64_t r = row; r < end; ++r)
        for_lanes(C, [&](int64_t c, int n)
                         JX_INLINED { element(make(Vectors<1>{}, group, c, n), 0, r * C + c, n); });
    } else {
      for_row_blocks<T>(row, end, C, [&](int64_t begin, int64_t block_end) JX_INLINED {
        for_channels(C, [&](auto vectors, int64_t c, int n) JX_INLINED {
          const auto constants = make(vectors, group, c, n);
          for (int64_t r = begin; r < block_end; ++r) {
#pragma GCC unroll 4
            for (int k = 0; k < decltype(vectors)::count; ++k)
              element(constants, k, r * C + c + k * kWidth, n);
          }
        });
      });
    }
    row = end;
  }
}

// Two sums per channel over the rows of a chunk, into sum_a and sum_b [C]. make(Vectors<V>, c, n) gives
// constants; add(constants, k, i, n, a, b) adds one vector's share. Independent chains of additions hide
// their latency, and sums of few rows are added to the totals, which also keeps digits. When wide, `side`
// rows go side by side, so that their sums touch the totals once.
template <class T, int side, class Make, class Add>
[[gnu::always_inline]] inline void sum_rows(int64_t begin, int64_t end, int64_t channels, float* sum_a,
                                            float* sum_b, Make make, Add add) {
  const auto put = [&](bool first, int64_t c, int n, F32 a, F32 b) JX_INLINED {
    store_part(sum_a + c, first ? a : load_part(sum_a + c, n) + a, n);
    store_part(sum_b + c, first ? b : load_part(sum_b + c, n) + b, n);
  };
  if (wide(channels)) {
    const auto some_rows = [&](auto rows, int64_t r) JX_INLINED {
      for_lanes(channels, [&](int64_t c, int n) JX_INLINED {
        const auto constants = make(Vectors<1>{}, c, n);
        F32 a(0.0f), b(0.0f);
#pragma GCC unroll 4
        for (int q = 0; q < decltype(rows)::count; ++q) add(constants, 0, (r + q) * channels + c, n, a, b);
        put(r == begin, c, n, a, b);
      });
    };
    int64_t r = begin;
    for (; r + side <= end; r += side) some_rows(Vectors<side>{}, r);
    for (; r < end; ++r) some_rows(Vectors<1>{}, r);
    return;
  }
  for_row_blocks<T>(begin, end, channels, [&](int64_t first, int64_t last) JX_INLINED {
    for_channels(channels, [&](auto vectors, int64_t c, int n) JX_INLINED {
      constexpr int V = decltype(vectors)::count, R = 4 / V;
      const auto constants = make(vectors, c, n);
      F32 a[4], b[4];
      for (int k = 0; k < 4; ++k) a[k] = b[k] = F32(0.0f);
      int64_t r = first;
      for (; r + R <= last; r += R) {
#pragma GCC unroll 4
        for (int k = 0; k < 4; ++k)
          add(constants, k % V, (r + k / V) * channels + c + k % V * kWidth, n, a[k], b[k]);
      }
      for (; r < last; ++r) {
#pragma GCC unroll 4
        for (int k = 0; k < V; ++k) add(constants, k, r * channels + c + k * kWidth, n, a[k], b[k]);
      }
#pragma GCC unroll 4
      for (int k = 0; k < V; ++k) {
        for (int row = 1; row < R; ++row) a[k] += a[k + row * V], b[k] += b[k + row * V];
        put(first == begin, c + k * kWidth, n, a[k], b[k]);
      }
    });
  });
}

// V vectors of per-channel constants; `fallback` where the pointer is null.
template <int V>
struct PerChannel {
  F32 v[V];
  template <class T>
  [[gnu::always_inline]] PerChannel(const T* p, int64_t c, int n, float fallback = 0.0f) {
    for (int k = 0; k < V; ++k) v[k] = p ? load_part(p + c + k * kWidth, n) : F32(fallback);
  }
};

// What turns x into act's argument: z = (x - mean) scale + bias.
template <int V>
struct BatchAffine {
  PerChannel<V> mean, scale, bias;
  template <class Args>
  [[gnu::always_inline]] BatchAffine(const Args& a, int64_t group, int64_t c, int n)
      : mean(a.mean + group * a.shape.channels, c, n),
        scale(a.rstd + group * a.shape.channels, c, n),
        bias(a.bias, c, n) {
    for (int k = 0; k < V && a.weight; ++k) scale.v[k] *= load_part(a.weight + c + k * kWidth, n);
  }
  [[gnu::always_inline]] F32 z(int k, F32 x) const { return fma(x - mean.v[k], scale.v[k], bias.v[k]); }
};

}  // namespace
}  // namespace juxta::JX_ISA

#pragma once
// Batch norm on vectors; formulas in norm_batch.h. Included by norm.simd.cpp only.
//
// Channels are the lanes. Where all channels fit four vectors, their constants and sums stay in registers
// while the rows stream by. Otherwise ("wide") they come from L1. Either way memory is read in its own order:
// walking down the columns of a large matrix costs more than half of the bandwidth.
#include "kernels/norm_batch.h"
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

template <class T>
void batch_moments(const BatchMoments<T>& a, int64_t chunk, int64_t chunk_end) {
  const int64_t C = a.shape.channels;
  for (int64_t k = chunk; k < chunk_end; ++k) {
    const int64_t begin = a.shape.chunk_begin(k), end = a.shape.chunk_end(k);
    const T* first = a.x + begin * C;
    float *mean = a.mean + k * C, *m2 = a.m2 + k * C;
    const auto make = [&](auto vectors, int64_t c, int n)
                          JX_INLINED { return PerChannel<decltype(vectors)::count>(first, c, n); };
    sum_rows<T, 4>(begin, end, C, mean, m2, make,
                   [&](const auto& shift, int j, int64_t i, int n, F32& sum, F32& square) JX_INLINED {
                     const F32 d = load_part(a.x + i, n) - shift.v[j];
                     sum += d;
                     square = fma(d, d, square);
                   });
    const F32 inv_n(1.0f / static_cast<float>(end - begin));
    for_lanes(C, [&](int64_t c, int n) {
      const F32 sum = load_part(mean + c, n), shifted = sum * inv_n;
      store_part(mean + c, load_part(first + c, n) + shifted, n);
      store_part(m2 + c, load_part(m2 + c, n) - sum * shifted, n);
    });
  }
}

void batch_combine(const BatchCombine<float>& a, int64_t channel, int64_t channel_end) {
  const int64_t C = a.shape.channels, per = a.shape.chunks_per_group();
  const F32 keep(static_cast<float>(1.0 - a.momentum)), take(static_cast<float>(a.momentum));
  for_lanes(channel_end - channel, [&](int64_t at, int lanes) {
    const int64_t c = channel + at;
    for (int64_t group = 0; group < a.shape.groups; ++group) {
      float n = 0;
      F32 mean(0.0f), m2(0.0f);
      for (int64_t k = group * per; a.part_mean && k < (group + 1) * per; ++k) {
        const float nk = static_cast<float>(a.shape.chunk_end(k) - a.shape.chunk_begin(k)), total = n + nk;
        const F32 delta = load_part(a.part_mean + k * C + c, lanes) - mean;
        mean = fma(delta, F32(nk / total), mean);
        m2 = m2 + fma(delta * delta, F32(n * (nk / total)), load_part(a.part_m2 + k * C + c, lanes));
        n = total;
      }
      m2 = max(F32(0.0f), m2);  // NaN passes
      if (!a.part_mean) mean = load_part(a.running_mean + c, lanes);
      const F32 var = a.part_mean ? m2 / F32(n) : load_part(a.running_var + c, lanes);
      store_part(a.mean + group * C + c, mean, lanes);
      store_part(a.rstd + group * C + c, F32(1.0f) / sqrt(var + F32(static_cast<float>(a.eps))), lanes);
      if (!a.part_mean || !a.running_mean) continue;
      float *rm = a.running_mean + c, *rv = a.running_var + c;
      store_part(rm, fma(keep, load_part(rm, lanes), take * mean), lanes);
      store_part(rv, fma(keep, load_part(rv, lanes), take * (m2 / F32(n - 1.0f))), lanes);
    }
  });
}

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

template <bool relu, bool residual, class T>
[[gnu::always_inline]] inline void batch_apply_as(const BatchApply<T>& a, int64_t row, int64_t row_end) {
  const auto make = [&](auto vectors, int64_t group, int64_t c, int n)
                        JX_INLINED { return BatchAffine<decltype(vectors)::count>(a, group, c, n); };
  for_elements<T>(a.shape, row, row_end, make, [&](const auto& affine, int k, int64_t i, int n) JX_INLINED {
    F32 v = affine.z(k, load_part(a.x + i, n));
    if (residual) v += load_part(a.residual + i, n);
    if (relu) v = max(F32(0.0f), v);  // NaN passes
    store_part(a.y + i, v, n);
  });
}

template <class T>
void batch_apply(const BatchApply<T>& a, int64_t row, int64_t row_end) {
  if (a.relu && a.residual) return batch_apply_as<true, true>(a, row, row_end);
  if (a.relu) return batch_apply_as<true, false>(a, row, row_end);
  if (a.residual) return batch_apply_as<false, true>(a, row, row_end);
  batch_apply_as<false, false>(a, row, row_end);
}

// Where relu's mask comes from.
enum class BatchMask { none, from_x, from_y };

template <BatchMask mask, int V, class Args>
JX_INLINE F32 batch_g(const Args& a, const BatchAffine<V>& affine, int k, int64_t i, F32 x, int n) {
  const F32 g = load_part(a.dy + i, n), zero(0.0f);
  if (mask == BatchMask::none) return g;
  return select((mask == BatchMask::from_x ? affine.z(k, x) : load_part(a.y + i, n)) > zero, g, zero);
}

template <BatchMask mask, class T>
[[gnu::always_inline]] inline void batch_grad_sums_as(const BatchGradSums<T>& a, int64_t chunk,
                                                      int64_t chunk_end) {
  const int64_t C = a.shape.channels;
  for (int64_t q = chunk; q < chunk_end; ++q) {
    const int64_t group = q / a.shape.chunks_per_group();
    float *sum_g = a.sum_g + q * C, *sum_gx = a.sum_gx + q * C;
    const auto make = [&](auto vectors, int64_t c, int n)
                          JX_INLINED { return BatchAffine<decltype(vectors)::count>(a, group, c, n); };
    constexpr int kSide = sizeof(T) == 4 ? 1 : 4;  // eight streams of whole rows halve the bandwidth
    sum_rows<T, kSide>(a.shape.chunk_begin(q), a.shape.chunk_end(q), C, sum_g, sum_gx, make,
                       [&](const auto& affine, int k, int64_t i, int n, F32& sum, F32& dot) JX_INLINED {
                         const F32 x = load_part(a.x + i, n), g = batch_g<mask>(a, affine, k, i, x, n);
                         sum += g;
                         dot = fma(g, x - affine.mean.v[k], dot);
                       });
    for_lanes(C, [&](int64_t c, int n) {
      store_part(sum_gx + c, load_part(sum_gx + c, n) * load_part(a.rstd + group * C + c, n), n);
    });
  }
}

template <class T>
void batch_grad_sums(const BatchGradSums<T>& a, int64_t chunk, int64_t chunk_end) {
  if (!a.relu) return batch_grad_sums_as<BatchMask::none>(a, chunk, chunk_end);
  if (a.y) return batch_grad_sums_as<BatchMask::from_y>(a, chunk, chunk_end);
  batch_grad_sums_as<BatchMask::from_x>(a, chunk, chunk_end);
}

// dx = scale (g - mean_g - (x - mean) slope), slope = rstd mean(g xhat); in evaluation mean_g = slope = 0.
template <int V>
struct BatchSlope {
  BatchAffine<V> affine;
  PerChannel<V> mean_g, slope;
  template <class T>
  [[gnu::always_inline]] BatchSlope(const BatchGrad<T>& a, F32 inv, int64_t group, int64_t c, int n)
      : affine(a, group, c, n),
        mean_g(a.sum_g ? a.sum_g + group * a.shape.channels : nullptr, c, n),
        slope(a.sum_g ? a.sum_gx + group * a.shape.channels : nullptr, c, n) {
    for (int k = 0; k < V; ++k) {
      mean_g.v[k] *= inv;
      slope.v[k] *= inv * load_part(a.rstd + group * a.shape.channels + c + k * kWidth, n);
    }
  }
};

template <BatchMask mask, class T>
[[gnu::always_inline]] inline void batch_grad_as(const BatchGrad<T>& a, int64_t row, int64_t row_end) {
  const F32 inv(1.0f / static_cast<float>(a.shape.group_rows()));
  const auto make = [&](auto vectors, int64_t group, int64_t c, int n)
                        JX_INLINED { return BatchSlope<decltype(vectors)::count>(a, inv, group, c, n); };
  for_elements<T>(a.shape, row, row_end, make, [&](const auto& s, int k, int64_t i, int n) JX_INLINED {
    const F32 x = load_part(a.x + i, n), g = batch_g<mask>(a, s.affine, k, i, x, n);
    if (a.dresidual) store_part(a.dresidual + i, g, n);
    if (!a.dx) return;
    const F32 d = (g - s.mean_g.v[k]) - (x - s.affine.mean.v[k]) * s.slope.v[k];
    store_part(a.dx + i, d * s.affine.scale.v[k], n);
  });
}

template <class T>
void batch_grad(const BatchGrad<T>& a, int64_t row, int64_t row_end) {
  if (!a.relu) return batch_grad_as<BatchMask::none>(a, row, row_end);
  if (a.y) return batch_grad_as<BatchMask::from_y>(a, row, row_end);
  batch_grad_as<BatchMask::from_x>(a, row, row_end);
}

}  // namespace
}  // namespace juxta::JX_ISA

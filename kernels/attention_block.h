#pragma once
// Blocks of attention on vectors: what happens to one tile of scores. Included by attention.simd.cpp only.
//
// A tile holds the scores of a few keys (rows) and kLanes queries (one per lane): maxima, sums and lse of a
// query stay within its lane, so softmax needs no sum across a register. The tile is then an operand of the
// next product where it lies: with k = keys (out, dq) its word (query, key) is at [key kLanes + query], with
// k = queries (dk, dv) its word (key, query) at the same place with the two strides swapped. Where bf16 dot
// products take pairs along k, one of the two passes below makes the pairs.
//
// Scores are in units of log 2 within this file: 2^x costs less than e^x.
#include "kernels/attention.h"
#include "kernels/gemm_core.h"
#include "kernels/simd_math.h"

namespace juxta::JX_ISA {

inline constexpr int kLanes = kNR;  // queries per block
inline constexpr float kLn2 = 0.693147181f;

// A block of n <= kLanes queries from q0 on, of one batch item and head. V registers hold its lanes.
struct QueryBlock {
  int64_t b, h, q0;
  int n;
};

// 2^x for x <= 0 (and a little above, by rounding). Error <= 1.5 ulp; 0 below 2^-126; keeps NaN.
JX_INLINE F32 exp2_negative(F32 x) {
  const F32 c = max(F32(-127.0f), x);  // x when x is NaN
  const F32 n = round(c), r = (c - n) * F32(kLn2);
  const F32 q = polynomial(r, {0.499999881f, 0.166665182f, 0.0416695327f, 0.00836891588f, 0.00137514074f});
  const F32 e = fma(q * r, r, r) + F32(1.0f);
  const VU shifted = __builtin_bit_cast(VU, e.v) + (__builtin_bit_cast(VU, to_int(n)) << 23);
  return select(x < F32(-126.0f), F32(0.0f), from_bits(__builtin_bit_cast(VI, shifted)));
}

// ---- packing

// Rows of x [rows, D] as panels of A with k = D.
template <class T>
static void pack_rows_of(Word* to, const T* x, int64_t stride, int64_t rows, int64_t D) {
  for (int64_t r = 0; r < rows; r += kMR, to += panel_steps<T>(D) * kMR)
    pack_a<T>(to, x + r * stride, stride, 1, static_cast<int>(rows - r < kMR ? rows - r : kMR), D);
}
// Columns of x [rows, D] as panels of B with k = rows.
template <class T>
static void pack_columns_of(Word* to, const T* x, int64_t stride, int64_t rows, int64_t D) {
  for (int64_t d = 0; d < D; d += kNR, to += panel_steps<T>(rows) * kNR)
    pack_b<T>(to, x + d, 1, stride, static_cast<int>(D - d < kNR ? D - d : kNR), rows);
}

// ---- products

// The element type that a micro-kernel is made for: unpaired words are floats whatever they came from, so f32
// and bf16 share the code.
template <class T, int kWords = kPair<T>>
struct KernelOf {
  using type = float;
};
template <class T>
struct KernelOf<T, 2> {
  using type = T;
};

// s[key, query] = x_key . y_query: panels of A from the keys, one panel of B from the queries.
template <class T>
static void multiply_to_tile(const Word* keys_a, const Word* queries_b, int64_t steps, int64_t keys, int n,
                             float* s) {
  for (int64_t r = 0; r < keys; r += kMR)
    gemm_tile<typename KernelOf<T>::type>(keys_a + r * steps, queries_b, steps,
                                          static_cast<int>(keys - r < kMR ? keys - r : kMR), n,
                                          s + r * kLanes, kLanes, false);
}

// out[rows, cols] (+)= A B for words of A in place; B's panels are `panel` words apart. Rows are dealt out
// evenly: three tiles of 11 run faster than two of 14 and one of 4.
template <class T, int kRow, int kStep>
static void multiply_words(const Word* a, int64_t rows, const Word* b, int64_t panel, int64_t steps,
                           int64_t cols, float* out, int64_t ld, bool accumulate) {
  const int64_t groups = (rows + kMR - 1) / kMR;
  for (int64_t c = 0; c < cols; c += kNR, b += panel) {
    for (int64_t g = 0; g < groups; ++g) {
      const int64_t r = rows * g / groups, end = rows * (g + 1) / groups;
      gemm_tile_words_a<typename KernelOf<T>::type, kRow, kStep>(
          a + r * kRow, b, steps, static_cast<int>(end - r),
          static_cast<int>(cols - c < kNR ? cols - c : kNR), out + r * ld + c, ld, accumulate);
    }
  }
}

// The tile as words of A with k = keys; `to` has room for half a tile.
template <class T, int V>
JX_INLINE const Word* words_along_keys(const float* s, [[maybe_unused]] int64_t keys, Word* to) {
  if constexpr (kPair<T> == 1) return s;
#if JX_LEVEL >= 3
  for (int64_t k = 0; k < keys; k += 2) {
    for (int v = 0; v < V; ++v) {
      const F32 even = load(s + k * kLanes + v * kWidth);
      const F32 odd = k + 1 < keys ? load(s + (k + 1) * kLanes + v * kWidth) : F32(0.0f);
      const VH low = reinterpret_cast<VH>(_mm512_cvtneps_pbh(even.v));
      const VH high = reinterpret_cast<VH>(_mm512_cvtneps_pbh(odd.v));
      store(to + k / 2 * kLanes + v * kWidth, pair_words(low, high));
    }
  }
#endif
  return to;
}

// The tile as words of A with k = queries, kLanes / kPair words per key.
template <class T, int V>
JX_INLINE const Word* words_along_queries(const float* s, [[maybe_unused]] int64_t keys, Word* to) {
  if constexpr (kPair<T> == 1) return s;
#if JX_LEVEL >= 3
  for (int64_t k = 0; k < keys; ++k) {
    const F32 low = load(s + k * kLanes), high = V == 2 ? load(s + k * kLanes + kWidth) : F32(0.0f);
    const __m512bh both = _mm512_cvtne2ps_pbh(high.v, low.v);
    __builtin_memcpy(to + k * (kLanes / 2), &both, sizeof both);
  }
#endif
  return to;
}

// ---- tiles and rows [query, key] in memory

// to[query, key] = s[key, query], or += when `add`.
template <int V>
static void store_transposed(const float* s, int64_t keys, int n, float* to, int64_t stride, bool add) {
  for (int v = 0; v < V; ++v) {
    for (int64_t k = 0; k < keys; k += kWidth) {
      const int count = static_cast<int>(keys - k < kWidth ? keys - k : kWidth);
      F32 x[kWidth];
#pragma GCC unroll 16
      for (int i = 0; i < kWidth; ++i) x[i] = i < count ? load(s + (k + i) * kLanes + v * kWidth) : F32(0.0f);
      transpose(x);
      for (int i = 0; i < kWidth && v * kWidth + i < n; ++i) {
        float* p = to + (v * kWidth + i) * stride + k;
        store_part(p, add ? x[i] + load_part(p, count) : x[i], count);
      }
    }
  }
}

// s[key, query] = from[query, key]; 0 in lanes without a query.
template <int V>
static void load_transposed(float* s, int64_t keys, int n, const float* from, int64_t stride) {
  for (int v = 0; v < V; ++v) {
    for (int64_t k = 0; k < keys; k += kWidth) {
      const int count = static_cast<int>(keys - k < kWidth ? keys - k : kWidth);
      F32 x[kWidth];
#pragma GCC unroll 16
      for (int i = 0; i < kWidth; ++i)
        x[i] = v * kWidth + i < n ? load_part(from + (v * kWidth + i) * stride + k, count) : F32(0.0f);
      transpose(x);
      for (int i = 0; i < count; ++i) store(s + (k + i) * kLanes + v * kWidth, x[i]);
    }
  }
}

// ---- which scores count, and what is added to them

// Visible keys per lane; queries see more and more of them.
struct Visible {
  F32 limit[2];
  int64_t lowest, highest;
};
template <class T>
JX_INLINE Visible visible_keys(const ScoreRule<T>& r, const QueryBlock& at) {
  float limit[kLanes];
  for (int i = 0; i < kLanes; ++i)
    limit[i] = static_cast<float>(r.limit(at.b, at.q0 + (i < at.n ? i : at.n - 1)));
  return {{load(limit), load(limit + kWidth)}, r.limit(at.b, at.q0), r.limit(at.b, at.q0 + at.n - 1)};
}

using VB = uint8_t __attribute__((vector_size(kWidth)));
JX_INLINE Mask load_mask(const bool* p, int n) {
  VB m{};
  if (n == kWidth)
    __builtin_memcpy(&m, p, sizeof m);
  else
    for (int i = 0; i < n && i < kWidth; ++i) m[i] = p[i];
  return {__builtin_convertvector(m, VI) != 0};
}

// s = s scale + bias, or -inf where the mask is false: rows of both are read across lanes.
template <int V, class T>
static void add_bias_and_mask(const ScoreRule<T>& r, const QueryBlock& at, int64_t key, int64_t keys,
                              F32 scale, float* s) {
  const int64_t first = at.q0 * r.Tk + key;
  const float* bias = r.bias ? r.bias + at.b * r.bias_batch + at.h * r.bias_head + first : nullptr;
  const bool* mask = r.mask ? r.mask + at.b * r.mask_batch + at.h * r.mask_head + first : nullptr;
  for (int v = 0; v < V; ++v) {
    for (int64_t k = 0; k < keys; k += kWidth) {
      const int count = static_cast<int>(keys - k < kWidth ? keys - k : kWidth);
      F32 x[kWidth];
      for (int i = 0; i < kWidth; ++i) {
        x[i] = F32(0.0f);
        const int64_t row = (v * kWidth + i) * r.Tk + k;
        if (v * kWidth + i >= at.n) continue;
        if (bias) x[i] = load_part(bias + row, count) * F32(kLog2E);
        if (mask) x[i] = select(load_mask(mask + row, count), x[i], F32(-kInf));
      }
      transpose(x);
      for (int i = 0; i < count; ++i) {
        float* p = s + (k + i) * kLanes + v * kWidth;
        store(p, fma(load(p), scale, x[i]));
      }
    }
  }
}

// Applies the rule to a fresh tile of dot products. Returns the factor that the caller still has to multiply
// by: the plain case costs no pass over the tile.
template <int V, class T>
JX_INLINE F32 apply_rule(const ScoreRule<T>& r, const QueryBlock& at, const Visible& see, int64_t key,
                         int64_t keys, float* s) {
  F32 factor(static_cast<float>(r.scale * 1.4426950408889634));
  if (r.bias || r.mask) {
    add_bias_and_mask<V>(r, at, key, keys, factor, s);
    factor = F32(1.0f);
  }
  if (key + keys <= see.lowest) return factor;
  for (int64_t k = 0; k < keys; ++k) {
    const F32 j(static_cast<float>(key + k));
    for (int v = 0; v < V; ++v) {
      float* p = s + k * kLanes + v * kWidth;
      store(p, select(j < see.limit[v], load(p) * factor, F32(-kInf)));
    }
  }
  return F32(1.0f);
}

// ---- softmax over the rows of tiles, lane by lane

// Running maximum and sum of 2^(s - maximum).
struct Running {
  F32 high[2] = {F32(-kInf), F32(-kInf)}, sum[2] = {F32(0.0f), F32(0.0f)};
};

// s = 2^(s factor - high); `down` receives the factors for what was summed under the old maximum.
template <int V>
JX_INLINE void softmax_block(float* s, int64_t keys, F32 factor, Running& run, float* down) {
  F32 high[V], sum[V];
  for (int v = 0; v < V; ++v) high[v] = run.high[v], sum[v] = F32(0.0f);
  for (int64_t k = 0; k < keys; ++k)
    for (int v = 0; v < V; ++v) high[v] = max(high[v], load(s + k * kLanes + v * kWidth) * factor);
  for (int v = 0; v < V; ++v) {
    // Nothing but -inf so far: any finite number will do.
    const F32 finite = select(high[v] == F32(-kInf), F32(0.0f), high[v]);
    const F32 scale = exp2_negative(run.high[v] - finite);
    store(down + v * kWidth, scale);
    run.sum[v] = run.sum[v] * scale;
    run.high[v] = high[v];
    high[v] = finite;
  }
  for (int64_t k = 0; k < keys; ++k) {
    for (int v = 0; v < V; ++v) {
      float* p = s + k * kLanes + v * kWidth;
      const F32 e = exp2_negative(fma(load(p), factor, -high[v]));
      sum[v] += e;
      store(p, e);
    }
  }
  for (int v = 0; v < V; ++v) run.sum[v] += sum[v];
}

// 1 / sum, 0 where no key was visible; lse in natural units, +inf there.
JX_INLINE F32 inverse_sum(const Running& run, int v) {
  return select(run.sum[v] == F32(0.0f), F32(0.0f), F32(1.0f) / run.sum[v]);
}
JX_INLINE F32 natural_lse(const Running& run, int v) {
  return select(run.sum[v] == F32(0.0f), F32(kInf), fma(run.high[v], F32(kLn2), log(run.sum[v])));
}

// s = p = 2^(s factor - lse), lse in units of log 2.
template <int V>
JX_INLINE void probabilities(float* s, int64_t keys, F32 factor, const F32 (&lse)[2]) {
  for (int64_t k = 0; k < keys; ++k) {
    for (int v = 0; v < V; ++v) {
      float* p = s + k * kLanes + v * kWidth;
      store(p, exp2_negative(fma(load(p), factor, -lse[v])));
    }
  }
}

// dp becomes ds = p (dp - delta).
template <int V>
JX_INLINE void score_gradients(const float* p, float* dp, int64_t keys, const F32 (&delta)[2]) {
  for (int64_t i = 0; i < keys * kLanes; i += kLanes)
    for (int v = 0; v < V; ++v)
      store(dp + i + v * kWidth, load(p + i + v * kWidth) * (load(dp + i + v * kWidth) - delta[v]));
}

// ---- sums [rows, D] on their way to memory

// Row r times factor[r] (kLanes rows at most), or times `factor[0]` for all rows when `same`.
template <class T>
static void store_rows(const float* x, int64_t ld, int64_t rows, int64_t D, const float* factor, bool same,
                       T* to, int64_t stride) {
  for (int64_t r = 0; r < rows; ++r) {
    const F32 f(factor[same ? 0 : r]);
    for_lanes(D, [&](int64_t d, int n) { store_part(to + r * stride + d, load(x + r * ld + d) * f, n); });
  }
}
template <class T>
static void zero_rows(T* to, int64_t stride, int64_t rows, int64_t D) {
  for (int64_t r = 0; r < rows; ++r)
    __builtin_memset(static_cast<void*>(to + r * stride), 0, static_cast<size_t>(D) * sizeof(T));
}

}  // namespace juxta::JX_ISA

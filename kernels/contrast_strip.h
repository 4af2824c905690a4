#pragma once
// One strip of similarities in cache: masks, exponentials, sums along rows and columns, and the gradient h.
// Included by contrast.simd.cpp only. Row-wise quantities are scalars of the strip's rows, column-wise ones
// vectors; the tile is row major with rows `ld` apart, padded to whole registers.
#include "kernels/contrast.h"
#include "kernels/simd_math.h"

namespace juxta::JX_ISA {

inline constexpr float kHuge = 3.0e38f;  // stands for infinity where inf - inf would give NaN

struct Strip {
  float* tile;
  int64_t ld;
  int rows, cols;
  const float *row_scale, *column_scale;
  const int32_t *row_id, *column_id, *row_want, *column_key, *row_key,
      *column_want;  // null: no such relation
  const uint8_t *mask, *positive_mask;
  const float* positive_weight;
  int64_t mask_stride;
  float margin;  // divided by the row's temperature
  const float* temperature;
  bool row_temperature;
  LseOver over;
  bool same_relation, back, sigmoid;
  const float *row_weight, *column_weight, *row_lse, *column_lse, *row_dpositive, *column_dpositive;
  float* row_dots;  // sums of ds s, or null
};

JX_INLINE Mask first_lanes(int n) { return {lane_numbers() < broadcast_int(n)}; }
JX_INLINE Mask operator~(Mask m) { return {~m.v}; }
JX_INLINE VI load_ints(const int32_t* p, int n) {
  VI v{};
  if (n == kWidth)
    __builtin_memcpy(&v, p, sizeof v);
  else
    for (int i = 0; i < n; ++i) v[i] = p[i];
  return v;
}
// Lanes whose byte is not 0.
JX_INLINE Mask load_bytes(const uint8_t* p, int n) {
  VI v{};
  for (int i = 0; i < n; ++i) v[i] = p[i];
  return {v != 0};
}

// kWidth similarities of row r from column c on, and their roles. Lanes from n on are outside.
struct Lanes {
  F32 s;
  Mask outside;                  // not in the log-sum-exp
  Mask positive, back_positive;  // j of i; i of j
  F32 weight;                    // of positives
};
JX_INLINE Lanes relate(const Strip& s, int r, int c, int n) {
  Lanes x;
  const Mask absent = ~first_lanes(n);
  Mask excluded = absent;
  if (s.row_id) excluded = excluded | Mask{load_ints(s.column_id + c, n) == broadcast_int(s.row_id[r])};
  if (s.mask) excluded = excluded | ~load_bytes(s.mask + r * s.mask_stride + c, n);
  x.positive = Mask{broadcast_int(0)};
  if (s.row_want) x.positive = Mask{load_ints(s.column_key + c, n) == broadcast_int(s.row_want[r])};
  if (s.positive_mask) x.positive = x.positive | load_bytes(s.positive_mask + r * s.mask_stride + c, n);
  x.weight = F32(1.0f);
  if (s.positive_weight) {
    x.weight = load_part(s.positive_weight + r * s.mask_stride + c, n);
    x.positive = x.positive | ~(x.weight == F32(0.0f));
  }
  x.positive = x.positive & ~excluded;
  x.back_positive = x.positive;
  if (!s.same_relation)
    x.back_positive = Mask{load_ints(s.column_want + c, n) == broadcast_int(s.row_key[r])} & ~excluded;
  x.s = load(s.tile + r * s.ld + c) * F32(s.row_scale[r]) * load_part(s.column_scale + c, n);
  if (s.margin != 0.0f)
    x.s = select(x.positive, x.s - F32(s.margin / s.temperature[s.row_temperature ? r : 0]), x.s);
  x.outside = excluded;
  if (s.over == LseOver::negatives) x.outside = excluded | x.positive;
  if (s.over == LseOver::positives) x.outside = ~x.positive;
  return x;
}

// tile: dot products -> similarities (sigmoid: -y s), -inf where outside; adds the sums and counts of
// positives.
[[gnu::noinline]] static void apply_relations(const Strip& s, float* row_positive, float* row_count,
                                              float* column_positive, float* column_count) {
  const F32 zero(0.0f);
  for (int r = 0; r < s.rows; ++r) {
    F32 positive(0.0f), count(0.0f);
    for (int c = 0; c < s.cols; c += kWidth) {
      const Lanes x = relate(s, r, c, s.cols - c < kWidth ? s.cols - c : kWidth);
      const F32 weighted = x.s * x.weight;
      positive += select(x.positive, weighted, zero);
      count += select(x.positive, x.weight, zero);
      if (s.back) {
        store(column_positive + c, load(column_positive + c) + select(x.back_positive, weighted, zero));
        store(column_count + c, load(column_count + c) + select(x.back_positive, x.weight, zero));
      }
      const F32 term = s.sigmoid ? select(x.positive, -x.s, x.s) : x.s;
      store(s.tile + r * s.ld + c, select(x.outside, F32(-kInf), term));
    }
    row_positive[r] += reduce_add(positive);
    row_count[r] += reduce_add(count);
  }
}

// Adds e^s for |s| <= kContrastBound, or log(1 + e^s), along rows and columns. `ready`: the tile holds what
// apply_relations leaves, else dot products.
template <bool ready, bool back, bool sigmoid_term>
[[gnu::noinline]] static void add_exp_rows(const Strip& s, float* row_sum, float* column_sum) {
  const int whole = s.cols / kWidth * kWidth, rest = s.cols - whole;
  for (int r = 0; r < s.rows; ++r) {
    const float* t = s.tile + r * s.ld;
    const F32 scale(s.row_scale[r]);
    F32 sum(0.0f);
    for (int c = 0; c < whole; c += kWidth) {
      const F32 v = ready ? load(t + c) : load(t + c) * scale * load(s.column_scale + c);
      const F32 e = sigmoid_term ? softplus(v) : exp(v);
      sum += e;
      if (back) store(column_sum + c, load(column_sum + c) + e);
    }
    if (rest > 0) {
      const F32 v = ready ? load(t + whole) : load(t + whole) * scale * load_n(s.column_scale + whole, rest);
      const F32 e = keep_first(sigmoid_term ? softplus(v) : exp(v), rest, 0.0f);
      sum += e;
      if (back) store(column_sum + whole, load(column_sum + whole) + e);
    }
    row_sum[r] += reduce_add(sum);
  }
}
template <bool sigmoid_term>
JX_INLINE void add_terms(const Strip& s, bool ready, float* row_sum, float* column_sum) {
  if (ready && s.back) return add_exp_rows<true, true, sigmoid_term>(s, row_sum, column_sum);
  if (ready) return add_exp_rows<true, false, sigmoid_term>(s, row_sum, column_sum);
  if (s.back) return add_exp_rows<false, true, sigmoid_term>(s, row_sum, column_sum);
  add_exp_rows<false, false, sigmoid_term>(s, row_sum, column_sum);
}
JX_INLINE void add_exp(const Strip& s, bool ready, float* row_sum, float* column_sum) {
  if (s.sigmoid) return add_terms<true>(s, ready, row_sum, column_sum);
  add_terms<false>(s, ready, row_sum, column_sum);
}

// The same for similarities of any size, with running maxima. The tile holds similarities.
[[gnu::noinline]] static void add_exp_online(const Strip& s, float* row_max, float* row_sum,
                                             float* column_max, float* column_sum) {
  for (int r = 0; r < s.rows; ++r) {
    const float* t = s.tile + r * s.ld;
    F32 top(row_max[r]), sum(0.0f);
    for (int c = 0; c < s.cols; c += kWidth) top = max(load(t + c), top);
    const float m = reduce_max(top);
    for (int c = 0; c < s.cols; c += kWidth) sum += exp(load(t + c) - F32(m));
    row_sum[r] = row_sum[r] * exp(F32(row_max[r] - m)).v[0] + reduce_add(sum);
    row_max[r] = m;
  }
  if (!s.back) return;
  for (int c = 0; c < s.cols; c += kWidth) {
    const F32 old = load(column_max + c);
    F32 m = old, sum(0.0f);
    for (int r = 0; r < s.rows; ++r) m = max(load(s.tile + r * s.ld + c), m);
    for (int r = 0; r < s.rows; ++r) sum += exp(load(s.tile + r * s.ld + c) - m);
    store(column_sum + c, fma(load(column_sum + c), exp(old - m), sum));
    store(column_max + c, m);
  }
}

// tile: dot products -> h where nothing is excluded or positive and |s| is bounded. One exponential serves
// both directions because the weights hold e^-lse.
template <bool sigmoid_term>
[[gnu::noinline]] static void weigh_plain(const Strip& s) {
  for (int r = 0; r < s.rows; ++r) {
    float* t = s.tile + r * s.ld;
    const F32 scale(s.row_scale[r]), weight(s.row_weight[r]);
    F32 dots(0.0f);
    for (int c = 0; c < s.cols; c += kWidth) {
      const int n = s.cols - c < kWidth ? s.cols - c : kWidth;
      const F32 column = load_part(s.column_scale + c, n);
      const F32 v = load(t + c) * scale * column;  // to the same bits as in the forward pass
      const F32 w = s.back ? weight + load_part(s.column_weight + c, n) : weight;
      const F32 g = (sigmoid_term ? sigmoid(v) : exp(v)) * w;
      dots = fma(g, v, dots);  // v = 0 in the lanes of a tail
      store(t + c, g * (scale * column));
    }
    if (s.row_dots) s.row_dots[r] += reduce_add(dots);
  }
}

JX_INLINE void weigh(const Strip& s) {
  if (s.sigmoid) return weigh_plain<true>(s);
  weigh_plain<false>(s);
}

// The same in general.
[[gnu::noinline]] static void weigh_related(const Strip& s, bool bounded) {
  const F32 zero(0.0f);
  for (int r = 0; r < s.rows; ++r) {
    float* t = s.tile + r * s.ld;
    const F32 scale(s.row_scale[r]), weight(s.row_weight[r]);
    F32 dots(0.0f);
    for (int c = 0; c < s.cols; c += kWidth) {
      const int n = s.cols - c < kWidth ? s.cols - c : kWidth;
      const Lanes x = relate(s, r, c, n);
      const F32 logit = select(x.outside, F32(-kInf), x.s);
      F32 g;
      if (s.sigmoid) {
        const F32 decided = sigmoid(select(x.positive, -x.s, x.s)),
                  both = select(x.positive, -decided, decided);
        g = select(x.outside, zero, both * (s.back ? weight + load_part(s.column_weight + c, n) : weight));
      } else if (bounded) {
        g = exp(logit) * (s.back ? weight + load_part(s.column_weight + c, n) : weight);
      } else {
        g = exp(logit - F32(s.row_lse[r])) * weight;
        if (s.back)
          g = fma(exp(logit - load_part(s.column_lse + c, n)), load_part(s.column_weight + c, n), g);
      }
      g += select(x.positive, x.weight * F32(s.row_dpositive[r]), zero);
      if (s.back) g += select(x.back_positive, x.weight * load_part(s.column_dpositive + c, n), zero);
      dots = fma(g, x.s, dots);  // g = 0 outside and in the lanes of a tail
      store(t + c, g * (scale * load_part(s.column_scale + c, n)));
    }
    if (s.row_dots) s.row_dots[r] += reduce_add(dots);
  }
}

}  // namespace juxta::JX_ISA

// Reductions on vectors: along contiguous rows (inner 1) lanes are neighbouring summands, else neighbouring
// results.
#include "kernels/reduce.h"
#include "kernels/simd.h"

namespace juxta::JX_ISA {

namespace {

struct Sum {
  static constexpr float kStart = 0.0f;
  JX_INLINE F32 apply(F32 a, F32 b) { return a + b; }
};
// a where a >= b or a is NaN, else b (which may be NaN).
struct Max {
  static constexpr float kStart = -__builtin_inff();
  JX_INLINE F32 apply(F32 a, F32 b) { return select((a >= b) | (a != a), a, b); }
};
struct Min {
  static constexpr float kStart = __builtin_inff();
  JX_INLINE F32 apply(F32 a, F32 b) { return select((a <= b) | (a != a), a, b); }
};

template <class Op>
JX_INLINE float across_lanes(F32 v) {
  // A fixed tree over the lanes, through memory: the generic vector type has no shuffles.
  float lane[kWidth];
  store(lane, v);
  for (int half = kWidth / 2; half > 0; half /= 2) {
    F32 low = load_n(lane, half), high = load_n(lane + half, half);
    store_n(lane, Op::apply(low, high), half);
  }
  return lane[0];
}

template <class Op, class T>
JX_INLINE float reduce_row(const T* x, int64_t n) {
  F32 a(Op::kStart), b(Op::kStart), c(Op::kStart), d(Op::kStart);
  int64_t i = 0;
  for (; i + 4 * kWidth <= n; i += 4 * kWidth) {
    a = Op::apply(a, load(x + i));
    b = Op::apply(b, load(x + i + kWidth));
    c = Op::apply(c, load(x + i + 2 * kWidth));
    d = Op::apply(d, load(x + i + 3 * kWidth));
  }
  for (; i + kWidth <= n; i += kWidth) a = Op::apply(a, load(x + i));
  if (i < n)
    b = Op::apply(b, keep_first(load_n(x + i, static_cast<int>(n - i)), static_cast<int>(n - i), Op::kStart));
  return across_lanes<Op>(Op::apply(Op::apply(a, b), Op::apply(c, d)));
}

template <class Op, class T>
void reduce_chunks(const ReduceArgs<T>& a, int64_t item, int64_t item_end) {
  const int64_t chunks = a.chunks();
  for (int64_t k = item; k < item_end; ++k) {
    const int64_t begin = k % chunks * a.chunk,
                  count = a.chunk < a.reduce - begin ? a.chunk : a.reduce - begin;
    const T* x = a.x + (k / chunks * a.reduce + begin) * a.inner;
    if (a.inner == 1) {
      a.y[k] = reduce_row<Op>(x, count);
      continue;
    }
    for_lanes(a.inner, [&](int64_t i, int n) {
      F32 even(Op::kStart), odd(Op::kStart);
      int64_t r = 0;
      for (; r + 2 <= count; r += 2) {
        even = Op::apply(even, load_part(x + r * a.inner + i, n));
        odd = Op::apply(odd, load_part(x + (r + 1) * a.inner + i, n));
      }
      if (r < count) even = Op::apply(even, load_part(x + r * a.inner + i, n));
      store_part(a.y + k * a.inner + i, Op::apply(even, odd), n);
    });
  }
}

template <class T>
void extreme_bwd(const ExtremeBwd<T>& a, int64_t outer, int64_t outer_end) {
  const F32 zero(0.0f), one(1.0f);
  for (int64_t o = outer; o < outer_end; ++o) {
    const T *x = a.x + o * a.reduce * a.inner, *y = a.y + o * a.inner, *dy = a.dy + o * a.inner;
    T* dx = a.dx + o * a.reduce * a.inner;
    if (a.inner == 1) {
      const F32 best(static_cast<float>(y[0]));
      F32 ties(0.0f);
      for_lanes(a.reduce, [&](int64_t i, int n) {
        ties += keep_first(select(load_part(x + i, n) == best, one, zero), n, 0.0f);
      });
      const float count = reduce_add(ties);
      const F32 share(count > 0.0f ? static_cast<float>(dy[0]) / count : 0.0f);
      for_lanes(a.reduce, [&](int64_t i, int n) {
        store_part(dx + i, select(load_part(x + i, n) == best, share, zero), n);
      });
      continue;
    }
    for_lanes(a.inner, [&](int64_t i, int n) {
      const F32 best = load_part(y + i, n);
      F32 ties(0.0f);
      for (int64_t r = 0; r < a.reduce; ++r)
        ties += select(load_part(x + r * a.inner + i, n) == best, one, zero);
      const F32 share = select(ties > zero, load_part(dy + i, n) / max(ties, one), zero);
      for (int64_t r = 0; r < a.reduce; ++r)
        store_part(dx + r * a.inner + i, select(load_part(x + r * a.inner + i, n) == best, share, zero), n);
    });
  }
}

// One running sum a row: a chain of additions, which vectors would only lengthen.
template <class T>
void cumsum(const RowScan<T>& a, int64_t row, int64_t row_end) {
  for (int64_t r = row; r < row_end; ++r) {
    float sum = 0.0f;
    for (int64_t k = 0; k < a.cols; ++k) {
      const int64_t c = r * a.cols + (a.reverse ? a.cols - 1 - k : k);
      sum += static_cast<float>(a.x[c]);
      a.y[c] = static_cast<T>(sum);
    }
  }
}

JX_INLINE bool beats(float a, float b) { return a > b || (a != a && b == b); }

template <class T>
JX_INLINE void insert(T* values, int64_t* indices, int64_t held, int64_t k, T value, int64_t index) {
  int64_t at = held < k ? held : k - 1;
  for (; at > 0 && beats(static_cast<float>(value), static_cast<float>(values[at - 1])); --at) {
    values[at] = values[at - 1];
    indices[at] = indices[at - 1];
  }
  values[at] = value;
  indices[at] = index;
}

JX_INLINE bool any(Mask m) {
  int32_t found = 0;
  for (int i = 0; i < kWidth; ++i) found |= m.v[i];
  return found != 0;
}

// Once k values are held, whole vectors are compared with the smallest of them; few pass.
template <class T>
void topk(const TopKArgs<T>& a, int64_t row, int64_t row_end) {
  for (int64_t r = row; r < row_end; ++r) {
    const T* x = a.x + r * a.cols;
    T* values = a.values + r * a.k;
    int64_t* indices = a.indices + r * a.k;
    for (int64_t c = 0; c < a.k; ++c) insert(values, indices, c, a.k, x[c], c);
    int64_t c = a.k;
    for (; c + kWidth <= a.cols; c += kWidth) {
      const F32 v = load(x + c);
      if (!any((v > F32(static_cast<float>(values[a.k - 1]))) | (v != v))) continue;
      for (int64_t i = c; i < c + kWidth; ++i)
        if (beats(static_cast<float>(x[i]), static_cast<float>(values[a.k - 1])))
          insert(values, indices, i, a.k, x[i], i);
    }
    for (; c < a.cols; ++c)
      if (beats(static_cast<float>(x[c]), static_cast<float>(values[a.k - 1])))
        insert(values, indices, c, a.k, x[c], c);
  }
}

}  // namespace

#if JX_OWN_F32
extern const ReduceTable<float> reduce_f32{reduce_chunks<Sum, float>,
                                           reduce_chunks<Max, float>,
                                           reduce_chunks<Min, float>,
                                           extreme_bwd<float>,
                                           cumsum<float>,
                                           topk<float>};
#endif
extern const ReduceTable<bf16> reduce_bf16{reduce_chunks<Sum, bf16>,
                                           reduce_chunks<Max, bf16>,
                                           reduce_chunks<Min, bf16>,
                                           extreme_bwd<bf16>,
                                           cumsum<bf16>,
                                           topk<bf16>};

}  // namespace juxta::JX_ISA

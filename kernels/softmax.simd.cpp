// Softmax, logsumexp and cross-entropy on vectors; formulas in softmax.h. All entries are bound by memory but
// for the exponentials, of which each takes one (two where y is stored in bf16 or the row exceeds a block).
#include "kernels/softmax.h"
#include "kernels/simd.h"
#include "kernels/simd_math.h"

namespace juxta::JX_ISA {

namespace {

// Entries of a row that are read twice in a row: 16 KiB of f32, half of L1.
constexpr int64_t kBlock = 4096;

// Entries [i, i + n) of a row; lanes beyond n, and entries that the mask hides, are -inf.
template <class T>
struct PlainRow {
  const T* x;
  [[gnu::always_inline]] F32 operator()(int64_t i, int n) const {
    return n == kWidth ? load(x + i) : keep_first(load_n(x + i, n), n, -kInf);
  }
};
template <class T>
struct MaskedRow {
  const T* x;
  const bool* mask;
  [[gnu::always_inline]] F32 operator()(int64_t i, int n) const {
    using VB = uint8_t __attribute__((vector_size(kWidth)));
    VB m{};
    if (n == kWidth)
      __builtin_memcpy(&m, mask + i, sizeof m);
    else
      for (int k = 0; k < n; ++k) m[k] = mask[i + k];
    return select(Mask{__builtin_convertvector(m, VI) != 0}, load_part(x + i, n), F32(-kInf));
  }
};
struct HiddenRow {
  [[gnu::always_inline]] F32 operator()(int64_t, int) const { return F32(-kInf); }
};

// Calls f with the reader of row r.
template <class T, class F>
[[gnu::always_inline]] inline void with_row(const T* x, const MaskRows& mask, int64_t r, F f) {
  const bool* m = mask_row(mask, r);
  if (m && mask.col_step)
    f(MaskedRow<T>{x, m});
  else if (m && !*m)
    f(HiddenRow{});
  else
    f(PlainRow<T>{x});
}

// Sum of f(i, n) over [begin, end): four partial sums, then the tail (whose lanes beyond n are dropped), then
// a fixed tree.
template <class F>
[[gnu::always_inline]] inline float sum_over(int64_t begin, int64_t end, F f) {
  F32 s0(0.0f), s1(0.0f), s2(0.0f), s3(0.0f);
  int64_t c = begin;
  for (; c + 4 * kWidth <= end; c += 4 * kWidth) {
    s0 += f(c, kWidth);
    s1 += f(c + kWidth, kWidth);
    s2 += f(c + 2 * kWidth, kWidth);
    s3 += f(c + 3 * kWidth, kWidth);
  }
  for (; c + kWidth <= end; c += kWidth) s0 += f(c, kWidth);
  if (c < end) s1 += keep_first(f(c, static_cast<int>(end - c)), static_cast<int>(end - c), 0.0f);
  return reduce_add((s0 + s1) + (s2 + s3));
}
// The same over a whole row in blocks, whose sums are added in order: rounding errors grow with the number of
// blocks plus the length of a block, not with the row.
template <class F>
[[gnu::always_inline]] inline float sum_row(int64_t cols, F f) {
  float sum = 0.0f;
  for (int64_t b = 0; b < cols; b += kBlock) sum += sum_over(b, b + kBlock < cols ? b + kBlock : cols, f);
  return sum;
}

// Maximum over [begin, end); a NaN may or may not come through.
template <class Row>
[[gnu::always_inline]] inline float max_over(const Row& x, int64_t begin, int64_t end) {
  F32 m0(-kInf), m1(-kInf), m2(-kInf), m3(-kInf);
  int64_t c = begin;
  for (; c + 4 * kWidth <= end; c += 4 * kWidth) {
    m0 = max(m0, x(c, kWidth));
    m1 = max(m1, x(c + kWidth, kWidth));
    m2 = max(m2, x(c + 2 * kWidth, kWidth));
    m3 = max(m3, x(c + 3 * kWidth, kWidth));
  }
  for (; c + kWidth <= end; c += kWidth) m0 = max(m0, x(c, kWidth));
  if (c < end) m1 = max(m1, x(c, static_cast<int>(end - c)));
  return reduce_max(max(max(m0, m1), max(m2, m3)));
}

inline float exp1(float x) { return exp(F32(x)).v[0]; }
inline float log1(float x) { return log(F32(x)).v[0]; }

// m when it is finite, else 0.
[[gnu::always_inline]] inline float finite_or_0(float m) { return m - m == 0.0f ? m : 0.0f; }

// The maximum (0 when not finite) and the sum of e^(x - max), in one pass over memory: after a block with a
// larger maximum the sum so far is rescaled. NaN reaches the sum in any case.
struct MaxSum {
  float max, sum;
};
template <class Row>
[[gnu::always_inline]] inline MaxSum max_sum(const Row& x, int64_t cols) {
  float top = -kInf, sum = 0.0f;
  for (int64_t b = 0; b < cols; b += kBlock) {
    const int64_t end = b + kBlock < cols ? b + kBlock : cols;
    const float m = max_over(x, b, end);
    if (m > top) {
      if (b > 0) sum *= exp1(top - m);
      top = m;
    }
    const F32 shift(finite_or_0(top));
    sum += sum_over(b, end, [&](int64_t i, int n) { return exp(x(i, n) - shift); });
  }
  return {finite_or_0(top), sum};
}

template <class T, class Row>
[[gnu::always_inline]] inline void softmax_row(const Row& x, T* y, int64_t cols) {
  if (sizeof(T) == sizeof(float) && cols <= kBlock) {  // the exponentials wait in y for their sum
    const F32 m(finite_or_0(max_over(x, 0, cols)));
    const float sum = sum_over(0, cols, [&](int64_t i, int n) {
      const F32 e = exp(x(i, n) - m);
      store_part(y + i, e, n);
      return e;
    });
    const F32 inv(sum == 0.0f ? 0.0f : 1.0f / sum);
    for_lanes(cols, [&](int64_t i, int n) { store_part(y + i, load_part(y + i, n) * inv, n); });
    return;
  }
  const MaxSum s = max_sum(x, cols);
  const F32 m(s.max), inv(s.sum == 0.0f ? 0.0f : 1.0f / s.sum);
  for_lanes(cols, [&](int64_t i, int n) { store_part(y + i, exp(x(i, n) - m) * inv, n); });
}

template <class T, class Row>
[[gnu::always_inline]] inline void log_softmax_row(const Row& x, T* y, int64_t cols) {
  const MaxSum s = max_sum(x, cols);
  const F32 m(s.max), l(s.sum == 0.0f ? 0.0f : log1(s.sum));
  for_lanes(cols, [&](int64_t i, int n) { store_part(y + i, (x(i, n) - m) - l, n); });
}

template <class T>
void softmax_fwd(const SoftmaxFwd<T>& a, int64_t row, int64_t row_end) {
  for (int64_t r = row; r < row_end; ++r) {
    T* y = a.y + r * a.cols;
    with_row(a.x + r * a.x_stride, a.mask, r, [&](const auto& x) {
      if (a.log)
        log_softmax_row(x, y, a.cols);
      else
        softmax_row(x, y, a.cols);
    });
  }
}

template <class T>
void softmax_bwd(const SoftmaxBwd<T>& a, int64_t row, int64_t row_end) {
  const F32 hidden(-kInf), zero(0.0f);
  for (int64_t r = row; r < row_end; ++r) {
    const T *y = a.y + r * a.cols, *dy = a.dy + r * a.cols;
    T* dx = a.dx + r * a.cols;
    if (a.log) {
      const F32 sum(sum_row(a.cols, [&](int64_t i, int n) {
        return select(load_part(y + i, n) == hidden, zero, load_part(dy + i, n));
      }));
      for_lanes(a.cols, [&](int64_t i, int n) {
        const F32 l = load_part(y + i, n);
        store_part(dx + i, select(l == hidden, zero, load_part(dy + i, n) - exp(l) * sum), n);
      });
    } else {
      const F32 dot(
          sum_row(a.cols, [&](int64_t i, int n) { return load_part(y + i, n) * load_part(dy + i, n); }));
      for_lanes(a.cols, [&](int64_t i, int n) {
        store_part(dx + i, load_part(y + i, n) * (load_part(dy + i, n) - dot), n);
      });
    }
  }
}

template <class T>
void logsumexp_fwd(const LogSumExpFwd<T>& a, int64_t row, int64_t row_end) {
  for (int64_t r = row; r < row_end; ++r)
    with_row(a.x + r * a.x_stride, a.mask, r, [&](const auto& x) {
      const MaxSum s = max_sum(x, a.cols);
      const float l = log1(s.sum);
      a.y[r] = s.max + l;
      a.stats[2 * r] = s.max;
      a.stats[2 * r + 1] = l;
    });
}

template <class T>
void logsumexp_bwd(const LogSumExpBwd<T>& a, int64_t row, int64_t row_end) {
  for (int64_t r = row; r < row_end; ++r) {
    T* dx = a.dx + r * a.cols;
    const F32 m(a.stats[2 * r]), l(a.stats[2 * r + 1]), dy(a.dy[r]);
    if (a.stats[2 * r + 1] == -kInf) {
      for_lanes(a.cols, [&](int64_t i, int n) { store_part(dx + i, F32(0.0f), n); });
      continue;
    }
    with_row(a.x + r * a.x_stride, a.mask, r, [&](const auto& x) {
      for_lanes(a.cols, [&](int64_t i, int n) { store_part(dx + i, dy * exp((x(i, n) - m) - l), n); });
    });
  }
}

template <class T>
void cross_entropy_fwd(const CrossEntropyFwd<T>& a, int64_t row, int64_t row_end) {
  const float s = static_cast<float>(a.smoothing), inv_cols = 1.0f / static_cast<float>(a.cols);
  for (int64_t r = row; r < row_end; ++r) {
    const T* x = a.x + r * a.x_stride;
    const int64_t target = a.target[r];
    const MaxSum sum = max_sum(PlainRow<T>{x}, a.cols);
    const float l = log1(sum.sum);
    a.stats[2 * r] = sum.max;
    a.stats[2 * r + 1] = l;
    a.y[r] = 0.0f;
    if (target == a.ignore) continue;
    float y = (1.0f - s) * (l + (sum.max - load_n(x + target, 1).v[0]));
    if (s != 0.0f) {
      const F32 m(sum.max);
      y += s * (l + inv_cols * sum_row(a.cols, [&](int64_t i, int n) { return m - load_part(x + i, n); }));
    }
    a.y[r] = y;
  }
}

template <class T>
void cross_entropy_bwd(const CrossEntropyBwd<T>& a, int64_t row, int64_t row_end) {
  const float s = static_cast<float>(a.smoothing), each = s / static_cast<float>(a.cols);
  for (int64_t r = row; r < row_end; ++r) {
    const T* x = a.x + r * a.x_stride;
    T* dx = a.dx + r * a.cols;
    const int64_t target = a.target[r];
    if (target == a.ignore) {
      for_lanes(a.cols, [&](int64_t i, int n) { store_part(dx + i, F32(0.0f), n); });
      continue;
    }
    const F32 m(a.stats[2 * r]), l(a.stats[2 * r + 1]), dy(a.dy[r]), share(each);
    for_lanes(a.cols, [&](int64_t i, int n) {
      store_part(dx + i, dy * (exp((load_part(x + i, n) - m) - l) - share), n);
    });
    // The target's own entry anew: taking 1 - s off a value rounded to bf16 would cost its digits.
    const F32 p = exp((load_n(x + target, 1) - m) - l);
    store_n(dx + target, dy * (p - F32(1.0f - s) - share), 1);
  }
}

template <class T>
void soft_cross_entropy_fwd(const SoftCrossEntropyFwd<T>& a, int64_t row, int64_t row_end) {
  const F32 zero(0.0f);
  for (int64_t r = row; r < row_end; ++r) {
    const T* x = a.x + r * a.x_stride;
    const float* q = a.q + r * a.q_stride;
    const MaxSum s = max_sum(PlainRow<T>{x}, a.cols);
    const float l = log1(s.sum);
    const F32 m(s.max);
    const float below = sum_row(a.cols, [&](int64_t i, int n) {
      const F32 w = load_part(q + i, n);
      return select(w == zero, zero, w * (m - load_part(x + i, n)));
    });
    const float mass = sum_row(a.cols, [&](int64_t i, int n) { return load_part(q + i, n); });
    a.y[r] = below + (mass == 0.0f ? 0.0f : mass * l);
    a.stats[3 * r] = s.max;
    a.stats[3 * r + 1] = l;
    a.stats[3 * r + 2] = mass;
  }
}

template <class T>
void soft_cross_entropy_bwd(const SoftCrossEntropyBwd<T>& a, int64_t row, int64_t row_end) {
  for (int64_t r = row; r < row_end; ++r) {
    const T* x = a.x + r * a.x_stride;
    const float *q = a.q + r * a.q_stride, *stats = a.stats + 3 * r;
    T* dx = a.dx + r * a.cols;
    const F32 m(stats[0]), l(stats[1]), mass(stats[2]), dy(a.dy[r]);
    const bool empty = stats[2] == 0.0f;
    for_lanes(a.cols, [&](int64_t i, int n) {
      const F32 p = empty ? F32(0.0f) : exp((load_part(x + i, n) - m) - l);
      store_part(dx + i, dy * (p * mass - load_part(q + i, n)), n);
    });
  }
}

template <class T>
constexpr SoftmaxTable<T> table() {
  return {softmax_fwd<T>,       softmax_bwd<T>,       logsumexp_fwd<T>,          logsumexp_bwd<T>,
          cross_entropy_fwd<T>, cross_entropy_bwd<T>, soft_cross_entropy_fwd<T>, soft_cross_entropy_bwd<T>};
}

}  // namespace

#if JX_OWN_F32
extern const SoftmaxTable<float> softmax_f32 = table<float>();
#endif
extern const SoftmaxTable<bf16> softmax_bf16 = table<bf16>();

}  // namespace juxta::JX_ISA

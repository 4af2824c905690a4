// Element-wise ops on vectors; formulas in elementwise.h. One loop per op: the switch lies outside.
#include "kernels/elementwise.h"
#include "kernels/elementwise_philox.h"
#include "kernels/simd.h"
#include "kernels/simd_math.h"

namespace juxta::JX_ISA {

namespace {

// clang-format off
// The rows of elementwise.h in vector form: name, what backward keeps, value, gradient.
#define JX_UNARY_VECTORS(ROW)                                                                          \
  ROW(affine, none, x * p + q, g * p)                                                                  \
  ROW(exp, y, exp(x), g * y)                                                                           \
  ROW(log, x, log(x), g / x)                                                                           \
  ROW(log1p, x, log1p(x), g / (1.0f + x))                                                              \
  ROW(expm1, y, expm1(x), g * (y + 1.0f))                                                              \
  ROW(sqrt, y, sqrt(x), select(y > 0.0f, g / (y + y), 0.0f))                                           \
  ROW(rsqrt, y, 1.0f / sqrt(x), -0.5f * g * y * y * y)                                                 \
  ROW(square, x, x * x, 2.0f * g * x)                                                                  \
  ROW(reciprocal, y, 1.0f / x, -g * y * y)                                                             \
  ROW(abs, x, abs(x), select(x > 0.0f, g, select(x < 0.0f, -g, x * 0.0f)))                             \
  ROW(pow, x, pow(x, a.p), a.p == 0.0 ? F32(0.0f) : g * p * pow(x, a.p - 1.0))                         \
  ROW(sin, x, sin(x), g * cos(x))                                                                      \
  ROW(cos, x, cos(x), -g * sin(x))                                                                     \
  ROW(tanh, y, tanh(x), g * (1.0f - y * y))                                                            \
  ROW(atanh, x, atanh(x), g / ((1.0f - x) * (1.0f + x)))                                               \
  ROW(acos, x, acos(x), -g / sqrt((1.0f - x) * (1.0f + x)))                                            \
  ROW(erf, x, erf(x), g * 1.12837917f * exp(-x * x))                                                   \
  ROW(sigmoid, y, sigmoid(x), g * y * (1.0f - y))                                                      \
  ROW(log_sigmoid, x, -softplus(-x), g * sigmoid(-x))                                                  \
  ROW(softplus, x, softplus(x), g * sigmoid(x))                                                        \
  ROW(relu, y, max(F32(0.0f), x), select(y > 0.0f, g, 0.0f))                                           \
  ROW(leaky_relu, y, select(x < 0.0f, p * x, x), select(y > 0.0f, g, p * g))                           \
  ROW(elu, y, select(x < 0.0f, p * expm1(x), x), select(y > 0.0f, g, g * (y + p)))                     \
  ROW(gelu, x, gelu(x), g * gelu_grad(x))                                                              \
  ROW(gelu_tanh, x, gelu_tanh(x), g * gelu_tanh_grad(x))                                               \
  ROW(silu, x, silu(x), g * silu_grad(x))                                                              \
  ROW(clamp, x, min(q, max(p, x)), select((x < p) | (x > q), 0.0f, g))

#define JX_BINARY_VECTORS(ROW)                                                                         \
  ROW(add, none, a + b, g, g)                                                                          \
  ROW(sub, none, a - b, g, -g)                                                                         \
  ROW(mul, ab, a * b, g * b, g * a)                                                                    \
  ROW(div, ab, a / b, g / b, -g * a / (b * b))                                                         \
  ROW(minimum, ab, select((a < b) | (a != a), a, b), g * share(a < b, a == b), g * share(b < a, a == b)) \
  ROW(maximum, ab, select((a > b) | (a != a), a, b), g * share(a > b, a == b), g * share(b > a, a == b)) \
  ROW(where, none, select(m, a, b), select(m, g, 0.0f), select(m, 0.0f, g))
// clang-format on

JX_INLINE F32 share(Mask wins, Mask tie) { return select(wins, 1.0f, select(tie, 0.5f, 0.0f)); }

template <class T>
void unary_fwd(const UnaryFwd<T>& a, int64_t begin, int64_t end) {
  const F32 p(static_cast<float>(a.p)), q(static_cast<float>(a.q));
  const T* from = a.x + begin;
  T* to = a.y + begin;
  switch (a.op) {
#define JX_CASE(name, keeps, value, grad)                 \
  case Unary::name:                                       \
    return for_lanes(end - begin, [&](int64_t i, int n) { \
      const F32 x = load_part(from + i, n);               \
      store_part(to + i, F32(value), n);                  \
    });
    JX_UNARY_VECTORS(JX_CASE)
#undef JX_CASE
  }
}

template <class T>
void unary_bwd(const UnaryBwd<T>& a, int64_t begin, int64_t end) {
  const F32 p(static_cast<float>(a.p)), q(static_cast<float>(a.q));
  const T* dy = a.dy + begin;
  const T* kept = a.kept ? a.kept + begin : nullptr;
  T* dx = a.dx + begin;
  switch (a.op) {
#define JX_CASE(name, keeps, value, grad)                                        \
  case Unary::name:                                                              \
    return for_lanes(end - begin, [&](int64_t i, int n) {                        \
      [[maybe_unused]] F32 keeps(0.0f);                                          \
      if constexpr (Keeps::keeps != Keeps::none) keeps = load_part(kept + i, n); \
      const F32 g = load_part(dy + i, n);                                        \
      store_part(dx + i, F32(grad), n);                                          \
    });
    JX_UNARY_VECTORS(JX_CASE)
#undef JX_CASE
  }
}

// Which value of a binary op a loop computes.
enum class Want { value, da, db };

template <Binary op, Want want>
JX_INLINE F32 binary(F32 a, F32 b, F32 g, Mask m) {
#define JX_CASE(name, keeps, of_a_b, grad_a, grad_b)  \
  if constexpr (op == Binary::name) {                 \
    if constexpr (want == Want::value) return of_a_b; \
    if constexpr (want == Want::da) return grad_a;    \
    if constexpr (want == Want::db) return grad_b;    \
  }
  JX_BINARY_VECTORS(JX_CASE)
#undef JX_CASE
  static_cast<void>(a), static_cast<void>(b), static_cast<void>(g), static_cast<void>(m);
}

// One operand along the innermost axis. Step: 0 and 1 are known to the compiler, 2 stands for any other.
template <int step, class T>
struct Operand {
  const T* p;
  int64_t stride;
  F32 first;
  [[gnu::always_inline]] Operand(const T* q, int64_t s) : p(q), stride(s), first(0.0f) {
    if constexpr (step == 0) first = F32(static_cast<float>(*q));
  }
  [[gnu::always_inline]] F32 at(int64_t i, int n) const {
    if constexpr (step == 0) return first;
    if constexpr (step == 1) return load_part(p + i, n);
    F32 v(0.0f);
    for (int k = 0; k < n; ++k) v.v[k] = static_cast<float>(p[(i + k) * stride]);
    return v;
  }
};

JX_INLINE Mask load_mask(const bool* p, int64_t step, int64_t i, int n) {
  Mask m{};
  for (int k = 0; k < n; ++k) m.v[k] = -static_cast<int32_t>(p[(i + k) * step]);
  return m;
}

// The operands of one op over one run of the innermost axis.
template <Binary op, int step_a, int step_b, class T>
struct Run {
  static constexpr bool kReads = kBinaryKeeps[static_cast<int>(op)] == Keeps::ab;
  Operand<step_a, T> a;
  Operand<step_b, T> b;
  const bool* mask;
  int64_t mask_step;
  template <Want want>
  [[gnu::always_inline]] F32 get(int64_t i, int n, F32 g) const {
    F32 u(0.0f), v(0.0f);
    Mask m{};
    if constexpr (kReads || want == Want::value) {
      u = a.at(i, n);
      v = b.at(i, n);
    }
    if constexpr (op == Binary::where) m = load_mask(mask, mask_step, i, n);
    return binary<op, want>(u, v, g, m);
  }
};

// Calls f(run) with the operands at `at` and their steps known to the compiler where that pays. When `reads`
// is false the op does not look at a and b, which may be null.
template <Binary op, bool reads, class Args, class F>
[[gnu::always_inline]] inline void with_steps(const Args& a, const int64_t* at, F f) {
  using X = BroadcastAxes;
  const int in = a.axes.n - 1;
  const int64_t sa = a.axes.step[X::kA][in], sb = a.axes.step[X::kB][in], sm = a.axes.step[X::kMask][in];
  const bool* mask = a.mask ? a.mask + at[X::kMask] : nullptr;
  using T = std::remove_cvref_t<decltype(*a.a)>;
  const T *pa = a.a + at[X::kA], *pb = a.b + at[X::kB];
  if constexpr (!reads)
    f(Run<op, 1, 1, T>{{nullptr, 1}, {nullptr, 1}, mask, sm});
  else if (sa == 1 && sb == 1)
    f(Run<op, 1, 1, T>{{pa, 1}, {pb, 1}, mask, sm});
  else if (sa == 1 && sb == 0)
    f(Run<op, 1, 0, T>{{pa, 1}, {pb, 0}, mask, sm});
  else if (sa == 0 && sb == 1)
    f(Run<op, 0, 1, T>{{pa, 0}, {pb, 1}, mask, sm});
  else
    f(Run<op, 2, 2, T>{{pa, sa}, {pb, sb}, mask, sm});
}

template <Binary op>
inline constexpr bool kReads = kBinaryKeeps[static_cast<int>(op)] == Keeps::ab;

template <Binary op, class T>
void fwd_loop(const BinaryFwd<T>& a, int64_t begin, int64_t end) {
  for_runs(a.axes, begin, end, [&](int64_t i, int64_t n, const int64_t* at) {
    with_steps<op, true>(a, at, [&](auto run) {
      T* y = a.y + i;
      for_lanes(n, [&](int64_t j, int lanes) {
        store_part(y + j, run.template get<Want::value>(j, lanes, F32(0.0f)), lanes);
      });
    });
  });
}

template <Binary op, class T>
void bwd_loop(const BinaryBwd<T>& a, int64_t begin, int64_t end) {
  for_runs(a.axes, begin, end, [&](int64_t i, int64_t n, const int64_t* at) {
    with_steps<op, kReads<op>>(a, at, [&](auto run) {
      for_lanes(n, [&](int64_t j, int lanes) {
        const F32 g = load_part(a.dy + i + j, lanes);
        const F32 da = run.template get<Want::da>(j, lanes, g), db = run.template get<Want::db>(j, lanes, g);
        if (a.da) store_part(a.da + i + j, da, lanes);
        if (a.db) store_part(a.db + i + j, db, lanes);
      });
    });
  });
}

// Adds the gradients of one run to its place in the partial sums.
template <Want want, class T, class R>
[[gnu::always_inline]] inline void add_run(const R& run, const T* dy, float* out, int64_t step, int64_t n) {
  if (step == 1) {
    for_lanes(n, [&](int64_t j, int lanes) {
      const F32 d = run.template get<want>(j, lanes, load_part(dy + j, lanes));
      store_part(out + j, load_part(out + j, lanes) + d, lanes);
    });
    return;
  }
  F32 s0(0.0f), s1(0.0f);  // step 0: the whole run goes to one element
  int64_t j = 0;
  for (; j + 2 * kWidth <= n; j += 2 * kWidth) {
    s0 += run.template get<want>(j, kWidth, load(dy + j));
    s1 += run.template get<want>(j + kWidth, kWidth, load(dy + j + kWidth));
  }
  for (; j < n; j += kWidth) {
    const int lanes = n - j < kWidth ? static_cast<int>(n - j) : kWidth;
    s0 += keep_first(run.template get<want>(j, lanes, load_part(dy + j, lanes)), lanes, 0.0f);
  }
  out[0] += reduce_add(s0 + s1);
}

template <Binary op, class T>
void reduce_loop(const BinaryReduce<T>& a, int64_t chunk, int64_t chunk_end) {
  const int64_t step = a.axes.step[BroadcastAxes::kTarget][a.axes.n - 1];
  for (int64_t c = chunk; c < chunk_end; ++c) {
    const int64_t end = (c + 1) * a.chunk < a.n ? (c + 1) * a.chunk : a.n;
    for (int64_t k = c * a.owned; k < (c + 1) * a.owned && k < a.total; ++k) a.partial[k] = 0.0f;
    for_runs(a.axes, c * a.chunk, end, [&](int64_t i, int64_t n, const int64_t* at) {
      float* out = a.partial + c * a.base + at[BroadcastAxes::kTarget];
      with_steps<op, kReads<op>>(a, at, [&](auto run) {
        if (a.second)
          add_run<Want::db>(run, a.dy + i, out, step, n);
        else
          add_run<Want::da>(run, a.dy + i, out, step, n);
      });
    });
  }
}

#define JX_CASE(name, ...) \
  case Binary::name:       \
    return JX_LOOP<Binary::name>(a, begin, end);
#define JX_LOOP fwd_loop
template <class T>
void binary_fwd(const BinaryFwd<T>& a, int64_t begin, int64_t end) {
  switch (a.op) { JX_BINARY_VECTORS(JX_CASE) }
}
#undef JX_LOOP
#define JX_LOOP bwd_loop
template <class T>
void binary_bwd(const BinaryBwd<T>& a, int64_t begin, int64_t end) {
  switch (a.op) { JX_BINARY_VECTORS(JX_CASE) }
}
#undef JX_LOOP
#define JX_LOOP reduce_loop
template <class T>
void binary_reduce(const BinaryReduce<T>& a, int64_t begin, int64_t end) {
  switch (a.op) { JX_BINARY_VECTORS(JX_CASE) }
}
#undef JX_LOOP
#undef JX_CASE

template <class T>
void sum_partials(const SumPartials<T>& a, int64_t column, int64_t column_end) {
  for_lanes(column_end - column, [&](int64_t i, int n) {
    F32 sum(0.0f);
    for (int64_t r = 0; r < a.rows; ++r) sum += load_part(a.x + r * a.cols + column + i, n);
    store_part(a.out + column + i, sum, n);
  });
}

JX_INLINE F32 uniform_of(const uint32_t* words) {  // the upper 24 bits as a number in [0, 1)
  VU w;
  __builtin_memcpy(&w, words, sizeof w);
  return to_float(__builtin_bit_cast(VI, w >> 8)) * F32(0x1p-24f);
}

// Dropout of whole groups: one word of Philox decides for `group` neighbours.
template <class T>
void drop_groups(const Dropout<T>& a, int64_t begin, int64_t end) {
  const F32 scale(1.0f / (1.0f - static_cast<float>(a.p)));
  for (int64_t i = begin; i < end;) {
    const int64_t unit = (a.base + i) / a.group, next = (unit + 1) * a.group - a.base;
    const int64_t n = (next < end ? next : end) - i;
    alignas(64) uint32_t words[2 * kWidth];
    philox_words(words, a.draw, static_cast<uint64_t>(unit) / 4, 1);
    const float u = static_cast<float>(words[unit % 4] >> 8) * 0x1p-24f;
    const Mask keep = F32(u) >= F32(static_cast<float>(a.p));
    for_lanes(n, [&](int64_t j, int lanes) {
      store_part(a.y + i + j, select(keep, load_part(a.x + i + j, lanes) * scale, 0.0f), lanes);
    });
    i += n;
  }
}

template <class T>
void dropout(const Dropout<T>& a, int64_t begin, int64_t end) {
  if (a.group != 1) return drop_groups(a, begin, end);
  constexpr int64_t kBatch = 256;
  const F32 p(static_cast<float>(a.p)), scale(1.0f / (1.0f - static_cast<float>(a.p)));
  alignas(64) uint32_t words[kBatch + 2 * kWidth] = {};
  for (int64_t i = begin; i < end;) {
    const int64_t index = a.base + i, skip = index % 4;
    const int64_t n = kBatch - skip < end - i ? kBatch - skip : end - i;
    philox_words(words, a.draw, static_cast<uint64_t>(index) / 4, skip + n);
    for_lanes(n, [&](int64_t j, int lanes) {
      const F32 x = load_part(a.x + i + j, lanes) * scale;
      store_part(a.y + i + j, select(uniform_of(words + skip + j) >= p, x, 0.0f), lanes);
    });
    i += n;
  }
}

template <class T>
void axpby(const Axpby<T>& a, int64_t begin, int64_t end) {
  const F32 alpha(static_cast<float>(a.alpha)), beta(static_cast<float>(a.beta));
  for_lanes(end - begin, [&](int64_t i, int n) {
    const F32 x = load_part(a.x + begin + i, n), y = load_part(a.y + begin + i, n);
    store_part(a.y + begin + i, alpha * x + beta * y, n);
  });
}

template <class S, class D>
void cast(const Cast<S, D>& a, int64_t begin, int64_t end) {
  for_lanes(end - begin,
            [&](int64_t i, int n) { store_part(a.y + begin + i, load_part(a.x + begin + i, n), n); });
}

}  // namespace

extern const ElementwiseTable<float> elementwise_f32{
    unary_fwd<float>,    unary_bwd<float>, binary_fwd<float>, binary_bwd<float>,  binary_reduce<float>,
    sum_partials<float>, dropout<float>,   axpby<float>,      cast<float, float>, cast<float, float>};
extern const ElementwiseTable<bf16> elementwise_bf16{
    unary_fwd<bf16>,    unary_bwd<bf16>, binary_fwd<bf16>, binary_bwd<bf16>,  binary_reduce<bf16>,
    sum_partials<bf16>, dropout<bf16>,   axpby<bf16>,      cast<bf16, float>, cast<float, bf16>};

}  // namespace juxta::JX_ISA

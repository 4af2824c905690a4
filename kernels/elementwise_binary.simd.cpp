// Element-wise ops of two operands on vectors; formulas in elementwise.h. One loop per op and per kind of
// operand (row, one value, any stride). A file of its own because those loops take the compiler as long as
// all the other ops do.
#include "kernels/elementwise_binary_entries.h"
#include "kernels/simd.h"

namespace juxta::JX_ISA {

namespace {

// clang-format off
// The rows of elementwise.h in vector form: name, what backward keeps, value, gradients.
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
  F32 sum(0.0f), other(0.0f);  // step 0: the whole run goes to one element, in two chains that take turns
  for_lanes(n, [&](int64_t j, int lanes) {
    const F32 d = run.template get<want>(j, lanes, load_part(dy + j, lanes));
    const F32 next = other;
    other = sum + keep_first(d, lanes, 0.0f);
    sum = next;
  });
  out[0] += reduce_add(sum + other);
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
void fwd(const BinaryFwd<T>& a, int64_t begin, int64_t end) {
  switch (a.op) { JX_BINARY_VECTORS(JX_CASE) }
}
#undef JX_LOOP
#define JX_LOOP bwd_loop
template <class T>
void bwd(const BinaryBwd<T>& a, int64_t begin, int64_t end) {
  switch (a.op) { JX_BINARY_VECTORS(JX_CASE) }
}
#undef JX_LOOP
#define JX_LOOP reduce_loop
template <class T>
void reduce(const BinaryReduce<T>& a, int64_t begin, int64_t end) {
  switch (a.op) { JX_BINARY_VECTORS(JX_CASE) }
}
#undef JX_LOOP
#undef JX_CASE

}  // namespace

#if JX_OWN_F32
void binary_fwd(const BinaryFwd<float>& a, int64_t begin, int64_t end) { fwd(a, begin, end); }
void binary_bwd(const BinaryBwd<float>& a, int64_t begin, int64_t end) { bwd(a, begin, end); }
void binary_reduce(const BinaryReduce<float>& a, int64_t chunk, int64_t chunk_end) {
  reduce(a, chunk, chunk_end);
}
#endif
void binary_fwd(const BinaryFwd<bf16>& a, int64_t begin, int64_t end) { fwd(a, begin, end); }
void binary_bwd(const BinaryBwd<bf16>& a, int64_t begin, int64_t end) { bwd(a, begin, end); }
void binary_reduce(const BinaryReduce<bf16>& a, int64_t chunk, int64_t chunk_end) {
  reduce(a, chunk, chunk_end);
}

}  // namespace juxta::JX_ISA

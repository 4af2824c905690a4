#pragma once
// Reference kernels of the element-wise family: the rows of elementwise.h in plain loops.
#include "kernels/elementwise.h"

namespace juxta::ref {

// What the rows of the op tables are written in.
namespace formula {
template <class A>
JX_HD A sigmoid(A x) {
  return A(1) / (A(1) + std::exp(-x));
}
template <class A>
JX_HD A softplus(A x) {
  return (x < A(0) ? A(0) : x) + std::log1p(std::exp(-std::abs(x)));
}
template <class A>
JX_HD A normal_cdf(A x) {  // erfc keeps the digits of the lower tail
  return A(0.5) * std::erfc(x * A(-0.70710678118654752));
}
template <class A>
JX_HD A normal_pdf(A x) {
  return A(0.39894228040143268) * std::exp(A(-0.5) * x * x);
}
template <class A>
JX_HD A gelu_tanh_arg(A x) {  // sqrt(2 / pi) (x + 0.044715 x^3)
  return A(0.79788456080286536) * x * (A(1) + A(0.044715) * x * x);
}
template <class A>
JX_HD A gelu_tanh_grad(A x) {                       // of x s(2 u): s + x s (1 - s) 2 u'
  x = x < A(-30) ? A(-30) : x > A(30) ? A(30) : x;  // there s is 0 or 1 already, and x^2 below stays finite
  const A s = sigmoid(A(2) * gelu_tanh_arg(x));
  return s + x * s * (A(1) - s) * A(1.5957691216057307) * (A(1) + A(3 * 0.044715) * x * x);
}
// Part of the gradient of a minimum or maximum that one side gets: ties share it.
JX_HD inline float share(bool wins, bool tie) { return wins ? 1.0f : tie ? 0.5f : 0.0f; }

#define JX_UNARY_FORMULA(name, keeps, value, grad)                                                 \
  template <class A>                                                                               \
  JX_HD A name##_value([[maybe_unused]] A x, [[maybe_unused]] A p, [[maybe_unused]] A q) {         \
    return value;                                                                                  \
  }                                                                                                \
  template <class A>                                                                               \
  JX_HD A name##_grad([[maybe_unused]] A keeps, A g, [[maybe_unused]] A p, [[maybe_unused]] A q) { \
    return grad;                                                                                   \
  }
JX_UNARY_OPS(JX_UNARY_FORMULA)
#undef JX_UNARY_FORMULA

#define JX_BINARY_FORMULA(name, keeps, value, da, db)                                           \
  template <class A>                                                                            \
  JX_HD A name##_value(A a, A b, [[maybe_unused]] bool m) {                                     \
    return value;                                                                               \
  }                                                                                             \
  template <class A>                                                                            \
  JX_HD A name##_da([[maybe_unused]] A a, [[maybe_unused]] A b, A g, [[maybe_unused]] bool m) { \
    return da;                                                                                  \
  }                                                                                             \
  template <class A>                                                                            \
  JX_HD A name##_db([[maybe_unused]] A a, [[maybe_unused]] A b, A g, [[maybe_unused]] bool m) { \
    return db;                                                                                  \
  }
JX_BINARY_OPS(JX_BINARY_FORMULA)
#undef JX_BINARY_FORMULA
}  // namespace formula

template <class T>
void unary_fwd(const UnaryFwd<T>& a, int64_t begin, int64_t end) {
  using A = Acc<T>;
  const A p = static_cast<A>(a.p), q = static_cast<A>(a.q);
  switch (a.op) {
#define JX_CASE(name, ...)                                                          \
  case Unary::name:                                                                 \
    for (int64_t i = begin; i < end; ++i)                                           \
      a.y[i] = static_cast<T>(formula::name##_value(static_cast<A>(a.x[i]), p, q)); \
    break;
    JX_UNARY_OPS(JX_CASE)
#undef JX_CASE
  }
}

template <class T>
void unary_bwd(const UnaryBwd<T>& a, int64_t begin, int64_t end) {
  using A = Acc<T>;
  const A p = static_cast<A>(a.p), q = static_cast<A>(a.q);
  switch (a.op) {
#define JX_CASE(name, keeps, ...)                                                          \
  case Unary::name:                                                                        \
    for (int64_t i = begin; i < end; ++i) {                                                \
      const A kept = Keeps::keeps == Keeps::none ? A(0) : static_cast<A>(a.kept[i]);       \
      a.dx[i] = static_cast<T>(formula::name##_grad(kept, static_cast<A>(a.dy[i]), p, q)); \
    }                                                                                      \
    break;
    JX_UNARY_OPS(JX_CASE)
#undef JX_CASE
  }
}

template <class A>
A binary_value(Binary op, A a, A b, bool m) {
  switch (op) {
#define JX_CASE(name, ...) \
  case Binary::name:       \
    return formula::name##_value(a, b, m);
    JX_BINARY_OPS(JX_CASE)
#undef JX_CASE
  }
  return A(0);
}

// Gradient of one operand at one element.
template <class A>
A binary_grad(Binary op, bool second, A a, A b, A g, bool m) {
  switch (op) {
#define JX_CASE(name, ...) \
  case Binary::name:       \
    return second ? formula::name##_db(a, b, g, m) : formula::name##_da(a, b, g, m);
    JX_BINARY_OPS(JX_CASE)
#undef JX_CASE
  }
  return A(0);
}

template <class T>
Acc<T> value_or_zero(const T* p, int64_t i) {
  return p ? static_cast<Acc<T>>(p[i]) : Acc<T>(0);
}

template <class T>
void binary_fwd(const BinaryFwd<T>& a, int64_t begin, int64_t end) {
  using X = BroadcastAxes;
  const int in = a.axes.n - 1;
  for_runs(a.axes, begin, end, [&](int64_t i, int64_t n, const int64_t* at) {
    for (int64_t j = 0; j < n; ++j) {
      const auto u = static_cast<Acc<T>>(a.a[at[X::kA] + j * a.axes.step[X::kA][in]]);
      const auto v = static_cast<Acc<T>>(a.b[at[X::kB] + j * a.axes.step[X::kB][in]]);
      const bool m = a.mask && a.mask[at[X::kMask] + j * a.axes.step[X::kMask][in]];
      a.y[i + j] = static_cast<T>(binary_value(a.op, u, v, m));
    }
  });
}

template <class T>
void binary_bwd(const BinaryBwd<T>& a, int64_t begin, int64_t end) {
  using X = BroadcastAxes;
  const int in = a.axes.n - 1;
  for_runs(a.axes, begin, end, [&](int64_t i, int64_t n, const int64_t* at) {
    for (int64_t j = 0; j < n; ++j) {
      const Acc<T> u = value_or_zero(a.a, at[X::kA] + j * a.axes.step[X::kA][in]);
      const Acc<T> v = value_or_zero(a.b, at[X::kB] + j * a.axes.step[X::kB][in]);
      const bool m = a.mask && a.mask[at[X::kMask] + j * a.axes.step[X::kMask][in]];
      const auto g = static_cast<Acc<T>>(a.dy[i + j]);
      if (a.da) a.da[i + j] = static_cast<T>(binary_grad(a.op, false, u, v, g, m));
      if (a.db) a.db[i + j] = static_cast<T>(binary_grad(a.op, true, u, v, g, m));
    }
  });
}

template <class T>
void binary_reduce(const BinaryReduce<T>& a, int64_t chunk, int64_t chunk_end) {
  using X = BroadcastAxes;
  const int in = a.axes.n - 1;
  for (int64_t c = chunk; c < chunk_end; ++c) {
    const int64_t end = (c + 1) * a.chunk < a.n ? (c + 1) * a.chunk : a.n;
    for (int64_t k = c * a.owned; k < (c + 1) * a.owned && k < a.total; ++k) a.partial[k] = 0;
    for_runs(a.axes, c * a.chunk, end, [&](int64_t i, int64_t n, const int64_t* at) {
      Acc<T>* out = a.partial + c * a.base + at[X::kTarget];
      for (int64_t j = 0; j < n; ++j) {
        const Acc<T> u = value_or_zero(a.a, at[X::kA] + j * a.axes.step[X::kA][in]);
        const Acc<T> v = value_or_zero(a.b, at[X::kB] + j * a.axes.step[X::kB][in]);
        const bool m = a.mask && a.mask[at[X::kMask] + j * a.axes.step[X::kMask][in]];
        const auto g = static_cast<Acc<T>>(a.dy[i + j]);
        out[j * a.axes.step[X::kTarget][in]] += binary_grad(a.op, a.second, u, v, g, m);
      }
    });
  }
}

template <class T>
void sum_partials(const SumPartials<T>& a, int64_t column, int64_t column_end) {
  for (int64_t c = column; c < column_end; ++c) {
    Acc<T> sum = 0;
    for (int64_t r = 0; r < a.rows; ++r) sum += a.x[r * a.cols + c];
    a.out[c] = static_cast<T>(sum);
  }
}

template <class T>
void dropout(const Dropout<T>& a, int64_t begin, int64_t end) {
  using A = Acc<T>;
  const A scale = A(1) / (A(1) - static_cast<A>(a.p));
  for (int64_t i = begin; i < end; ++i) {
    const bool keep =
        a.draw.uniform(static_cast<uint64_t>((a.base + i) / a.group)) >= static_cast<float>(a.p);
    a.y[i] = keep ? static_cast<T>(static_cast<A>(a.x[i]) * scale) : T(0.0f);
  }
}

template <class T>
void axpby(const Axpby<T>& a, int64_t begin, int64_t end) {
  using A = Acc<T>;
  for (int64_t i = begin; i < end; ++i)
    a.y[i] = static_cast<T>(static_cast<A>(a.alpha) * static_cast<A>(a.x[i]) +
                            static_cast<A>(a.beta) * static_cast<A>(a.y[i]));
}

template <class S, class D>
void cast(const Cast<S, D>& a, int64_t begin, int64_t end) {
  for (int64_t i = begin; i < end; ++i) a.y[i] = static_cast<D>(a.x[i]);
}

template <class T>
inline constexpr ElementwiseTable<T> elementwise_table{
    unary_fwd<T>,    unary_bwd<T>, binary_fwd<T>, binary_bwd<T>,  binary_reduce<T>,
    sum_partials<T>, dropout<T>,   axpby<T>,      cast<T, float>, cast<float, T>};

}  // namespace juxta::ref

// Element-wise ops on vectors; formulas in elementwise.h, ops of two operands in elementwise_binary.simd.cpp.
// One loop per op: the switch lies outside.
#include "kernels/elementwise.h"
#include "kernels/elementwise_binary_entries.h"
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
// clang-format on

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

#if JX_OWN_F32
extern const ElementwiseTable<float> elementwise_f32{
    unary_fwd<float>,    unary_bwd<float>, binary_fwd,   binary_bwd,         binary_reduce,
    sum_partials<float>, dropout<float>,   axpby<float>, cast<float, float>, cast<float, float>};
#endif
extern const ElementwiseTable<bf16> elementwise_bf16{
    unary_fwd<bf16>,    unary_bwd<bf16>, binary_fwd,  binary_bwd,        binary_reduce,
    sum_partials<bf16>, dropout<bf16>,   axpby<bf16>, cast<bf16, float>, cast<float, bf16>};

}  // namespace juxta::JX_ISA

#pragma once
// Element-wise ops: unary functions, broadcast binary functions, dropout, casts, sums, random fills.
//
// The two tables below are the definition of the unary and binary ops: value and gradient in one row each.
// Adding an op is one row here, one in elementwise.simd.cpp, its declaration in autograd/ops.h, one line in
// autograd/elementwise.cpp and one row in tests/elementwise_test.cpp.
//
//   unary:  y_i = f(x_i; p, q),  dx_i = dy_i f'(x_i)
//   binary: y_i = f(a_i, b_i) after NumPy broadcasting; da = dy df/da summed over the axes along which a was
//           broadcast, db likewise.
// Saved: of a unary op either x or y (the column `keeps`): y where the derivative can be told from it, since
// the next op usually keeps y anyway; of a binary op the operands its gradients read.
//
// Sums over broadcast axes are taken in chunks fixed by the shape: each writes partial sums in Acc<T>, then
// sum_partials adds them in order, so that the bits do not depend on the thread count.
#include <array>
#include <cmath>
#include <limits>

#include "kernels/table.h"
#include "tensor/dtype.h"
#include "tensor/rng.h"
#include "tensor/shape.h"

namespace juxta {

// clang-format off
// name, what backward keeps (x, y, none), value f(x), gradient dx with g = dy. A: type of the arithmetic.
// NaN passes through every op; a gradient at a kink is 0, at the border of clamp g.
#define JX_UNARY_OPS(ROW)                                                                              \
  ROW(affine, none, p * x + q, g * p)                                                                  \
  ROW(exp, y, std::exp(x), g * y)                                                                      \
  ROW(log, x, std::log(x), g / x)                                                                      \
  ROW(log1p, x, std::log1p(x), g / (A(1) + x))                                                         \
  ROW(expm1, y, std::expm1(x), g * (y + A(1)))                                                         \
  ROW(sqrt, y, std::sqrt(x), y > A(0) ? g / (y + y) : A(0))                                            \
  ROW(rsqrt, y, A(1) / std::sqrt(x), A(-0.5) * g * y * y * y)                                          \
  ROW(square, x, x * x, A(2) * g * x)                                                                  \
  ROW(reciprocal, y, A(1) / x, -g * y * y)                                                             \
  ROW(abs, x, std::abs(x), x > A(0) ? g : x < A(0) ? -g : x * A(0))                                    \
  ROW(pow, x, std::pow(x, p), p == A(0) ? A(0) : g * p * std::pow(x, p - A(1)))                        \
  ROW(sin, x, std::sin(x), g * std::cos(x))                                                            \
  ROW(cos, x, std::cos(x), -g * std::sin(x))                                                           \
  ROW(tanh, y, std::tanh(x), g * (A(1) - y * y))                                                       \
  ROW(atanh, x, std::atanh(x), g / ((A(1) - x) * (A(1) + x)))                                          \
  ROW(acos, x, std::acos(x), -g / std::sqrt((A(1) - x) * (A(1) + x)))                                  \
  ROW(erf, x, std::erf(x), g * A(1.1283791670955126) * std::exp(-x * x))                               \
  ROW(sigmoid, y, sigmoid(x), g * y * (A(1) - y))                                                      \
  ROW(log_sigmoid, x, -softplus(-x), g * sigmoid(-x))                                                  \
  ROW(softplus, x, softplus(x), g * sigmoid(x))                                                        \
  ROW(relu, y, x < A(0) ? A(0) : x, y > A(0) ? g : A(0))                                               \
  ROW(leaky_relu, y, x < A(0) ? p * x : x, y > A(0) ? g : p * g)                                       \
  ROW(elu, y, x < A(0) ? p * std::expm1(x) : x, y > A(0) ? g : g * (y + p))                            \
  ROW(gelu, x, x * normal_cdf(x), g * (normal_cdf(x) + x * normal_pdf(x)))                             \
  ROW(gelu_tanh, x, x * sigmoid(A(2) * gelu_tanh_arg(x)), g * gelu_tanh_grad(x))                       \
  ROW(silu, x, x * sigmoid(x), g * sigmoid(x) * (A(1) + x * (A(1) - sigmoid(x))))                      \
  ROW(clamp, x, x < p ? p : x > q ? q : x, x < p || x > q ? A(0) : g)

// name, what backward keeps (ab, none), value f(a, b), da, db. m: element of the mask (where only).
#define JX_BINARY_OPS(ROW)                                                                             \
  ROW(add, none, a + b, g, g)                                                                          \
  ROW(sub, none, a - b, g, -g)                                                                         \
  ROW(mul, ab, a * b, g * b, g * a)                                                                    \
  ROW(div, ab, a / b, g / b, -g * a / (b * b))                                                         \
  ROW(minimum, ab, a < b || a != a ? a : b, g * share(a < b, a == b), g * share(b < a, a == b))        \
  ROW(maximum, ab, a > b || a != a ? a : b, g * share(a > b, a == b), g * share(b > a, a == b))        \
  ROW(where, none, m ? a : b, m ? g : A(0), m ? A(0) : g)
// clang-format on

#define JX_NAME(name, ...) name,
enum class Unary : uint8_t { JX_UNARY_OPS(JX_NAME) };
enum class Binary : uint8_t { JX_BINARY_OPS(JX_NAME) };
#undef JX_NAME
enum class Keeps : uint8_t { none, x, y, ab };

// The columns `name` and `keeps` of the tables, indexed by the enum.
#define JX_TEXT(name, ...) #name,
#define JX_KEEPS(name, keeps, ...) Keeps::keeps,
inline constexpr const char* kUnaryNames[] = {JX_UNARY_OPS(JX_TEXT)};
inline constexpr const char* kBinaryNames[] = {JX_BINARY_OPS(JX_TEXT)};
inline constexpr Keeps kUnaryKeeps[] = {JX_UNARY_OPS(JX_KEEPS)};
inline constexpr Keeps kBinaryKeeps[] = {JX_BINARY_OPS(JX_KEEPS)};
#undef JX_TEXT
#undef JX_KEEPS

template <class T>
struct UnaryFwd {
  Unary op;
  const T* x;   // [n]
  T* y;         // [n]
  double p, q;  // parameters of the op (affine: scale, shift; pow: exponent; clamp: low, high; ...)
};

template <class T>
struct UnaryBwd {
  Unary op;
  const T* kept;  // x or y [n], as kUnaryKeeps says; null for none
  const T* dy;    // [n]
  T* dx;          // [n]; may be dy
  double p, q;
};

// How the elements of a contiguous result lie in its operands: axes outermost first, those of size 1 dropped
// and neighbours merged where all operands allow it. A step is 0 along a broadcast axis. There is always at
// least one axis.
struct BroadcastAxes {
  enum Operand { kA, kB, kMask, kTarget, kOperands };
  int n;
  int64_t size[kMaxDims];
  int64_t step[kOperands][kMaxDims];
};

template <class T>
struct BinaryFwd {
  Binary op;
  const T *a, *b;
  const bool* mask;  // where only
  T* y;              // contiguous; the range of the entry counts its elements
  BroadcastAxes axes;
};

// Gradients that need no sum: each has the shape of y and is contiguous.
template <class T>
struct BinaryBwd {
  Binary op;
  const T *a, *b;  // null where kBinaryKeeps is none
  const bool* mask;
  const T* dy;
  T *da, *db;  // either may be null
  BroadcastAxes axes;
};

// The gradient of one operand summed over the axes along which it was broadcast. axes.step[kTarget] maps an
// element of y to an element of the (contiguous) operand. Chunk c covers elements [c chunk, (c + 1) chunk) of
// y; it first clears partial[c owned, (c + 1) owned), then adds to partial[c base + target].
//   outermost axis summed: base = owned = size of the operand; every chunk has a copy of its own.
//   outermost axis kept: base = 0; the chunks end between outer indices and own disjoint parts of one copy.
template <class T>
struct BinaryReduce {
  Binary op;
  bool second;  // the operand is b
  const T *a, *b;
  const bool* mask;
  const T* dy;
  Acc<T>* partial;  // [total]
  BroadcastAxes axes;
  int64_t n, chunk, owned, base, total;  // n: elements of y
};

// out[c] = x[0, c] + x[1, c] + ..., in this order; the second step of BinaryReduce.
template <class T>
struct SumPartials {
  const Acc<T>* x;     // [rows, cols]
  T* out;              // [cols]
  int64_t rows, cols;  // the range of the entry counts columns
};

// y_i = x_i / (1 - p) where uniform(draw, (base + i) / group) >= p, else 0. Backward is the same function of
// dy: the mask is drawn again, not stored (Srivastava et al., JMLR 2014; group > 1: stochastic depth, Huang
// et al., arXiv 1603.09382).
template <class T>
struct Dropout {
  const T* x;
  T* y;
  Draw draw;
  int64_t base;   // global index of element 0
  int64_t group;  // elements that live and die together
  double p;
};

// y = alpha x + beta y.
template <class T>
struct Axpby {
  const T* x;
  T* y;
  double alpha, beta;
};

template <class S, class D>
struct Cast {
  const S* x;
  D* y;
};

template <class T>
struct ElementwiseTable {
  static constexpr const char* kFamily = "elementwise";
  static constexpr std::array kNames{"unary_fwd",    "unary_bwd", "binary_fwd", "binary_bwd", "binary_reduce",
                                     "sum_partials", "dropout",   "axpby",      "to_f32",     "from_f32"};
  void (*unary_fwd)(const UnaryFwd<T>&, int64_t begin, int64_t end);
  void (*unary_bwd)(const UnaryBwd<T>&, int64_t begin, int64_t end);
  void (*binary_fwd)(const BinaryFwd<T>&, int64_t begin, int64_t end);
  void (*binary_bwd)(const BinaryBwd<T>&, int64_t begin, int64_t end);
  void (*binary_reduce)(const BinaryReduce<T>&, int64_t chunk, int64_t chunk_end);
  void (*sum_partials)(const SumPartials<T>&, int64_t column, int64_t column_end);
  void (*dropout)(const Dropout<T>&, int64_t begin, int64_t end);
  void (*axpby)(const Axpby<T>&, int64_t begin, int64_t end);
  void (*to_f32)(const Cast<T, float>&, int64_t begin, int64_t end);
  void (*from_f32)(const Cast<float, T>&, int64_t begin, int64_t end);
};

template <class T>
const TableChoice<ElementwiseTable<T>>& elementwise_tables();  // T: float, bf16, double

// Elements per range of an element-wise entry: a multiple of every vector width and of Philox's four words.
inline constexpr int64_t kElementGrain = 1 << 15;

// Random fills of a contiguous f32, bf16 or f64 tensor; element i depends on (draw, i) alone, on every ISA.
// Errors: another dtype, a strided tensor, low > high, a negative deviation.
void fill_uniform(Tensor& t, Draw draw, double low, double high);  // [low, high)
void fill_normal(Tensor& t, Draw draw, double mean, double stddev);
// Normal restricted to [low, high] (absolute bounds, as torch.nn.init.trunc_normal_), by the inverse of the
// distribution function.
void fill_truncated_normal(Tensor& t, Draw draw, double mean, double stddev, double low, double high);

// Calls f(i, n, offset) for the pieces of [begin, end) that lie within one run of the innermost axis: n
// elements of the result from i on, with the offset of the first in each operand.
template <class F>
[[gnu::always_inline]] inline void for_runs(const BroadcastAxes& axes, int64_t begin, int64_t end, F f) {
  const int inner = axes.n - 1;
  int64_t index[kMaxDims] = {}, offset[BroadcastAxes::kOperands] = {}, rest = begin;
  for (int d = inner; d >= 0; --d) {
    index[d] = rest % axes.size[d];
    rest /= axes.size[d];
    for (int k = 0; k < BroadcastAxes::kOperands; ++k) offset[k] += index[d] * axes.step[k][d];
  }
  for (int64_t i = begin; i < end;) {
    const int64_t left = axes.size[inner] - index[inner], n = left < end - i ? left : end - i;
    f(i, n, static_cast<const int64_t*>(offset));
    i += n;
    for (int k = 0; k < BroadcastAxes::kOperands; ++k) offset[k] -= index[inner] * axes.step[k][inner];
    index[inner] = 0;
    for (int d = inner - 1; d >= 0; --d) {
      const bool carry = ++index[d] == axes.size[d];
      const int64_t back = carry ? axes.size[d] : 0;
      for (int k = 0; k < BroadcastAxes::kOperands; ++k) offset[k] += (1 - back) * axes.step[k][d];
      if (!carry) break;
      index[d] = 0;
    }
  }
}

}  // namespace juxta

#include "kernels/elementwise_ref.h"

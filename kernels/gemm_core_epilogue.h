#pragma once
// What happens to a tile of sums on its way to memory: out = act(alpha tile + bias + beta out) + residual,
// and activations on vectors. Included by *.simd.cpp files only.
#include "kernels/act.h"
#include "kernels/simd.h"
#include "kernels/simd_math.h"

namespace juxta::JX_ISA {

// act(z); Act::none returns z.
JX_INLINE F32 apply_act(Act act, F32 z) {
  switch (act) {
    case Act::relu:
      return max(F32(0.0f), z);  // NaN passes
    case Act::gelu:
      return gelu(z);
    case Act::silu:
      return silu(z);
    case Act::tanh:
      return tanh(z);
    case Act::sigmoid:
      return sigmoid(z);
    case Act::none:
      break;
  }
  return z;
}

// d act / dz from z where act_needs_input(act), else from y.
JX_INLINE F32 apply_act_grad(Act act, F32 saved) {
  const F32 one(1.0f);
  switch (act) {
    case Act::relu:
      return select(saved > F32(0.0f), one, F32(0.0f));
    case Act::gelu:
      return gelu_grad(saved);
    case Act::silu:
      return silu_grad(saved);
    case Act::tanh:
      return one - saved * saved;
    case Act::sigmoid:
      return saved * (one - saved);
    case Act::none:
      break;
  }
  return one;
}

// Everything is optional. Pointers are those of the tile's first row and column.
template <class Out>
struct Epilogue {
  float alpha = 1.0f, beta = 0.0f;  // beta 0: `out` is not read
  const float* bias = nullptr;      // per column
  Act act = Act::none;
  const Out* residual = nullptr;  // added after the activation
  int64_t residual_stride = 0;
  Out* saved = nullptr;  // receives what apply_act_grad wants: z where act_needs_input(act), else act(z)
  int64_t saved_stride = 0;
};

// Writes rows x cols of out (row stride out_stride) from a tile with row stride ld. Out: float or bf16.
template <class Out>
[[gnu::noinline]] static void store_tile(const float* tile, int64_t ld, int rows, int cols, Out* out,
                                         int64_t out_stride, const Epilogue<Out>& e) {
  const F32 alpha(e.alpha), beta(e.beta);
  const bool keep_input = act_needs_input(e.act);
  for (int r = 0; r < rows; ++r) {
    for (int c = 0; c < cols; c += kWidth) {
      const int n = cols - c < kWidth ? cols - c : kWidth;
      Out* o = out + r * out_stride + c;
      F32 z = load(tile + r * ld + c) * alpha;
      if (e.beta != 0.0f) z = fma(beta, load_part(o, n), z);
      if (e.bias) z += load_part(e.bias + c, n);
      if (e.saved && keep_input) store_part(e.saved + r * e.saved_stride + c, z, n);
      z = apply_act(e.act, z);
      if (e.saved && !keep_input) store_part(e.saved + r * e.saved_stride + c, z, n);
      if (e.residual) z += load_part(e.residual + r * e.residual_stride + c, n);
      store_part(o, z, n);
    }
  }
}

}  // namespace juxta::JX_ISA

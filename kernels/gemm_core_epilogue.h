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

// One vector of a tile at row r, column c of the tile; n lanes of it exist.
template <Act act, class Out>
JX_INLINE void store_vector(const float* tile, Out* out, int64_t out_stride, const Epilogue<Out>& e,
                            int64_t r, int c, int n) {
  Out* o = out + r * out_stride + c;
  F32 z = load(tile) * F32(e.alpha);
  if (e.beta != 0.0f) z = fma(F32(e.beta), load_part(o, n), z);
  if (e.bias) z += load_part(e.bias + c, n);
  if (e.saved && act_needs_input(act)) store_part(e.saved + r * e.saved_stride + c, z, n);
  z = apply_act(act, z);
  if (e.saved && !act_needs_input(act)) store_part(e.saved + r * e.saved_stride + c, z, n);
  if (e.residual) z += load_part(e.residual + r * e.residual_stride + c, n);
  store_part(o, z, n);
}

// The activation is a template argument: a switch per vector would cost more than the store.
template <Act act, class Out>
[[gnu::noinline]] static void store_tile_as(const float* tile, int64_t ld, int rows, int cols, Out* out,
                                            int64_t out_stride, const Epilogue<Out>& e) {
  const int whole = cols / kWidth * kWidth;
  for (int r = 0; r < rows; ++r) {
    for (int c = 0; c < whole; c += kWidth)
      store_vector<act>(tile + r * ld + c, out, out_stride, e, r, c, kWidth);
    if (whole < cols) store_vector<act>(tile + r * ld + whole, out, out_stride, e, r, whole, cols - whole);
  }
}

// Writes rows x cols of out (row stride out_stride) from a tile with row stride ld. Out: float or bf16.
template <class Out>
static void store_tile(const float* tile, int64_t ld, int rows, int cols, Out* out, int64_t out_stride,
                       const Epilogue<Out>& e) {
  switch (e.act) {
    case Act::none:
      return store_tile_as<Act::none>(tile, ld, rows, cols, out, out_stride, e);
    case Act::relu:
      return store_tile_as<Act::relu>(tile, ld, rows, cols, out, out_stride, e);
    case Act::gelu:
      return store_tile_as<Act::gelu>(tile, ld, rows, cols, out, out_stride, e);
    case Act::silu:
      return store_tile_as<Act::silu>(tile, ld, rows, cols, out, out_stride, e);
    case Act::tanh:
      return store_tile_as<Act::tanh>(tile, ld, rows, cols, out, out_stride, e);
    case Act::sigmoid:
      return store_tile_as<Act::sigmoid>(tile, ld, rows, cols, out, out_stride, e);
  }
}

}  // namespace juxta::JX_ISA

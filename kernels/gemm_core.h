#pragma once
// The GEMM core: packed panels and the micro-kernel that multiplies them. Matmul, convolution, attention and
// contrast are loops around it. Included by *.simd.cpp files only (see simd.h). After Goto & van de Geijn,
// "Anatomy of high-performance matrix multiplication", ACM TOMS 2008, and BLIS (Van Zee & van de Geijn 2015).
//
// HOW TO USE IT. C [M, N] = A [M, K] B [K, N] is computed tile by tile, kMR rows by kNR columns at once:
//
//   A panel  kMR rows of A:     word s kMR + r holds A[r, k]      (zeros from row `rows` on)
//   B panel  kNR columns of B:  word s kNR + c holds B[k, c]      (zeros from column `cols` on)
//   tile     rows x cols sums, in f32, in a small buffer of yours with row stride ld
//
// A word is four bytes. With T = float it is one element and step s is k = s. With T = bf16 it is the same,
// widened, but on CPUs with bf16 dot products it is the pair (k, k + 1) with k = 2 s. You need not care:
//   panel_steps<T>(K)  steps of a panel of K;  a panel takes panel_steps<T>(K) * kMR (or kNR) words
//   pack_a<T>(panel, a, row_stride, k_stride, rows, K)       any strides: pass them swapped for A^T
//   pack_b<T>(panel, b, column_stride, k_stride, cols, K)    B [K, N] row major: column 1, k N; B^T: swapped
//   pack_rows_a<T>(panel, pointers, rows, K)  row r starts at pointers[r] and is contiguous along k; null = a
//       row of zeros. This is how convolution gathers patches: call it once per (kh, kw) with the rows' pixel
//       addresses and K = C, the panel pointer advanced by panel_steps<T>(C) kMR words each time. C must then
//       be even for paired panels (kPair<T> == 2); gather an odd C into rows of a scratch buffer first.
//   gemm_tile<T>(a_panel, b_panel, steps, rows, cols, tile, ld, accumulate)
//       accumulate = true continues the sums in `tile`, so a long K may be cut into blocks of steps without
//       changing one bit of the result. Writes exactly rows x round-up-to-kWidth(cols) floats of `tile`.
// Source elements may be f32 or bf16 in both cases; T = bf16 rounds f32 sources to bf16 on every ISA.
// Then either read `tile` yourself (softmax of attention, masked log-sum-exp of contrast) or let
// store_tile() of gemm_core_epilogue.h add bias, activation and residual and write f32 or bf16.
//
// Sums run over k in order, one accumulator per element, so the bits depend neither on blocking nor on
// where the element lies in its tile. bf16 dot products add a pair at once and flush denormals.
//
// CACHE. One B panel of K <= 256 f32 fits the first-level cache; keep A's block (rows x K) in half of the
// second level. Loop order for tiles of one block: for each B panel, for each A panel. The panels live in
// scratch memory of the calling thread: thread_scratch() of kernels/scratch.h (this file allocates nothing).
#include "kernels/gemm_core_pack.h"

namespace juxta::JX_ISA {

// c + a b over one step: fused multiply-add, or the dot product of bf16 pairs.
template <class T>
JX_INLINE F32 multiply_step(F32 a, F32 b, F32 c) {
#if JX_LEVEL >= 3
  if constexpr (kPair<T> == 2)
    return VF(_mm512_dpbf16_ps(c.v, reinterpret_cast<__m512bh>(a.v), reinterpret_cast<__m512bh>(b.v)));
  else
#endif
    return fma(a, b, c);
}

// R rows by V vectors of sums in registers. A's word (r, s) lies at a[r kRow + s kStep]: a panel by default.
// b_stride: words between the steps of B (kNR when packed).
template <class T, int R, int V, int kRow = 1, int kStep = kMR>
[[gnu::noinline]] static void gemm_kernel(const Word* a, const Word* b, int64_t b_stride, int64_t steps,
                                          float* tile, int64_t ld, bool accumulate) {
  F32 c[R][V];
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) c[r][v] = accumulate ? load(tile + r * ld + v * kWidth) : F32(0.0f);
  for (int64_t s = 0; s < steps; ++s) {
    F32 bv[V];
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) bv[v] = load(b + v * kWidth);
#pragma GCC unroll 16
    for (int r = 0; r < R; ++r) {
      const F32 ar(a[r * kRow]);
#pragma GCC unroll 2
      for (int v = 0; v < V; ++v) c[r][v] = multiply_step<T>(ar, bv[v], c[r][v]);
    }
    a += kStep;
    b += b_stride;
  }
#pragma GCC unroll 16
  for (int r = 0; r < R; ++r)
#pragma GCC unroll 2
    for (int v = 0; v < V; ++v) store(tile + r * ld + v * kWidth, c[r][v]);
}

// Picks the kernel for a number of rows.
template <class T, int R, int kRow, int kStep>
JX_INLINE void pick_rows(const Word* a, const Word* b, int64_t b_stride, int64_t steps, int rows, int cols,
                         float* tile, int64_t ld, bool accumulate) {
  if constexpr (R > 1) {
    if (rows < R)
      return pick_rows<T, R - 1, kRow, kStep>(a, b, b_stride, steps, rows, cols, tile, ld, accumulate);
  }
  if (cols > kWidth)
    gemm_kernel<T, R, 2, kRow, kStep>(a, b, b_stride, steps, tile, ld, accumulate);
  else
    gemm_kernel<T, R, 1, kRow, kStep>(a, b, b_stride, steps, tile, ld, accumulate);
}
template <class T, int kRow = 1, int kStep = kMR>
[[gnu::noinline]] static void gemm_rows(const Word* a, const Word* b, int64_t b_stride, int64_t steps,
                                        int rows, int cols, float* tile, int64_t ld, bool accumulate) {
  pick_rows<T, kMR, kRow, kStep>(a, b, b_stride, steps, rows, cols, tile, ld, accumulate);
}

// tile[r, c] (+)= sum over steps of A[r, k] B[k, c] for rows <= kMR, cols <= kNR.
template <class T>
JX_INLINE void gemm_tile(const Word* a, const Word* b, int64_t steps, int rows, int cols, float* tile,
                         int64_t ld, bool accumulate) {
  if (rows == kMR && cols > kWidth)
    gemm_kernel<T, kMR, 2>(a, b, kNR, steps, tile, ld, accumulate);
  else
    gemm_rows<T>(a, b, kNR, steps, rows, cols, tile, ld, accumulate);
}

// The same with A's words where they are, word (r, s) at a[r kRow + s kStep]: the tile of one product is an
// operand of the next without packing (attention).
template <class T, int kRow, int kStep>
JX_INLINE void gemm_tile_words_a(const Word* a, const Word* b, int64_t steps, int rows, int cols, float* tile,
                                 int64_t ld, bool accumulate) {
  gemm_rows<T, kRow, kStep>(a, b, kNR, steps, rows, cols, tile, ld, accumulate);
}

// The same with B unpacked: f32, row major, b_stride floats between its rows, cols a multiple of kWidth. For
// few rows of A, where packing B would cost as much as the product.
JX_INLINE void gemm_tile_unpacked_b(const Word* a, const float* b, int64_t b_stride, int64_t k, int rows,
                                    int cols, float* tile, int64_t ld, bool accumulate) {
  gemm_rows<float>(a, b, b_stride, k, rows, cols, tile, ld, accumulate);
}

}  // namespace juxta::JX_ISA

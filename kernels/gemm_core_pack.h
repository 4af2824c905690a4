#pragma once
// Packing for the GEMM core: copies rows of A or columns of B into panels (layout in gemm_core.h), converting
// the element type and filling edges with zeros. Three paths by what lies contiguous in memory: k (register
// transposes), rows or columns (straight copies), neither (element by element).
#include "kernels/simd.h"

namespace juxta::JX_ISA {

// Tile of the micro-kernel. 28 of 32 (12 of 16, 8 of 16) registers hold sums.
#if JX_LEVEL >= 2
inline constexpr int kMR = 14, kNR = 32;
#elif JX_LEVEL == 1
inline constexpr int kMR = 6, kNR = 16;
#else
inline constexpr int kMR = 4, kNR = 8;
#endif

// Four bytes of a panel: an f32 element, or the bits of two bf16 with the even k in the low half.
using Word = float;
// Elements of k per word.
template <class T>
inline constexpr int kPair = JX_LEVEL >= 3 && sizeof(T) == 2 ? 2 : 1;

template <class T>
JX_INLINE int64_t panel_steps(int64_t k) {
  return (k + kPair<T> - 1) / kPair<T>;
}

// ---- vectors of words

JX_INLINE F32 pair_words(VH even, VH odd) {
  return from_bits(
      __builtin_bit_cast(VI, __builtin_convertvector(even, VU) | (__builtin_convertvector(odd, VU) << 16)));
}
#if JX_LEVEL < 2
// n < 4 bf16 in the low bits, the others 0.
JX_INLINE uint64_t load_few(const bf16* p, int64_t n) {
  uint64_t v = 0;
  if (n & 2) {
    uint32_t two;
    __builtin_memcpy(&two, p, 4);
    v = two;
  }
  if (n & 1) v |= static_cast<uint64_t>(p[n - 1].bits) << ((n & 2) * 16);
  return v;
}
JX_INLINE uint64_t load_four(const bf16* p) {
  uint64_t v;
  __builtin_memcpy(&v, p, 8);
  return v;
}
#endif
// The first n bf16 (all when n >= kWidth), as bits; the others 0. Assembled in registers: a vector load from
// memory just written in smaller pieces would wait for them.
JX_INLINE VH load_half(const bf16* p, int64_t n) {
  if (n >= kWidth) {
    VH h;
    __builtin_memcpy(&h, p, sizeof h);
    return h;
  }
#if JX_LEVEL >= 2
  return VH(_mm256_maskz_loadu_epi16(static_cast<__mmask16>((1u << n) - 1u), p));
#elif JX_LEVEL == 1
  using Two = uint64_t __attribute__((vector_size(16)));
  const Two v = n >= 4 ? Two{load_four(p), load_few(p + 4, n - 4)} : Two{load_few(p, n), 0};
  return __builtin_bit_cast(VH, v);
#else
  return __builtin_bit_cast(VH, load_few(p, n));
#endif
}
JX_INLINE F32 load_first(const float* p, int64_t n) {
  return n >= kWidth ? load(p) : load_n(p, static_cast<int>(n));
}
JX_INLINE VH load_half(const float* p, int64_t n) { return narrow(load_first(p, n)); }

// kWidth words along k from p, of which n elements exist.
template <class T, class S>
JX_INLINE F32 load_along_k(const S* p, int64_t n) {
  if constexpr (kPair<T> == 2) {
#if JX_LEVEL >= 3
    if constexpr (sizeof(S) == 2) {
      if (n >= 2 * kWidth) return VF(_mm512_loadu_ps(p));
      return VF(_mm512_castsi512_ps(_mm512_maskz_loadu_epi16(static_cast<__mmask32>((1u << n) - 1u), p)));
    } else {
      const __m256i low = reinterpret_cast<__m256i>(load_half(p, n));
      const __m256i high =
          n > kWidth ? reinterpret_cast<__m256i>(load_half(p + kWidth, n - kWidth)) : __m256i{};
      return VF(_mm512_castsi512_ps(_mm512_maskz_inserti64x4(0xff, _mm512_castsi256_si512(low), high, 1)));
    }
#endif
  } else if constexpr (sizeof(T) == 2 || sizeof(S) == 2) {
    return widen(load_half(p, n));  // f32 sources are rounded to bf16 here too
  } else {
    return load_first(p, n);
  }
}

// kWidth words across rows from p (k) and next (k + 1, null past the end), of which n rows exist.
template <class T, class S>
JX_INLINE F32 load_across(const S* p, const S* next, int64_t n) {
  if constexpr (kPair<T> == 2)
    return pair_words(load_half(p, n), next ? load_half(next, n) : VH{});
  else
    return load_along_k<T>(p, n);
}

// One word, from scalars.
template <class T, class S>
JX_INLINE Word load_word(const S* p, const S* next) {
  if constexpr (kPair<T> == 2) {
    const uint32_t even = bf16(static_cast<float>(*p)).bits;
    const uint32_t odd = next ? bf16(static_cast<float>(*next)).bits : 0;
    return __builtin_bit_cast(float, even | (odd << 16));
  } else if constexpr (sizeof(T) == 2) {
    return static_cast<float>(bf16(static_cast<float>(*p)));
  } else {
    return static_cast<float>(*p);
  }
}

// ---- transpose of kWidth x kWidth words in registers: log2(kWidth) rounds of perfect shuffles

JX_INLINE VF zip_low(VF a, VF b) {
#if JX_LEVEL >= 2
  return __builtin_shufflevector(a, b, 0, 16, 1, 17, 2, 18, 3, 19, 4, 20, 5, 21, 6, 22, 7, 23);
#elif JX_LEVEL == 1
  return __builtin_shufflevector(a, b, 0, 8, 1, 9, 2, 10, 3, 11);
#else
  return __builtin_shufflevector(a, b, 0, 4, 1, 5);
#endif
}
JX_INLINE VF zip_high(VF a, VF b) {
#if JX_LEVEL >= 2
  return __builtin_shufflevector(a, b, 8, 24, 9, 25, 10, 26, 11, 27, 12, 28, 13, 29, 14, 30, 15, 31);
#elif JX_LEVEL == 1
  return __builtin_shufflevector(a, b, 4, 12, 5, 13, 6, 14, 7, 15);
#else
  return __builtin_shufflevector(a, b, 2, 6, 3, 7);
#endif
}
JX_INLINE void transpose(F32 (&x)[kWidth]) {
#pragma GCC unroll 4
  for (int round = 1; round < kWidth; round *= 2) {
    F32 y[kWidth];
#pragma GCC unroll 8
    for (int i = 0; i < kWidth / 2; ++i) {
      y[2 * i] = zip_low(x[i].v, x[i + kWidth / 2].v);
      y[2 * i + 1] = zip_high(x[i].v, x[i + kWidth / 2].v);
    }
#pragma GCC unroll 16
    for (int i = 0; i < kWidth; ++i) x[i] = y[i];
  }
}

// ---- one panel of P rows

// Stores min(P - g, kWidth) lanes at p. Whole registers where what they spill over is written later anyway.
template <int P>
JX_INLINE void store_lanes(Word* p, F32 x, bool last) {
  if (P % kWidth == 0 || !last)
    store(p, x);
  else
    store_n(p, x, P % kWidth);
}

template <class T, int P, class S>
[[gnu::noinline]] static void pack_rows(Word* panel, const S* const* row, int rows, int64_t k) {
  const int64_t steps = panel_steps<T>(k);
  for (int g = 0; g < P; g += kWidth) {
    for (int64_t s = 0; s < steps; s += kWidth) {
      F32 x[kWidth];
#pragma GCC unroll 16
      for (int i = 0; i < kWidth; ++i) {
        const bool there = g + i < rows && i < P && row[g + i];
        x[i] = there ? load_along_k<T>(row[g + i] + s * kPair<T>, k - s * kPair<T>) : F32(0.0f);
      }
      transpose(x);
      Word* out = panel + s * P + g;
      const int count = steps - s < kWidth ? static_cast<int>(steps - s) : kWidth;
      if (count == kWidth) {
#pragma GCC unroll 16
        for (int i = 0; i < kWidth; ++i) store_lanes<P>(out + i * P, x[i], i == kWidth - 1);
      } else {
        for (int i = 0; i < count; ++i) store_lanes<P>(out + i * P, x[i], i == count - 1);
      }
    }
  }
}

template <class T, int P, class S>
[[gnu::noinline]] static void pack_columns(Word* panel, const S* p, int64_t k_stride, int rows, int64_t k) {
  const int64_t steps = panel_steps<T>(k);
  for (int64_t s = 0; s < steps; ++s) {
    const S *even = p + s * kPair<T> * k_stride, *odd = s * kPair<T> + 1 < k ? even + k_stride : nullptr;
#pragma GCC unroll 2
    for (int g = 0; g < P; g += kWidth) {
      const int lanes = P - g < kWidth ? P - g : kWidth;
      const int n = rows - g < lanes ? rows - g : lanes;
      const F32 x = n > 0 ? load_across<T>(even + g, odd ? odd + g : nullptr, n) : F32(0.0f);
      store_lanes<P>(panel + s * P + g, x, s == steps - 1);
    }
  }
}

template <class T, int P, class S>
[[gnu::noinline]] static void pack_elements(Word* panel, const S* p, int64_t row_stride, int64_t k_stride,
                                            int rows, int64_t k) {
  const int64_t steps = panel_steps<T>(k);
  for (int64_t s = 0; s < steps; ++s) {
    const S* even = p + s * kPair<T> * k_stride;
    for (int r = 0; r < P; ++r) {
      const S* odd = s * kPair<T> + 1 < k ? even + r * row_stride + k_stride : nullptr;
      panel[s * P + r] = r < rows ? load_word<T>(even + r * row_stride, odd) : 0.0f;
    }
  }
}

template <class T, int P, class S>
static void pack_panel(Word* panel, const S* p, int64_t row_stride, int64_t k_stride, int rows, int64_t k) {
  if (k_stride == 1) {
    const S* row[P];
    for (int r = 0; r < rows; ++r) row[r] = p + r * row_stride;
    pack_rows<T, P>(panel, row, rows, k);
  } else if (row_stride == 1) {
    pack_columns<T, P>(panel, p, k_stride, rows, k);
  } else {
    pack_elements<T, P>(panel, p, row_stride, k_stride, rows, k);
  }
}

// Public names; see gemm_core.h.
template <class T, class S>
JX_INLINE void pack_a(Word* panel, const S* a, int64_t row_stride, int64_t k_stride, int rows, int64_t k) {
  pack_panel<T, kMR>(panel, a, row_stride, k_stride, rows, k);
}
template <class T, class S>
JX_INLINE void pack_b(Word* panel, const S* b, int64_t column_stride, int64_t k_stride, int cols, int64_t k) {
  pack_panel<T, kNR>(panel, b, column_stride, k_stride, cols, k);
}
template <class T, class S>
JX_INLINE void pack_rows_a(Word* panel, const S* const* row, int rows, int64_t k) {
  pack_rows<T, kMR>(panel, row, rows, k);
}

}  // namespace juxta::JX_ISA

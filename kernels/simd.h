#pragma once
// F32: one SIMD register of floats, and what kernels do with it. Included only by *.simd.cpp files, which
// CMake compiles once per instruction set with JX_ISA (namespace) and JX_LEVEL (0 generic, 1 avx2, 2 avx512,
// 3 avx512bf16).
//
// Everything is static and always inlined: an object compiled for AVX-512 must not leave a weak symbol behind
// that the linker could hand to code running on another CPU. Compiler vector types carry the arithmetic;
// intrinsics appear where they say more (fma, masked tails).
#include <cstddef>
#include <cstdint>
#include <utility>
#if JX_LEVEL >= 1
#include <immintrin.h>
#endif

#include "tensor/dtype.h"

#define JX_INLINE [[gnu::always_inline]] static inline

// avx512bf16 adds conversions and products of bf16 to avx512. Its kernels of f32 would be the same code, so
// avx512's serve both (JX_ISA_TABLES_F32), and what only they need is compiled where this is 1.
#define JX_OWN_F32 (JX_LEVEL != 3)

namespace juxta::JX_ISA {

#if JX_LEVEL >= 2
inline constexpr int kWidth = 16;
#elif JX_LEVEL == 1
inline constexpr int kWidth = 8;
#else
inline constexpr int kWidth = 4;
#endif

using VF = float __attribute__((vector_size(kWidth * 4)));
using VI = int32_t __attribute__((vector_size(kWidth * 4)));
using VU = uint32_t __attribute__((vector_size(kWidth * 4)));
using VH = uint16_t __attribute__((vector_size(kWidth * 2)));

struct F32 {
  VF v;
  [[gnu::always_inline]] F32() = default;
  [[gnu::always_inline]] F32(VF x) : v(x) {}
  [[gnu::always_inline]] F32(float x) : v(x - VF{}) {}  // broadcast
};
struct Mask {
  VI v;
};  // lanes are 0 or -1

JX_INLINE F32 operator+(F32 a, F32 b) { return a.v + b.v; }
JX_INLINE F32 operator-(F32 a, F32 b) { return a.v - b.v; }
JX_INLINE F32 operator*(F32 a, F32 b) { return a.v * b.v; }
JX_INLINE F32 operator/(F32 a, F32 b) { return a.v / b.v; }
JX_INLINE F32 operator-(F32 a) { return -a.v; }
JX_INLINE F32& operator+=(F32& a, F32 b) { return a = a + b; }
JX_INLINE F32& operator*=(F32& a, F32 b) { return a = a * b; }
JX_INLINE Mask operator<(F32 a, F32 b) { return {a.v < b.v}; }
JX_INLINE Mask operator>(F32 a, F32 b) { return {a.v > b.v}; }
JX_INLINE Mask operator<=(F32 a, F32 b) { return {a.v <= b.v}; }
JX_INLINE Mask operator>=(F32 a, F32 b) { return {a.v >= b.v}; }
JX_INLINE Mask operator==(F32 a, F32 b) { return {a.v == b.v}; }
JX_INLINE Mask operator!=(F32 a, F32 b) { return {a.v != b.v}; }
JX_INLINE Mask operator&(Mask a, Mask b) { return {a.v & b.v}; }
JX_INLINE Mask operator|(Mask a, Mask b) { return {a.v | b.v}; }

JX_INLINE VI bits(F32 a) { return __builtin_bit_cast(VI, a.v); }
JX_INLINE F32 from_bits(VI a) { return F32(__builtin_bit_cast(VF, a)); }
JX_INLINE VI broadcast_int(int32_t x) { return x - VI{}; }
JX_INLINE F32 select(Mask m, F32 yes, F32 no) { return from_bits((m.v & bits(yes)) | (~m.v & bits(no))); }
JX_INLINE VI to_int(F32 a) { return __builtin_convertvector(a.v, VI); }  // truncates
JX_INLINE F32 to_float(VI a) { return __builtin_convertvector(a, VF); }
JX_INLINE F32 abs(F32 a) { return from_bits(bits(a) & broadcast_int(0x7fffffff)); }
JX_INLINE F32 copysign(F32 magnitude, F32 sign) {
  return from_bits((bits(magnitude) & broadcast_int(0x7fffffff)) | (bits(sign) & broadcast_int(INT32_MIN)));
}

#if JX_LEVEL >= 2
// a * b + c, rounded once.
JX_INLINE F32 fma(F32 a, F32 b, F32 c) { return VF(_mm512_fmadd_ps(a.v, b.v, c.v)); }
// The maskz forms compile to the plain instructions; g++ 12 warns of an uninitialised register in the others.
inline constexpr __mmask16 kAll = 0xffff;
// max(a, b) and min(a, b) return b when either is NaN, as the instruction does, on every ISA.
JX_INLINE F32 max(F32 a, F32 b) { return VF(_mm512_maskz_max_ps(kAll, a.v, b.v)); }
JX_INLINE F32 min(F32 a, F32 b) { return VF(_mm512_maskz_min_ps(kAll, a.v, b.v)); }
JX_INLINE F32 sqrt(F32 a) { return VF(_mm512_maskz_sqrt_ps(kAll, a.v)); }
JX_INLINE F32 round(F32 a) { return VF(_mm512_maskz_roundscale_ps(kAll, a.v, 0)); }  // to nearest even
JX_INLINE F32 load(const float* p) { return VF(_mm512_loadu_ps(p)); }
JX_INLINE void store(float* p, F32 a) { _mm512_storeu_ps(p, a.v); }
// The first n lanes (0 <= n <= kWidth); the others are 0 and touch no memory.
JX_INLINE F32 load_n(const float* p, int n) {
  return VF(_mm512_maskz_loadu_ps(static_cast<__mmask16>((1u << n) - 1u), p));
}
JX_INLINE void store_n(float* p, F32 a, int n) {
  _mm512_mask_storeu_ps(p, static_cast<__mmask16>((1u << n) - 1u), a.v);
}
#elif JX_LEVEL == 1
JX_INLINE F32 fma(F32 a, F32 b, F32 c) { return VF(_mm256_fmadd_ps(a.v, b.v, c.v)); }
JX_INLINE F32 max(F32 a, F32 b) { return VF(_mm256_max_ps(a.v, b.v)); }
JX_INLINE F32 min(F32 a, F32 b) { return VF(_mm256_min_ps(a.v, b.v)); }
JX_INLINE F32 sqrt(F32 a) { return VF(_mm256_sqrt_ps(a.v)); }
JX_INLINE F32 round(F32 a) { return VF(_mm256_round_ps(a.v, _MM_FROUND_TO_NEAREST_INT | _MM_FROUND_NO_EXC)); }
JX_INLINE F32 load(const float* p) { return VF(_mm256_loadu_ps(p)); }
JX_INLINE void store(float* p, F32 a) { _mm256_storeu_ps(p, a.v); }
JX_INLINE __m256i lanes_below(int n) {
  return _mm256_cmpgt_epi32(_mm256_set1_epi32(n), _mm256_setr_epi32(0, 1, 2, 3, 4, 5, 6, 7));
}
JX_INLINE F32 load_n(const float* p, int n) { return VF(_mm256_maskload_ps(p, lanes_below(n))); }
JX_INLINE void store_n(float* p, F32 a, int n) { _mm256_maskstore_ps(p, lanes_below(n), a.v); }
#else
// The baseline has no fused multiply-add: two roundings here.
JX_INLINE F32 fma(F32 a, F32 b, F32 c) { return a.v * b.v + c.v; }
JX_INLINE F32 max(F32 a, F32 b) { return select(a > b, a, b); }
JX_INLINE F32 min(F32 a, F32 b) { return select(a < b, a, b); }
JX_INLINE F32 sqrt(F32 a) {
  for (int i = 0; i < kWidth; ++i) a.v[i] = __builtin_sqrtf(a.v[i]);
  return a;
}
// Adding and subtracting 1.5 * 2^23 rounds |a| < 2^22 to the nearest even integer; larger values are integers
// already.
JX_INLINE F32 round(F32 a) {
  const F32 magic(12582912.0f);
  F32 r = a + magic;
  __asm__("" : "+x"(r.v));  // keeps the pair of operations from being folded away
  return select(abs(a) < F32(4194304.0f), r - magic, a);
}
JX_INLINE F32 load(const float* p) {
  F32 a;
  __builtin_memcpy(&a.v, p, sizeof a.v);
  return a;
}
JX_INLINE void store(float* p, F32 a) { __builtin_memcpy(p, &a.v, sizeof a.v); }
JX_INLINE F32 load_n(const float* p, int n) {
  F32 a(0.0f);
  __builtin_memcpy(&a.v, p, static_cast<size_t>(n) * sizeof *p);
  return a;
}
JX_INLINE void store_n(float* p, F32 a, int n) {
  __builtin_memcpy(p, &a.v, static_cast<size_t>(n) * sizeof *p);
}
#endif

// bf16 in memory, float in registers. Stores round to nearest even on every ISA alike (the BF16 instructions
// flush denormals, so they serve dot products only); NaN stays NaN.
#if JX_LEVEL >= 2
// As intrinsics, because the compiler splits conversions of vectors into halves; in their masked forms,
// because GCC 12 warns about the others.
JX_INLINE F32 widen(VH h) { return VF(VU(_mm512_maskz_cvtepu16_epi32(0xffff, __m256i(h))) << 16); }
JX_INLINE VH narrow(F32 a) {
  const VU u = VU(a.v);
  const __mmask16 odd = _mm512_test_epi32_mask(__m512i(u), _mm512_set1_epi32(0x10000));
  __m512i r = _mm512_mask_add_epi32(__m512i(u + 0x7fffu), odd, __m512i(u), _mm512_set1_epi32(0x8000));
  const __mmask16 nan = _mm512_cmp_ps_mask(__m512(a.v), __m512(a.v), _CMP_UNORD_Q);
  r = _mm512_mask_or_epi32(r, nan, __m512i(u), _mm512_set1_epi32(0x400000));
  return VH(_mm512_maskz_cvtepi32_epi16(0xffff, __m512i(VU(r) >> 16)));
}
JX_INLINE F32 load_n(const bf16* p, int n) {
  return widen(VH(_mm256_maskz_loadu_epi16(static_cast<__mmask16>((1u << n) - 1u), p)));
}
JX_INLINE void store_n(bf16* p, F32 a, int n) {
  _mm256_mask_storeu_epi16(p, static_cast<__mmask16>((1u << n) - 1u), __m256i(narrow(a)));
}
#else
JX_INLINE F32 widen(VH h) { return from_bits(__builtin_bit_cast(VI, __builtin_convertvector(h, VU) << 16)); }
JX_INLINE VH narrow(F32 a) {
  const VU u = __builtin_bit_cast(VU, a.v);
  const VU rounded = (u + 0x7fffu + ((u >> 16) & 1u)) >> 16;
  const VU nan = (u >> 16) | 0x40u;
  const VU is_nan = __builtin_bit_cast(VU, a.v != a.v);
  return __builtin_convertvector((is_nan & nan) | (~is_nan & rounded), VH);
}
JX_INLINE F32 load_n(const bf16* p, int n) {
  VH h{};
  __builtin_memcpy(&h, p, static_cast<size_t>(n) * sizeof *p);
  return widen(h);
}
JX_INLINE void store_n(bf16* p, F32 a, int n) {
  const VH h = narrow(a);
  __builtin_memcpy(static_cast<void*>(p), &h, static_cast<size_t>(n) * sizeof *p);
}
#endif
JX_INLINE F32 load(const bf16* p) {
  VH h;
  __builtin_memcpy(&h, p, sizeof h);
  return widen(h);
}
JX_INLINE void store(bf16* p, F32 a) {
  const VH h = narrow(a);
  __builtin_memcpy(static_cast<void*>(p), &h, sizeof h);
}

using LaneNumbers = std::make_integer_sequence<int, kWidth>;
template <int... lane>
JX_INLINE VI lane_numbers(std::integer_sequence<int, lane...>) {
  return VI{lane...};
}
JX_INLINE VI lane_numbers() { return lane_numbers(LaneNumbers{}); }
// Lane i of the result is lane i + shift of `a`, around the end.
template <int shift, int... lane>
JX_INLINE F32 rotate(F32 a, std::integer_sequence<int, lane...>) {
  return VF(__builtin_shufflevector(a.v, a.v, ((lane + shift) % kWidth)...));
}

// Sums and maxima over the lanes in a fixed tree: lane i with lane i + width/2, and so on.
template <int half = kWidth / 2>
JX_INLINE float reduce_add(F32 a) {
  a += rotate<half>(a, LaneNumbers{});
  if constexpr (half == 1)
    return a.v[0];
  else
    return reduce_add<half / 2>(a);
}
template <int half = kWidth / 2>
JX_INLINE float reduce_max(F32 a) {
  const F32 b = rotate<half>(a, LaneNumbers{});
  a = select(a > b, a, b);
  if constexpr (half == 1)
    return a.v[0];
  else
    return reduce_max<half / 2>(a);
}
// `a` with lanes n.. replaced by `fill` (tails of maxima, sums of squares about a mean).
JX_INLINE F32 keep_first(F32 a, int n, float fill) {
  return select(Mask{lane_numbers() < broadcast_int(n)}, a, F32(fill));
}

// Calls f(i, n) for i = 0, kWidth, 2 kWidth, ...: n is kWidth but for the tail. `f` picks load or load_n by
// n.
template <class F>
[[gnu::always_inline]] static inline void for_lanes(int64_t count, F f) {
  int64_t i = 0;
  for (; i + kWidth <= count; i += kWidth) f(i, kWidth);
  const int rest = static_cast<int>(count - i);
  if (rest >= kWidth) __builtin_unreachable();  // load_part of the tail is load_n alone
  if (rest > 0) f(i, rest);
}
template <class T>
JX_INLINE F32 load_part(const T* p, int n) {
  return n == kWidth ? load(p) : load_n(p, n);
}
template <class T>
JX_INLINE void store_part(T* p, F32 a, int n) {
  if (n == kWidth)
    store(p, a);
  else
    store_n(p, a, n);
}

}  // namespace juxta::JX_ISA

#pragma once
// Philox4x32-10 (tensor/rng.h) on vectors: kWidth / 2 blocks at a time, one block per 64-bit lane. Included
// by elementwise.simd.cpp only.
#include "kernels/simd.h"
#include "tensor/rng.h"

namespace juxta::JX_ISA {

using VQ = uint64_t __attribute__((vector_size(kWidth * 4)));

// Product of the lower halves of the lanes with m, all 64 bits of it.
JX_INLINE VQ multiply_low(VQ a, uint32_t m) {
#if JX_LEVEL >= 2
  return VQ(_mm512_maskz_mul_epu32(0xff, __m512i(a), _mm512_set1_epi64(m)));
#elif JX_LEVEL == 1
  return VQ(_mm256_mul_epu32(__m256i(a), _mm256_set1_epi64x(m)));
#else
  return (a & 0xffffffffu) * (uint64_t{m} - VQ{});
#endif
}

// words[i] = word i % 4 of block first + i / 4, for i up to `count` rounded up to 2 kWidth. Only the lower
// half of a lane counts until the end, so the upper halves are left to hold whatever the products left there.
[[gnu::always_inline]] static inline void philox_words(uint32_t* words, const Draw& draw, uint64_t first,
                                                       int64_t count) {
  VQ lane{};
  for (int i = 0; i < kWidth / 2; ++i) lane[i] = static_cast<uint64_t>(i);
  for (int64_t j = 0; j < count; j += 2 * kWidth, first += kWidth / 2) {
    VQ c0 = lane + first, c1 = c0 >> 32, c2 = draw.draw - VQ{}, c3 = c2 >> 32;
    uint32_t k0 = static_cast<uint32_t>(draw.key), k1 = static_cast<uint32_t>(draw.key >> 32);
    for (int round = 0; round < 10; ++round) {
      const VQ p0 = multiply_low(c0, 0xD2511F53u), p1 = multiply_low(c2, 0xCD9E8D57u);
      c0 = (p1 >> 32) ^ c1 ^ k0;
      c1 = p1;
      c2 = (p0 >> 32) ^ c3 ^ k1;
      c3 = p0;
      k0 += 0x9E3779B9u;
      k1 += 0xBB67AE85u;
    }
    const VQ even = (c0 & 0xffffffffu) | (c1 << 32), odd = (c2 & 0xffffffffu) | (c3 << 32);
    VQ out[2];
    for (int i = 0; i < kWidth / 2; ++i) {
      out[2 * i / (kWidth / 2)][2 * i % (kWidth / 2)] = even[i];
      out[(2 * i + 1) / (kWidth / 2)][(2 * i + 1) % (kWidth / 2)] = odd[i];
    }
    __builtin_memcpy(words + j, out, sizeof out);
  }
}

}  // namespace juxta::JX_ISA

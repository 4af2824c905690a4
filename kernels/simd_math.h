#pragma once
// Elementary functions on F32. Polynomials were fitted by weighted least squares on Chebyshev nodes; the
// errors stated are the largest seen by tests/simd_math_test.cpp against libm in double, in units in the last
// place.
#include "kernels/simd.h"

namespace juxta::JX_ISA {

// 2^n for integers n in [-126, 127].
JX_INLINE F32 exp2_int(VI n) { return from_bits((n + 127) << 23); }

// e^x. x = n ln 2 + r with |r| <= ln2 / 2; e^r = 1 + r + r^2 q(r). Overflows to inf above 88.73, reaches 0
// below -103.9 (through denormals: the scaling is done in two steps), keeps NaN. Error <= 1.5 ulp.
JX_INLINE F32 exp(F32 x) {
  const F32 clamped = min(max(F32(-105.0f), x), F32(89.0f));  // max(a, x) returns x when x is NaN
  const F32 n = round(clamped * F32(1.44269504f));
  F32 r = fma(n, F32(-0.693359375f), clamped);  // ln 2 in two parts: the first product is exact
  r = fma(n, F32(2.12194440e-4f), r);
  F32 q(0.00137514074f);
  q = fma(q, r, F32(0.00836891588f));
  q = fma(q, r, F32(0.0416695327f));
  q = fma(q, r, F32(0.166665182f));
  q = fma(q, r, F32(0.499999881f));
  const F32 e = fma(q * r, r, r) + F32(1.0f);
  const VI whole = to_int(n), half = whole >> 1;
  const F32 y = e * exp2_int(half) * exp2_int(whole - half);
  return select(x != x, x, y);
}

}  // namespace juxta::JX_ISA

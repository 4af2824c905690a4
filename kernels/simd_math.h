#pragma once
// Elementary functions on F32. Polynomials were fitted by iteratively reweighted least squares (Lawson 1961)
// on Chebyshev nodes, which comes close to the minimax polynomial. The errors stated are the largest that
// tests/simd_math_test.cpp sees on any instruction set against libm in double, in units in the last place
// (ulp) of the result; without fused multiply-add they are up to 1 ulp larger than with it.
//
// All keep NaN, take denormals as numbers, and reach their limits at +-inf.
#include "kernels/simd.h"

namespace juxta::JX_ISA {

// Is the condition true in any lane?
JX_INLINE bool any(Mask m) {
#if JX_LEVEL >= 2
  return _mm512_test_epi32_mask(__m512i(m.v), __m512i(m.v)) != 0;
#elif JX_LEVEL == 1
  return _mm256_movemask_epi8(__m256i(m.v)) != 0;
#else
  int32_t all = 0;
  for (int i = 0; i < kWidth; ++i) all |= m.v[i];
  return all != 0;
#endif
}

// c[0] + c[1] x + ... + c[N-1] x^(N-1).
template <int N>
JX_INLINE F32 polynomial(F32 x, const float (&c)[N]) {
  F32 y(c[N - 1]);
  for (int i = N - 2; i >= 0; --i) y = fma(y, x, F32(c[i]));
  return y;
}

inline constexpr float kLog2E = 1.44269504f;
inline constexpr float kLn2High = 0.693359375f;  // 12 bits: its product with an exponent is exact
inline constexpr float kLn2Low = -2.12194440e-4f;
inline constexpr float kInf = __builtin_inff();

// 2^n for integers n in [-126, 127].
JX_INLINE F32 exp2_int(VI n) { return from_bits((n + 127) << 23); }

// e^x. x = n ln 2 + r with |r| <= ln2 / 2; e^r = 1 + r + r^2 q(r). Overflows to inf above 88.73, reaches 0
// below -103.9 (through denormals: the scaling is done in two steps). Error <= 1.25 ulp.
JX_INLINE F32 exp(F32 x) {
  const F32 clamped = min(max(F32(-105.0f), x), F32(89.0f));  // max(a, x) returns x when x is NaN
  const F32 n = round(clamped * F32(kLog2E));
  F32 r = fma(n, F32(-kLn2High), clamped);
  r = fma(n, F32(-kLn2Low), r);
  const F32 q = polynomial(r, {0.499999881f, 0.166665182f, 0.0416695327f, 0.00836891588f, 0.00137514074f});
  const F32 e = fma(q * r, r, r) + F32(1.0f);
  const VI whole = to_int(n), half = whole >> 1;
  const F32 y = e * exp2_int(half) * exp2_int(whole - half);
  return select(x != x, x, y);
}

// e^x - 1 without cancellation near 0: 2^n (e^r - 1) + (2^n - 1). One factor 2 is taken out when n > 0, so
// that n = 128 does not overflow early. Error <= 1.5 ulp.
JX_INLINE F32 expm1(F32 x) {
  const F32 clamped = min(max(F32(-30.0f), x), F32(89.0f));
  const F32 n = round(clamped * F32(kLog2E));
  F32 r = fma(n, F32(-kLn2High), clamped);
  r = fma(n, F32(-kLn2Low), r);
  const F32 q =
      polynomial(r, {0.5f, 0.166666657f, 0.0416663587f, 0.00833338965f, 0.00139407197f, 0.00019845886f});
  const F32 p = fma(q * r, r, r);
  const VI whole = to_int(n), one = -(whole > 0);
  const F32 scale = exp2_int(whole - one);
  const F32 y = fma(scale, p, scale - exp2_int(-one)) * exp2_int(one);
  return select(x != x, x, select(x == F32(0.0f), x, y));
}

// x = 2^whole mantissa with mantissa in [sqrt 1/2, sqrt 2), for normal x > 0; anything for other x. Unsigned
// arithmetic, since those others may wrap around.
struct Split {
  F32 mantissa;
  VI whole;
};
JX_INLINE Split split_exponent(F32 x) {
  const uint32_t sqrt_half = 0x3f3504f3;
  const VU b = __builtin_bit_cast(VU, x.v) - sqrt_half;
  return {from_bits(__builtin_bit_cast(VI, (b & 0x7fffffu) + sqrt_half)), __builtin_bit_cast(VI, b) >> 23};
}

// log(2^-shift (x + c)) for normal x > 0 and |c| far below x: x = 2^e m with m in [sqrt 1/2, sqrt 2),
// f = m - 1 + 2^-e c, log(1 + f) = f - f^2 / 2 + f^3 p(f).
JX_INLINE F32 log_of_sum(F32 x, F32 c, F32 shift) {
  const auto [m, whole] = split_exponent(x);
  const VI down = 127 - whole;  // -1 for x near the largest float, where c is lost in x anyway
  const F32 f = fma(c, from_bits((down & ~(down >> 31)) << 23), m - F32(1.0f));
  const F32 e = to_float(whole) - shift;
  const F32 p = polynomial(f, {0.333333135f, -0.250000089f, 0.200021192f, -0.166679963f, 0.142195523f,
                               -0.124055892f, 0.11888162f, -0.116756521f, 0.067466408f});
  const F32 s = f * f;
  F32 y = fma(s * f, p, e * F32(kLn2Low));
  y = fma(F32(-0.5f), s, y);
  return fma(e, F32(kLn2High), y + f);
}

// Natural logarithm: -inf at 0, NaN below. Error <= 1 ulp.
JX_INLINE F32 log(F32 x) {
  const Mask tiny = x < F32(0x1p-126f);
  const F32 scaled = select(tiny, x * F32(0x1p23f), x);
  const F32 y = log_of_sum(scaled, F32(0.0f), select(tiny, F32(23.0f), F32(0.0f)));
  const F32 outside = select(x == F32(0.0f), F32(-kInf), F32(__builtin_nanf("")));
  return select((x > F32(0.0f)) & (x < F32(kInf)), y, select(x > F32(0.0f), x, outside));
}

// log(1 + x): the rounding error c of 1 + x enters log_of_sum. -inf at -1, NaN below. Error <= 1.5 ulp.
JX_INLINE F32 log1p(F32 x) {
  const F32 one(1.0f), u = one + x;
  const F32 c = select(x < one, x - (u - one), one - (u - x));
  const F32 y = log_of_sum(u, c, F32(0.0f));
  const F32 outside = select(x == F32(-1.0f), F32(-kInf), F32(__builtin_nanf("")));
  const F32 inside = select((x < F32(kInf)) & (x != F32(0.0f)), y, x);
  return select(x > F32(-1.0f), inside, outside);
}

// (e^2x - 1) / (e^2x + 1). Error <= 2.5 ulp.
JX_INLINE F32 tanh(F32 x) {
  const F32 t = expm1(F32(2.0f) * min(F32(10.0f), abs(x)));
  return copysign(t / (t + F32(2.0f)), x);
}

// 1 / (1 + e^-x); 0 below -88.7. Error <= 2.5 ulp.
JX_INLINE F32 sigmoid(F32 x) { return F32(1.0f) / (F32(1.0f) + exp(-x)); }

// log(1 + e^x) = max(x, 0) + log1p(e^-|x|): neither overflow nor cancellation. Error <= 2 ulp.
JX_INLINE F32 softplus(F32 x) { return max(F32(0.0f), x) + log1p(exp(-abs(x))); }

// erfc(z) e^(z^2) for z >= 0, as t p(t) with t = 1 / (1 + 0.4 z). Relative error 8e-9 before rounding.
JX_INLINE F32 erfc_scaled(F32 z) {
  const F32 t = F32(1.0f) / fma(F32(0.4f), z, F32(1.0f));
  return t * polynomial(t, {0.225705564f, 0.224978313f, 0.21470052f, 0.130700186f, 0.269112885f,
                            -0.278863251f, 0.540817559f, -0.49384883f, 0.195902839f, -0.0292057842f});
}

// Error function: x + x q(x^2) up to 1, beyond that 1 - erfc. Error <= 1.5 ulp.
JX_INLINE F32 erf(F32 x) {
  const F32 z = abs(x), s = z * z;
  const F32 q = polynomial(s, {0.128379166f, -0.37612626f, 0.112835854f, -0.0268538129f, 0.00518832775f,
                               -0.000801019371f, 7.85386146e-05f});
  const F32 far = F32(1.0f) - exp(-s) * erfc_scaled(z);
  return copysign(select(z < F32(1.0f), fma(z, q, z), far), x);
}

// The normal distribution function Phi(x) with relative accuracy in both tails (about 1e-7 (1 + x^2)), and
// e^(-x^2 / 2), which its derivative needs.
struct Normal {
  F32 cdf, e;
};
JX_INLINE Normal normal_cdf(F32 x) {
  const F32 z = abs(x) * F32(0.707106781f), e = exp(F32(-0.5f) * x * x);
  const F32 tail = F32(0.5f) * e * erfc_scaled(z);
  return {select(x < F32(0.0f), tail, F32(1.0f) - tail), e};
}

// Activations and their derivatives, here so that the epilogues of other families share them.
JX_INLINE F32 gelu(F32 x) { return x * normal_cdf(x).cdf; }
JX_INLINE F32 gelu_grad(F32 x) {
  const Normal n = normal_cdf(x);
  return fma(x * n.e, F32(0.398942280f), n.cdf);
}
// 0.5 x (1 + tanh u) = x sigmoid(2 u), u = sqrt(2 / pi) (x + 0.044715 x^3).
JX_INLINE F32 gelu_tanh(F32 x) { return x * sigmoid(x * fma(x * x, F32(0.0713548163f), F32(1.59576912f))); }
JX_INLINE F32 gelu_tanh_grad(F32 x) {
  x = min(F32(30.0f), max(F32(-30.0f), x));  // there s is 0 or 1 already, and x^2 below stays finite
  const F32 s2 = x * x, s = sigmoid(x * fma(s2, F32(0.0713548163f), F32(1.59576912f)));
  return fma(x * s * (F32(1.0f) - s), fma(s2, F32(0.214064449f), F32(1.59576912f)), s);
}
JX_INLINE F32 silu(F32 x) { return x * sigmoid(x); }
JX_INLINE F32 silu_grad(F32 x) {
  const F32 s = sigmoid(x);
  return s * fma(x, F32(1.0f) - s, F32(1.0f));
}

// sin(x + quarter pi / 2), quarter 0 or 1. x = n pi/2 + r with pi/2 in three parts, of which n times the
// first two is exact; above 8192 (and for inf, NaN) libm reduces the argument. Error <= 2 ulp where
// |result| > 1e-3, absolute error below 2^-24 elsewhere.
template <int quarter>
JX_INLINE F32 sin_or_cos(F32 x) {
  if (any(Mask{~(abs(x) <= F32(8192.0f)).v})) {
    for (int i = 0; i < kWidth; ++i) x.v[i] = quarter ? __builtin_cosf(x.v[i]) : __builtin_sinf(x.v[i]);
    return x;
  }
  const F32 n = round(x * F32(0.636619772f));
  F32 r = fma(n, F32(-1.5703125f), x);
  r = fma(n, F32(-0.000483751296997f), r);
  r = fma(n, F32(-7.54978995e-08f), r);
  const F32 s = r * r;
  const F32 sine = fma(r * s, polynomial(s, {-0.166666552f, 0.00833215564f, -0.00019514632f}), r);
  const F32 cosine = fma(s * s, polynomial(s, {0.0416666456f, -0.00138873095f, 2.44324128e-05f}),
                         fma(F32(-0.5f), s, F32(1.0f)));
  const VI k = to_int(n) + quarter;
  const F32 y = select(Mask{(k & 1) != 0}, cosine, sine);
  return from_bits(bits(y) ^ ((k & 2) << 30));
}
JX_INLINE F32 sin(F32 x) { return sin_or_cos<0>(x); }
JX_INLINE F32 cos(F32 x) { return sin_or_cos<1>(x); }

// acos on [-1, 1], NaN outside: with asin(h) = h + h^3 p(h^2) for h <= 1/2, pi/2 - asin x in the middle and
// 2 asin(sqrt((1 - |x|) / 2)), reflected for x < 0, at the ends. Error <= 1.5 ulp.
JX_INLINE F32 acos(F32 x) {
  const F32 z = abs(x);
  const Mask middle = z <= F32(0.5f);
  const F32 s = select(middle, z * z, fma(F32(-0.5f), z, F32(0.5f)));
  const F32 h = select(middle, z, sqrt(s));
  const F32 p = polynomial(
      s, {0.166666597f, 0.0750050396f, 0.0445169546f, 0.0318077244f, 0.0144385863f, 0.0375164784f});
  const F32 a = fma(h * s, p, h);
  const F32 end = a + a;
  const F32 far = select(x < F32(0.0f), F32(3.14159265f) - end, end);
  return select(middle, F32(1.57079633f) - copysign(a, x), far);
}

// log((1 + x) / (1 - x)) / 2; +-inf at +-1, NaN outside. Error <= 2.5 ulp.
JX_INLINE F32 atanh(F32 x) {
  const F32 z = abs(x);
  return copysign(F32(0.5f) * log1p((z + z) / (F32(1.0f) - z)), x);
}

// x^p for one exponent: e^(p log|x|) in double, two registers wide, so that large |p log x| costs no digits.
// Finite negative x: NaN unless p is an integer. x^0 = 1. Error <= 1 ulp.
JX_INLINE F32 pow(F32 x, double p) {
  using VD = double __attribute__((vector_size(kWidth * 8)));
  if (p == 0.0) return F32(1.0f);
  const F32 z = abs(x), scaled = select(z < F32(0x1p-126f), z * F32(0x1p23f), z);
  const Split split = split_exponent(scaled);
  const VI whole = split.whole - (23 & (z < F32(0x1p-126f)).v);
  // log m = 2 artanh(s), s = (m - 1) / (m + 1), |s| < 0.172
  const VD m = __builtin_convertvector(split.mantissa.v, VD), s = (m - 1.0) / (m + 1.0), t = s * s;
  VD series = t * (1.0 / 13) + 1.0 / 11;
  for (double c : {1.0 / 9, 1.0 / 7, 1.0 / 5, 1.0 / 3, 1.0}) series = series * t + c;
  const VD raw = p * (2.0 * s * series + 0.69314718055994531 * __builtin_convertvector(whole, VD));
  const VD low = raw < -105.0 ? raw * 0.0 - 105.0 : raw, y = low > 89.0 ? low * 0.0 + 89.0 : low;
  const VF rough = __builtin_convertvector(y, VF) * kLog2E;
  const F32 n = round(rough);
  const VD r = y - 0.69314718055994531 * __builtin_convertvector(n.v, VD);
  VD e = r * (1.0 / 40320) + 1.0 / 5040;
  for (double c : {1.0 / 720, 1.0 / 120, 1.0 / 24, 1.0 / 6, 0.5, 1.0, 1.0}) e = e * r + c;
  const F32 mantissa_y(__builtin_convertvector(e, VF));
  const VI k = to_int(n), half = k >> 1;
  F32 v = mantissa_y * exp2_int(half) * exp2_int(k - half);
  v = select(z == F32(0.0f), F32(p > 0 ? 0.0f : kInf), v);
  v = select(z == F32(kInf), F32(p > 0 ? kInf : 0.0f), v);
  const bool integer = __builtin_trunc(p) == p;
  const bool odd = integer && __builtin_trunc(p * 0.5) * 2.0 != p;
  if (odd) return select(x != x, x, copysign(v, x));
  const Mask outside = (x < F32(0.0f)) & (z < F32(kInf));
  return select(x != x, x, integer ? v : select(outside, F32(__builtin_nanf("")), v));
}

}  // namespace juxta::JX_ISA

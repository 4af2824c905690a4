#include "nn/rotary.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace juxta::nn {

namespace {

void check_sequence(const char* op, const char* name, const Var& x) {
  JX_CHECK(x.defined() && is_float(x.dtype()) && x.ndim() == 4 && x.numel() > 0, op, ": ", name,
           ": expected a float [B, T, H, D], got ", x);
}

// A parameter of one element or one per head, checked, as [1 or H, 1].
Var per_head(const char* op, const char* name, const Var& p, const Var& x) {
  JX_CHECK(p.defined() && p.ndim() == 1 && (p.numel() == 1 || p.numel() == x.size(2)) && is_float(p.dtype()),
           op, ": ", name, ": expected a float [1] or [", x.size(2), "], one per head, got ", p);
  const Tensor given = p.value().to(kCpu).to(DType::f64).contiguous();
  for (int64_t h = 0; h < given.numel(); ++h)
    JX_CHECK(std::isfinite(given.data<double>()[h]), op, ": ", name, ": expected numbers, got ",
             given.data<double>()[h], " for head ", h);
  return reshape(p, {p.numel(), 1});
}

// cos and sin of t theta_m, [T, 1, D/2].
struct Turns {
  Var cos, sin;
};
Turns turns(int64_t t, int64_t pairs, double base, DType dtype) {
  Tensor c = Tensor::empty({t, 1, pairs}, DType::f64), s = Tensor::empty({t, 1, pairs}, DType::f64);
  double *cp = c.write<double>("rotary"), *sp = s.write<double>("rotary");
  for (int64_t i = 0; i < t; ++i)
    for (int64_t m = 0; m < pairs; ++m) {
      const double angle =
          static_cast<double>(i) * std::pow(base, -static_cast<double>(m) / static_cast<double>(pairs));
      *cp++ = std::cos(angle);
      *sp++ = std::sin(angle);
    }
  return {Var(c.to(dtype)), Var(s.to(dtype))};
}

}  // namespace

Var rotary(const Var& x, double base, RotaryLayout layout) {
  check_sequence("rotary", "x", x);
  const int64_t d = x.size(3), pairs = d / 2;
  JX_CHECK(d % 2 == 0, "rotary: x: expected an even D, since coordinates turn in pairs, got ", x);
  JX_CHECK(base > 0 && std::isfinite(base), "rotary: base: expected a positive number, got ", base);
  const Turns r = turns(x.size(1), pairs, base, x.dtype());
  const auto turned = [&](const Var& a, const Var& b) {
    return std::vector<Var>{sub(mul(a, r.cos), mul(b, r.sin)), add(mul(b, r.cos), mul(a, r.sin))};
  };
  if (layout == RotaryLayout::half) return cat(turned(slice(x, 3, 0, pairs), slice(x, 3, pairs, d)), 3);
  const Var split = reshape(x, {x.size(0), x.size(1), x.size(2), pairs, 2});
  return reshape(stack(turned(select(split, 4, 0), select(split, 4, 1)), 4), x.dims());
}

Var kinematic_shear(const Var& x, const Var& gamma, ShearBoundary boundary) {
  check_sequence("kinematic_shear", "x", x);
  const Var g = cast(per_head("kinematic_shear", "gamma", gamma, x), x.dtype());
  const int64_t t = x.size(1);
  const Var first = slice(x, 1, 0, 1);
  const Var before = boundary == ShearBoundary::zero_momentum
                         ? first
                         : Var(Tensor::zeros(first.dims(), x.dtype(), x.device()));
  const Var previous = cat(std::vector{before, slice(x, 1, 0, t - 1)}, 1);
  return add(x, mul(sub(x, previous), g));
}

Var kinematic_attention(const Var& q, const Var& k, const Var& v, const Var& gamma,
                        const KinematicOptions& o) {
  check_sequence("kinematic_attention", "q", q);
  check_sequence("kinematic_attention", "k", k);
  const auto moved = [&](const Var& x) {
    if (o.placement == ShearPlacement::none) return kinematic_shear(x, gamma, o.boundary);
    return o.placement == ShearPlacement::post_rope
               ? kinematic_shear(rotary(x, o.base, o.layout), gamma, o.boundary)
               : rotary(kinematic_shear(x, gamma, o.boundary), o.base, o.layout);
  };
  return attention(moved(q), moved(k), v, {.causal = true});
}

Var decaying_sum(const Var& x, const Var& eta) {
  check_sequence("decaying_sum", "x", x);
  const Var e = per_head("decaying_sum", "eta", eta, x);
  const Tensor given = eta.value().to(kCpu).to(DType::f64).contiguous();
  for (int64_t h = 0; h < given.numel(); ++h)
    JX_CHECK(given.data<double>()[h] > 0 && given.data<double>()[h] < 1,
             "decaying_sum: eta: expected values between 0 and 1, got ", given.data<double>()[h],
             " for head ", h);
  // A chunk of c positions: row i of `inner` gives sum_{j < i} eta^(i - j) x_j, `carry` brings m of its
  // start.
  constexpr int64_t kChunk = 64;
  const int64_t t = x.size(1), c = std::min(t, kChunk);
  const DType dtype = x.dtype() == DType::f64 ? DType::f64 : DType::f32;
  Tensor lag = Tensor::zeros({c + 1, c}, DType::f64), below = Tensor::zeros({c + 1, c}, DType::boolean),
         age = Tensor::empty({c + 1, 1}, DType::f64);
  for (int64_t i = 0; i <= c; ++i) {
    age.write<double>("decaying_sum")[i] = static_cast<double>(i);
    for (int64_t j = 0; j < std::min(i, c); ++j) {
      lag.write<double>("decaying_sum")[i * c + j] = static_cast<double>(i - j);
      below.write<bool>("decaying_sum")[i * c + j] = true;
    }
  }
  const Var log_eta = reshape(log(cast(e, dtype)), {e.numel(), 1, 1});
  const Var zero(Tensor::zeros({1}, dtype));
  const Var inner = where(below, exp(mul(log_eta, Var(lag.to(dtype)))), zero);  // [1 or H, c + 1, c]
  const Var carry = exp(mul(log_eta, Var(age.to(dtype))));                      // [1 or H, c + 1, 1]
  const Var rows = cast(transpose(x, 1, 2), dtype);                             // [B, H, T, D]
  std::vector<Var> parts;
  Var m;  // [B, H, 1, D], at the start of the chunk; undefined: 0
  for (int64_t begin = 0; begin < t; begin += c) {
    const int64_t n = std::min(c, t - begin);
    Var sums = matmul(slice(slice(inner, 1, 0, n + 1), 2, 0, n), slice(rows, 2, begin, begin + n));
    if (m.defined()) sums = add(sums, mul(slice(carry, 1, 0, n + 1), m));
    parts.push_back(slice(sums, 2, 0, n));
    m = slice(sums, 2, n, n + 1);
  }
  return cast(transpose(cat(parts, 2), 1, 2), x.dtype());
}

Var momentum_attention(const Var& q, const Var& k, const Var& v, const Var& eta) {
  check_sequence("momentum_attention", "v", v);
  return add(attention(q, k, v, {.causal = true}), decaying_sum(v, eta));
}

}  // namespace juxta::nn

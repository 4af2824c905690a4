// Optimiser steps on vectors; recurrences in optim.h. Memory-bound: every tensor is read and written once.
#include "kernels/optim.h"
#include "kernels/simd.h"

#if JX_OWN_F32
namespace juxta::JX_ISA {

namespace {

using Args = OptimArgs<float>;
using Row = OptimTensor<float>;

// Calls f(row, i, n) for the vectors of all chunks.
template <class F>
[[gnu::always_inline]] inline void for_vectors(const Args& a, int64_t chunk, int64_t chunk_end, F f) {
  for (int64_t k = chunk; k < chunk_end; ++k) {
    const OptimChunk& c = a.chunks[k];
    const Row& t = a.tensors[c.tensor];
    for_lanes(c.end - c.begin, [&](int64_t i, int n) { f(t, c.begin + i, n); });
  }
}

JX_INLINE F32 f(double x) { return F32(static_cast<float>(x)); }

void sgd(const Args& a, int64_t chunk, int64_t chunk_end) {
  const F32 mu = f(a.momentum), keep = f(1.0 - a.dampening), lr = f(a.lr);
  for_vectors(a, chunk, chunk_end, [&](const Row& t, int64_t i, int n) {
    const F32 p = load_part(t.p + i, n), g = fma(f(t.weight_decay), p, load_part(t.g + i, n));
    F32 u = g;
    if (t.m) {
      const F32 buffer = t.first ? g : fma(mu, load_part(t.m + i, n), keep * g);
      store_part(t.m + i, buffer, n);
      u = a.nesterov ? fma(mu, buffer, g) : buffer;
    }
    store_part(t.p + i, p - lr * u, n);
  });
}

void adam(const Args& a, int64_t chunk, int64_t chunk_end) {
  const F32 b1 = f(a.beta1), c1 = f(1.0 - a.beta1), b2 = f(a.beta2), c2 = f(1.0 - a.beta2), eps = f(a.eps);
  for_vectors(a, chunk, chunk_end, [&](const Row& t, int64_t i, int n) {
    F32 p = load_part(t.p + i, n), g = load_part(t.g + i, n);
    if (a.decoupled)
      p = p * f(1.0 - a.lr * t.weight_decay);
    else
      g = fma(f(t.weight_decay), p, g);
    const F32 m = fma(b1, load_part(t.m + i, n), c1 * g), v = fma(b2, load_part(t.v + i, n), c2 * g * g);
    store_part(t.m + i, m, n);
    store_part(t.v + i, v, n);
    F32 second = v;
    if (t.vmax) {
      second = max(load_part(t.vmax + i, n), v);
      store_part(t.vmax + i, second, n);
    }
    const F32 denominator = fma(sqrt(second), f(1.0 / __builtin_sqrt(t.correction2)), eps);
    store_part(t.p + i, p - f(a.lr / t.correction1) * (m / denominator), n);
  });
}

void lion(const Args& a, int64_t chunk, int64_t chunk_end) {
  const F32 b1 = f(a.beta1), c1 = f(1.0 - a.beta1), b2 = f(a.beta2), c2 = f(1.0 - a.beta2), lr = f(a.lr);
  const F32 zero(0.0f), one(1.0f);
  for_vectors(a, chunk, chunk_end, [&](const Row& t, int64_t i, int n) {
    const F32 g = load_part(t.g + i, n), m = load_part(t.m + i, n);
    const F32 update = fma(b1, m, c1 * g);
    const F32 sign = select(update == zero, zero, copysign(one, update));
    store_part(t.p + i, load_part(t.p + i, n) * f(1.0 - a.lr * t.weight_decay) - lr * sign, n);
    store_part(t.m + i, fma(b2, m, c2 * g), n);
  });
}

void lars(const Args& a, int64_t chunk, int64_t chunk_end) {
  const F32 mu = f(a.momentum), lr = f(a.lr);
  for_vectors(a, chunk, chunk_end, [&](const Row& t, int64_t i, int n) {
    const F32 p = load_part(t.p + i, n);
    const F32 d = f(t.ratio) * fma(f(t.weight_decay), p, load_part(t.g + i, n));
    F32 u = d;
    if (t.m) {
      const F32 buffer = t.first ? d : fma(mu, load_part(t.m + i, n), d);
      store_part(t.m + i, buffer, n);
      u = a.nesterov ? fma(mu, buffer, d) : buffer;
    }
    store_part(t.p + i, p - lr * u, n);
  });
}

void lamb_direction(const Args& a, int64_t chunk, int64_t chunk_end) {
  const F32 b1 = f(a.beta1), c1 = f(1.0 - a.beta1), b2 = f(a.beta2), c2 = f(1.0 - a.beta2), eps = f(a.eps);
  for_vectors(a, chunk, chunk_end, [&](const Row& t, int64_t i, int n) {
    const F32 g = load_part(t.g + i, n);
    const F32 m = fma(b1, load_part(t.m + i, n), c1 * g), v = fma(b2, load_part(t.v + i, n), c2 * g * g);
    store_part(t.m + i, m, n);
    store_part(t.v + i, v, n);
    const F32 denominator = fma(sqrt(v), f(1.0 / __builtin_sqrt(t.correction2)), eps);
    const F32 u = m * f(1.0 / t.correction1) / denominator;
    store_part(t.u + i, fma(f(t.weight_decay), load_part(t.p + i, n), u), n);
  });
}

void lamb_apply(const Args& a, int64_t chunk, int64_t chunk_end) {
  for_vectors(a, chunk, chunk_end, [&](const Row& t, int64_t i, int n) {
    store_part(t.p + i, load_part(t.p + i, n) - f(a.lr * t.ratio) * load_part(t.u + i, n), n);
  });
}

void ema(const Args& a, int64_t chunk, int64_t chunk_end) {
  const F32 keep = f(a.scale), take = f(1.0 - a.scale);
  for_vectors(a, chunk, chunk_end, [&](const Row& t, int64_t i, int n) {
    store_part(t.p + i, fma(keep, load_part(t.p + i, n), take * load_part(t.g + i, n)), n);
  });
}

// A chunk's squares are summed in float (its 16,384 elements over many lanes lose little), chunks in double.
double chunk_squares(const float* x, const OptimChunk& c) {
  if (!x) return 0.0;
  double total = 0;
  constexpr int64_t kRun = 1024;
  for (int64_t b = c.begin; b < c.end; b += kRun) {
    F32 sum(0.0f);
    const int64_t count = c.end - b < kRun ? c.end - b : kRun;
    for_lanes(count, [&](int64_t i, int n) {
      const F32 v = load_part(x + b + i, n);
      sum = fma(v, v, sum);
    });
    const float squares = reduce_add(sum);
    if (squares <= __FLT_MAX__) {
      total += static_cast<double>(squares);
      continue;
    }
    for (int64_t i = b; i < b + count; ++i)  // gradients about to be clipped may be huge and yet finite
      total += static_cast<double>(x[i]) * static_cast<double>(x[i]);
  }
  return total;
}

void sum_squares(const Args& a, int64_t chunk, int64_t chunk_end) {
  for (int64_t k = chunk; k < chunk_end; ++k) {
    const Row& t = a.tensors[a.chunks[k].tensor];
    a.sums[3 * k] = chunk_squares(t.p, a.chunks[k]);
    a.sums[3 * k + 1] = chunk_squares(t.g, a.chunks[k]);
    a.sums[3 * k + 2] = chunk_squares(t.u, a.chunks[k]);
  }
}

void scale(const Args& a, int64_t chunk, int64_t chunk_end) {
  const F32 s = f(a.scale);
  for_vectors(a, chunk, chunk_end,
              [&](const Row& t, int64_t i, int n) { store_part(t.p + i, s * load_part(t.p + i, n), n); });
}

// Two sums over each chunk, of what f(row, i, n, num, den) adds per lane: in float over a run, runs in
// double.
template <class F>
[[gnu::always_inline]] inline void sum_pairs(const Args& a, int64_t chunk, int64_t chunk_end, F f) {
  constexpr int64_t kRun = 1024;
  for (int64_t k = chunk; k < chunk_end; ++k) {
    const OptimChunk& c = a.chunks[k];
    const Row& t = a.tensors[c.tensor];
    double nums = 0, dens = 0;
    for (int64_t b = c.begin; b < c.end; b += kRun) {
      F32 num(0.0f), den(0.0f);
      for_lanes(c.end - b < kRun ? c.end - b : kRun, [&](int64_t i, int n) { f(t, b + i, n, num, den); });
      nums += static_cast<double>(reduce_add(num));
      dens += static_cast<double>(reduce_add(den));
    }
    a.sums[2 * k] = nums, a.sums[2 * k + 1] = dens;
  }
}

void am_sgd_sums(const Args& a, int64_t chunk, int64_t chunk_end) {
  const F32 lambda = f(a.model_lambda), two(2.0f);
  sum_pairs(a, chunk, chunk_end, [&](const Row& t, int64_t i, int n, F32& num, F32& den) {
    const F32 g = fma(f(t.weight_decay), load_part(t.p + i, n), load_part(t.g + i, n));
    const F32 d = t.first ? g : load_part(t.m + i, n), e = d - g;
    num = fma(g, g, fma(lambda * d, fma(two, g, -d), num));
    den = fma(e, e, den);
  });
}

void am_sgd(const Args& a, int64_t chunk, int64_t chunk_end) {
  const double inverse = 1.0 / (1.0 + a.model_lambda);
  const F32 lr = f(a.lr);
  for_vectors(a, chunk, chunk_end, [&](const Row& t, int64_t i, int n) {
    const F32 p = load_part(t.p + i, n), g = fma(f(t.weight_decay), p, load_part(t.g + i, n));
    F32 d = g;
    if (!t.first)
      d = fma(f((t.beta + a.model_lambda) * inverse), load_part(t.m + i, n), f((1.0 - t.beta) * inverse) * g);
    store_part(t.m + i, d, n);
    store_part(t.p + i, p - lr * d, n);
  });
}

JX_INLINE F32 am_preconditioner(const Args& a, const Row& t, F32 v) {
  return f(t.correction1) * fma(sqrt(v), f(1.0 / __builtin_sqrt(t.correction2)), f(a.eps));
}

void am_adamw_sums(const Args& a, int64_t chunk, int64_t chunk_end) {
  const F32 b2 = f(a.beta2), c2 = f(1.0 - a.beta2), lambda = f(a.model_lambda), one(1.0f);
  sum_pairs(a, chunk, chunk_end, [&](const Row& t, int64_t i, int n, F32& num, F32& den) {
    const F32 g = load_part(t.g + i, n), d = load_part(t.m + i, n), e = d - g;
    const F32 v = fma(b2, load_part(t.v + i, n), c2 * g * g);
    store_part(t.v + i, v, n);
    const F32 p = am_preconditioner(a, t, v), lp = lambda * p;
    const F32 decay = f(t.weight_decay) * load_part(t.p + i, n), inverse = one / p,
              scaled = e * inverse / (one + lp);
    num = num + (f(t.gap) * g * fma(d, inverse, decay) - fma(scaled, fma(lp, d, g), decay * e));
    den = fma(e, scaled, den);
  });
}

void am_adamw(const Args& a, int64_t chunk, int64_t chunk_end) {
  const F32 lambda = f(a.model_lambda), lr = f(a.lr), one(1.0f);
  for_vectors(a, chunk, chunk_end, [&](const Row& t, int64_t i, int n) {
    const F32 p = am_preconditioner(a, t, load_part(t.v + i, n)), lp = lambda * p, beta = f(t.beta);
    const F32 d =
        fma(f(1.0 - t.beta), load_part(t.g + i, n), (lp + beta) * load_part(t.m + i, n)) / (one + lp);
    store_part(t.m + i, d, n);
    store_part(t.p + i, load_part(t.p + i, n) * f(1.0 - a.lr * t.weight_decay) - lr * (d / p), n);
  });
}

}  // namespace

extern const OptimTable<float> optim_f32{sgd,        adam,          lion,        lars,  lamb_direction,
                                         lamb_apply, ema,           sum_squares, scale, am_sgd_sums,
                                         am_sgd,     am_adamw_sums, am_adamw};

}  // namespace juxta::JX_ISA
#endif

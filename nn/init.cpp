#include "nn/init.h"

#include <cmath>

#include "tensor/parallel.h"

namespace juxta::nn {

namespace {

template <class F>
Tensor fill(Dims dims, Rng& rng, F value) {
  Tensor t = Tensor::empty(dims);
  const Draw draw = rng.next();
  float* p = t.write<float>("init");
  parallel_for(t.numel(), 1 << 12, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) p[i] = static_cast<float>(value(draw, static_cast<uint64_t>(i)));
  });
  return t;
}

// Inverse of the standard normal distribution by Newton steps on erfc from a rough start; good to 1e-9 on
// (1e-6, 1 - 1e-6).
double normal_quantile(double p) {
  const double t = std::sqrt(-2.0 * std::log(p < 0.5 ? p : 1.0 - p));
  double x =
      t - (2.30753 + 0.27061 * t) / (1.0 + 0.99229 * t + 0.04481 * t * t);  // Abramowitz & Stegun 26.2.22
  if (p < 0.5) x = -x;
  for (int i = 0; i < 3; ++i) {
    const double cdf = 0.5 * std::erfc(-x / std::sqrt(2.0)),
                 pdf = std::exp(-0.5 * x * x) / 2.5066282746310002;
    x -= (cdf - p) / pdf;
  }
  return x;
}

}  // namespace

Tensor normal(Dims dims, double stddev, Rng& rng, double mean) {
  return fill(dims, rng, [=](const Draw& d, uint64_t i) { return mean + stddev * d.normal(i); });
}

Tensor uniform(Dims dims, double low, double high, Rng& rng) {
  return fill(dims, rng, [=](const Draw& d, uint64_t i) { return low + (high - low) * d.uniform(i); });
}

Tensor truncated_normal(Dims dims, double stddev, Rng& rng, double cut) {
  const double low = 0.5 * std::erfc(cut / stddev / std::sqrt(2.0));
  if (low < 1e-9) return normal(dims, stddev, rng);  // the cut never binds
  return fill(dims, rng, [=](const Draw& d, uint64_t i) {
    return stddev * normal_quantile(low + (1.0 - 2.0 * low) * (d.uniform(i) + 0x1p-25));
  });
}

Tensor kaiming_normal_fan_out(Dims dims, Rng& rng) {
  JX_CHECK(dims.size() >= 2 && numel(dims) > 0,
           "kaiming_normal_fan_out: expected a weight [O, I, ..] with elements, got ", dims);
  const int64_t fan_out = numel(dims) / dims[1];
  return normal(dims, std::sqrt(2.0 / static_cast<double>(fan_out)), rng);
}

Tensor torch_default(Dims dims, int64_t fan_in, Rng& rng) {
  const double bound = 1.0 / std::sqrt(static_cast<double>(fan_in));
  return uniform(dims, -bound, bound, rng);
}

Tensor xavier_uniform(Dims dims, Rng& rng) {
  const double bound = std::sqrt(6.0 / static_cast<double>(dims[0] + dims[1]));
  return uniform(dims, -bound, bound, rng);
}

}  // namespace juxta::nn

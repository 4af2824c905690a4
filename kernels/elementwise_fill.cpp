// Random fills. Plain C++ in double for every ISA: parameters drawn on one machine must be those drawn on
// another, and initialisation is no hot path.
#include "kernels/elementwise.h"

namespace juxta {

namespace {

// t[i] = value(i), in parallel.
template <class F>
void fill_by_index(const char* who, Tensor& t, F value) {
  JX_CHECK(t.defined() && t.is_contiguous(), who, ": expected a contiguous tensor, got ", t);
  if (!t.device().on_host()) {  // drawn here, then moved: the same numbers on every device
    Tensor host = Tensor::empty(t.dims(), t.dtype());
    fill_by_index(who, host, value);
    t.copy_from(host.to(t.device()), who);
    return;
  }
  dispatch_float(t.dtype(), who, [&]<class T>() {
    T* p = t.write<T>(who);
    parallel_for(t.numel(), 1 << 12, [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i) p[i] = static_cast<T>(value(static_cast<uint64_t>(i)));
    });
  });
}

double normal_cdf(double x) { return 0.5 * std::erfc(-x * 0.70710678118654752); }

// The x with normal_cdf(x) = u, 0 < u < 1: a rational first guess (Abramowitz & Stegun 26.2.23), then Halley
// steps, each of which triples the number of correct digits.
double normal_quantile(double u) {
  const double t = std::sqrt(-2.0 * std::log(u < 0.5 ? u : 1.0 - u));
  double x =
      t - (2.515517 + t * (0.802853 + t * 0.010328)) / (1.0 + t * (1.432788 + t * (0.189269 + t * 0.001308)));
  if (u < 0.5) x = -x;
  for (int step = 0; step < 2; ++step) {
    const double e = (normal_cdf(x) - u) * 2.5066282746310005 * std::exp(0.5 * x * x);
    x -= e / (1.0 + 0.5 * x * e);
  }
  return x;
}

}  // namespace

void fill_uniform(Tensor& t, Draw draw, double low, double high) {
  JX_CHECK(low <= high, "fill_uniform: expected low <= high, got ", low, " and ", high);
  fill_by_index("fill_uniform", t,
                [=](uint64_t i) { return low + (high - low) * static_cast<double>(draw.uniform(i)); });
}

void fill_normal(Tensor& t, Draw draw, double mean, double stddev) {
  JX_CHECK(stddev >= 0, "fill_normal: expected a deviation >= 0, got ", stddev);
  fill_by_index("fill_normal", t,
                [=](uint64_t i) { return mean + stddev * static_cast<double>(draw.normal(i)); });
}

void fill_truncated_normal(Tensor& t, Draw draw, double mean, double stddev, double low, double high) {
  JX_CHECK(stddev > 0, "fill_truncated_normal: expected a deviation > 0, got ", stddev);
  JX_CHECK(low < high, "fill_truncated_normal: expected low < high, got ", low, " and ", high);
  const double from = normal_cdf((low - mean) / stddev), to = normal_cdf((high - mean) / stddev);
  JX_CHECK(to - from > 1e-9, "fill_truncated_normal: [", low, ", ", high,
           "] holds no mass of a normal with mean ", mean, " and deviation ", stddev);
  fill_by_index("fill_truncated_normal", t, [=](uint64_t i) {
    const double u = from + (to - from) * (static_cast<double>(draw.bits(i)) + 0.5) * 0x1p-32;
    const double x = mean + stddev * normal_quantile(u);
    return x < low ? low : x > high ? high : x;
  });
}

}  // namespace juxta

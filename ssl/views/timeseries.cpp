#include "ssl/views/timeseries.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace juxta::ssl {

namespace {

// x as contiguous f64 of its own.
Tensor series(const char* rule, const Tensor& x) {
  JX_CHECK(x.defined() && is_float(x.dtype()) && x.ndim() == 2 && x.numel() > 0, rule,
           ": x: expected a float [T, C], got ", x);
  return x.to(DType::f64).clone();
}

Tensor table(const char* rule, const char* name, const Tensor& t, int64_t rows, int64_t columns) {
  JX_CHECK(t.defined() && is_float(t.dtype()) && t.ndim() == 2 && (rows < 0 || t.size(0) == rows) &&
               (t.size(1) == columns),
           rule, ": ", name, ": expected a float [", rows < 0 ? std::string("K") : std::to_string(rows), ", ",
           columns, "], got ", t);
  return t.to(DType::f64).contiguous();
}

std::vector<double> column(const Tensor& t, int64_t c) {
  std::vector<double> v;
  for (int64_t i = 0; i < t.size(0); ++i) v.push_back(t.data<double>()[i * t.size(1) + c]);
  return v;
}

// n places at equal distances from 0 to last.
std::vector<double> places(int64_t n, double last) {
  std::vector<double> v;
  for (int64_t i = 0; i < n; ++i) v.push_back(last * static_cast<double>(i) / static_cast<double>(n - 1));
  return v;
}

std::vector<double> whole(int64_t n) {
  std::vector<double> v(static_cast<size_t>(n));
  std::iota(v.begin(), v.end(), 0.0);
  return v;
}

// The second derivatives of the spline at its points, n >= 4: continuity of the first derivative at inner
// points and of the third at the two next to the ends. The third's equations give the ends' values from their
// neighbours'; what is left is a tridiagonal system that elimination solves without pivots, as its diagonal
// dominates.
std::vector<double> second_derivatives(const std::vector<double>& x, const std::vector<double>& y) {
  const size_t n = x.size(), last = n - 2;  // unknowns are 1 .. last
  const auto h = [&](size_t i) { return x[i + 1] - x[i]; };
  const auto slope = [&](size_t i) { return (y[i + 1] - y[i]) / h(i); };
  std::vector<double> diagonal(n), upper(n), m(n);
  for (size_t i = 1; i <= last; ++i) {
    double lower = h(i - 1), centre = 2 * (h(i - 1) + h(i)), next = h(i);
    // m[0] = ((h0 + h1) m[1] - h0 m[2]) / h1, and the same from the other end.
    if (i == 1) centre += h(0) * (h(0) + h(1)) / h(1), next -= h(0) * h(0) / h(1);
    if (i == last) centre += h(i) * (h(i) + h(i - 1)) / h(i - 1), lower -= h(i) * h(i) / h(i - 1);
    double right = 6 * (slope(i) - slope(i - 1));
    if (i > 1) {
      const double share = lower / diagonal[i - 1];
      centre -= share * upper[i - 1], right -= share * m[i - 1];
    }
    diagonal[i] = centre, upper[i] = next, m[i] = right;
  }
  m[last] /= diagonal[last];
  for (size_t i = last - 1; i >= 1; --i) m[i] = (m[i] - upper[i] * m[i + 1]) / diagonal[i];
  m[0] = ((h(0) + h(1)) * m[1] - h(0) * m[2]) / h(1);
  m[n - 1] = ((h(last) + h(last - 1)) * m[last] - h(last) * m[last - 1]) / h(last - 1);
  return m;
}

}  // namespace

std::vector<double> cubic_spline(const std::vector<double>& x, const std::vector<double>& y,
                                 const std::vector<double>& at) {
  const size_t n = x.size();
  JX_CHECK(n >= 2 && y.size() == n, "cubic_spline: expected as many values as places, at least 2, got ",
           y.size(), " and ", n);
  for (size_t i = 1; i < n; ++i)
    JX_CHECK(x[i] > x[i - 1], "cubic_spline: x: expected ascending places, got ", x[i], " after ", x[i - 1]);
  std::vector<double> m(n);
  if (n == 3)  // a parabola: twice the second divided difference everywhere
    m.assign(n, 2 * ((y[2] - y[1]) / (x[2] - x[1]) - (y[1] - y[0]) / (x[1] - x[0])) / (x[2] - x[0]));
  if (n > 3) m = second_derivatives(x, y);
  std::vector<double> out;
  for (const double t : at) {
    const auto above = std::upper_bound(x.begin() + 1, x.end() - 1, t);
    const size_t k = static_cast<size_t>(above - x.begin()) - 1;
    const double h = x[k + 1] - x[k], a = (x[k + 1] - t) / h, b = (t - x[k]) / h;
    const double bend = (a * a * a - a) * m[k] + (b * b * b - b) * m[k + 1];
    out.push_back(a * y[k] + b * y[k + 1] + bend * h * h / 6);
  }
  return out;
}

Tensor zscore(const Tensor& x) {
  Tensor y = series("zscore", x);
  const int64_t t = y.size(0), channels = y.size(1);
  double* p = y.write<double>("zscore");
  for (int64_t c = 0; c < channels; ++c) {
    const std::vector<double> v = column(y, c);
    const double mean = std::accumulate(v.begin(), v.end(), 0.0) / static_cast<double>(t);
    double squares = 0;
    for (const double a : v) squares += (a - mean) * (a - mean);
    const bool constant = *std::max_element(v.begin(), v.end()) == *std::min_element(v.begin(), v.end());
    const double deviation = std::sqrt(squares / static_cast<double>(t));
    for (int64_t i = 0; i < t; ++i)
      p[i * channels + c] = constant ? 0 : (v[static_cast<size_t>(i)] - mean) / deviation;
  }
  return y.to(x.dtype());
}

Tensor cut_out(const Tensor& x, int64_t start, int64_t length) {
  Tensor y = series("cut_out", x);
  JX_CHECK(start >= 0 && length >= 0 && start + length <= y.size(0),
           "cut_out: start, length: expected a window within ", y.size(0), " samples, got ", start, ", ",
           length);
  y.slice(0, start, start + length).fill(0, "cut_out");
  return y.to(x.dtype());
}

Tensor magnitude_warp(const Tensor& x, const Tensor& knots) {
  Tensor y = series("magnitude_warp", x);
  const int64_t t = y.size(0), channels = y.size(1);
  const bool shared = knots.defined() && knots.ndim() == 2 && knots.size(1) == 1;
  const Tensor k = table("magnitude_warp", "knots", knots, -1, shared ? 1 : channels);
  JX_CHECK(k.size(0) >= 2 && t >= 2,
           "magnitude_warp: knots: expected at least 2, on at least 2 samples, got ", knots, " on ", x);
  double* p = y.write<double>("magnitude_warp");
  std::vector<double> curve;
  for (int64_t c = 0; c < channels; ++c) {
    if (c == 0 || !shared)
      curve = cubic_spline(places(k.size(0), static_cast<double>(t - 1)), column(k, c), whole(t));
    for (int64_t i = 0; i < t; ++i) p[i * channels + c] *= curve[static_cast<size_t>(i)];
  }
  return y.to(x.dtype());
}

Tensor time_warp(const Tensor& x, const Tensor& knots) {
  Tensor y = series("time_warp", x);
  const int64_t t = y.size(0), channels = y.size(1);
  const Tensor k = table("time_warp", "knots", knots, -1, channels);
  JX_CHECK(k.size(0) >= 2 && t >= 2, "time_warp: knots: expected at least 2, on at least 2 samples, got ",
           knots, " on ", x);
  const double last = static_cast<double>(t - 1);
  const std::vector<double> at = places(k.size(0), last);
  for (int64_t c = 0; c < channels; ++c) {
    std::vector<double> reached = column(k, c);
    for (size_t i = 0; i < reached.size(); ++i) reached[i] *= at[i];
    std::vector<double> time = cubic_spline(at, reached, whole(t));
    const double end = time.back();
    JX_CHECK(end > 0, "time_warp: knots: time must end above 0, got ", end, " in channel ", c);
    double latest = 0;
    for (double& u : time) u = latest = std::max(latest, std::clamp(u * last / end, 0.0, last));
    const std::vector<double> v = column(y, c);
    double* p = y.write<double>("time_warp");
    for (int64_t i = 0; i < t; ++i) {
      const double s = static_cast<double>(i);
      if (s < time.front() || s >= time.back()) {
        p[i * channels + c] = s < time.front() ? v.front() : v.back();
        continue;
      }
      const auto b = static_cast<size_t>(std::upper_bound(time.begin(), time.end(), s) - time.begin());
      p[i * channels + c] = v[b - 1] + (v[b] - v[b - 1]) * (s - time[b - 1]) / (time[b] - time[b - 1]);
    }
  }
  return y.to(x.dtype());
}

Tensor add_noise(const Tensor& x, const Tensor& noise, double sigma) {
  Tensor y = series("add_noise", x);
  const Tensor e = table("add_noise", "noise", noise, y.size(0), y.size(1));
  JX_CHECK(sigma >= 0 && std::isfinite(sigma), "add_noise: sigma: expected 0 or more, got ", sigma);
  double* p = y.write<double>("add_noise");
  for (int64_t i = 0; i < y.numel(); ++i) p[i] += sigma * e.data<double>()[i];
  return y.to(x.dtype());
}

Tensor permute_channels(const Tensor& x, const Tensor& order) {
  Tensor y = series("permute_channels", x);
  const int64_t channels = y.size(1);
  JX_CHECK(order.defined() && order.dtype() == DType::i64 && order.dims() == Dims({channels}),
           "permute_channels: order: expected i64 [", channels, "], got ", order);
  const Tensor o = order.contiguous(), from = y.clone();
  std::vector<bool> seen(static_cast<size_t>(channels));
  double* p = y.write<double>("permute_channels");
  for (int64_t c = 0; c < channels; ++c) {
    const int64_t s = o.data<int64_t>()[c];
    JX_CHECK(s >= 0 && s < channels && !seen[static_cast<size_t>(s)],
             "permute_channels: order: expected a permutation of ", channels, " channels, got ", s, " at ",
             c);
    seen[static_cast<size_t>(s)] = true;
    for (int64_t i = 0; i < y.size(0); ++i) p[i * channels + c] = from.data<double>()[i * channels + s];
  }
  return y.to(x.dtype());
}

Tensor apply_cascade(const Tensor& x, const Cascade& c) {
  Tensor y = zscore(series("cascade", x));
  if (c.apply[0]) y = cut_out(y, c.start, c.length);
  if (c.apply[1]) y = magnitude_warp(y, c.magnitude_knots);
  if (c.apply[2]) y = time_warp(y, c.time_knots);
  if (c.apply[3]) y = add_noise(y, c.noise, c.sigma);
  if (c.apply[4]) y = permute_channels(y, c.order);
  return y.to(x.dtype());
}

Cascade draw_cascade(int64_t t, int64_t channels, const CascadeRates& rates, Rng& rng) {
  JX_CHECK(t >= 2 && channels >= 1, "cascade: expected a series of at least 2 samples, got [", t, ", ",
           channels, "]");
  JX_CHECK(rates.min_cut >= 0 && rates.min_cut <= rates.max_cut && rates.max_cut <= 1 && rates.knots >= 2,
           "cascade: cut, knots: expected shares 0 <= ", rates.min_cut, " <= ", rates.max_cut,
           " <= 1 and at least 2 knots, got ", rates.knots);
  Cascade c;
  const Draw coin = rng.next(), number = rng.next();
  for (size_t i = 0; i < c.apply.size(); ++i) c.apply[i] = coin.uniform(i) < rates.probability[i];
  const auto below = [&](uint64_t i, int64_t n) {
    return std::min<int64_t>(n - 1, static_cast<int64_t>(static_cast<double>(n) * number.uniform(i)));
  };
  const auto least = static_cast<int64_t>(rates.min_cut * static_cast<double>(t));
  const auto most = static_cast<int64_t>(rates.max_cut * static_cast<double>(t));
  c.length = least + below(0, std::max<int64_t>(1, most - least));
  c.start = below(1, t - c.length + 1);
  c.sigma = rates.min_sigma + (rates.max_sigma - rates.min_sigma) * number.uniform(2);
  const auto normals = [&](int64_t rows, int64_t columns, double mean, double stddev) {
    const Draw d = rng.next();
    Tensor out = Tensor::empty({rows, columns}, DType::f64);
    for (int64_t i = 0; i < out.numel(); ++i)
      out.write<double>("cascade")[i] = mean + stddev * d.normal(static_cast<uint64_t>(i));
    return out;
  };
  c.magnitude_knots = normals(rates.knots, 1, 1, rates.magnitude_stddev);
  c.time_knots = normals(rates.knots, channels, 1, rates.time_stddev);
  c.noise = normals(t, channels, 0, 1);
  const Draw key = rng.next();
  c.order = Tensor::arange(channels);
  auto* order = c.order.write<int64_t>("cascade");
  std::stable_sort(order, order + channels, [&](int64_t a, int64_t b) {
    return key.bits(static_cast<uint64_t>(a)) < key.bits(static_cast<uint64_t>(b));
  });
  return c;
}

}  // namespace juxta::ssl

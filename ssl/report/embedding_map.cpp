#include "ssl/report/embedding_map.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "autograd/ops.h"
#include "tensor/parallel.h"
#include "tensor/rng.h"

namespace juxta::ssl {

namespace {

constexpr int64_t kLanes =
    8;  // partial sums side by side, so that the compiler may use vectors without reordering

Tensor checked(const Tensor& features, const char* op) {
  JX_CHECK(features.defined() && features.ndim() == 2 && features.size(0) >= 1 && features.size(1) >= 1, op,
           ": features: expected [N, F] with N, F >= 1, got ", to_text(features));
  JX_CHECK(features.size(0) <= 20000, op, ": ", features.size(0),
           " rows need too much memory; hint: give at most 20000, better 2000");
  Tensor x = features.to(DType::f32).contiguous();
  const float* v = x.data<float>();
  for (int64_t i = 0; i < x.numel(); ++i)
    JX_CHECK(std::isfinite(v[i]), op, ": features: row ", i / x.size(1), " holds a value that is not finite");
  return x;
}

// Inner products of the centred rows, f32 [N, N].
Tensor centred_gram(const Tensor& x) {
  const NoGrad no_grad;
  const Var centred = sub(Var(x), mean(Var(x), {0}, true));
  return matmul(centred, transpose(centred, 0, 1)).value().contiguous();
}

double dot(const std::vector<double>& a, const std::vector<double>& b) {
  double sum = 0;
  for (size_t i = 0; i < a.size(); ++i) sum += a[i] * b[i];
  return sum;
}

// Gram-Schmidt, twice for accuracy; a vector that vanishes becomes zero. Returns the lengths before.
std::vector<double> orthonormalize(std::vector<std::vector<double>>& v) {
  std::vector<double> lengths;
  for (size_t k = 0; k < v.size(); ++k) {
    for (int pass = 0; pass < 2; ++pass)
      for (size_t m = 0; m < k; ++m) {
        const double c = dot(v[k], v[m]);
        for (size_t i = 0; i < v[k].size(); ++i) v[k][i] -= c * v[m][i];
      }
    const double length = std::sqrt(dot(v[k], v[k]));
    for (double& e : v[k]) e = length > 1e-30 ? e / length : 0;
    lengths.push_back(length);
  }
  return lengths;
}

Tensor gram_components(const Tensor& gram, int count) {
  const int64_t n = gram.size(0);
  const float* g = gram.data<float>();
  // Two vectors more than asked for: the wanted ones converge faster.
  std::vector<std::vector<double>> v(static_cast<size_t>(count + 2),
                                     std::vector<double>(static_cast<size_t>(n)));
  Rng rng(0, "principal_components");
  for (auto& column : v) {
    const Draw draw = rng.next();
    for (size_t i = 0; i < column.size(); ++i) column[i] = draw.uniform(i) - 0.5;
  }
  orthonormalize(v);
  std::vector<double> values;
  for (int iteration = 0; iteration < 60; ++iteration) {
    std::vector<std::vector<double>> next = v;
    parallel_for(n, grain_for(n), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        for (size_t k = 0; k < v.size(); ++k) {
          double sum = 0;
          for (int64_t j = 0; j < n; ++j)
            sum += static_cast<double>(g[i * n + j]) * v[k][static_cast<size_t>(j)];
          next[k][static_cast<size_t>(i)] = sum;
        }
    });
    v = std::move(next);
    values = orthonormalize(v);
  }
  Tensor out = Tensor::zeros({n, count});
  auto* o = out.write<float>("principal_components");
  for (int64_t k = 0; k < count; ++k) {
    const std::vector<double>& c = v[static_cast<size_t>(k)];
    const auto peak =
        std::max_element(c.begin(), c.end(), [](double a, double b) { return std::abs(a) < std::abs(b); });
    const double scale = (*peak < 0 ? -1 : 1) * std::sqrt(values[static_cast<size_t>(k)]);
    for (int64_t i = 0; i < n; ++i) o[i * count + k] = static_cast<float>(scale * c[static_cast<size_t>(i)]);
  }
  return out;
}

// One row of p(j|i): bisection on beta until the entropy fits. d: squared distances; p: written, p[self] = 0.
void conditional_row(const float* d, int64_t n, int64_t self, double entropy, float* p) {
  float nearest = std::numeric_limits<float>::infinity();
  double mean = 0;
  for (int64_t j = 0; j < n; ++j)
    if (j != self) {
      nearest = std::min(nearest, d[j]);
      mean += d[j];
    }
  mean = mean / static_cast<double>(n - 1) - nearest;
  double beta = mean > 0 ? 1 / mean : 1, low = 0, high = std::numeric_limits<double>::infinity();
  double sum = 1;
  for (int step = 0; step < 60; ++step) {
    sum = 0;
    double weighted = 0;
    for (int64_t j = 0; j < n; ++j) {
      // Relative to the nearest: no row underflows to zero.
      p[j] = j == self ? 0 : std::exp(static_cast<float>(-beta) * (d[j] - nearest));
      sum += p[j];
      weighted += static_cast<double>(p[j]) * (d[j] - nearest);
    }
    const double h = std::log(sum) + beta * weighted / sum;
    if (std::abs(h - entropy) < 1e-4 || mean <= 0) break;
    (h > entropy ? low : high) = beta;
    beta = std::isinf(high) ? beta * 2 : (low + high) / 2;
  }
  for (int64_t j = 0; j < n; ++j) p[j] = static_cast<float>(p[j] / sum);
}

// Symmetric affinities [n, stride], columns beyond n zero.
std::vector<float> affinities(const Tensor& gram, int64_t stride, double perplexity) {
  const int64_t n = gram.size(0);
  const float* g = gram.data<float>();
  std::vector<float> conditional(static_cast<size_t>(n * n));
  parallel_for(n, 16, [&](int64_t begin, int64_t end) {
    std::vector<float> d(static_cast<size_t>(n));
    for (int64_t i = begin; i < end; ++i) {
      for (int64_t j = 0; j < n; ++j)
        d[static_cast<size_t>(j)] = std::max(0.0f, g[i * n + i] + g[j * n + j] - 2 * g[i * n + j]);
      conditional_row(d.data(), n, i, std::log(perplexity), &conditional[static_cast<size_t>(i * n)]);
    }
  });
  std::vector<float> p(static_cast<size_t>(n * stride), 0.0f);
  const auto scale = static_cast<float>(0.5 / static_cast<double>(n));
  parallel_for(n, 16, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i)
      for (int64_t j = 0; j < n; ++j)
        p[static_cast<size_t>(i * stride + j)] = scale * (conditional[static_cast<size_t>(i * n + j)] +
                                                          conditional[static_cast<size_t>(j * n + i)]);
  });
  return p;
}

// Sums over all points of one row: attraction, repulsion before division by the total, and its share of the
// total.
struct Force {
  double ax = 0, ay = 0, rx = 0, ry = 0, z = 0;
};

Force row_force(const float* p, const float* x, const float* y, int64_t stride, int64_t i) {
  float ax[kLanes] = {}, ay[kLanes] = {}, rx[kLanes] = {}, ry[kLanes] = {}, z[kLanes] = {};
  const float xi = x[i], yi = y[i];
  for (int64_t j = 0; j < stride; j += kLanes)
    for (int64_t k = 0; k < kLanes; ++k) {
      const float dx = xi - x[j + k], dy = yi - y[j + k];
      const float q = 1 / (1 + dx * dx + dy * dy), w = p[j + k] * q, q2 = q * q;
      ax[k] += w * dx;
      ay[k] += w * dy;
      rx[k] += q2 * dx;
      ry[k] += q2 * dy;
      z[k] += q;
    }
  Force f;
  for (int64_t k = 0; k < kLanes; ++k) {
    f.ax += ax[k];
    f.ay += ay[k];
    f.rx += rx[k];
    f.ry += ry[k];
    f.z += z[k];
  }
  f.z -= 1;  // the point itself
  return f;
}

// Coordinates of all points with the momentum and gains of the descent.
struct Layout {
  Layout(int64_t points, int64_t padded) : n(points), stride(padded) {
    // Padding lies so far away that it neither pulls nor pushes, and its squares stay finite.
    for (auto* a : {&x, &y}) a->assign(static_cast<size_t>(stride), 1e9f);
    for (auto* a : {&vx, &vy}) a->assign(static_cast<size_t>(n), 0.0);
    for (auto* a : {&gx, &gy}) a->assign(static_cast<size_t>(n), 1.0);
    force.resize(static_cast<size_t>(n));
  }
  int64_t n, stride;
  std::vector<float> x, y;
  std::vector<double> vx, vy, gx, gy;
  std::vector<Force> force;

  // Gradient descent with momentum and the gains of Jacobs (1988), as in the paper's implementation.
  static void move(float& at, double& velocity, double& gain, double gradient, double rate, double momentum) {
    gain = gradient * velocity > 0 ? std::max(0.01, gain * 0.8) : gain + 0.2;
    velocity = momentum * velocity - rate * gain * gradient;
    at = static_cast<float>(at + velocity);
  }

  void step(const std::vector<float>& p, double exaggeration, double rate, double momentum) {
    parallel_for(n, grain_for(stride), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        force[static_cast<size_t>(i)] =
            row_force(&p[static_cast<size_t>(i * stride)], x.data(), y.data(), stride, i);
    });
    double total = 1e-30, mx = 0, my = 0;
    for (const Force& f : force) total += f.z;
    for (size_t i = 0; i < force.size(); ++i) {
      const Force& f = force[i];
      move(x[i], vx[i], gx[i], 4 * (exaggeration * f.ax - f.rx / total), rate, momentum);
      move(y[i], vy[i], gy[i], 4 * (exaggeration * f.ay - f.ry / total), rate, momentum);
      mx += x[i];
      my += y[i];
    }
    for (size_t i = 0; i < force.size(); ++i) {
      x[i] -= static_cast<float>(mx / static_cast<double>(n));
      y[i] -= static_cast<float>(my / static_cast<double>(n));
    }
  }
};

}  // namespace

Tensor principal_components(const Tensor& features, int count) {
  JX_CHECK(count >= 1, "principal_components: count: expected at least 1, got ", count);
  return gram_components(centred_gram(checked(features, "principal_components")), count);
}

Tensor embedding_map(const Tensor& features, const MapOptions& options) {
  const Tensor features32 = checked(features, "embedding_map");
  JX_CHECK(options.perplexity > 0 && options.iterations >= 0,
           "embedding_map: expected perplexity > 0 and iterations >= 0, got ", options.perplexity, ", ",
           options.iterations);
  const int64_t n = features32.size(0), stride = (n + kLanes - 1) / kLanes * kLanes;
  Tensor out = Tensor::zeros({n, 2});
  if (n < 2) return out;
  const Tensor gram = centred_gram(features32);
  const Tensor start = gram_components(gram, 2);
  const double perplexity = std::min(options.perplexity, std::max(1.0, static_cast<double>(n - 1) / 3));
  const std::vector<float> p = affinities(gram, stride, perplexity);

  Layout layout(n, stride);
  const float* s = start.data<float>();
  double variance = 0;
  for (int64_t i = 0; i < n; ++i) variance += static_cast<double>(s[2 * i]) * s[2 * i];
  const double scale = variance > 0 ? 1e-4 / std::sqrt(variance / static_cast<double>(n)) : 0;
  for (int64_t i = 0; i < n; ++i) {
    layout.x[static_cast<size_t>(i)] = static_cast<float>(scale * s[2 * i]);
    layout.y[static_cast<size_t>(i)] = static_cast<float>(scale * s[2 * i + 1]);
  }
  // The step that keeps early exaggeration stable and quick (Belkina et al., Nature Communications 10, 2019).
  const double rate = std::max(50.0, static_cast<double>(n) / options.early_exaggeration / 4);
  for (int t = 0; t < options.iterations; ++t) {
    const bool early = t < options.early_iterations;
    layout.step(p, early ? options.early_exaggeration : 1, rate, early ? 0.5 : 0.8);
  }
  auto* o = out.write<float>("embedding_map");
  for (int64_t i = 0; i < n; ++i) {
    o[2 * i] = layout.x[static_cast<size_t>(i)];
    o[2 * i + 1] = layout.y[static_cast<size_t>(i)];
  }
  return out;
}

}  // namespace juxta::ssl

#include "ssl/losses/regression.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "autograd/ops.h"
#include "tensor/parallel.h"

namespace juxta::ssl {

namespace {

constexpr double kNone = -std::numeric_limits<double>::infinity();

void check_features(const char* loss, const Var& features) {
  JX_CHECK(features.defined() && is_float(features.dtype()) && features.ndim() == 3 && features.numel() >= 1,
           loss, ": features: expected a float [N, V, D] with N, V, D >= 1, got ", features);
  check_finite(loss, {"features", features});
}

// [N, V, D] as [V N, D], view-major.
Var stacked(const Var& features) {
  const Var x = at_least_f32(features);
  return reshape(transpose(x, 0, 1), {x.size(0) * x.size(1), x.size(2)});
}

double log_add(double a, double b) {
  if (a == kNone) return b;
  if (b == kNone) return a;
  return std::max(a, b) + std::log1p(std::exp(-std::abs(a - b)));
}

// A running log-sum-exp of many terms.
struct LogSum {
  double top = kNone, sum = 0;
  void add(double x, double weight = 1) {
    if (x > top) sum *= std::exp(top - x), top = x;
    sum += weight * std::exp(x - top);
  }
  double value() const { return sum > 0 ? top + std::log(sum) : kNone; }
};

// One anchor of rnc: sum over b of its terms, and the derivative by every distance, times temperature.
// Sorted by label distance, far ones first, S(a, b) is everything up to the end of b's ties.
double rank_anchor(const double* distance, const double* label_distance, int64_t anchor, int64_t m,
                   double temperature, double* gradient) {
  std::vector<int64_t> order;
  for (int64_t c = 0; c < m; ++c)
    if (c != anchor) order.push_back(c);
  std::stable_sort(order.begin(), order.end(),
                   [&](int64_t x, int64_t y) { return label_distance[x] > label_distance[y]; });
  const size_t n = order.size();
  std::vector<double> lse(n);
  LogSum running;
  double total = 0;
  for (size_t i = 0; i < n;) {
    size_t end = i;
    for (; end < n && label_distance[order[end]] == label_distance[order[i]]; ++end)
      running.add(-distance[order[end]] / temperature);
    for (; i < end; ++i) {
      lse[i] = running.value();
      total += distance[order[i]] / temperature + lse[i];
    }
  }
  // c is in S(a, b) of every b whose label is not farther: d/d distance_c = 1 - sum_b e^{sim_c - lse_b}
  double later = kNone;
  for (size_t end = n; end > 0;) {
    size_t begin = end;
    while (begin > 0 && label_distance[order[begin - 1]] == label_distance[order[end - 1]])
      later = log_add(later, -lse[--begin]);
    for (; end > begin; --end) {
      const int64_t c = order[end - 1];
      gradient[c] = 1 - std::exp(-distance[c] / temperature + later);
    }
  }
  return total;
}

// [m, m] of |y_a - y_b|_1 between rows that repeat the labels of all views.
std::vector<double> label_distances(const Tensor& labels, int64_t n, int64_t m) {
  const Tensor y = labels.to(DType::f64).contiguous();
  const int64_t width = y.numel() / n;
  std::vector<double> d(static_cast<size_t>(m * m));
  for (int64_t a = 0; a < m; ++a)
    for (int64_t b = 0; b < m; ++b)
      for (int64_t k = 0; k < width; ++k)
        d[static_cast<size_t>(a * m + b)] +=
            std::abs(y.data<double>()[a % n * width + k] - y.data<double>()[b % n * width + k]);
  return d;
}

}  // namespace

Loss rnc(const Var& features, const Tensor& labels, const RncParams& p) {
  check_features("rnc", features);
  check_temperature("rnc", p.temperature);
  const int64_t n = features.size(0), m = n * features.size(1);
  JX_CHECK(labels.defined() && is_float(labels.dtype()) && labels.ndim() == 2 && labels.size(0) == n &&
               labels.size(1) >= 1,
           "rnc: labels: expected a float [", n, ", L], got ", labels);
  check_finite("rnc", {"labels", Var(labels)});
  JX_CHECK(m >= 2, "rnc: features: expected at least two rows, since an anchor is compared with others, got ",
           features);
  const Var z = stacked(features), d = sqrt(pairwise_sq_distance(z, z));
  const Tensor distance = d.value().to(DType::f64).contiguous();
  const std::vector<double> between = label_distances(labels, n, m);
  std::vector<double> totals(static_cast<size_t>(m)), gradient(static_cast<size_t>(m * m));
  parallel_for(m, grain_for(8 * m), [&](int64_t begin, int64_t end) {
    for (int64_t a = begin; a < end; ++a)
      totals[static_cast<size_t>(a)] = rank_anchor(distance.data<double>() + a * m, between.data() + a * m, a,
                                                   m, p.temperature, gradient.data() + a * m);
  });
  const double pairs = static_cast<double>(m) * static_cast<double>(m - 1);
  for (double& g : gradient) g /= p.temperature * pairs;
  const Tensor dx = Tensor::from(std::span<const double>(gradient), {m, m}).to(d.dtype());
  const double value = std::accumulate(totals.begin(), totals.end(), 0.0) / pairs;
  for (double& t : totals) t /= static_cast<double>(m - 1);
  return {with_gradient(Tensor::scalar(value, d.dtype()), {&d, 1}, {&dx, 1}),
          {},
          Var(Tensor::from(std::span<const double>(totals), {m}).to(d.dtype()))};
}

namespace {

struct Batch {
  const double *s, *y, *lam;  // similarities [m, m] / temperature; labels [m]; [m, m]
  int64_t m;
  const SupReMixParams& p;

  double weight(int64_t a, double label) const {
    const double gap = std::abs(y[a] - label);
    if (p.weighting == Weighting::none) return 1;
    return 1 + (p.weighting == Weighting::l1 ? gap : gap * gap);
  }
  // The keys of anchor a: key(logit, weight, is_positive, i, c_i, j, c_j) with logit = c_i s_ai + c_j s_aj;
  // `real` keys are rows, the others mixtures of constants.
  template <class Key>
  void keys(int64_t a, const Key& key) const {
    const double* row = s + a * m;
    for (int64_t b = 0; b < m; ++b)
      if (b != a) key(row[b], weight(a, y[b]), y[b] == y[a], true, b, 1.0, b, 0.0);
    for (int64_t b = 0; p.mix_neg && b < m; ++b) {
      if (y[b] == y[a]) continue;
      const double l = lam[a * m + b];
      key(l * row[a] + (1 - l) * row[b], weight(a, l * y[a] + (1 - l) * y[b]), false, false, a, l, b, 1 - l);
    }
    for (int64_t b = 0; p.mix_pos && b < m; ++b) {
      if (!(y[b] < y[a] && y[a] - y[b] < p.window)) continue;
      for (int64_t c = 0; c < m; ++c) {
        if (!(y[c] > y[a] && y[c] - y[a] < p.window)) continue;
        const double alpha = (y[c] - y[a]) / (y[c] - y[b]);
        key(alpha * row[b] + (1 - alpha) * row[c], 1.0, true, false, b, alpha, c, 1 - alpha);
      }
    }
  }
  // L_a, and its derivative by s_ab where rows meet (real) and where mixtures do (mixed).
  double anchor(int64_t a, double* real, double* mixed) const {
    LogSum z;
    double positives = 0, sum = 0;
    keys(a, [&](double logit, double w, bool is_positive, bool, int64_t, double, int64_t, double) {
      z.add(logit, w);
      if (is_positive) ++positives, sum += logit;
    });
    if (positives == 0) return 0;
    const double lse = z.value();
    keys(a, [&](double logit, double w, bool is_positive, bool is_row, int64_t i, double ci, int64_t j,
                double cj) {
      const double g = w * std::exp(logit - lse) - (is_positive ? 1 / positives : 0.0);
      double* to = is_row ? real : mixed;
      to[i] += ci * g;
      to[j] += cj * g;
    });
    return lse - sum / positives;
  }
};

}  // namespace

Loss supremix(const Var& features, const Tensor& labels, const Tensor& lam, const SupReMixParams& p) {
  check_features("supremix", features);
  check_temperature("supremix", p.temperature);
  JX_CHECK(p.window > 0 && !std::isnan(p.window), "supremix: window: expected a positive number, got ",
           p.window);
  const int64_t n = features.size(0), m = n * features.size(1);
  JX_CHECK(labels.defined() && is_float(labels.dtype()) && labels.dims() == Dims({n}),
           "supremix: labels: expected a float [", n, "], got ", labels);
  JX_CHECK(lam.defined() && is_float(lam.dtype()) && lam.dims() == Dims({m, m}),
           "supremix: lam: expected a float [", m, ", ", m, "], got ", lam);
  check_finite("supremix", {"labels", Var(labels)});
  check_finite("supremix", {"lam", Var(lam)});
  const Var z = p.normalize ? l2_normalize(stacked(features)) : stacked(features);
  // One matrix whose two sides are rows, and one whose columns are the constants that mixtures are made of.
  const std::vector<Var> similar{matmul(z, transpose(z, 0, 1)), matmul(z, transpose(stop_gradient(z), 0, 1))};
  const Tensor s =
      affine(Var(similar[0].value().to(DType::f64)), 1 / p.temperature, 0.0).value().contiguous();
  const Tensor one = labels.to(DType::f64).contiguous(), mix = lam.to(DType::f64).contiguous();
  std::vector<double> y(static_cast<size_t>(m));
  for (int64_t a = 0; a < m; ++a) y[static_cast<size_t>(a)] = one.data<double>()[a % n];
  const Batch batch{s.data<double>(), y.data(), mix.data<double>(), m, p};
  std::vector<double> samples(static_cast<size_t>(m)), real(static_cast<size_t>(m * m)), mixed(real.size());
  parallel_for(m, 1, [&](int64_t begin, int64_t end) {
    for (int64_t a = begin; a < end; ++a)
      samples[static_cast<size_t>(a)] = batch.anchor(a, real.data() + a * m, mixed.data() + a * m);
  });
  const double scale = 1 / (static_cast<double>(m) * p.temperature);
  std::vector<Tensor> dxs;
  for (std::vector<double>* g : {&real, &mixed}) {
    for (double& v : *g) v *= scale;
    dxs.push_back(Tensor::from(std::span<const double>(*g), {m, m}).to(z.dtype()));
  }
  const double value = std::accumulate(samples.begin(), samples.end(), 0.0) / static_cast<double>(m);
  return {with_gradient(Tensor::scalar(value, z.dtype()), similar, dxs),
          {},
          Var(Tensor::from(std::span<const double>(samples), {m}).to(z.dtype()))};
}

}  // namespace juxta::ssl

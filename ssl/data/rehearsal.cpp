#include "ssl/data/rehearsal.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

namespace juxta::ssl {

namespace {

using Matrix = std::vector<std::vector<double>>;

std::vector<double> mean_of(const Matrix& rows) {
  std::vector<double> mean(rows[0].size());
  for (const auto& r : rows)
    for (size_t k = 0; k < mean.size(); ++k) mean[k] += r[k] / static_cast<double>(rows.size());
  return mean;
}

std::vector<size_t> by_barycenter(Matrix rows, size_t count) {
  for (auto& r : rows) {
    // the offset is the reference implementation's; it decides between samples that are equally good
    const double norm = std::sqrt(std::inner_product(r.begin(), r.end(), r.begin(), 0.0)) + 1e-8;
    for (double& v : r) v /= norm;
  }
  const std::vector<double> mean = mean_of(rows);
  std::vector<double> w = mean;
  std::vector<size_t> chosen;
  std::vector<bool> taken(rows.size(), false);
  // A sample may be met again; the walk then passes on. It visits every sample in the end, but a class of
  // equal features could hold it, so it is cut and filled up in order.
  for (size_t step = 0; chosen.size() < count && step < 1000 + 10 * rows.size(); ++step) {
    size_t best = 0;
    double top = -HUGE_VAL;
    for (size_t i = 0; i < rows.size(); ++i)
      if (const double s = std::inner_product(w.begin(), w.end(), rows[i].begin(), 0.0); s > top)
        top = s, best = i;
    for (size_t k = 0; k < w.size(); ++k) w[k] += mean[k] - rows[best][k];
    if (!taken[best]) chosen.push_back(best);
    taken[best] = true;
  }
  for (size_t i = 0; i < rows.size() && chosen.size() < count; ++i)
    if (!taken[i]) chosen.push_back(i);
  return chosen;
}

std::vector<size_t> by_cluster(const Matrix& rows, size_t count) {
  const std::vector<double> mean = mean_of(rows);
  std::vector<double> distance;
  for (const auto& r : rows) {
    double d = 0;
    for (size_t k = 0; k < r.size(); ++k) d += (r[k] - mean[k]) * (r[k] - mean[k]);
    distance.push_back(d);
  }
  std::vector<size_t> order(rows.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [&](size_t a, size_t b) { return distance[a] < distance[b]; });
  order.resize(count);
  return order;
}

}  // namespace

Tensor herding(const Tensor& features, const Tensor& labels, int64_t per_class, Herding method) {
  JX_CHECK(features.defined() && is_float(features.dtype()) && features.ndim() == 2 && features.numel() >= 1,
           "herding: features: expected a float [N, D] with N, D >= 1, got ", features);
  const int64_t n = features.size(0), d = features.size(1);
  JX_CHECK(labels.defined() && labels.dtype() == DType::i64 && labels.dims() == Dims({n}),
           "herding: labels: expected i64 [", n, "], got ", labels);
  JX_CHECK(per_class >= 1, "herding: per_class: expected at least 1, got ", per_class);
  const Tensor x = features.to(DType::f64).contiguous(), y = labels.contiguous();
  std::map<int64_t, std::vector<int64_t>> classes;
  for (int64_t i = 0; i < n; ++i) classes[y.data<int64_t>()[i]].push_back(i);
  std::vector<int64_t> chosen;
  for (const auto& [label, members] : classes) {
    Matrix rows;
    for (const int64_t i : members)
      rows.emplace_back(x.data<double>() + i * d, x.data<double>() + (i + 1) * d);
    const size_t count = std::min(members.size(), static_cast<size_t>(per_class));
    for (const size_t i :
         method == Herding::barycenter ? by_barycenter(rows, count) : by_cluster(rows, count))
      chosen.push_back(members[i]);
  }
  return Tensor::from(std::span<const int64_t>(chosen), {static_cast<int64_t>(chosen.size())});
}

}  // namespace juxta::ssl

#include "ssl/clusters/density.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace juxta::ssl {

namespace {

constexpr const char* kName = "pcl_density";

double percentile(std::vector<double> sorted, double percent) {
  std::sort(sorted.begin(), sorted.end());
  const double at = percent / 100 * static_cast<double>(sorted.size() - 1);
  const size_t low = static_cast<size_t>(at), high = std::min(low + 1, sorted.size() - 1);
  return sorted[low] + (at - static_cast<double>(low)) * (sorted[high] - sorted[low]);
}

void check(const Tensor& features, const Tensor& centroids, const Tensor& assign, const DensityParams& p) {
  JX_CHECK(features.defined() && is_float(features.dtype()) && features.ndim() == 2 && features.numel() > 0,
           kName, ": features: expected a float [n, D], got ", features);
  JX_CHECK(centroids.defined() && is_float(centroids.dtype()) && centroids.ndim() == 2 &&
               centroids.size(0) >= 1 && centroids.size(1) == features.size(1),
           kName, ": centroids: expected a float [K, ", features.size(1), "], got ", centroids);
  JX_CHECK(assign.defined() && assign.dtype() == DType::i64 && assign.dims() == Dims({features.size(0)}),
           kName, ": assign: expected an i64 [", features.size(0), "], got ", assign);
  JX_CHECK(p.temperature > 0 && std::isfinite(p.temperature), kName,
           ": temperature: expected a positive number, got ", p.temperature);
  JX_CHECK(p.smooth > -1 && std::isfinite(p.smooth), kName,
           ": smooth: expected more than -1, so that log(n_c + smooth) > 0 from two rows on, got ", p.smooth);
  JX_CHECK(p.low_percentile >= 0 && p.low_percentile <= p.high_percentile && p.high_percentile <= 100, kName,
           ": low_percentile, high_percentile: expected 0 <= low <= high <= 100, got ", p.low_percentile,
           " and ", p.high_percentile);
}

}  // namespace

Tensor pcl_density(const Tensor& features, const Tensor& centroids, const Tensor& assign,
                   const DensityParams& p) {
  check(features, centroids, assign, p);
  const int64_t n = features.size(0), d = features.size(1), k = centroids.size(0);
  const Tensor x = features.to(DType::f64).contiguous(), c = centroids.to(DType::f64).contiguous(),
               of = assign.contiguous();
  std::vector<double> phi(static_cast<size_t>(k)), rows(phi.size());
  for (int64_t i = 0; i < n; ++i) {
    const int64_t own = of.data<int64_t>()[i];
    JX_CHECK(own >= 0 && own < k, kName, ": assign: row ", i, ": expected 0 to ", k - 1, ", got ", own);
    double square = 0;
    for (int64_t j = 0; j < d; ++j) {
      const double difference = x.data<double>()[i * d + j] - c.data<double>()[own * d + j];
      square += difference * difference;
    }
    phi[static_cast<size_t>(own)] += std::sqrt(square);
    rows[static_cast<size_t>(own)] += 1;
  }
  double largest = 0;
  for (size_t g = 0; g < phi.size(); ++g) {
    phi[g] = rows[g] > 1 ? phi[g] / rows[g] / std::log(rows[g] + p.smooth) : 0;
    largest = std::max(largest, phi[g]);
  }
  JX_CHECK(std::isfinite(largest) && largest > 0, kName,
           ": features: expected a cluster of two rows that are finite and not both on its centroid");
  for (size_t g = 0; g < phi.size(); ++g)
    if (rows[g] <= 1) phi[g] = largest;
  const double low = percentile(phi, p.low_percentile), high = percentile(phi, p.high_percentile);
  double sum = 0;
  for (double& v : phi) v = std::clamp(v, low, high), sum += v;
  Tensor out = Tensor::empty({k}, DType::f64);
  for (int64_t g = 0; g < k; ++g)
    out.write<double>(kName)[g] = phi[static_cast<size_t>(g)] * p.temperature * static_cast<double>(k) / sum;
  return out;
}

}  // namespace juxta::ssl

#include "ssl/eval/correlation.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <numeric>

#include "ssl/eval/matrix.h"

namespace juxta::ssl {

namespace {

void check_pair(const char* who, std::span<const double> a, std::span<const double> b) {
  JX_CHECK(a.size() == b.size(), who, ": ", a.size(), " and ", b.size(), " values");
  JX_CHECK(a.size() >= 2, who, ": expected at least 2 pairs, got ", a.size());
  for (const auto& x : {a, b})
    JX_CHECK(std::any_of(x.begin(), x.end(), [&](double v) { return v != x[0]; }), who,
             ": all values are equal; the correlation with a constant is not defined");
}

double mean_of(std::span<const double> x) {
  return std::accumulate(x.begin(), x.end(), 0.0) / static_cast<double>(x.size());
}

}  // namespace

std::vector<double> average_ranks(std::span<const double> x) {
  std::vector<size_t> order(x.size());
  std::iota(order.begin(), order.end(), size_t{0});
  std::stable_sort(order.begin(), order.end(), [x](size_t a, size_t b) { return x[a] < x[b]; });
  std::vector<double> ranks(x.size());
  for (size_t begin = 0; begin < order.size();) {
    size_t end = begin + 1;
    while (end < order.size() && x[order[end]] == x[order[begin]]) ++end;
    // Places begin + 1 .. end.
    for (size_t i = begin; i < end; ++i) ranks[order[i]] = 0.5 * static_cast<double>(begin + 1 + end);
    begin = end;
  }
  return ranks;
}

double pearson(std::span<const double> a, std::span<const double> b) {
  check_pair("pearson", a, b);
  const double mean_a = mean_of(a), mean_b = mean_of(b);
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) {
    const double x = a[i] - mean_a, y = b[i] - mean_b;
    ab += x * y, aa += x * x, bb += y * y;
  }
  return ab / std::sqrt(aa * bb);
}

double spearman(std::span<const double> a, std::span<const double> b) {
  check_pair("spearman", a, b);
  return pearson(average_ranks(a), average_ranks(b));
}

double kendall(std::span<const double> a, std::span<const double> b) {
  check_pair("kendall", a, b);
  int64_t agreement = 0, ties_a = 0, ties_b = 0;
  const auto sign = [](double x) { return (x > 0) - (x < 0); };
  for (size_t i = 0; i < a.size(); ++i)
    for (size_t j = 0; j < i; ++j) {
      const int x = sign(a[i] - a[j]), y = sign(b[i] - b[j]);
      agreement += x * y;
      ties_a += x == 0;
      ties_b += y == 0;
    }
  const auto pairs = static_cast<int64_t>(a.size()) * static_cast<int64_t>(a.size() - 1) / 2;
  return static_cast<double>(agreement) /
         std::sqrt(static_cast<double>(pairs - ties_a) * static_cast<double>(pairs - ties_b));
}

StsSpearman sts_spearman(const Tensor& a, const Tensor& b, const Tensor& gold_in, const Tensor& subset_in) {
  const Matrix x = matrix_of("sts_spearman: a", a, 2), y = matrix_of("sts_spearman: b", b, 2);
  JX_CHECK(x.rows() == y.rows() && x.cols() == y.cols(), "sts_spearman: b: expected ", a.dims(), ", got ", b);
  const int64_t P = x.rows(), D = x.cols();
  const std::vector<double> gold = doubles_of("sts_spearman: gold", gold_in);
  JX_CHECK(gold_in.dims() == Dims({P}), "sts_spearman: gold: expected [", P, "], got ", gold_in);
  const std::vector<int64_t> subset = subset_in.defined()
                                          ? integers_of("sts_spearman: subset", subset_in, {P})
                                          : std::vector<int64_t>(gold.size(), 0);
  StsSpearman out;
  std::map<int64_t, std::pair<std::vector<double>, std::vector<double>>> parts;
  for (int64_t i = 0; i < P; ++i) {
    double xy = 0, xx = 0, yy = 0;
    for (int64_t d = 0; d < D; ++d) xy += x(i, d) * y(i, d), xx += x(i, d) * x(i, d), yy += y(i, d) * y(i, d);
    const double norms = std::sqrt(xx) * std::sqrt(yy);
    out.cosine.push_back(norms > 0 ? xy / norms : 0.0);
    auto& part = parts[subset[static_cast<size_t>(i)]];
    part.first.push_back(out.cosine.back());
    part.second.push_back(gold[static_cast<size_t>(i)]);
  }
  for (const auto& [number, part] : parts) {
    out.per_subset.push_back(spearman(part.first, part.second));
    out.mean += out.per_subset.back() / static_cast<double>(parts.size());
    out.wmean += out.per_subset.back() * static_cast<double>(part.first.size()) / static_cast<double>(P);
  }
  out.all = spearman(out.cosine, gold);
  out.pearson_all = pearson(out.cosine, gold);
  return out;
}

}  // namespace juxta::ssl

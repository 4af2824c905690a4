#include "ssl/eval/clustering.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ssl/eval/matrix.h"

namespace juxta::ssl {

namespace {

// Names of parts as 0, 1, .. in ascending order; returns their number.
int64_t compress(std::vector<int64_t>& part) {
  std::vector<int64_t> names = part;
  std::sort(names.begin(), names.end());
  names.erase(std::unique(names.begin(), names.end()), names.end());
  for (int64_t& p : part) p = std::lower_bound(names.begin(), names.end(), p) - names.begin();
  return static_cast<int64_t>(names.size());
}

// p log p, 0 at 0.
double plogp(double p) { return p > 0 ? p * std::log(p) : 0; }
double pairs(double n) { return n * (n - 1) / 2; }

double nmi_of(const Matrix& share) {
  double joint = 0, rows = 0, columns = 0;  // minus the entropies
  for (Eigen::Index i = 0; i < share.rows(); ++i) {
    rows += plogp(share.row(i).sum());
    for (Eigen::Index j = 0; j < share.cols(); ++j) joint += plogp(share(i, j));
  }
  for (Eigen::Index j = 0; j < share.cols(); ++j) columns += plogp(share.col(j).sum());
  if (share.size() == 1) return 1;
  if (share.rows() == 1 || share.cols() == 1) return 0;
  return 2 * std::max(0.0, joint - rows - columns) / -(rows + columns);
}

double ari_of(const Matrix& count) {
  double both = 0, rows = 0, columns = 0;
  for (Eigen::Index i = 0; i < count.rows(); ++i) {
    rows += pairs(count.row(i).sum());
    for (Eigen::Index j = 0; j < count.cols(); ++j) both += pairs(count(i, j));
  }
  for (Eigen::Index j = 0; j < count.cols(); ++j) columns += pairs(count.col(j).sum());
  if (both == rows && both == columns) return 1;  // no pair is together in one and apart in the other
  const double expected = rows * columns / pairs(count.sum());
  return (both - expected) / ((rows + columns) / 2 - expected);
}

}  // namespace

std::vector<int64_t> best_matching(const std::vector<double>& gain, int64_t rows, int64_t columns) {
  JX_CHECK(rows >= 0 && columns >= 0 && static_cast<int64_t>(gain.size()) == rows * columns,
           "best_matching: gain: expected ", rows, " x ", columns, " values, got ", gain.size());
  // A square problem of minimal cost; missing rows and columns gain nothing. Places are counted from 1, 0 is
  // the start of every augmenting path.
  const auto n = static_cast<size_t>(std::max(rows, columns));
  const auto cost = [&](size_t i, size_t j) {
    return static_cast<int64_t>(i) <= rows && static_cast<int64_t>(j) <= columns
               ? -gain[(i - 1) * static_cast<size_t>(columns) + j - 1]
               : 0.0;
  };
  std::vector<double> row_price(n + 1, 0.0), column_price(n + 1, 0.0);
  std::vector<size_t> row_of(n + 1, 0), from(n + 1, 0);
  for (size_t i = 1; i <= n; ++i) {
    std::vector<double> slack(n + 1, std::numeric_limits<double>::infinity());
    std::vector<bool> done(n + 1, false);
    row_of[0] = i;
    size_t at = 0;
    do {
      done[at] = true;
      size_t next = 0;
      double least = std::numeric_limits<double>::infinity();
      for (size_t j = 1; j <= n; ++j) {
        if (done[j]) continue;
        const double reduced = cost(row_of[at], j) - row_price[row_of[at]] - column_price[j];
        if (reduced < slack[j]) slack[j] = reduced, from[j] = at;
        if (slack[j] < least) least = slack[j], next = j;
      }
      for (size_t j = 0; j <= n; ++j) {
        if (done[j])
          row_price[row_of[j]] += least, column_price[j] -= least;
        else
          slack[j] -= least;
      }
      at = next;
    } while (row_of[at] != 0);
    for (; at != 0; at = from[at]) row_of[at] = row_of[from[at]];
  }
  std::vector<int64_t> match(static_cast<size_t>(rows), -1);
  for (size_t j = 1; j <= static_cast<size_t>(columns); ++j)
    if (static_cast<int64_t>(row_of[j]) <= rows) match[row_of[j] - 1] = static_cast<int64_t>(j) - 1;
  return match;
}

ClusteringMetrics clustering_metrics(const Tensor& clusters, const Tensor& labels) {
  JX_CHECK(clusters.defined() && clusters.ndim() == 1 && clusters.numel() >= 1,
           "clustering_metrics: clusters: expected i64 [N] with N >= 1, got ", clusters);
  std::vector<int64_t> c = integers_of("clustering_metrics: clusters", clusters, clusters.dims());
  std::vector<int64_t> y = integers_of("clustering_metrics: labels", labels, clusters.dims());
  const int64_t rows = compress(c), columns = compress(y);
  const auto n = static_cast<double>(c.size());
  Matrix count = Matrix::Zero(rows, columns);
  for (size_t i = 0; i < c.size(); ++i) count(c[i], y[i]) += 1;
  ClusteringMetrics m;
  m.nmi = nmi_of(count / n);
  m.ari = ari_of(count);
  m.purity = count.rowwise().maxCoeff().sum() / n;
  const std::vector<int64_t> match =
      best_matching({count.data(), count.data() + count.size()}, rows, columns);
  for (int64_t i = 0; i < rows; ++i)
    if (match[static_cast<size_t>(i)] >= 0) m.accuracy += count(i, match[static_cast<size_t>(i)]) / n;
  return m;
}

}  // namespace juxta::ssl

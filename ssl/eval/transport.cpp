#include "ssl/eval/transport.h"

#include <cmath>

#include "ssl/eval/matrix.h"

namespace juxta::ssl {

namespace {

using Vector = Eigen::VectorXd;

void standardize(Matrix& rows, const char* name) {
  JX_CHECK(rows.cols() >= 2, "opta: ", name, ": standardizing needs at least 2 channels, got ", rows.cols());
  for (Eigen::Index i = 0; i < rows.rows(); ++i) {
    rows.row(i).array() -= rows.row(i).mean();
    const double deviation = std::sqrt(rows.row(i).squaredNorm() / static_cast<double>(rows.cols() - 1));
    JX_CHECK(deviation > 0, "opta: ", name, ": row ", i, " is constant and cannot be standardized");
    rows.row(i) /= deviation;
  }
}

// log sum exp of every row
Vector log_sums(const Matrix& m) {
  const Vector top = m.rowwise().maxCoeff();
  return top.array() + (m.colwise() - top).array().exp().rowwise().sum().log();
}

// The entropic plan of uniform marginals, in the log domain (Cuturi 2013, arXiv 1306.0895): potentials u, v
// with plan exp((u_i + v_j - cost_ij) / eps).
struct Plan {
  Matrix plan;
  int64_t iterations = 0;
};
Plan entropic_plan(const Matrix& cost, const OptaOptions& o) {
  // Both marginals are raised a little, as in the authors' code: it decides when the iteration stops.
  constexpr double kLift = 1e-8;
  const double log_row = std::log(1 / static_cast<double>(cost.rows()) + kLift),
               log_column = std::log(1 / static_cast<double>(cost.cols()) + kLift);
  Vector u = Vector::Zero(cost.rows()), v = Vector::Zero(cost.cols());
  Plan p;
  while (p.iterations < o.max_iter) {
    const Vector before = u;
    u = o.eps * (log_row - log_sums(((-cost).rowwise() + v.transpose()) / o.eps).array());
    v = o.eps * (log_column - log_sums(((-cost.transpose()).rowwise() + u.transpose()) / o.eps).array());
    ++p.iterations;
    if ((u - before).cwiseAbs().sum() < o.threshold) break;
  }
  p.plan = (((-cost).colwise() + u).rowwise() + v.transpose()).array() / o.eps;
  p.plan = p.plan.array().exp();
  return p;
}

Matrix squared_distances(const Matrix& a, const Matrix& b) {
  Matrix d(a.rows(), b.rows());
  for (Eigen::Index i = 0; i < a.rows(); ++i)
    for (Eigen::Index j = 0; j < b.rows(); ++j) d(i, j) = (a.row(i) - b.row(j)).squaredNorm();
  return d;
}

void check(const OptaOptions& o) {
  JX_CHECK(o.eps > 0 && std::isfinite(o.eps), "opta: eps: expected a positive number, got ", o.eps);
  JX_CHECK(o.max_iter >= 1, "opta: max_iter: expected 1 or more, got ", o.max_iter);
  JX_CHECK(o.threshold >= 0, "opta: threshold: expected 0 or more, got ", o.threshold);
  JX_CHECK(o.passes >= 0, "opta: passes: expected 1 or more, or 0 for the paper's, got ", o.passes);
  JX_CHECK(o.ratio >= 0 && o.ratio <= 1, "opta: ratio: expected 0 to 1, got ", o.ratio);
}

}  // namespace

Opta opta(const Tensor& support, const Tensor& queries, const OptaOptions& o) {
  JX_CHECK(support.defined() && is_float(support.dtype()) && support.ndim() == 3 && support.numel() > 0,
           "opta: support: expected a float [C, shots, D], got ", support);
  check(o);
  const int64_t classes = support.size(0), shots = support.size(1), d = support.size(2);
  Matrix rows = matrix_of("opta: support", support.contiguous().view({classes * shots, d}), 1);
  Matrix z = matrix_of("opta: queries", queries, 1);
  JX_CHECK(z.cols() == d, "opta: queries: expected [Q, ", d, "] like support, got ", queries);
  if (o.standardize) {
    standardize(rows, "support");
    standardize(z, "queries");
  }
  Matrix start(classes, d);
  for (int64_t c = 0; c < classes; ++c) start.row(c) = rows.middleRows(c * shots, shots).colwise().mean();
  Matrix prototypes = start;
  Opta result;
  Plan p;
  const int64_t passes = o.passes > 0 ? o.passes : (shots == 1 ? 5 : 1);
  for (int64_t pass = 0; pass < passes; ++pass) {
    Matrix cost = squared_distances(prototypes, z);
    if (const double most = cost.maxCoeff(); most > 0) cost /= most;
    p = entropic_plan(cost, o);
    result.iterations.push_back(p.iterations);
    prototypes = p.plan.rowwise().sum().cwiseInverse().asDiagonal() * (p.plan * z);
  }
  if (shots > 1) prototypes = o.ratio * prototypes + (1 - o.ratio) * start;
  result.prototypes = tensor_of(prototypes);
  result.plan = tensor_of(p.plan);
  return result;
}

}  // namespace juxta::ssl

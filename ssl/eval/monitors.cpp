#include "ssl/eval/monitors.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/svd.h"
#include "ssl/eval/matrix.h"
#include "tensor/parallel.h"

namespace juxta::ssl {

namespace {

Eigen::VectorXd singular_values_of(const Matrix& m) {
  // Row-major [N, D] is column-major [D, N], the transpose, with the same values.
  Eigen::VectorXd s(std::min(m.rows(), m.cols()));
  singular_values(m.data(), m.cols(), m.rows(), s.data());
  return s;
}

// Calls f(state, i, j, cos) for all pairs i < j, with a state per chunk of rows; returns the states in order,
// so that their sum does not depend on the number of threads.
template <class State, class F>
std::vector<State> over_pairs(const Matrix& unit, F f) {
  constexpr int64_t kRows = 64;
  const int64_t n = unit.rows(), chunks = (n + kRows - 1) / kRows;
  std::vector<State> states(static_cast<size_t>(chunks));
  parallel_for(chunks, 1, [&](int64_t begin, int64_t end) {
    for (int64_t c = begin; c < end; ++c) {
      const int64_t first = c * kRows, count = std::min(kRows, n - first);
      const Matrix cosines = unit.middleRows(first, count) * unit.bottomRows(n - first).transpose();
      for (int64_t i = 0; i < count; ++i)
        for (int64_t j = i + 1; j < n - first; ++j)
          f(states[static_cast<size_t>(c)], first + i, first + j, cosines(i, j));
    }
  });
  return states;
}

struct Tally {
  double sum = 0, count = 0;
};
Tally total(const std::vector<Tally>& parts) {
  Tally t;
  for (const Tally& p : parts) t.sum += p.sum, t.count += p.count;
  return t;
}

double pairs(const Matrix& m) {
  return 0.5 * static_cast<double>(m.rows()) * static_cast<double>(m.rows() - 1);
}

// Sum of the cosines of pairs of one label, and their number.
Tally same_label(const char* who, const Matrix& unit, const Tensor& labels) {
  JX_CHECK(labels.defined() && labels.dtype() == DType::i64 && labels.dims() == Dims({unit.rows()}), who,
           ": labels: expected i64 [", static_cast<int64_t>(unit.rows()), "]");
  const Tensor flat = labels.contiguous();
  const auto* l = flat.data<int64_t>();
  return total(over_pairs<Tally>(unit, [l](Tally& t, int64_t i, int64_t j, double c) {
    if (l[i] == l[j]) t.sum += c, t.count += 1;
  }));
}

}  // namespace

double rankme(const Tensor& z, double eps) {
  const Eigen::VectorXd s = singular_values_of(matrix_of("rankme", z, 1));
  if (s.sum() <= 0) return 0;
  double entropy = 0;
  for (const double v : s) {
    const double p = v / s.sum() + eps;
    entropy -= p * std::log(p);
  }
  return std::exp(entropy);
}

double effective_rank(const Tensor& z) {
  const Eigen::VectorXd s = singular_values_of(matrix_of("effective_rank", z, 1));
  if (s.sum() <= 0) return 0;
  double entropy = 0;
  for (const double v : s)
    if (v > 0) entropy -= v / s.sum() * std::log(v / s.sum());
  return std::exp(entropy);
}

double participation_ratio(const Tensor& z) {
  Matrix m = matrix_of("participation_ratio", z, 2);
  m.rowwise() -= m.colwise().mean().eval();
  // The traces of C and C^2 are the sums of eigenvalues and of their squares; the smaller of the two Gram
  // matrices has the same ones that are not 0.
  const Matrix gram = m.rows() < m.cols() ? Matrix(m * m.transpose()) : Matrix(m.transpose() * m);
  const double squares = gram.squaredNorm();
  return squares > 0 ? gram.trace() * gram.trace() / squares : 0.0;
}

double feature_std(const Tensor& z) {
  Matrix m = unit_rows("feature_std", z, 2);
  m.rowwise() -= m.colwise().mean().eval();
  return (m.colwise().squaredNorm().array() / static_cast<double>(m.rows() - 1)).sqrt().mean();
}

double collapse(const Tensor& z) {
  return std::max(0.0, 1.0 - std::sqrt(static_cast<double>(z.size(-1))) * feature_std(z));
}

double alignment(const Tensor& x, const Tensor& y, double alpha) {
  const Matrix a = unit_rows("alignment", x, 1), b = unit_rows("alignment", y, 1);
  JX_CHECK(a.rows() == b.rows() && a.cols() == b.cols(), "alignment: expected two of one shape, got ", x,
           " and ", y);
  return (a - b).rowwise().norm().array().pow(alpha).mean();
}

double uniformity(const Tensor& z, double t) {
  const Matrix m = unit_rows("uniformity", z, 2);
  // A running maximum per chunk: exp(-4 t) underflows for large t.
  struct Running {
    double max = -std::numeric_limits<double>::infinity(), sum = 0;
    void add(double exponent, double weight) {
      if (exponent > max) sum *= std::exp(max - exponent), max = exponent;
      sum += weight * std::exp(exponent - max);
    }
  };
  Running all;
  for (const Running& r : over_pairs<Running>(m, [t](Running&r, int64_t, int64_t, double c) {
         r.add(-t * std::max(0.0, 2.0 - 2.0 * c), 1.0);  // |x - y|^2 = 2 - 2 cos, never below 0
       }))
    if (r.sum > 0) all.add(r.max, r.sum);
  return all.max + std::log(all.sum / pairs(m));
}

double tolerance(const Tensor& z, const Tensor& labels) {
  const Tally t = same_label("tolerance", unit_rows("tolerance", z, 1), labels);
  return t.count > 0 ? t.sum / t.count : 0.0;
}

double tolerance_all(const Tensor& z, const Tensor& labels) {
  const Matrix unit = unit_rows("tolerance_all", z, 2);
  return same_label("tolerance_all", unit, labels).sum / pairs(unit);
}

double mean_cosine(const Tensor& z) {
  const Matrix unit = unit_rows("mean_cosine", z, 2);
  return total(over_pairs<Tally>(unit, [](Tally& t, int64_t, int64_t, double c) { t.sum += c; })).sum /
         pairs(unit);
}

}  // namespace juxta::ssl

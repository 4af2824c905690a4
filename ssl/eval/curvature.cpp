#include "ssl/eval/curvature.h"

#include <Eigen/Dense>
#include <algorithm>
#include <vector>

#include "autograd/ops.h"
#include "tensor/parallel.h"

namespace juxta::ssl {

namespace {

using Factor = Eigen::LLT<Eigen::MatrixXd>;

// Cholesky factor of mean_i a_i z_i z_i' + l2 I. z [m, K], a [m, 1].
Factor factor_of(const Var& z, const Var& a, double l2) {
  const Var scaled = mul(z, sqrt(a));
  const Tensor sums = matmul(transpose(scaled, 0, 1), scaled).value().to(DType::f64).contiguous();
  Eigen::MatrixXd b = Eigen::Map<const Eigen::MatrixXd>(sums.data<double>(), sums.size(0), sums.size(0)) /
                      static_cast<double>(z.dims()[0]);
  b.diagonal().array() += l2 + 1e-5 * b.diagonal().mean();  // sums in f32 may lose the smallest eigenvalues
  return Factor(b);
}

}  // namespace

Preconditioner softmax_curvature(const Tensor& x, const Tensor& p, int64_t classes, double l2) {
  const int64_t n = x.size(0), D = x.size(1), blocks = p.size(1);
  if (n <= D || blocks * (D + 1) * (D + 1) > int64_t{1} << 24) return nullptr;
  const NoGrad no_grad;
  const int64_t m = std::min(n, std::max<int64_t>(4096, 48 * D));
  Tensor rows = Tensor::empty({m}, DType::i64);
  for (int64_t i = 0; i < m; ++i) rows.write<int64_t>("softmax_curvature")[i] = i * n / m;
  const std::vector<Var> columns{index_select(Var(x), 0, rows), Var(Tensor::full({m, 1}, 1.0, x.dtype()))};
  const Var z = cat(columns, 1), probability = index_select(Var(p), 0, rows);
  const Var weight = mul(probability, affine(probability, -1.0, 1.0));
  std::vector<Factor> factors;
  for (int64_t c = 0; c < blocks; ++c) {
    factors.push_back(factor_of(z, slice(weight, 1, c, c + 1), l2));
    if (factors.back().info() != Eigen::Success) return nullptr;
  }
  return [factors = std::move(factors), classes, D](std::vector<double>& v) {
    const auto solve = [&](const Factor& factor, int64_t first, int64_t count) {
      Eigen::Map<Eigen::MatrixXd> weights(v.data() + first * D, D, count);  // a column for each class
      Eigen::Map<Eigen::RowVectorXd> biases(v.data() + classes * D + first, count);
      Eigen::MatrixXd both(D + 1, count);
      both << weights, biases;
      factor.solveInPlace(both);
      weights = both.topRows(D);
      biases = both.row(D);
    };
    if (factors.size() == 1) return solve(factors[0], 0, classes);
    parallel_for(classes, 1, [&](int64_t begin, int64_t end) {
      for (int64_t c = begin; c < end; ++c) solve(factors[static_cast<size_t>(c)], c, 1);
    });
  };
}

}  // namespace juxta::ssl

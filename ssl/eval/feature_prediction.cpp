#include "ssl/eval/feature_prediction.h"

#include <Eigen/Dense>
#include <cmath>

namespace juxta::ssl {

namespace {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

Matrix matrix_of(const char* name, const Tensor& t, int64_t rows, int64_t columns) {
  constexpr const char* kName = "feature_prediction_error";
  JX_CHECK(t.defined() && is_float(t.dtype()) && t.ndim() == 2 && t.numel() >= 1 &&
               (rows < 0 || t.size(0) == rows) && (columns < 0 || t.size(1) == columns),
           kName, ": ", name, ": expected a float [", rows < 0 ? "rows" : std::to_string(rows), ", ",
           columns < 0 ? "columns" : std::to_string(columns), "], got ", t);
  const Tensor x = t.to(DType::f64).contiguous();
  Matrix m = Eigen::Map<const Matrix>(x.data<double>(), x.size(0), x.size(1));
  JX_CHECK(m.allFinite(), kName, ": ", name, ": expected finite values");
  return m;
}

Tensor tensor_of(const Matrix& m, Dims dims) {
  return Tensor::from(std::span<const double>(m.data(), static_cast<size_t>(m.size())), std::move(dims));
}

}  // namespace

FeaturePrediction feature_prediction_error(const Tensor& train_z, const Tensor& train_f, const Tensor& test_z,
                                           const Tensor& test_f, double ridge) {
  JX_CHECK(ridge >= 0 && std::isfinite(ridge), "feature_prediction_error: ridge: expected 0 or more, got ",
           ridge);
  const Matrix z = matrix_of("train_z", train_z, -1, -1), f = matrix_of("train_f", train_f, z.rows(), -1),
               tz = matrix_of("test_z", test_z, -1, z.cols()),
               tf = matrix_of("test_f", test_f, tz.rows(), f.cols());
  const Eigen::RowVectorXd z_mean = z.colwise().mean(), f_mean = f.colwise().mean();
  const Matrix x = z.rowwise() - z_mean, y = f.rowwise() - f_mean;
  Matrix w;  // [D, K]
  if (ridge > 0)
    w = (x.transpose() * x + ridge * Matrix::Identity(x.cols(), x.cols())).ldlt().solve(x.transpose() * y);
  else
    w = Eigen::CompleteOrthogonalDecomposition<Eigen::MatrixXd>(x).solve(Eigen::MatrixXd(y));
  const Matrix b = f_mean - z_mean * w;
  const Matrix error = (tz * w + b.replicate(tz.rows(), 1)) - tf;
  const Matrix mse = error.array().square().matrix().colwise().mean();
  const Matrix spread = (tf.rowwise() - tf.colwise().mean()).array().square().matrix().colwise().mean();
  const Matrix wt = w.transpose();
  return {tensor_of(wt, {wt.rows(), wt.cols()}), tensor_of(b, {b.cols()}), tensor_of(mse, {mse.cols()}),
          mse.mean(), (mse.array() / spread.array()).mean()};
}

}  // namespace juxta::ssl

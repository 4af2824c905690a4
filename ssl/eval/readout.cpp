#include "ssl/eval/readout.h"

#include <cmath>
#include <limits>

#include "kernels/svd.h"
#include "ssl/eval/matrix.h"

namespace juxta::ssl {

FeaturePrediction feature_prediction_error(const Tensor& train_z, const Tensor& train_f, const Tensor& test_z,
                                           const Tensor& test_f, double ridge) {
  constexpr const char* kWho = "feature_prediction_error";
  const Matrix z = matrix_of("feature_prediction_error: train_z", train_z, 1);
  const Matrix f = matrix_of("feature_prediction_error: train_f", train_f, 1);
  const Matrix tz = matrix_of("feature_prediction_error: test_z", test_z, 1);
  const Matrix tf = matrix_of("feature_prediction_error: test_f", test_f, 1);
  JX_CHECK(z.rows() == f.rows(), kWho, ": train_f: expected ", train_z.size(0), " rows, got ", train_f);
  JX_CHECK(tz.cols() == z.cols() && tf.cols() == f.cols() && tz.rows() == tf.rows(), kWho,
           ": test: expected [m, ", train_z.size(1), "] and [m, ", train_f.size(1), "], got ", test_z,
           " and ", test_f);
  JX_CHECK(ridge >= 0 && std::isfinite(ridge), kWho, ": ridge: expected 0 or more, got ", ridge);
  const Eigen::RowVectorXd z_mean = z.colwise().mean(), f_mean = f.colwise().mean();
  const Eigen::MatrixXd zc = z.rowwise() - z_mean, fc = f.rowwise() - f_mean;
  Eigen::MatrixXd w;  // [D, F]
  if (ridge > 0) {
    Eigen::MatrixXd gram = zc.transpose() * zc;
    gram.diagonal().array() += ridge;
    w = gram.ldlt().solve(zc.transpose() * fc);
  } else {
    // The least-squares solution of least norm: directions below rounding of the largest carry nothing.
    const Eigen::Index k = std::min(zc.rows(), zc.cols());
    Eigen::MatrixXd u(zc.rows(), k), v(zc.cols(), k);
    Eigen::VectorXd s(k);
    thin_svd(zc.data(), zc.rows(), zc.cols(), u.data(), s.data(), v.data());
    const double least =
        s[0] * std::numeric_limits<double>::epsilon() * static_cast<double>(std::max(zc.rows(), zc.cols()));
    w = v * (s.array() > least).select(s.array().inverse(), 0.0).matrix().asDiagonal() * (u.transpose() * fc);
  }
  const Eigen::RowVectorXd bias = f_mean - z_mean * w;
  const Eigen::MatrixXd error = (tz * w).rowwise() + bias - tf;
  FeaturePrediction out;
  out.weight = tensor_of(Matrix(w.transpose()));
  out.bias = tensor_of(std::span<const double>(bias.data(), static_cast<size_t>(bias.size())));
  for (Eigen::Index k = 0; k < tf.cols(); ++k) {
    const double variance = (tf.col(k).array() - tf.col(k).mean()).square().mean();
    JX_CHECK(variance > 0, kWho, ": test_f: feature ", static_cast<int64_t>(k),
             " is constant; its error has no scale");
    out.mse.push_back(error.col(k).array().square().mean());
    out.fpe += out.mse.back() / static_cast<double>(tf.cols());
    out.nfpe += out.mse.back() / variance / static_cast<double>(tf.cols());
  }
  return out;
}

}  // namespace juxta::ssl

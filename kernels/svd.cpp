#include "kernels/svd.h"

#include <Eigen/SVD>

namespace juxta {

namespace {

using Matrix = Eigen::MatrixXd;
using ConstMap = Eigen::Map<const Matrix>;

Eigen::BDCSVD<Matrix> svd(const Matrix& a, unsigned parts) { return Eigen::BDCSVD<Matrix>(a, parts); }

}  // namespace

void thin_svd(const double* a, int64_t rows, int64_t cols, double* u, double* s, double* v) {
  const auto found = svd(ConstMap(a, rows, cols), Eigen::ComputeThinU | Eigen::ComputeThinV);
  const Eigen::Index k = found.singularValues().size();
  Eigen::Map<Matrix>(u, rows, k) = found.matrixU();
  Eigen::Map<Eigen::VectorXd>(s, k) = found.singularValues();
  Eigen::Map<Matrix>(v, cols, k) = found.matrixV();
}

void singular_values(const double* a, int64_t rows, int64_t cols, double* s) {
  Matrix tall = ConstMap(a, rows, cols);
  if (rows < cols) tall.transposeInPlace();
  // The triangle of a QR decomposition has the singular values of the matrix at min(rows, cols) rows.
  if (tall.rows() > 2 * tall.cols()) {
    const Eigen::HouseholderQR<Matrix> qr(tall);
    tall = qr.matrixQR().topRows(tall.cols()).triangularView<Eigen::Upper>();
  }
  const auto found = svd(tall, 0);
  Eigen::Map<Eigen::VectorXd>(s, found.singularValues().size()) = found.singularValues();
}

}  // namespace juxta

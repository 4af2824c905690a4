#include "ssl/eval/matrix.h"

#include <algorithm>

namespace juxta::ssl {

Matrix matrix_of(const char* who, const Tensor& z, int64_t least_rows) {
  JX_CHECK(z.defined() && is_float(z.dtype()) && z.ndim() == 2 && z.size(1) >= 1, who,
           ": expected a float [N, D], got ", z.defined() ? to_text(z) : "an undefined tensor");
  JX_CHECK(z.size(0) >= least_rows, who, ": expected at least ", least_rows, " rows, got ", z);
  const Tensor wide = z.to(kCpu).to(DType::f64).contiguous();
  Matrix m = Eigen::Map<const Matrix>(wide.data<double>(), wide.size(0), wide.size(1));
  JX_CHECK(m.allFinite(), who, ": expected finite values");
  return m;
}

Matrix unit_rows(const char* who, const Tensor& z, int64_t least_rows) {
  Matrix m = matrix_of(who, z, least_rows);
  for (Eigen::Index i = 0; i < m.rows(); ++i) m.row(i) /= std::max(m.row(i).norm(), 1e-12);
  return m;
}

Tensor tensor_of(const Matrix& m) {
  return Tensor::from(std::span<const double>(m.data(), static_cast<size_t>(m.size())),
                      {static_cast<int64_t>(m.rows()), static_cast<int64_t>(m.cols())});
}

}  // namespace juxta::ssl

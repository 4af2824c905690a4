#include "ssl/eval/matrix.h"

#include <algorithm>
#include <cmath>

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

std::vector<double> doubles_of(const char* who, const Tensor& x) {
  JX_CHECK(x.defined() && is_float(x.dtype()), who, ": expected a float tensor, got ",
           x.defined() ? to_text(x) : "an undefined tensor");
  const Tensor wide = x.to(kCpu).to(DType::f64).contiguous();
  const auto* p = wide.data<double>();
  std::vector<double> v(p, p + wide.numel());
  JX_CHECK(std::all_of(v.begin(), v.end(), [](double a) { return std::isfinite(a); }), who,
           ": expected finite values");
  return v;
}

std::vector<int64_t> integers_of(const char* who, const Tensor& x, const Dims& dims) {
  JX_CHECK(x.defined() && x.dtype() == DType::i64 && x.dims() == dims, who, ": expected i64 ", dims, ", got ",
           x.defined() ? to_text(x) : "an undefined tensor");
  const Tensor flat = x.to(kCpu).contiguous();
  const auto* p = flat.data<int64_t>();
  return {p, p + flat.numel()};
}

Tensor tensor_of(std::span<const double> v) { return Tensor::from(v, {static_cast<int64_t>(v.size())}); }
Tensor tensor_of(std::span<const int64_t> v) { return Tensor::from(v, {static_cast<int64_t>(v.size())}); }
Tensor tensor_of(const Matrix& m) {
  return Tensor::from(std::span<const double>(m.data(), static_cast<size_t>(m.size())),
                      {static_cast<int64_t>(m.rows()), static_cast<int64_t>(m.cols())});
}

}  // namespace juxta::ssl

#include "autograd/rule.h"

#include <cmath>

namespace juxta {

Tensor checked_param(const char* op, const char* what, const Var& t, const Dims& dims, DType dtype,
                     Device device) {
  if (!t.defined()) return {};
  JX_CHECK(t.dims() == dims && t.dtype() == dtype && t.device() == device, op, ": ", what, ": expected ",
           dtype, " ", dims, " on ", device, ", got ", t);
  return t.value().contiguous();
}

void check_input(const char* op, const Var& x, int min_dims) {
  JX_CHECK(x.defined(), op, ": the input is undefined");
  JX_CHECK(is_float(x.dtype()) && x.dtype() != DType::f16, op, ": expected an f32, bf16 or f64 input, got ",
           x);
  JX_CHECK(x.ndim() >= min_dims, op, ": expected at least ", min_dims, " dimensions, got ", x);
}

void check_eps(const char* op, double eps) {
  JX_CHECK(eps >= 0.0 && std::isfinite(eps), op, ": eps: expected a finite number of at least 0, got ", eps);
}

Tensor as_rows(const Tensor& x) {
  const int64_t cols = x.ndim() ? x.size(-1) : 1;
  if (!x.is_contiguous() && x.ndim() == 2 && x.stride(1) == 1 && x.stride(0) >= cols) return x;
  int64_t rows = 1;  // not numel / cols: rows without columns are rows all the same
  for (int d = 0; d + 1 < x.ndim(); ++d) rows *= x.dims()[d];
  return x.contiguous().view({rows, cols});
}

}  // namespace juxta

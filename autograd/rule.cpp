#include "autograd/rule.h"

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

Tensor as_rows(const Tensor& x) {
  const int64_t cols = x.ndim() ? x.size(-1) : 1;
  if (x.is_contiguous() || x.ndim() != 2 || x.stride(1) != 1 || x.stride(0) < cols)
    return x.contiguous().view({cols ? x.numel() / cols : 0, cols});
  return x;
}

}  // namespace juxta

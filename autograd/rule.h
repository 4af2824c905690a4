#pragma once
// What rule files share: checks of arguments with one wording, and reshaping to rows.
#include "autograd/record.h"
#include "tensor/tensor.h"

namespace juxta {

// The parameter as a contiguous tensor (undefined stays undefined). Error unless it has exactly these dims,
// this dtype and this device. `what` names the argument.
Tensor checked_param(const char* op, const char* what, const Var& t, const Dims& dims, DType dtype,
                     Device device);
// Error unless x is a float tensor with at least `min_dims` dimensions.
void check_input(const char* op, const Var& x, int min_dims);
// Error unless eps, which is added under a root, is finite and not negative.
void check_eps(const char* op, double eps);

// x as [rows, last axis]: a view when only the rows are strided, else a contiguous copy.
Tensor as_rows(const Tensor& x);
// Data pointer or null when undefined.
template <class T>
const T* data_or_null(const Tensor& t) {
  return t.defined() ? t.data<T>() : nullptr;
}
template <class T>
T* write_or_null(Tensor& t, const char* who) {
  return t.defined() ? t.write<T>(who) : nullptr;
}

// Rows per chunk of a two-step parameter gradient: at most 16 chunks of at least 32 rows, from the shape
// alone.
inline int64_t rows_per_chunk(int64_t rows) {
  const int64_t per = (rows + 15) / 16;
  return per < 32 ? 32 : per;
}

}  // namespace juxta

#pragma once
// Tensors as matrices in double, for metrics. Checks name the metric and the argument.
#include <Eigen/Dense>
#include <cstdint>

#include "ssl/eval/values.h"
#include "tensor/tensor.h"

namespace juxta::ssl {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

// Error unless z is a finite float [N, D] with D >= 1 and at least `least_rows` rows. `who` names the metric,
// or "metric: argument".
Matrix matrix_of(const char* who, const Tensor& z, int64_t least_rows);
// The same with rows of length 1 (a zero row stays zero).
Matrix unit_rows(const char* who, const Tensor& z, int64_t least_rows);

Tensor tensor_of(const Matrix& m);  // f64 [rows, cols]

}  // namespace juxta::ssl

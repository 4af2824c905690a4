#pragma once
// Tensors as matrices and vectors in double, for metrics. Checks name the metric and the argument.
#include <Eigen/Dense>
#include <cstdint>
#include <span>
#include <vector>

#include "tensor/tensor.h"

namespace juxta::ssl {

using Matrix = Eigen::Matrix<double, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;

// Error unless z is a finite float [N, D] with D >= 1 and at least `least_rows` rows. `who` names the metric,
// or "metric: argument".
Matrix matrix_of(const char* who, const Tensor& z, int64_t least_rows);
// The same with rows of length 1 (a zero row stays zero).
Matrix unit_rows(const char* who, const Tensor& z, int64_t least_rows);
// Elements of a finite float tensor of any shape, in order.
std::vector<double> doubles_of(const char* who, const Tensor& x);
// Elements of an i64 tensor of these dims, in order.
std::vector<int64_t> integers_of(const char* who, const Tensor& x, const Dims& dims);

Tensor tensor_of(std::span<const double> v);   // f64 [n]
Tensor tensor_of(std::span<const int64_t> v);  // i64 [n]
Tensor tensor_of(const Matrix& m);             // f64 [rows, cols]

}  // namespace juxta::ssl

#pragma once
// Tensors as plain vectors in double, for metrics. Checks name the metric and the argument.
#include <cstdint>
#include <span>
#include <vector>

#include "tensor/tensor.h"

namespace juxta::ssl {

// Elements of a finite float tensor of any shape, in order. `who` names the metric, or "metric: argument".
std::vector<double> doubles_of(const char* who, const Tensor& x);
// Elements of an i64 tensor of these dims, in order.
std::vector<int64_t> integers_of(const char* who, const Tensor& x, const Dims& dims);

Tensor tensor_of(std::span<const double> v);   // f64 [n]
Tensor tensor_of(std::span<const int64_t> v);  // i64 [n]

}  // namespace juxta::ssl

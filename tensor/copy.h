#pragma once
// Element copies between tensors of any strides and dtypes: the one place where strided data is made
// contiguous.
#include "tensor/tensor.h"

namespace juxta {

// dst[i] = src[i] for equal shapes, converting the dtype. On the host, or within one CUDA device when both
// are contiguous and of one dtype.
void copy_elements(const Tensor& src, Tensor& dst, const char* who);
// Copies contiguous bytes between devices.
void copy_bytes(const Tensor& src, Tensor& dst, const char* who);
void fill_elements(Tensor& dst, double value, const char* who);

}  // namespace juxta

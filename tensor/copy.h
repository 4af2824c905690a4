#pragma once
// Element copies between tensors of any strides and dtypes: the one place where strided data is made
// contiguous.
#include "tensor/tensor.h"

namespace juxta {

// dst[i] = src[i] for equal shapes, converting the dtype. On CUDA devices contiguous tensors of one dtype are
// copied there; strided and converting copies pass through the host, which is right but slow.
void copy_elements(const Tensor& src, Tensor& dst, const char* who);
// Copies the bytes of one contiguous tensor to another of the same size, between any two devices.
void copy_bytes(const Tensor& src, Tensor& dst, const char* who);
void fill_elements(Tensor& dst, double value, const char* who);

}  // namespace juxta

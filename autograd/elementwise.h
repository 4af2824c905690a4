#pragma once
// What the element-wise rules offer to other rule files.
#include "tensor/tensor.h"

namespace juxta {

// dy summed over the axes along which a tensor of shape `dims` broadcasts to dy's shape: the gradient of a
// broadcast. dy itself when the shapes agree; the order of the sums is fixed by the shapes.
Tensor sum_to(const Tensor& dy, const Dims& dims);

}  // namespace juxta

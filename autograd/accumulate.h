#pragma once
// Adding cotangents. A tensor is changed in place only when nobody else can see its memory.
#include "tensor/tensor.h"

namespace juxta {

// into += x. The first summand is moved in (made contiguous); later ones are added in place if `into` is the
// sole owner of its storage, else into a new tensor (add and reshape hand the same tensor on twice). Sums of
// bf16 round once per summand.
void accumulate(Tensor& into, Tensor x);

}  // namespace juxta

#pragma once
// NumPy's .npy format, versions 1 to 3, C and Fortran order, little endian.
#include <string>

#include "tensor/tensor.h"

namespace juxta {

// dtypes f4, f8, f2, i8, i4, u1, b1; i1, i2 and u2 are read as i32, u4 and u8 as i64. The file is treated as
// hostile; Error names the path.
Tensor load_npy(const std::string& path);
// Atomic. bf16 has no NumPy type and is an Error.
void save_npy(const std::string& path, const Tensor& t);

}  // namespace juxta

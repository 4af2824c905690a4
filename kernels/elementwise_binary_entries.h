#pragma once
// What elementwise_binary.simd.cpp gives to the tables of elementwise.simd.cpp.
#include "kernels/elementwise.h"

namespace juxta::JX_ISA {

void binary_fwd(const BinaryFwd<float>& a, int64_t begin, int64_t end);
void binary_fwd(const BinaryFwd<bf16>& a, int64_t begin, int64_t end);
void binary_bwd(const BinaryBwd<float>& a, int64_t begin, int64_t end);
void binary_bwd(const BinaryBwd<bf16>& a, int64_t begin, int64_t end);
void binary_reduce(const BinaryReduce<float>& a, int64_t chunk, int64_t chunk_end);
void binary_reduce(const BinaryReduce<bf16>& a, int64_t chunk, int64_t chunk_end);

}  // namespace juxta::JX_ISA

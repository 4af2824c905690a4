#pragma once
// What norm_batch.simd.cpp and norm_batch_grad.simd.cpp give to the tables of norm.simd.cpp.
#include "kernels/norm_batch.h"

namespace juxta::JX_ISA {

void batch_moments(const BatchMoments<float>& a, int64_t chunk, int64_t chunk_end);
void batch_moments(const BatchMoments<bf16>& a, int64_t chunk, int64_t chunk_end);
void batch_combine(const BatchCombine<float>& a, int64_t channel, int64_t channel_end);
void batch_apply(const BatchApply<float>& a, int64_t row, int64_t row_end);
void batch_apply(const BatchApply<bf16>& a, int64_t row, int64_t row_end);
void batch_grad_sums(const BatchGradSums<float>& a, int64_t chunk, int64_t chunk_end);
void batch_grad_sums(const BatchGradSums<bf16>& a, int64_t chunk, int64_t chunk_end);
void batch_grad(const BatchGrad<float>& a, int64_t row, int64_t row_end);
void batch_grad(const BatchGrad<bf16>& a, int64_t row, int64_t row_end);

}  // namespace juxta::JX_ISA

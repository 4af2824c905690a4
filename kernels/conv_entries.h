#pragma once
// What conv_grad.simd.cpp gives to the tables of conv.simd.cpp.
#include "kernels/conv.h"

namespace juxta::JX_ISA {

void conv_weight_grad(const ConvWeightGrad<float>& a, int64_t item, int64_t item_end);
void conv_weight_grad(const ConvWeightGrad<bf16>& a, int64_t item, int64_t item_end);
void conv_weight_sum(const ConvWeightSum<float>& a, int64_t row, int64_t row_end);
void conv_bias_grad(const ConvBiasGrad<float>& a, int64_t run, int64_t run_end);
void conv_bias_grad(const ConvBiasGrad<bf16>& a, int64_t run, int64_t run_end);

}  // namespace juxta::JX_ISA

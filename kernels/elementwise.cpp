#include "kernels/elementwise.h"

namespace juxta {

JX_DECLARE_ISA_TABLES(ElementwiseTable<float>, elementwise_f32)
JX_DECLARE_GPU_TABLES(ElementwiseTable<float>, elementwise_f32)
JX_DECLARE_ISA_TABLES(ElementwiseTable<bf16>, elementwise_bf16)
JX_DECLARE_GPU_TABLES(ElementwiseTable<bf16>, elementwise_bf16)

template <>
const TableChoice<ElementwiseTable<float>>& elementwise_tables<float>() {
  static const TableChoice<ElementwiseTable<float>> c(DType::f32, ref::elementwise_table<float>,
                                                      JX_ISA_TABLES_F32(elementwise_f32),
                                                      JX_GPU_TABLES(elementwise_f32));
  return c;
}
template <>
const TableChoice<ElementwiseTable<bf16>>& elementwise_tables<bf16>() {
  static const TableChoice<ElementwiseTable<bf16>> c(DType::bf16, ref::elementwise_table<bf16>,
                                                     JX_ISA_TABLES(elementwise_bf16),
                                                     JX_GPU_TABLES(elementwise_bf16));
  return c;
}
template <>
const TableChoice<ElementwiseTable<double>>& elementwise_tables<double>() {
  static const TableChoice<ElementwiseTable<double>> c(DType::f64, ref::elementwise_table<double>);
  return c;
}

}  // namespace juxta

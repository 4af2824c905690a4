#include "kernels/softmax.h"

namespace juxta {

JX_DECLARE_ISA_TABLES(SoftmaxTable<float>, softmax_f32)
JX_DECLARE_GPU_TABLES(SoftmaxTable<float>, softmax_f32)
JX_DECLARE_ISA_TABLES(SoftmaxTable<bf16>, softmax_bf16)
JX_DECLARE_GPU_TABLES(SoftmaxTable<bf16>, softmax_bf16)

template <>
const TableChoice<SoftmaxTable<float>>& softmax_tables<float>() {
  static const TableChoice<SoftmaxTable<float>> c(DType::f32, ref::softmax_table<float>,
                                                  JX_ISA_TABLES_F32(softmax_f32), JX_GPU_TABLES(softmax_f32));
  return c;
}
template <>
const TableChoice<SoftmaxTable<bf16>>& softmax_tables<bf16>() {
  static const TableChoice<SoftmaxTable<bf16>> c(DType::bf16, ref::softmax_table<bf16>,
                                                 JX_ISA_TABLES(softmax_bf16), JX_GPU_TABLES(softmax_bf16));
  return c;
}
template <>
const TableChoice<SoftmaxTable<double>>& softmax_tables<double>() {
  static const TableChoice<SoftmaxTable<double>> c(DType::f64, ref::softmax_table<double>);
  return c;
}

}  // namespace juxta

#include "kernels/conv.h"

namespace juxta {

JX_DECLARE_ISA_TABLES(ConvTable<float>, conv_f32)
JX_DECLARE_ISA_TABLES(ConvTable<bf16>, conv_bf16)

template <>
const TableChoice<ConvTable<float>>& conv_tables<float>() {
  static const TableChoice<ConvTable<float>> c(DType::f32, ref::conv_table<float>,
                                               JX_ISA_TABLES_F32(conv_f32));
  return c;
}
template <>
const TableChoice<ConvTable<bf16>>& conv_tables<bf16>() {
  static const TableChoice<ConvTable<bf16>> c(DType::bf16, ref::conv_table<bf16>, JX_ISA_TABLES(conv_bf16));
  return c;
}
template <>
const TableChoice<ConvTable<double>>& conv_tables<double>() {
  static const TableChoice<ConvTable<double>> c(DType::f64, ref::conv_table<double>);
  return c;
}

}  // namespace juxta

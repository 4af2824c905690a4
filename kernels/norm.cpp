#include "kernels/norm.h"

namespace juxta {

JX_DECLARE_ISA_TABLES(NormTable<float>, norm_f32)
JX_DECLARE_ISA_TABLES(NormTable<bf16>, norm_bf16)
JX_DECLARE_GPU_TABLES(NormTable<float>, norm_f32)
JX_DECLARE_GPU_TABLES(NormTable<bf16>, norm_bf16)

template <>
const TableChoice<NormTable<float>>& norm_tables<float>() {
  static const TableChoice<NormTable<float>> c(DType::f32, ref::norm_table<float>,
                                               JX_ISA_TABLES_F32(norm_f32), JX_GPU_TABLES(norm_f32));
  return c;
}
template <>
const TableChoice<NormTable<bf16>>& norm_tables<bf16>() {
  static const TableChoice<NormTable<bf16>> c(DType::bf16, ref::norm_table<bf16>, JX_ISA_TABLES(norm_bf16),
                                              JX_GPU_TABLES(norm_bf16));
  return c;
}
template <>
const TableChoice<NormTable<double>>& norm_tables<double>() {
  static const TableChoice<NormTable<double>> c(DType::f64, ref::norm_table<double>);
  return c;
}

}  // namespace juxta

#include "kernels/resize.h"

namespace juxta {

JX_DECLARE_ISA_TABLES(ResizeTable<float>, resize_f32)
JX_DECLARE_ISA_TABLES(ResizeTable<bf16>, resize_bf16)

template <>
const TableChoice<ResizeTable<float>>& resize_tables<float>() {
  static const TableChoice<ResizeTable<float>> c(DType::f32, ref::resize_table<float>,
                                                 JX_ISA_TABLES_F32(resize_f32));
  return c;
}
template <>
const TableChoice<ResizeTable<bf16>>& resize_tables<bf16>() {
  static const TableChoice<ResizeTable<bf16>> c(DType::bf16, ref::resize_table<bf16>,
                                                JX_ISA_TABLES(resize_bf16));
  return c;
}
template <>
const TableChoice<ResizeTable<double>>& resize_tables<double>() {
  static const TableChoice<ResizeTable<double>> c(DType::f64, ref::resize_table<double>);
  return c;
}

}  // namespace juxta

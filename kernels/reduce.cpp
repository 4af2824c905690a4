#include "kernels/reduce.h"

namespace juxta {

JX_DECLARE_ISA_TABLES(ReduceTable<float>, reduce_f32)
JX_DECLARE_ISA_TABLES(ReduceTable<bf16>, reduce_bf16)

template <>
const TableChoice<ReduceTable<float>>& reduce_tables<float>() {
  static const TableChoice<ReduceTable<float>> c(DType::f32, ref::reduce_table<float>,
                                                 JX_ISA_TABLES_F32(reduce_f32));
  return c;
}
template <>
const TableChoice<ReduceTable<bf16>>& reduce_tables<bf16>() {
  static const TableChoice<ReduceTable<bf16>> c(DType::bf16, ref::reduce_table<bf16>,
                                                JX_ISA_TABLES(reduce_bf16));
  return c;
}
template <>
const TableChoice<ReduceTable<double>>& reduce_tables<double>() {
  static const TableChoice<ReduceTable<double>> c(DType::f64, ref::reduce_table<double>);
  return c;
}

}  // namespace juxta

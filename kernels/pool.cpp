#include "kernels/pool.h"

namespace juxta {

JX_DECLARE_ISA_TABLES(PoolTable<float>, pool_f32)
JX_DECLARE_ISA_TABLES(PoolTable<bf16>, pool_bf16)

template <>
const TableChoice<PoolTable<float>>& pool_tables<float>() {
  static const TableChoice<PoolTable<float>> c(DType::f32, ref::pool_table<float>,
                                               JX_ISA_TABLES_F32(pool_f32));
  return c;
}
template <>
const TableChoice<PoolTable<bf16>>& pool_tables<bf16>() {
  static const TableChoice<PoolTable<bf16>> c(DType::bf16, ref::pool_table<bf16>, JX_ISA_TABLES(pool_bf16));
  return c;
}
template <>
const TableChoice<PoolTable<double>>& pool_tables<double>() {
  static const TableChoice<PoolTable<double>> c(DType::f64, ref::pool_table<double>);
  return c;
}

}  // namespace juxta

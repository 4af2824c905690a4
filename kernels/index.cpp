#include "kernels/index.h"

namespace juxta {

JX_DECLARE_ISA_TABLES(IndexTable<float>, index_f32)
JX_DECLARE_ISA_TABLES(IndexTable<bf16>, index_bf16)

template <>
const TableChoice<IndexTable<float>>& index_tables<float>() {
  static const TableChoice<IndexTable<float>> c(DType::f32, ref::index_table<float>,
                                                JX_ISA_TABLES_F32(index_f32));
  return c;
}
template <>
const TableChoice<IndexTable<bf16>>& index_tables<bf16>() {
  static const TableChoice<IndexTable<bf16>> c(DType::bf16, ref::index_table<bf16>,
                                               JX_ISA_TABLES(index_bf16));
  return c;
}
template <>
const TableChoice<IndexTable<double>>& index_tables<double>() {
  static const TableChoice<IndexTable<double>> c(DType::f64, ref::index_table<double>);
  return c;
}

namespace ref {

void sort_segments(const SortSegments& a, int64_t, int64_t) {
  // offsets[r + 1] first counts row r, then serves as the cursor of row r: filling moves it to the row's end.
  for (int64_t r = 0; r <= a.rows; ++r) a.offsets[r] = 0;
  for (int64_t i = 0; i < a.count; ++i) ++a.offsets[a.index[i] + 1];
  int64_t begin = 0;
  for (int64_t r = 1; r <= a.rows; ++r) {
    const int64_t size = a.offsets[r];
    a.offsets[r] = begin;
    begin += size;
  }
  for (int64_t i = 0; i < a.count; ++i) a.order[a.offsets[a.index[i] + 1]++] = i;
}

}  // namespace ref
}  // namespace juxta

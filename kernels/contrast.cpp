#include "kernels/contrast.h"

#include "kernels/contrast_ref.h"

namespace juxta {

JX_DECLARE_ISA_TABLES(ContrastTable<float>, contrast_f32)
JX_DECLARE_ISA_TABLES(ContrastTable<bf16>, contrast_bf16)

template <>
const TableChoice<ContrastTable<float>>& contrast_tables<float>() {
  static const TableChoice<ContrastTable<float>> c(DType::f32, ref::contrast_table<float>,
                                                   JX_ISA_TABLES_F32(contrast_f32));
  return c;
}
template <>
const TableChoice<ContrastTable<bf16>>& contrast_tables<bf16>() {
  static const TableChoice<ContrastTable<bf16>> c(DType::bf16, ref::contrast_table<bf16>,
                                                  JX_ISA_TABLES(contrast_bf16));
  return c;
}
template <>
const TableChoice<ContrastTable<double>>& contrast_tables<double>() {
  static const TableChoice<ContrastTable<double>> c(DType::f64, ref::contrast_table<double>);
  return c;
}

namespace {
thread_local int64_t t_block = 0;  // 0: by shape
}

ForceContrastBlock::ForceContrastBlock(int64_t n) : outer_(t_block) { t_block = n; }
ForceContrastBlock::~ForceContrastBlock() { t_block = outer_; }

int64_t contrast_block_rows(int64_t n, int64_t depth) {
  if (t_block > 0) return t_block;
  // About 16 blocks or more, so that a round occupies many threads; a block and its panels stay in the second
  // level of the cache.
  int64_t rows = n >= 8192 ? 512 : n >= 4096 ? 256 : 128;
  while (rows > 128 && rows * depth > 512 * 512) rows /= 2;
  return rows;
}

ContrastSchedule contrast_schedule(int64_t row_blocks, int64_t column_blocks, bool symmetric) {
  ContrastSchedule s;
  s.row_blocks = row_blocks;
  s.column_blocks = column_blocks;
  s.symmetric = symmetric;
  if (row_blocks == 0 || column_blocks == 0) return s;
  if (symmetric) {
    s.rounds = row_blocks + row_blocks % 2;  // the diagonal, then each block against every other
    return s;
  }
  constexpr int64_t kPairsPerRound = 16;
  s.rows_short = row_blocks <= column_blocks;
  const int64_t few = s.rows_short ? row_blocks : column_blocks,
                many = s.rows_short ? column_blocks : row_blocks;
  s.replicas = std::min(many, (kPairsPerRound + few - 1) / few);
  s.chunk = (many + s.replicas - 1) / s.replicas;
  s.rounds = std::max(s.chunk, few);
  return s;
}

}  // namespace juxta

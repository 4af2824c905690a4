#include "kernels/optim.h"

#include <algorithm>

namespace juxta {

JX_DECLARE_ISA_TABLES(OptimTable<float>, optim_f32)

template <>
const TableChoice<OptimTable<float>>& optim_tables<float>() {
  static const TableChoice<OptimTable<float>> c(DType::f32, ref::optim_table<float>,
                                                JX_ISA_TABLES_F32(optim_f32));
  return c;
}
template <>
const TableChoice<OptimTable<double>>& optim_tables<double>() {
  static const TableChoice<OptimTable<double>> c(DType::f64, ref::optim_table<double>);
  return c;
}

std::vector<OptimChunk> optim_chunks(std::span<const int64_t> sizes) {
  std::vector<OptimChunk> chunks;
  for (size_t t = 0; t < sizes.size(); ++t)
    for (int64_t b = 0; b < sizes[t]; b += kOptimChunk)
      chunks.push_back({static_cast<int32_t>(t), b, std::min(b + kOptimChunk, sizes[t])});
  return chunks;
}

}  // namespace juxta

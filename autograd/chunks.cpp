// in_chunks(): a function over parts of the rows, with one part's activations in memory.
#include <algorithm>

#include "autograd/ops.h"

namespace juxta {

Var in_chunks(const ChunkFn& fn, std::span<const Var> inputs, int64_t rows) {
  JX_CHECK(rows >= 0, "in_chunks: rows: expected 0 (all) or more, got ", rows);
  JX_CHECK(!inputs.empty(), "in_chunks: inputs: expected at least one");
  for (const Var& x : inputs)
    JX_CHECK(x.ndim() >= 1 && x.size(0) == inputs[0].size(0), "in_chunks: inputs: expected the rows of ",
             inputs[0], ", got ", x);
  const int64_t n = inputs[0].size(0);
  if (rows == 0 || rows >= n) return fn(inputs);
  std::vector<Var> parts;
  for (int64_t begin = 0; begin < n; begin += rows) {
    std::vector<Var> part;
    for (const Var& x : inputs) part.push_back(slice(x, 0, begin, std::min(begin + rows, n)));
    parts.push_back(checkpoint([fn](std::span<const Var> in) { return std::vector<Var>{fn(in)}; }, part)[0]);
  }
  return cat(parts, 0);
}

Var in_chunks(std::function<Var(const Var&)> fn, const Var& input, int64_t rows) {
  return in_chunks([fn = std::move(fn)](std::span<const Var> in) { return fn(in[0]); }, std::span(&input, 1),
                   rows);
}

}  // namespace juxta

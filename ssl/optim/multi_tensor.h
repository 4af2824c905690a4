#pragma once
// One call of an optimiser kernel over many tensors: its rows, chunks and sums (kernels/optim.h).
#include <array>
#include <cmath>
#include <vector>

#include "kernels/optim.h"

namespace juxta::ssl {

// Rows and chunks are kept together because the arguments point into them.
template <class T>
struct MultiTensor {
  std::vector<OptimTensor<T>> rows;
  std::vector<OptimChunk> chunks;
  OptimArgs<T> args{};

  // Call once, when all rows are there.
  void finish() {
    std::vector<int64_t> sizes;
    for (const auto& r : rows) sizes.push_back(r.n);
    chunks = optim_chunks(sizes);
    args.tensors = rows.data();
    args.chunks = chunks.data();
  }
  void run_entry(typename OptimTable<T>::Entry entry) {
    run(kCpu, entry, args, static_cast<int64_t>(chunks.size()), 1);
  }
  // Runs an entry that writes K sums per chunk; per row the sums over its chunks, added in order.
  template <size_t K>
  std::vector<std::array<double, K>> sums(typename OptimTable<T>::Entry entry) {
    std::vector<double> parts(chunks.size() * K);
    args.sums = parts.data();
    run_entry(entry);
    args.sums = nullptr;
    std::vector<std::array<double, K>> out(rows.size(), std::array<double, K>{});
    for (size_t k = 0; k < chunks.size(); ++k)
      for (size_t j = 0; j < K; ++j) out[static_cast<size_t>(chunks[k].tensor)][j] += parts[K * k + j];
    return out;
  }
  // Per row {|p|, |g|, |u|}.
  std::vector<std::array<double, 3>> norms() {
    auto out = sums<3>(optim_tables<T>().on(kCpu).sum_squares);
    for (auto& n : out)
      for (double& x : n) x = std::sqrt(x);
    return out;
  }
};

}  // namespace juxta::ssl

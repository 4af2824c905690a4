// One step over 11 million parameters in 60 tensors (a ResNet-18): bytes are the floor.
#include "kernels/optim.h"

#include "bench/peak.h"

namespace juxta::bench {
namespace {

using Entry = OptimTable<float>::Entry OptimTable<float>::*;

void step(benchmark::State& state, int table, Entry entry, double streams) {
  const ForceTable force(table);
  constexpr int64_t kTensors = 60, kSize = 190'000;
  std::vector<Tensor> memory;
  std::vector<OptimTensor<float>> rows;
  for (int64_t i = 0; i < kTensors; ++i) {
    for (int k = 0; k < 5; ++k) memory.push_back(Tensor::full({kSize}, 0.1));
    const auto at = [&](size_t k) { return memory[memory.size() - 5 + k].write<float>("bench"); };
    rows.push_back({.p = at(0), .g = at(1), .m = at(2), .v = at(3), .u = at(4), .n = kSize});
  }
  const std::vector<OptimChunk> chunks = optim_chunks(std::vector<int64_t>(kTensors, kSize));
  std::vector<double> sums(chunks.size() * 3);
  OptimArgs<float> args{};
  args.tensors = rows.data();
  args.chunks = chunks.data();
  args.lr = 1e-9;
  args.momentum = 0.9;
  args.model_lambda = 0.1;
  args.sums = sums.data();
  for (auto _ : state)
    run(kCpu, optim_tables<float>().on(kCpu).*entry, args, static_cast<int64_t>(chunks.size()), 1);
  report_bytes(state, streams * 4.0 * kTensors * kSize);
}

}  // namespace
}  // namespace juxta::bench

int main(int argc, char** argv) {
  using namespace juxta;
  using namespace juxta::bench;
  using T = OptimTable<float>;
  for (const int table : cpu_tables()) {
    const std::string label = table_name(table);
    const auto add = [&](const char* name, Entry e, double streams) {
      benchmark::RegisterBenchmark(concat(name, "/", label).c_str(), step, table, e, streams)->UseRealTime();
    };
    add("sgd", &T::sgd, 5);
    add("adam", &T::adam, 7);
    add("ema", &T::ema, 3);
    add("sum_squares", &T::sum_squares, 3);
    add("am_sgd_sums", &T::am_sgd_sums, 3);
    add("am_sgd", &T::am_sgd, 5);
    add("am_adamw_sums", &T::am_adamw_sums, 5);
    add("am_adamw", &T::am_adamw, 6);
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}

// Sums over rows, columns and everything; top-20 of long rows (kNN). Bytes are the floor.
#include "autograd/ops.h"
#include "bench/peak.h"
#include "kernels/table.h"

namespace juxta::bench {
namespace {

void reduce(benchmark::State& state, int table, DType dtype, const std::vector<int>& dims) {
  const ForceTable force(table);
  const NoGrad no_grad;
  const Var x(Tensor::full({state.range(0), state.range(1)}, 0.5, dtype));
  for (auto _ : state) benchmark::DoNotOptimize(sum(x, dims).value().raw());
  report_bytes(state, static_cast<double>(x.value().bytes()));
}

void top20(benchmark::State& state, int table) {
  const ForceTable force(table);
  const NoGrad no_grad;
  Tensor t = Tensor::empty({256, 60000});
  float* p = t.write<float>("bench");
  for (int64_t i = 0; i < t.numel(); ++i) p[i] = static_cast<float>((i * 7919) % 60013);
  for (auto _ : state) benchmark::DoNotOptimize(topk(Var(t), 20).indices.raw());
  report_bytes(state, static_cast<double>(t.bytes()));
}

}  // namespace
}  // namespace juxta::bench

int main(int argc, char** argv) {
  using namespace juxta;
  using namespace juxta::bench;
  for (const int table : cpu_tables()) {
    const std::string label = table_name(table);
    for (DType d : {DType::f32, DType::bf16}) {
      const auto add = [&](const char* name, const std::vector<int>& dims) {
        benchmark::RegisterBenchmark(concat("sum/", name, "/", d, "/", label).c_str(), reduce, table, d, dims)
            ->Args({16384, 512})
            ->UseRealTime();
      };
      add("rows", {1}), add("columns", {0}), add("all", {});
    }
    benchmark::RegisterBenchmark(("topk20/" + label).c_str(), top20, table)->UseRealTime();
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}

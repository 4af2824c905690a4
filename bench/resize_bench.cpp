// Bilinear resizing, forward and both passes, on every table; bytes are the floor: each tensor once.
#include "autograd/ops.h"
#include "bench/peak.h"
#include "kernels/resize.h"

namespace juxta::bench {
namespace {

void resize(benchmark::State& state, bool both, int table, DType dtype) {
  const ForceTable force(table);
  const int64_t from = state.range(0), to = state.range(1);
  const Var x = Var::leaf(Tensor::full({16, from, from, state.range(2)}, 0.5, dtype));
  int64_t bytes = 0;
  for (auto _ : state) {
    const Var y = resize_bilinear(x, to, to);
    bytes = x.value().bytes() + y.value().bytes();
    if (both) benchmark::DoNotOptimize(grad(std::vector{y}, std::vector{x}));
  }
  report_bytes(state, static_cast<double>(both ? 2 * bytes : bytes));
}

}  // namespace
}  // namespace juxta::bench

int main(int argc, char** argv) {
  using namespace juxta;
  using namespace juxta::bench;
  for (bool both : {false, true})
    for (int table = 0; table < static_cast<int>(host_isas().size()); ++table)
      for (DType d : {DType::f32, DType::bf16})
        benchmark::RegisterBenchmark(
            concat("resize_bilinear", both ? "/both/" : "/forward/", d, "/", name_of(static_cast<Isa>(table)))
                .c_str(),
            resize, both, table, d)
            ->Args({28, 56, 64})
            ->Args({224, 96, 3})
            ->UseRealTime();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}

// Bilinear resizing, forward and both passes, on every table; bytes are the floor: each tensor once.
#include "autograd/ops.h"
#include "bench/peak.h"
#include "kernels/resize.h"

namespace juxta::bench {
namespace {

void resize(benchmark::State& state, bool both, Isa isa, DType dtype) {
  const ForceTable force(isa);
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
    for (const Isa isa : host_isas())
      for (DType d : {DType::f32, DType::bf16})
        benchmark::RegisterBenchmark(
            concat("resize_bilinear", both ? "/both/" : "/forward/", d, "/", isa).c_str(), resize, both, isa,
            d)
            ->Args({28, 56, 64})
            ->Args({224, 96, 3})
            ->UseRealTime();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}

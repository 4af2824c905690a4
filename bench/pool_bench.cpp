// Pooling, forward and both passes, on every table; bytes are the floor: each tensor once.
#include "autograd/ops.h"
#include "bench/peak.h"
#include "kernels/pool.h"

namespace juxta::bench {
namespace {

enum class Op { max, average, global };

Var apply(Op op, const Var& x) {
  if (op == Op::max) return max_pool2d(x, 3, 2, 1);
  return op == Op::average ? avg_pool2d(x, 2, 2) : global_avg_pool(x);
}

void pool(benchmark::State& state, Op op, bool both, Isa isa, DType dtype) {
  const ForceTable force(isa);
  const Var x = Var::leaf(Tensor::full({32, state.range(0), state.range(0), state.range(1)}, 0.5, dtype));
  int64_t bytes = 0;
  for (auto _ : state) {
    const Var y = apply(op, x);
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
  constexpr std::pair<Op, const char*> kOps[] = {
      {Op::max, "max_pool2d"}, {Op::average, "avg_pool2d"}, {Op::global, "global_avg_pool"}};
  for (const auto& op : kOps)
    for (bool both : {false, true})
      for (const Isa isa : host_isas())
        for (DType d : {DType::f32, DType::bf16})
          benchmark::RegisterBenchmark(concat(op.second, both ? "/both/" : "/forward/", d, "/", isa).c_str(),
                                       pool, op.first, both, isa, d)
              ->Args({56, 64})
              ->UseRealTime();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}

// Layer norm and L2 normalisation, forward and backward, on every table; bytes are the floor: each tensor
// once.
#include "autograd/ops.h"
#include "bench/peak.h"
#include "kernels/norm.h"

namespace juxta::bench {
namespace {

void layer_norm_forward(benchmark::State& state, int table, DType dtype) {
  const int64_t rows = state.range(0), cols = state.range(1);
  const ForceTable force(table);
  const NoGrad no_grad;
  const Var x(Tensor::full({rows, cols}, 0.5, dtype)), w(Tensor::full({cols}, 1.0)),
      b(Tensor::full({cols}, 0.0));
  for (auto _ : state) benchmark::DoNotOptimize(layer_norm(x, w, b).value().raw());
  report_bytes(state, 2.0 * static_cast<double>(x.value().bytes()));
}

void layer_norm_both(benchmark::State& state, int table, DType dtype) {
  const int64_t rows = state.range(0), cols = state.range(1);
  const ForceTable force(table);
  const Var x = Var::leaf(Tensor::full({rows, cols}, 0.5, dtype)), w = Var::leaf(Tensor::full({cols}, 1.0)),
            b = Var::leaf(Tensor::full({cols}, 0.0));
  for (auto _ : state) benchmark::DoNotOptimize(grad(std::vector{layer_norm(x, w, b)}, std::vector{x, w, b}));
  report_bytes(state, 5.0 * static_cast<double>(x.value().bytes()));
}

}  // namespace
}  // namespace juxta::bench

int main(int argc, char** argv) {
  using namespace juxta;
  using namespace juxta::bench;
  for (int table = ForceTable::kReference; table < static_cast<int>(host_isas().size()); ++table) {
    if (table == ForceTable::kActive) continue;
    const std::string label = table < 0 ? "reference" : name_of(static_cast<Isa>(table));
    for (DType d : {DType::f32, DType::bf16}) {
      const std::string name = concat("/", d, "/", label);
      benchmark::RegisterBenchmark(("layer_norm/forward" + name).c_str(), layer_norm_forward, table, d)
          ->Args({8192, 192})
          ->Args({8192, 768})
          ->UseRealTime();
      benchmark::RegisterBenchmark(("layer_norm/both" + name).c_str(), layer_norm_both, table, d)
          ->Args({8192, 768})
          ->UseRealTime();
    }
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}

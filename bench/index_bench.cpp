// Embedding, its gradient, sums by number and patches on every table; the floor is each tensor once.
#include "kernels/index.h"

#include "autograd/ops.h"
#include "bench/peak.h"

namespace juxta::bench {
namespace {

// Numbers in [0, n) without order, as tokens come.
Tensor spread(int64_t count, int64_t n) {
  Tensor t = Tensor::empty({count}, DType::i64);
  auto* p = t.write<int64_t>("spread");
  for (int64_t i = 0; i < count; ++i)
    p[i] = static_cast<int64_t>((static_cast<uint64_t>(i) * 2654435761u) % static_cast<uint64_t>(n));
  return t;
}

void embedding_forward(benchmark::State& state, int table, DType dtype) {
  const int64_t vocabulary = state.range(0), count = state.range(1), channels = state.range(2);
  const ForceTable force(table);
  const NoGrad no_grad;
  const Var w(Tensor::full({vocabulary, channels}, 0.5, dtype));
  const Tensor ids = spread(count, vocabulary);
  Tensor y;
  for (auto _ : state) benchmark::DoNotOptimize((y = embedding(w, ids).value()).raw());
  report_bytes(state, 2.0 * static_cast<double>(y.bytes()));
}

void embedding_both(benchmark::State& state, int table, DType dtype) {
  const int64_t vocabulary = state.range(0), count = state.range(1), channels = state.range(2);
  const ForceTable force(table);
  const Var w = Var::leaf(Tensor::full({vocabulary, channels}, 0.5, dtype));
  const Tensor ids = spread(count, vocabulary), dy = Tensor::full({count, channels}, 1.0, dtype);
  for (auto _ : state)
    benchmark::DoNotOptimize(grad(std::vector{embedding(w, ids)}, std::vector{w}, std::vector{dy}));
  report_bytes(state, static_cast<double>(3 * dy.bytes() + w.value().bytes()));
}

void patchify_forward(benchmark::State& state, int table, DType dtype) {
  const ForceTable force(table);
  const NoGrad no_grad;
  const Var x(Tensor::full({state.range(0), 32, 32, 3}, 0.5, dtype));
  for (auto _ : state) benchmark::DoNotOptimize(patchify(x, 4).value().raw());
  report_bytes(state, 2.0 * static_cast<double>(x.value().bytes()));
}

}  // namespace
}  // namespace juxta::bench

int main(int argc, char** argv) {
  using namespace juxta;
  using namespace juxta::bench;
  for (const int table : cpu_tables()) {
    const std::string label = table_name(table);
    for (DType d : {DType::f32, DType::bf16}) {
      const std::string name = concat("/", d, "/", label);
      benchmark::RegisterBenchmark(("embedding/forward" + name).c_str(), embedding_forward, table, d)
          ->Args({30522, 8192, 256})
          ->UseRealTime();
      benchmark::RegisterBenchmark(("embedding/both" + name).c_str(), embedding_both, table, d)
          ->Args({30522, 8192, 256})
          ->UseRealTime();
      benchmark::RegisterBenchmark(("patchify/forward" + name).c_str(), patchify_forward, table, d)
          ->Args({256})
          ->UseRealTime();
    }
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}

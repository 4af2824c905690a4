// Normalisations, forward and backward, on every table. Bytes are the floor: layer norm reads and writes each
// tensor once; batch norm reads x twice and writes y, its backward reads x and dy twice and writes dx, and
// with relu and a residual reads y twice too and writes the residual's gradient.
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

struct BatchCase {
  bool relu, residual;
};

// A training step of batch norm over [rows, cols]: the tail of a convolution in a residual network.
void batch_norm_forward(benchmark::State& state, int table, DType dtype, BatchCase c) {
  const int64_t rows = state.range(0), cols = state.range(1);
  const ForceTable force(table);
  const NoGrad no_grad;
  const Var x(Tensor::full({rows, cols}, 0.5, dtype)), w(Tensor::full({cols}, 1.0)),
      b(Tensor::full({cols}, 0.0)),
      residual = c.residual ? Var(Tensor::full({rows, cols}, 0.25, dtype)) : Var();
  BatchNormState running{Tensor::zeros({cols}), Tensor::full({cols}, 1.0)};
  const Act act = c.relu ? Act::relu : Act::none;
  for (auto _ : state)
    benchmark::DoNotOptimize(batch_norm(x, w, b, running, true, 1e-5, act, residual).value().raw());
  report_bytes(state, (3.0 + c.residual) * static_cast<double>(x.value().bytes()));
}

void batch_norm_backward(benchmark::State& state, int table, DType dtype, BatchCase c) {
  const int64_t rows = state.range(0), cols = state.range(1);
  const ForceTable force(table);
  const Var x = Var::leaf(Tensor::full({rows, cols}, 0.5, dtype)), w = Var::leaf(Tensor::full({cols}, 1.0)),
            b = Var::leaf(Tensor::full({cols}, 0.1)),
            residual = c.residual ? Var::leaf(Tensor::full({rows, cols}, 0.25, dtype)) : Var();
  std::vector<Var> inputs{x, w, b};
  if (c.residual) inputs.push_back(residual);
  BatchNormState none;
  const Var y = batch_norm(x, w, b, none, true, 1e-5, c.relu ? Act::relu : Act::none, residual);
  const std::vector<Tensor> dy{Tensor::full({rows, cols}, 1.0, dtype)};
  for (auto _ : state) benchmark::DoNotOptimize(grad(std::vector{y}, inputs, dy, true));
  report_bytes(state, (5.0 + 3.0 * c.residual) * static_cast<double>(x.value().bytes()));
}

void group_norm_both(benchmark::State& state, int table, DType dtype) {
  const int64_t n = state.range(0), positions = state.range(1), cols = state.range(2);
  const ForceTable force(table);
  const Var x = Var::leaf(Tensor::full({n, positions, cols}, 0.5, dtype)),
            w = Var::leaf(Tensor::full({cols}, 1.0)), b = Var::leaf(Tensor::full({cols}, 0.0));
  for (auto _ : state)
    benchmark::DoNotOptimize(grad(std::vector{group_norm(x, 32, w, b)}, std::vector{x, w, b}));
  report_bytes(state, 5.0 * static_cast<double>(x.value().bytes()));
}

void rms_norm_both(benchmark::State& state, int table, DType dtype) {
  const int64_t rows = state.range(0), cols = state.range(1);
  const ForceTable force(table);
  const Var x = Var::leaf(Tensor::full({rows, cols}, 0.5, dtype)), w = Var::leaf(Tensor::full({cols}, 1.0));
  for (auto _ : state) benchmark::DoNotOptimize(grad(std::vector{rms_norm(x, w)}, std::vector{x, w}));
  report_bytes(state, 5.0 * static_cast<double>(x.value().bytes()));
}

// Shapes: ResNet-20 and ResNet-18 on 32 x 32 images at batch 256, and a late stage.
void add_batch_norm(const std::string& name, int table, DType d) {
  const auto shapes = [](benchmark::internal::Benchmark* b) {
    b->Args({256 * 1024, 16})->Args({256 * 1024, 64})->Args({256 * 64, 256})->Args({256 * 16, 512});
    b->UseRealTime();
  };
  shapes(benchmark::RegisterBenchmark(("batch_norm/forward" + name).c_str(), batch_norm_forward, table, d,
                                      BatchCase{false, false}));
  shapes(benchmark::RegisterBenchmark(("batch_norm/backward" + name).c_str(), batch_norm_backward, table, d,
                                      BatchCase{false, false}));
  shapes(benchmark::RegisterBenchmark(("batch_norm_relu/backward" + name).c_str(), batch_norm_backward, table,
                                      d, BatchCase{true, false}));
  shapes(benchmark::RegisterBenchmark(("batch_norm_relu_residual/forward" + name).c_str(), batch_norm_forward,
                                      table, d, BatchCase{true, true}));
  shapes(benchmark::RegisterBenchmark(("batch_norm_relu_residual/backward" + name).c_str(),
                                      batch_norm_backward, table, d, BatchCase{true, true}));
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
      benchmark::RegisterBenchmark(("layer_norm/forward" + name).c_str(), layer_norm_forward, table, d)
          ->Args({8192, 192})
          ->Args({8192, 768})
          ->UseRealTime();
      benchmark::RegisterBenchmark(("layer_norm/both" + name).c_str(), layer_norm_both, table, d)
          ->Args({8192, 768})
          ->UseRealTime();
      add_batch_norm(name, table, d);
      benchmark::RegisterBenchmark(("group_norm/both" + name).c_str(), group_norm_both, table, d)
          ->Args({64, 1024, 64})
          ->UseRealTime();
      benchmark::RegisterBenchmark(("rms_norm/both" + name).c_str(), rms_norm_both, table, d)
          ->Args({8192, 768})
          ->UseRealTime();
    }
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}

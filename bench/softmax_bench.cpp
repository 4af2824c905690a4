// Softmax, logsumexp and cross-entropy, forward and forward + backward, on every table; bytes are the floor:
// each tensor once.
#include "autograd/ops.h"
#include "bench/peak.h"
#include "kernels/softmax.h"

namespace juxta::bench {
namespace {

// Logits that are not all equal: the exponentials then take their usual path.
Tensor logits(int64_t rows, int64_t cols, DType dtype) {
  Tensor t = Tensor::empty({rows, cols});
  auto* p = t.write<float>("bench");
  for (int64_t i = 0; i < rows * cols; ++i) p[i] = static_cast<float>(i * 37 % 101) * 0.1f - 5.0f;
  return t.to(dtype);
}

using Op = Var (*)(const Var&, const Tensor& target);
Var run_softmax(const Var& x, const Tensor&) { return softmax(x); }
Var run_logsumexp(const Var& x, const Tensor&) { return logsumexp(x); }
Var run_cross_entropy(const Var& x, const Tensor& target) { return cross_entropy(x, target); }

// `tensors`: how many times the bytes of x must move at least.
void forward(benchmark::State& state, Op op, int table, DType dtype, double tensors) {
  const int64_t rows = state.range(0), cols = state.range(1);
  const ForceTable force(table);
  const NoGrad no_grad;
  const Var x(logits(rows, cols, dtype));
  const Tensor target = Tensor::zeros({rows}, DType::i64);
  for (auto _ : state) benchmark::DoNotOptimize(op(x, target).value().raw());
  report_bytes(state, tensors * static_cast<double>(x.value().bytes()));
}

void both(benchmark::State& state, Op op, int table, DType dtype, double tensors) {
  const int64_t rows = state.range(0), cols = state.range(1);
  const ForceTable force(table);
  const Var x = Var::leaf(logits(rows, cols, dtype));
  const Tensor target = Tensor::zeros({rows}, DType::i64);
  for (auto _ : state) benchmark::DoNotOptimize(grad(std::vector{op(x, target)}, std::vector{x}));
  report_bytes(state, tensors * static_cast<double>(x.value().bytes()));
}

}  // namespace
}  // namespace juxta::bench

int main(int argc, char** argv) {
  using namespace juxta;
  using namespace juxta::bench;
  const struct {
    const char* name;
    Op op;
    double forward, both;  // softmax: x, y and y, dy, dx; the others: x and x, dx
  } ops[] = {{"softmax", run_softmax, 2, 5},
             {"logsumexp", run_logsumexp, 1, 3},
             {"cross_entropy", run_cross_entropy, 1, 3}};
  for (const int table : cpu_tables()) {
    const std::string label = table_name(table);
    for (DType d : {DType::f32, DType::bf16})
      for (const auto& o : ops) {
        const std::string name = concat("/", d, "/", label);
        benchmark::RegisterBenchmark((o.name + ("/forward" + name)).c_str(), forward, o.op, table, d,
                                     o.forward)
            ->Args({1 << 18, 10})
            ->Args({8192, 512})
            ->Args({64, 65536})
            ->UseRealTime();
        benchmark::RegisterBenchmark((o.name + ("/both" + name)).c_str(), both, o.op, table, d, o.both)
            ->Args({8192, 512})
            ->Args({64, 65536})
            ->UseRealTime();
      }
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}

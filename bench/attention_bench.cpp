// Attention forward and forward + backward at the sizes of the models, on every table; flops are those of the
// products (2 forward, 5 backward: scores are computed again), 2 per multiply-add.
#include "kernels/attention.h"

#include "autograd/ops.h"
#include "bench/peak.h"

namespace juxta::bench {
namespace {

struct Shape {
  int64_t B, T, H, D;
};
Shape shape_of(const benchmark::State& state) {
  return {state.range(0), state.range(1), state.range(2), state.range(3)};
}

// Values of both signs around 1, so that the softmax has work to do.
Tensor waves(Dims dims, DType dtype) {
  Tensor t = Tensor::empty(dims);
  float* p = t.write<float>("waves");
  for (int64_t i = 0; i < t.numel(); ++i)
    p[i] = static_cast<float>((i * 2654435761u >> 7) % 2001) / 1000.0f - 1.0f;
  return t.to(dtype);
}

double product_flops(const Shape& s) { return 2.0 * static_cast<double>(s.B * s.H * s.T * s.T * s.D); }

void forward(benchmark::State& state, int table, DType dtype, bool causal) {
  const Shape s = shape_of(state);
  const ForceTable force(table);
  const NoGrad no_grad;
  const Var qkv(waves({s.B, s.T, 3, s.H, s.D}, dtype));
  for (auto _ : state) benchmark::DoNotOptimize(attention_qkv(qkv, {.causal = causal}).value().raw());
  report_flops(state, 2 * product_flops(s), dtype == DType::bf16);
}

void both(benchmark::State& state, int table, DType dtype, bool causal) {
  const Shape s = shape_of(state);
  const ForceTable force(table);
  const Var qkv = Var::leaf(waves({s.B, s.T, 3, s.H, s.D}, dtype));
  const Tensor dy = waves({s.B, s.T, s.H, s.D}, dtype);
  for (auto _ : state)
    benchmark::DoNotOptimize(
        grad(std::vector{attention_qkv(qkv, {.causal = causal})}, std::vector{qkv}, std::vector{dy}));
  report_flops(state, 7 * product_flops(s), dtype == DType::bf16);
}

void register_shapes(const std::string& name, void (*fn)(benchmark::State&, int, DType, bool), int table,
                     DType dtype, bool causal) {
  benchmark::RegisterBenchmark(name.c_str(), fn, table, dtype, causal)
      ->Args({128, 65, 3, 64})  // ViT-Ti/4 on 32 x 32
      ->Args({128, 32, 4, 64})  // text
      ->Args({8, 197, 3, 64})   // ViT-Ti/16 on 224 x 224
      ->Args({1, 1024, 4, 64})  // long
      ->UseRealTime();
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
      register_shapes("attention/forward" + name, forward, table, d, false);
      register_shapes("attention/both" + name, both, table, d, false);
      if (table >= 0) register_shapes("attention/causal" + name, both, table, d, true);
    }
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}

// Convolutions of ResNet-20, -18 and -50: forward, backward-data and backward-weights each on its own, on
// every table, beside oneDNN where it is installed (channels last, weights in its own order: its best case).
#include "autograd/ops.h"
#include "bench/conv_rival.h"
#include "bench/peak.h"
#include "kernels/conv.h"

namespace juxta::bench {
namespace {

constexpr ConvLayer kLayers[] = {
    // ResNet-20 (width 16) on 32x32, batch 256
    {"r20_stem", 256, 32, 3, 16, 3, 1},
    {"r20_16", 256, 32, 16, 16, 3, 1},
    {"r20_16_32_s2", 256, 32, 16, 32, 3, 2},
    {"r20_32", 256, 16, 32, 32, 3, 1},
    {"r20_64", 256, 8, 64, 64, 3, 1},
    {"r20_28x28_1", 256, 28, 1, 16, 3, 1},
    {"r20_28x28_16", 256, 28, 16, 16, 3, 1},
    // ResNet-20 on the demo's crops
    {"r20_20x20_1", 256, 20, 1, 16, 3, 1},
    {"r20_20x20_16", 256, 20, 16, 16, 3, 1},
    {"r20_20x20_16_32_s2", 256, 20, 16, 32, 3, 2},
    {"r20_10x10_32", 256, 10, 32, 32, 3, 1},
    {"r20_10x10_32_64_s2", 256, 10, 32, 64, 3, 2},
    {"r20_5x5_64", 256, 5, 64, 64, 3, 1},
    // ResNet-18 with the CIFAR stem, batch 64
    {"r18_64", 64, 32, 64, 64, 3, 1},
    {"r18_64_128_s2", 64, 32, 64, 128, 3, 2},
    {"r18_128", 64, 16, 128, 128, 3, 1},
    {"r18_256", 64, 8, 256, 256, 3, 1},
    {"r18_512", 64, 4, 512, 512, 3, 1},
    {"r18_256_512_1x1_s2", 64, 8, 256, 512, 1, 2},
    // ResNet-50 on 224x224, batch 8
    {"r50_stem", 8, 224, 3, 64, 7, 2},
    {"r50_64_256_1x1", 8, 56, 64, 256, 1, 1},
    {"r50_256_64_1x1", 8, 56, 256, 64, 1, 1},
    {"r50_64", 8, 56, 64, 64, 3, 1},
    {"r50_128_s2", 8, 56, 128, 128, 3, 2},
    {"r50_512", 8, 7, 512, 512, 3, 1},
    {"r50_512_2048_1x1", 8, 7, 512, 2048, 1, 1},
    // depthwise
    {"depthwise_192", 64, 16, 192, 192, 3, 1, 192},
};

enum class Pass { forward, data, weights };

void conv_pass(benchmark::State& state, const ConvLayer& l, Pass pass, Isa isa, DType dtype) {
  const ForceTable force(isa);
  const ConvOptions o{.stride = l.stride, .padding = l.kernel / 2, .groups = l.groups};
  const Tensor xt = Tensor::full({l.batch, l.size, l.size, l.in}, 0.5, dtype),
               wt = Tensor::full({l.out, l.in / l.groups, l.kernel, l.kernel}, 0.25);
  if (pass == Pass::forward) {
    const NoGrad no_grad;
    for (auto _ : state) benchmark::DoNotOptimize(conv2d(Var(xt), Var(wt), Var(), o).value().raw());
  } else {
    const bool data = pass == Pass::data;
    const Var x = data ? Var::leaf(xt) : Var(xt), w = data ? Var(wt) : Var::leaf(wt);
    const std::vector<Var> y{conv2d(x, w, Var(), o)}, input{data ? x : w};
    const std::vector<Tensor> dy{Tensor::full(y[0].dims(), 0.5, dtype)};
    for (auto _ : state) benchmark::DoNotOptimize(grad(y, input, dy, true));
  }
  report_flops(state, l.flops(), dtype == DType::bf16);
}

const char* name_of(Pass pass) {
  return pass == Pass::forward ? "forward" : pass == Pass::data ? "data" : "weights";
}

}  // namespace
}  // namespace juxta::bench

int main(int argc, char** argv) {
  using namespace juxta;
  using namespace juxta::bench;
  for (const ConvLayer& l : kLayers)
    for (Pass pass : {Pass::forward, Pass::data, Pass::weights}) {
      const std::string name = concat("conv/", l.name, "/", juxta::bench::name_of(pass), "/");
      for (const Isa isa : host_isas())
        for (DType d : {DType::f32, DType::bf16})
          benchmark::RegisterBenchmark(concat(name, d, "/", isa).c_str(), conv_pass, l, pass, isa, d)
              ->UseRealTime();
      register_rival(concat(name, "f32/onednn"), l, static_cast<int>(pass), false);
      register_rival(concat(name, "bf16/onednn"), l, static_cast<int>(pass), true);
    }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}

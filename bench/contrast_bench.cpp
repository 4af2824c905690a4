// NT-Xent: the fused op against the naive matrix of similarities. Flops are counted with symmetry, as
// 4 (2N)^2 D for forward + backward; exponentials are in the time, not in the flops. A name ends in
// <rows>/<D>/<variant>; rows = 2N.
#include <sys/resource.h>

#include <numeric>

#include "autograd/contrast.h"
#include "autograd/ops.h"
#include "bench/peak.h"
#include "tensor/rng.h"

namespace juxta::bench {
namespace {

Tensor noise(Dims dims) {
  Tensor t = Tensor::empty(dims);
  const Draw d{mix_key(1, stream_id("contrast_bench")), 0};
  auto* p = t.write<float>("noise");
  for (int64_t i = 0; i < t.numel(); ++i) p[i] = d.normal(static_cast<uint64_t>(i));
  return t;
}

ContrastOptions nt_xent_options(int64_t n) {
  ContrastOptions o;
  o.op = "nt_xent";
  o.normalize = true;
  o.row_ids = Tensor::arange(2 * n);
  std::vector<int64_t> other(static_cast<size_t>(2 * n));
  for (int64_t a = 0; a < 2 * n; ++a) other[static_cast<size_t>(a)] = (a + n) % (2 * n);
  o.positive = Tensor::from(std::span<const int64_t>(other), {2 * n});
  return o;
}

double peak_megabytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024.0;
}

void report(benchmark::State& state, int64_t rows, int64_t depth, bool bf16) {
  const double n = static_cast<double>(rows);
  report_flops(state, 4.0 * n * n * static_cast<double>(depth), bf16);
  state.counters["peak_rss_MB"] = peak_megabytes();
}

void shipped(benchmark::State& state, bool bf16) {
  const int64_t rows = state.range(0), depth = state.range(1), n = rows / 2;
  const std::vector<Var> z{Var::leaf(noise({n, depth})), Var::leaf(noise({n, depth}))};
  const Var temperature = constant_temperature(0.5, z[0]);
  ContrastOptions o = nt_xent_options(n);
  o.bf16_products = bf16;
  const Tensor down = Tensor::full({rows}, -1.0), up = Tensor::full({rows}, 1.0);
  for (auto _ : state) {
    const ContrastResult r = contrast_symmetric(z, temperature, o);
    benchmark::DoNotOptimize(grad(std::vector{r.lse, r.positive}, z, std::vector{up, down}));
  }
  report(state, rows, depth, bf16);
}

void queue(benchmark::State& state, bool bf16) {  // MoCo: 256 queries against a constant queue
  const int64_t rows = state.range(0), columns = state.range(1), depth = state.range(2);
  const Var q = Var::leaf(noise({rows, depth})), k(noise({columns, depth}));
  const Var temperature = constant_temperature(0.2, q);
  ContrastOptions o{.op = "info_nce", .normalize = true};
  o.bf16_products = bf16;
  for (auto _ : state) {
    const ContrastResult r = contrast({&q, 1}, {&k, 1}, temperature, o);
    benchmark::DoNotOptimize(grad(std::vector{r.lse}, std::vector{q}));
  }
  report_flops(state, 6.0 * static_cast<double>(rows * columns * depth), bf16);
}

}  // namespace
}  // namespace juxta::bench

int main(int argc, char** argv) {
  using namespace juxta::bench;
  for (const bool bf16 : {false, true}) {
    const std::string suffix = bf16 ? "_bf16" : "";
    for (const auto& [rows, depth] : {std::pair<int64_t, int64_t>{512, 128}, {4096, 128}, {16384, 128}}) {
      const std::string name = "nt_xent/" + std::to_string(rows) + "/" + std::to_string(depth) + "/";
      benchmark::RegisterBenchmark((name + "shipped" + suffix).c_str(), shipped, bf16)
          ->Args({rows, depth})
          ->UseRealTime();
    }
    benchmark::RegisterBenchmark(("info_nce/256/65536/128/shipped" + suffix).c_str(), queue, bf16)
        ->Args({256, 65536, 128})
        ->UseRealTime();
  }
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}

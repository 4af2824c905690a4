// Contrastive losses, forward + backward: the shipped fused ones beside the naive whole matrix of
// similarities.
//
// Flops: NT-Xent 4 (2N)^2 D, each similarity computed once forward and once backward; a queue 6 N K D.
// Exponentials are in the time, not in the flops. of_gemm is the share of the best plain product measured
// here at 4096 x 4096 x 128 (ours; OpenBLAS in f32), and peak_rss_MB is the largest memory of the whole
// process so far: run one benchmark by --benchmark_filter to see its own.
#include <sys/resource.h>

#include <algorithm>
#include <chrono>
#include <map>
#include <string>

#include "autograd/ops.h"
#include "bench/peak.h"
#include "ssl/losses/batch_contrastive.h"
#include "tensor/parallel.h"
#include "tensor/rng.h"

#if defined(JUXTA_HAVE_OPENBLAS)
extern "C" {
void cblas_sgemm(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const float* a,
                 int lda, const float* b, int ldb, float beta, float* c, int ldc);
void openblas_set_num_threads(int n);
}
#endif

namespace juxta::bench {
namespace {

Tensor noise(Dims dims, DType dtype, uint64_t seed) {
  Tensor t = Tensor::empty(dims);
  const Draw d{mix_key(seed, stream_id("contrast_bench")), 0};
  auto* p = t.write<float>("noise");
  for (int64_t i = 0; i < t.numel(); ++i) p[i] = d.normal(static_cast<uint64_t>(i));
  return t.to(dtype);
}

double megabytes() {
  rusage usage{};
  getrusage(RUSAGE_SELF, &usage);
  return static_cast<double>(usage.ru_maxrss) / 1024.0;
}

// Best of five runs, in flop/s.
template <class F>
double rate(double flops, F product) {
  double best = 0;
  for (int i = 0; i < 5; ++i) {
    const auto start = std::chrono::steady_clock::now();
    product();
    best = std::max(best,
                    flops / std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count());
  }
  return best;
}

double gemm_rate(DType dtype) {
  constexpr int64_t kSize = 4096, kDepth = 128;
  const double flops = 2.0 * kSize * kSize * kDepth;
  const NoGrad no_grad;
  const Var a(noise({kSize, kDepth}, dtype, 1)), b = transpose(Var(noise({kSize, kDepth}, dtype, 2)), 0, 1);
  double best = rate(flops, [&] { benchmark::DoNotOptimize(matmul(a, b).value().raw()); });
#if defined(JUXTA_HAVE_OPENBLAS)
  if (dtype == DType::f32) {
    constexpr int kRowMajor = 101, kNo = 111, kTrans = 112, n = kSize, k = kDepth;
    Tensor c = Tensor::empty({kSize, kSize});
    const Tensor right = noise({kSize, kDepth}, dtype, 2);
    openblas_set_num_threads(num_threads());
    best = std::max(best, rate(flops, [&] {
                      cblas_sgemm(kRowMajor, kNo, kTrans, n, n, k, 1.0f, a.value().data<float>(), k,
                                  right.data<float>(), k, 0.0f, c.write<float>("bench"), n);
                    }));
  }
#endif
  return best;
}

void report(benchmark::State& state, const std::string& key, double flops, DType dtype) {
  // A benchmark is entered several times; the first is before the products below, which need more memory.
  static std::map<std::string, double> memory_of;
  const double memory = memory_of.try_emplace(key, megabytes()).first->second;
  static const double f32 = gemm_rate(DType::f32), narrow = gemm_rate(DType::bf16);
  const double gemm = dtype == DType::bf16 ? narrow : f32;
  report_flops(state, flops, dtype == DType::bf16);
  const double iterations = static_cast<double>(state.iterations());
  state.counters["of_gemm"] = benchmark::Counter(flops * iterations / gemm, benchmark::Counter::kIsRate);
  state.counters["peak_rss_MB"] = memory;
}

// The loss as the formula says it, with the whole matrix.
Var naive_nt_xent(const Var& z1, const Var& z2, double temperature) {
  const int64_t n = z1.size(0);
  const Var z = l2_normalize(cat(std::vector{z1, z2}, 0));                      // [2N, D]
  const Var s = affine(matmul(z, transpose(z, 0, 1)), 1.0 / temperature, 0.0);  // [2N, 2N]
  Tensor others = Tensor::full({2 * n, 2 * n}, 1.0, DType::boolean),
         target = Tensor::empty({2 * n, 1}, DType::i64);
  for (int64_t a = 0; a < 2 * n; ++a) {
    others.write<bool>("bench")[a * 2 * n + a] = false;
    target.write<int64_t>("bench")[a] = (a + n) % (2 * n);
  }
  return mean(sub(logsumexp(s, others), reshape(gather(s, target), {2 * n})));
}

void nt_xent(benchmark::State& state, int64_t rows, int64_t depth, DType dtype, bool naive) {
  const std::vector<Var> z{Var::leaf(noise({rows / 2, depth}, dtype, 1)),
                           Var::leaf(noise({rows / 2, depth}, dtype, 2))};
  for (auto _ : state) {
    const Var loss = naive ? naive_nt_xent(z[0], z[1], 0.5) : ssl::nt_xent(z[0], z[1]).loss;
    benchmark::DoNotOptimize(grad(std::vector{loss}, z));
  }
  const double n = static_cast<double>(rows);
  report(state, concat(naive, " ", rows, dtype), 4.0 * n * n * static_cast<double>(depth), dtype);
}

void info_nce(benchmark::State& state, int64_t rows, int64_t queue, int64_t depth, DType dtype) {
  const Var q = Var::leaf(noise({rows, depth}, dtype, 1)), k(noise({rows, depth}, dtype, 2));
  const Var past = l2_normalize(Var(noise({queue, depth}, DType::f32, 3)));
  for (auto _ : state)
    benchmark::DoNotOptimize(grad(std::vector{ssl::info_nce(q, k, past).loss}, std::vector{q}));
  report(state, concat("queue ", queue, dtype), 6.0 * static_cast<double>(rows * queue * depth), dtype);
}

}  // namespace
}  // namespace juxta::bench

int main(int argc, char** argv) {
  using namespace juxta;
  using namespace juxta::bench;
  const auto add = [](const std::string& name, auto... args) {
    return benchmark::RegisterBenchmark(name.c_str(), args...)->UseRealTime();
  };
  for (const int64_t rows : {512, 4096, 16384}) {
    const std::string name = concat("nt_xent/", rows, "/128/");
    add(name + "shipped", nt_xent, rows, 128, DType::f32, false);
    add(name + "shipped_bf16", nt_xent, rows, 128, DType::bf16, false);
  }
  add("info_nce/256/65536/128/shipped", info_nce, 256, 65536, 128, DType::f32);
  for (const int64_t rows : {512, 4096})
    add(concat("nt_xent/", rows, "/128/naive"), nt_xent, rows, 128, DType::f32, true);
  // Minutes: for the memory figure.
  add("nt_xent/131072/128/shipped", nt_xent, 131072, 128, DType::f32, false)->Iterations(1);
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}

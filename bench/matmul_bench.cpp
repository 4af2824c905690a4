// Products on every table, beside OpenBLAS (its own kernels for this CPU) and Eigen (as these flags compile
// it: the x86-64 baseline). Names read family/dtype/who/orientation/MxNxK/threads; orientation says which
// operand is transposed in memory. of_peak is the share of the FMA (bf16: dot product) rate of as many
// threads.
//
//   matmul_bench --benchmark_filter=square/f32        sizes 256 .. 2048
//   matmul_bench --benchmark_filter=shapes            the products of ViT-Ti, ResNet heads and their
//   gradients matmul_bench --benchmark_filter='linear|small'    cached weights, batches of small products,
//   vectors
#include <Eigen/Dense>
#include <string>

#include "autograd/ops.h"
#include "bench/peak.h"
#include "kernels/matmul.h"

#if defined(JUXTA_HAVE_OPENBLAS)
extern "C" {
void cblas_sgemm(int order, int trans_a, int trans_b, int m, int n, int k, float alpha, const float* a,
                 int lda, const float* b, int ldb, float beta, float* c, int ldc);
void openblas_set_num_threads(int n);
}
#endif

namespace juxta::bench {
namespace {

struct Shape {
  int64_t batch, m, n, k;
  const char* orientation;  // "nn", "nt" (B transposed in memory), "tn" (A transposed)
  double flops() const { return 2.0 * static_cast<double>(batch * m * n * k); }
};

// Peaks are measured on all threads; a run with fewer is held against its part.
void report(benchmark::State& state, const Shape& s, int threads, bool bf16) {
  static const int all = num_threads();
  const double peak = (bf16 && peak_flops_bf16() > 0 ? peak_flops_bf16() : peak_flops()) * threads / all;
  const double total = s.flops() * static_cast<double>(state.iterations());
  state.counters["GFLOP/s"] = benchmark::Counter(total * 1e-9, benchmark::Counter::kIsRate);
  state.counters["of_peak"] = benchmark::Counter(total / peak, benchmark::Counter::kIsRate);
}

Tensor operand(int64_t batch, int64_t rows, int64_t cols, bool transposed, DType dtype) {
  Dims dims = transposed ? Dims{batch, cols, rows} : Dims{batch, rows, cols};
  if (batch == 1) dims.erase(0);
  const Tensor t = Tensor::full(dims, 0.01, dtype);
  return transposed ? t.transpose(-1, -2) : t;
}

void ours(benchmark::State& state, Shape s, int table, DType dtype, int threads) {
  const ForceTable force(table);
  const NoGrad no_grad;
  const Var a(operand(s.batch, s.m, s.k, s.orientation[0] == 't', dtype)),
      b(operand(s.batch, s.k, s.n, s.orientation[1] == 't', dtype));
  const int outer = num_threads();
  set_num_threads(threads);
  for (auto _ : state) benchmark::DoNotOptimize(matmul(a, b).value().raw());
  set_num_threads(outer);
  report(state, s, threads, dtype == DType::bf16 && table == static_cast<int>(Isa::avx512bf16));
}

// A layer in inference: the weight's panels come from the cache.
void ours_linear(benchmark::State& state, Shape s, Act act, DType dtype, int threads) {
  const NoGrad no_grad;
  const Var x(Tensor::full({s.m, s.k}, 0.01, dtype)), w(Tensor::full({s.n, s.k}, 0.01)),
      bias(Tensor::full({s.n}, 0.01));
  const int outer = num_threads();
  set_num_threads(threads);
  for (auto _ : state) benchmark::DoNotOptimize(linear(x, w, bias, act).value().raw());
  set_num_threads(outer);
  report(state, s, threads, dtype == DType::bf16 && active_isa() == Isa::avx512bf16);
}

#if defined(JUXTA_HAVE_OPENBLAS)
void openblas(benchmark::State& state, Shape s, int threads) {
  constexpr int kRowMajor = 101, kNo = 111, kTrans = 112;
  const bool ta = s.orientation[0] == 't', tb = s.orientation[1] == 't';
  const Tensor a = Tensor::full({s.m, s.k}, 0.01), b = Tensor::full({s.k, s.n}, 0.01);
  Tensor c = Tensor::empty({s.m, s.n});
  const int m = static_cast<int>(s.m), n = static_cast<int>(s.n), k = static_cast<int>(s.k);
  openblas_set_num_threads(threads);
  for (auto _ : state) {
    for (int64_t i = 0; i < s.batch; ++i)
      cblas_sgemm(kRowMajor, ta ? kTrans : kNo, tb ? kTrans : kNo, m, n, k, 1.0f, a.data<float>(), ta ? m : k,
                  b.data<float>(), tb ? k : n, 0.0f, c.write<float>("bench"), n);
    benchmark::ClobberMemory();
  }
  report(state, s, threads, false);
}
#endif

void eigen(benchmark::State& state, Shape s) {
  using Matrix = Eigen::Matrix<float, Eigen::Dynamic, Eigen::Dynamic, Eigen::RowMajor>;
  const Matrix a = Matrix::Constant(s.m, s.k, 0.01f), b = Matrix::Constant(s.k, s.n, 0.01f);
  Matrix c(s.m, s.n);
  for (auto _ : state) {
    c.noalias() = a * b;
    benchmark::DoNotOptimize(c.data());
  }
  report(state, s, 1, false);
}

std::string label(const char* group, const char* dtype, const char* who, const Shape& s, int threads) {
  std::string name = concat(group, "/", dtype, "/", who, "/", s.orientation, "/");
  if (s.batch > 1) name += concat(s.batch, "x");
  return name + concat(s.m, "x", s.n, "x", s.k, "/threads:", threads);
}

template <class F, class... Extra>
void add(const std::string& name, F function, Extra... extra) {
  benchmark::RegisterBenchmark(name.c_str(), function, extra...)
      ->UseRealTime()
      ->Unit(benchmark::kMicrosecond);
}

void add_shape(const char* group, const Shape& s, bool every_table) {
  for (int threads = 1; threads <= num_threads(); threads *= 2) {
    for (const int table : cpu_tables()) {
      if (!every_table && table != static_cast<int>(host_isas().back())) continue;
      if (table < 0 && s.flops() > 1e9) continue;  // plain loops: seconds
      const char* who = table_name(table);
      for (DType d : {DType::f32, DType::bf16})
        add(label(group, name_of(d), who, s, threads), ours, s, table, d, threads);
    }
#if defined(JUXTA_HAVE_OPENBLAS)
    add(label(group, "f32", "openblas", s, threads), openblas, s, threads);
#endif
  }
  if (every_table) add(label(group, "f32", "eigen", s, 1), eigen, s);
}

}  // namespace
}  // namespace juxta::bench

int main(int argc, char** argv) {
  using namespace juxta;
  using namespace juxta::bench;
  peak_flops();  // before any thread count is set
  peak_flops_bf16();
  for (int64_t n : {256, 512, 1024, 2048}) add_shape("square", {1, n, n, n, "nn"}, true);
  for (const char* o : {"nt", "tn", "tt"}) add_shape("square", {1, 1024, 1024, 1024, o}, false);
  // ViT-Ti with 64 images of 197 tokens: qkv, attention output, MLP; weight gradients; heads of ResNet and
  // SimCLR.
  const Shape shapes[] = {{1, 12608, 576, 192, "nt"}, {1, 12608, 192, 192, "nt"}, {1, 12608, 768, 192, "nt"},
                          {1, 12608, 192, 768, "nt"}, {1, 12608, 192, 768, "nn"}, {1, 192, 192, 12608, "tn"},
                          {1, 768, 192, 12608, "tn"}, {1, 256, 128, 512, "nt"},   {1, 512, 512, 512, "nt"},
                          {1, 256, 10, 512, "nt"},    {1, 512, 128, 256, "tn"},   {1, 512, 512, 128, "nt"},
                          {1, 256, 65536, 128, "nt"}};
  for (const Shape& s : shapes) add_shape("shapes", s, false);
  const Shape small[] = {{192, 197, 197, 64, "nt"}, {192, 197, 64, 197, "nn"}, {4096, 8, 8, 8, "nn"},
                         {1024, 16, 16, 16, "nt"},  {1, 1, 4096, 4096, "nn"},  {1, 1, 4096, 4096, "nt"},
                         {1, 4096, 1, 4096, "nn"},  {1, 8, 4096, 1024, "nt"},  {1, 4096, 8, 1024, "nn"}};
  for (const Shape& s : small) add_shape("small", s, false);
  for (int threads = 1; threads <= num_threads(); threads *= 2)
    for (Act act : {Act::none, Act::gelu})
      for (DType d : {DType::f32, DType::bf16})
        for (const Shape& s : {Shape{1, 12608, 768, 192, "nt"}, Shape{1, 12608, 192, 768, "nt"},
                               Shape{1, 256, 512, 512, "nt"}, Shape{1, 1, 512, 512, "nt"}})
          add(label("linear", name_of(d), to_text(act), s, threads), ours_linear, s, act, d, threads);
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}

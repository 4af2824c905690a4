#include "bench/peak.h"

#include <algorithm>
#include <chrono>
#include <vector>

#include "tensor/cpu.h"
#include "tensor/parallel.h"
#if defined(__x86_64__)
#include <immintrin.h>
#endif

namespace juxta::bench {

namespace {

double seconds() {
  return std::chrono::duration<double>(std::chrono::steady_clock::now().time_since_epoch()).count();
}

// Best of several runs of `work` on all threads, in units per second.
template <class F>
double best_rate(double units_per_thread, F work) {
  const int threads = num_threads();
  double best = 0;
  for (int i = 0; i < 5; ++i) {
    const double start = seconds();
    parallel_for(threads, 1, [&](int64_t, int64_t) { work(); });
    best = std::max(best, units_per_thread * threads / (seconds() - start));
  }
  return best;
}

constexpr int kRounds = 2'000'000, kChains = 12;  // 12 chains cover latency 4 at two FMAs per cycle

#if defined(__x86_64__)
__attribute__((target("avx512f"))) void fma_512() {
  __m512 acc[kChains], a = _mm512_set1_ps(0.999f), b = _mm512_set1_ps(1e-3f);
  for (auto& x : acc) x = b;
  for (int r = 0; r < kRounds; ++r)
    for (auto& x : acc) x = _mm512_fmadd_ps(x, a, b);
  for (auto& x : acc) benchmark::DoNotOptimize(x);
}
__attribute__((target("avx2,fma"))) void fma_256() {
  __m256 acc[kChains], a = _mm256_set1_ps(0.999f), b = _mm256_set1_ps(1e-3f);
  for (auto& x : acc) x = b;
  for (int r = 0; r < kRounds; ++r)
    for (auto& x : acc) x = _mm256_fmadd_ps(x, a, b);
  for (auto& x : acc) benchmark::DoNotOptimize(x);
}
__attribute__((target("avx512f,avx512bf16"))) void dot_bf16() {
  __m512 acc[kChains];
  const __m512bh a = reinterpret_cast<__m512bh>(_mm512_set1_epi32(0x3f803f80));
  for (auto& x : acc) x = _mm512_setzero_ps();
  for (int r = 0; r < kRounds; ++r)
    for (auto& x : acc) x = _mm512_dpbf16_ps(x, a, a);
  for (auto& x : acc) benchmark::DoNotOptimize(x);
}
#endif

void fma_scalar() {
  float acc[kChains * 4];
  for (auto& x : acc) x = 1e-3f;
  for (int r = 0; r < kRounds; ++r)
    for (auto& x : acc) x = x * 0.999f + 1e-3f;
  for (auto& x : acc) benchmark::DoNotOptimize(x);
}

bool host_has(Isa isa) { return host_isas().back() >= isa; }

}  // namespace

double peak_flops() {
  static const double peak = [] {
#if defined(__x86_64__)
    if (host_has(Isa::avx512)) return best_rate(2.0 * 16 * kChains * kRounds, fma_512);
    if (host_has(Isa::avx2)) return best_rate(2.0 * 8 * kChains * kRounds, fma_256);
#endif
    return best_rate(2.0 * 4 * kChains * kRounds, fma_scalar);
  }();
  return peak;
}

double peak_flops_bf16() {
  static const double peak = [] {
#if defined(__x86_64__)
    if (host_has(Isa::avx512bf16)) return best_rate(4.0 * 16 * kChains * kRounds, dot_bf16);
#endif
    return 0.0;
  }();
  return peak;
}

double peak_bandwidth() {
  static const double peak = [] {
    const int64_t n = int64_t{32} << 20;
    std::vector<float> a(static_cast<size_t>(n)), b(a.size(), 1.0f), c(a.size(), 2.0f);
    double best = 0;
    for (int i = 0; i < 5; ++i) {
      const double start = seconds();
      parallel_for(n, n / num_threads() + 1, [&](int64_t begin, int64_t end) {
        for (int64_t k = begin; k < end; ++k)
          a[static_cast<size_t>(k)] = b[static_cast<size_t>(k)] + 3.0f * c[static_cast<size_t>(k)];
      });
      best = std::max(best, 12.0 * static_cast<double>(n) / (seconds() - start));
    }
    return best;
  }();
  return peak;
}

void report_flops(benchmark::State& state, double flops_per_iteration, bool bf16) {
  const double total = flops_per_iteration * static_cast<double>(state.iterations());
  const double peak = bf16 && peak_flops_bf16() > 0 ? peak_flops_bf16() : peak_flops();
  state.counters["GFLOP/s"] = benchmark::Counter(total * 1e-9, benchmark::Counter::kIsRate);
  state.counters["of_peak"] = benchmark::Counter(total / peak, benchmark::Counter::kIsRate);
}

void report_bytes(benchmark::State& state, double bytes_per_iteration) {
  const double total = bytes_per_iteration * static_cast<double>(state.iterations());
  state.counters["GB/s"] = benchmark::Counter(total * 1e-9, benchmark::Counter::kIsRate);
  state.counters["of_peak"] = benchmark::Counter(total / peak_bandwidth(), benchmark::Counter::kIsRate);
}

}  // namespace juxta::bench

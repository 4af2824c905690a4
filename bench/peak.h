#pragma once
// This machine's measured ceilings, so that every benchmark can print its share of them. Measured once per
// process, with the threads parallel_for uses.
#include <benchmark/benchmark.h>

namespace juxta::bench {

double peak_flops();       // f32 fused multiply-adds, flop/s over all threads (2 flops per FMA and lane)
double peak_flops_bf16();  // bf16 dot products (0 where the CPU has none)
double
peak_bandwidth();  // stream triad a = b + s c over arrays far larger than the caches, bytes/s (3 per element)

// Sets GFLOP/s and the share of peak_flops() as counters of a finished benchmark.
void report_flops(benchmark::State& state, double flops_per_iteration, bool bf16 = false);
// Sets GB/s and the share of peak_bandwidth().
void report_bytes(benchmark::State& state, double bytes_per_iteration);

}  // namespace juxta::bench

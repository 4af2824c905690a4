#pragma once
// CPU features, read from CPUID once. Kernels exist once per Isa; tables are chosen by features, never by CPU
// model.
#include <span>
#include <string_view>

namespace juxta {

// Ordered: each level includes those before it.
//   generic     x86-64 baseline (SSE2), or any other machine
//   avx2        AVX2, FMA, F16C
//   avx512      AVX-512 F, BW, DQ, VL
//   avx512bf16  avx512 with the BF16 dot products
enum class Isa { generic, avx2, avx512, avx512bf16 };
inline constexpr int kIsaCount = 4;

const char* name_of(Isa isa);
inline const char* to_text(Isa isa) { return name_of(isa); }

// The kernels this build holds, a bit per level, in tensor/cpu.cpp and kernels/*.cpp (CMake's JUXTA_ISAS).
#if !defined(JUXTA_ISA_MASK)
#define JUXTA_ISA_MASK 15
#endif

// Levels that this machine runs and this build holds, lowest first; tests visit all of them.
std::span<const Isa> host_isas();
// The level in use: the highest of host_isas(), or what JUXTA_ISA names (Error on an unknown or unsupported
// name).
Isa active_isa();

// Cache sizes in bytes as the CPU reports them (defaults 32 KiB / 1 MiB where it does not).
struct CacheSizes {
  long l1d, l2, l3;
};
const CacheSizes& cache_sizes();

}  // namespace juxta

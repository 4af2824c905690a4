#include "tensor/cpu.h"

#include <unistd.h>

#include <algorithm>
#include <cstdlib>
#include <vector>

#include "tensor/error.h"

namespace juxta {

namespace {

constexpr const char* kNames[kIsaCount] = {"generic", "avx2", "avx512", "avx512bf16"};

std::vector<Isa> detect() {
  std::vector<Isa> isas{Isa::generic};
#if defined(__x86_64__)
  __builtin_cpu_init();
  if (!(__builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma"))) return isas;
  isas.push_back(Isa::avx2);
  if (!(__builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
        __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl")))
    return isas;
  isas.push_back(Isa::avx512);
  // Leaf 7, sub-leaf 1, EAX bit 5; clang 14 does not know the feature's name.
  unsigned eax = 7, ebx = 0, ecx = 1, edx = 0;
  __asm__ volatile("cpuid" : "+a"(eax), "=b"(ebx), "+c"(ecx), "=d"(edx));
  if (eax & (1u << 5)) isas.push_back(Isa::avx512bf16);
#endif
  return isas;
}

const std::vector<Isa>& isas() {
  static const std::vector<Isa> list = [] {
    std::vector<Isa> both = detect();
    std::erase_if(both, [](Isa isa) { return (JUXTA_ISA_MASK >> static_cast<int>(isa) & 1) == 0; });
    return both;
  }();
  return list;
}

Isa choose() {
  const char* forced = std::getenv("JUXTA_ISA");
  if (!forced || !*forced) return isas().back();
  for (int i = 0; i < kIsaCount; ++i) {
    if (std::string_view(forced) != kNames[i]) continue;
    const Isa isa = static_cast<Isa>(i);
    JX_CHECK(std::ranges::find(isas(), isa) != isas().end(), "JUXTA_ISA=", forced,
             ": this CPU does not run it, or the build left it out (JUXTA_ISAS); the highest is ",
             isas().back());
    return isa;
  }
  JX_FAIL("JUXTA_ISA: expected generic, avx2, avx512 or avx512bf16; got '", forced, "'");
}

long cache_or(int name, long fallback) {
  const long n = sysconf(name);
  return n > 0 ? n : fallback;
}

}  // namespace

const char* name_of(Isa isa) { return kNames[static_cast<int>(isa)]; }
std::span<const Isa> host_isas() { return isas(); }
Isa active_isa() {
  static const Isa isa = choose();
  return isa;
}

const CacheSizes& cache_sizes() {
  static const CacheSizes sizes{cache_or(_SC_LEVEL1_DCACHE_SIZE, 32 << 10),
                                cache_or(_SC_LEVEL2_CACHE_SIZE, 1 << 20),
                                cache_or(_SC_LEVEL3_CACHE_SIZE, 8 << 20)};
  return sizes;
}

}  // namespace juxta

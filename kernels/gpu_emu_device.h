#pragma once
// CUDA's language for kernels compiled by the C++ compiler: types, built-in variables, barriers, warp
// functions, atomics on integers and intrinsics, under CUDA's names (CUDA C++ Programming Guide, appendix
// "C++ Language Extensions"). Everything lies in juxta::emu, where the kernels of a .cu file lie too.
//
// Not offered on purpose: atomics on floats (their order, and so the result, would vary), __activemask and
// warps without a mask (there is no lockstep to rely on), cooperative groups, textures, dynamic parallelism.
#include <math.h>

#include <bit>
#include <concepts>
#include <cstdint>
#include <type_traits>

#include "kernels/gpu_launch.h"

// NOLINTBEGIN(bugprone-reserved-identifier, readability-identifier-naming): the names are CUDA's
#define __global__
#define __device__
#define __host__
#define __forceinline__ inline __attribute__((always_inline))
#define __launch_bounds__(...)
#define __align__(n) alignas(n)
// Only for Shared<T, N> (gpu_emu_shared.h): a bare array would be neither checked nor poisoned.
#define __shared__ static thread_local

namespace juxta::emu {

struct uint3 {
  unsigned x = 0, y = 0, z = 0;
};
struct dim3 {
  unsigned x, y, z;
  constexpr dim3(unsigned x_ = 1, unsigned y_ = 1, unsigned z_ = 1) : x(x_), y(y_), z(z_) {}
};
struct alignas(8) float2 {
  float x, y;
};
struct alignas(16) float4 {
  float x, y, z, w;
};
struct alignas(8) int2 {
  int x, y;
};
struct alignas(16) int4 {
  int x, y, z, w;
};
struct alignas(8) uint2 {
  unsigned x, y;
};
struct alignas(16) uint4 {
  unsigned x, y, z, w;
};
inline float2 make_float2(float x, float y) { return {x, y}; }
inline float4 make_float4(float x, float y, float z, float w) { return {x, y, z, w}; }
inline int2 make_int2(int x, int y) { return {x, y}; }
inline int4 make_int4(int x, int y, int z, int w) { return {x, y, z, w}; }
inline uint2 make_uint2(unsigned x, unsigned y) { return {x, y}; }
inline uint4 make_uint4(unsigned x, unsigned y, unsigned z, unsigned w) { return {x, y, z, w}; }

// Set by the emulator whenever it turns to another thread.
inline constinit thread_local uint3 threadIdx{}, blockIdx{};
inline constinit thread_local dim3 blockDim{}, gridDim{};
inline constexpr int warpSize = 32;

// A place in the source of a kernel.
struct Site {
  const char* file = "";
  int line = 0;
};

// Runs when all lanes of a mask have come to the same call: data[l] is what lane l handed in.
using WarpFn = void (*)(void* const data[kWarp], unsigned mask);

namespace detail {
int block_barrier(int predicate, Site site);  // number of threads whose predicate is not 0
void warp_call(WarpFn call, unsigned mask, void* data, Site site);
void sync_warp(void* const data[kWarp], unsigned mask);  // the WarpFn of __syncwarp, for the race detector
// A load or store of the running thread: faults unless aligned and inside one emulated buffer; counted.
void note_global(const void* p, size_t bytes, size_t align, bool writes);
void note_atomic(const void* p, size_t bytes);
[[noreturn]] void bad_width(int width);

struct Shuffle {
  uint64_t in, out;
  unsigned source;
  bool own;  // the source lies outside the segment: the lane keeps its value
};
void shuffle(void* const data[kWarp], unsigned mask);
void ballot(void* const data[kWarp], unsigned mask);  // data: unsigned predicate in, ballot out
inline unsigned lane() {
  return (threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z)) % kWarp;
}

template <class T>
concept Shuffled = std::same_as<T, float> || std::same_as<T, double> ||
                   (std::integral<T> && !std::same_as<T, bool> && sizeof(T) >= 4);

template <Shuffled T>
T exchange(unsigned mask, T value, unsigned source, bool own, Site site) {
  Shuffle s{0, 0, source, own};
  __builtin_memcpy(&s.in, &value, sizeof value);
  warp_call(shuffle, mask, &s, site);
  __builtin_memcpy(&value, &s.out, sizeof value);
  return value;
}
inline unsigned checked_width(int width) {
  if (width < 1 || width > 32 || (width & (width - 1)) != 0) bad_width(width);
  return static_cast<unsigned>(width);
}
}  // namespace detail

#define JX_SITE const char *file = __builtin_FILE(), int line = __builtin_LINE()

inline void __syncthreads(JX_SITE) { detail::block_barrier(0, {file, line}); }
inline int __syncthreads_count(int p, JX_SITE) { return detail::block_barrier(p, {file, line}); }
inline int __syncthreads_or(int p, JX_SITE) { return detail::block_barrier(p, {file, line}) != 0; }
inline int __syncthreads_and(int p, JX_SITE) {
  return detail::block_barrier(!p, {file, line}) == 0;  // nobody says no
}
inline void __syncwarp(unsigned mask = kFullMask, JX_SITE) {
  detail::warp_call(detail::sync_warp, mask, nullptr, {file, line});
}
inline void __threadfence() {}  // memory is sequentially consistent here
inline void __threadfence_block() {}

template <detail::Shuffled T>
T __shfl_sync(unsigned mask, T v, int source, int width = 32, JX_SITE) {
  const unsigned w = detail::checked_width(width), lane = detail::lane();
  return detail::exchange(mask, v, lane / w * w + static_cast<unsigned>(source) % w, false, {file, line});
}
template <detail::Shuffled T>
T __shfl_up_sync(unsigned mask, T v, unsigned delta, int width = 32, JX_SITE) {
  const unsigned w = detail::checked_width(width), lane = detail::lane();
  const bool own = lane % w < delta;
  return detail::exchange(mask, v, own ? lane : lane - delta, own, {file, line});
}
template <detail::Shuffled T>
T __shfl_down_sync(unsigned mask, T v, unsigned delta, int width = 32, JX_SITE) {
  const unsigned w = detail::checked_width(width), lane = detail::lane();
  const bool own = lane % w + delta >= w;
  return detail::exchange(mask, v, own ? lane : lane + delta, own, {file, line});
}
template <detail::Shuffled T>
T __shfl_xor_sync(unsigned mask, T v, int lane_mask, int width = 32, JX_SITE) {
  const unsigned w = detail::checked_width(width), lane = detail::lane();
  const unsigned source = lane ^ static_cast<unsigned>(lane_mask);
  const bool own = source > (lane | (w - 1));  // later segments are out of reach, earlier ones are not
  return detail::exchange(mask, v, own ? lane : source, own, {file, line});
}
inline unsigned __ballot_sync(unsigned mask, int predicate, JX_SITE) {
  unsigned vote = predicate != 0;
  detail::warp_call(detail::ballot, mask, &vote, {file, line});
  return vote;
}
inline int __any_sync(unsigned mask, int predicate, JX_SITE) {
  return __ballot_sync(mask, predicate, file, line) != 0;
}
inline int __all_sync(unsigned mask, int predicate, JX_SITE) {
  return __ballot_sync(mask, predicate, file, line) == mask;
}

// Atomics on integers in global memory; those on shared memory are in gpu_emu_shared.h. Plain here: one host
// thread runs a block, and the blocks of a grid one after another.
template <class T>
concept AtomicInt = std::same_as<T, int> || std::same_as<T, unsigned> || std::same_as<T, unsigned long long>;
namespace detail {
template <AtomicInt T, class F>
T atomic(T* p, F change) {
  note_atomic(p, sizeof(T));
  const T old = *p;
  *p = change(old);
  return old;
}
}  // namespace detail
template <AtomicInt T>
T atomicAdd(T* p, std::type_identity_t<T> v) {
  using U = std::make_unsigned_t<T>;  // wraps, as the hardware does
  return detail::atomic(p, [v](T old) { return static_cast<T>(static_cast<U>(old) + static_cast<U>(v)); });
}
template <AtomicInt T>
T atomicMax(T* p, std::type_identity_t<T> v) {
  return detail::atomic(p, [v](T old) { return old > v ? old : v; });
}
template <AtomicInt T>
T atomicMin(T* p, std::type_identity_t<T> v) {
  return detail::atomic(p, [v](T old) { return old < v ? old : v; });
}
template <AtomicInt T>
T atomicOr(T* p, std::type_identity_t<T> v) {
  return detail::atomic(p, [v](T old) { return old | v; });
}
template <AtomicInt T>
T atomicAnd(T* p, std::type_identity_t<T> v) {
  return detail::atomic(p, [v](T old) { return old & v; });
}
template <AtomicInt T>
T atomicExch(T* p, std::type_identity_t<T> v) {
  return detail::atomic(p, [v](T) { return v; });
}
template <AtomicInt T>
T atomicCAS(T* p, std::type_identity_t<T> expected, std::type_identity_t<T> v) {
  return detail::atomic(p, [=](T old) { return old == expected ? v : old; });
}
float atomicAdd(float*, float) = delete;  // the order of additions would change the result from run to run
double atomicAdd(double*, double) = delete;

// Loads and stores with a cache hint.
template <class T>
T __ldg(const T* p) {
  detail::note_global(p, sizeof(T), alignof(T), false);
  return *p;
}
template <class T>
T __ldcs(const T* p) {
  return __ldg(p);
}
template <class T>
T __ldcg(const T* p) {
  return __ldg(p);
}
template <class T>
void __stcs(T* p, std::type_identity_t<T> v) {
  detail::note_global(p, sizeof(T), alignof(T), true);
  *p = v;
}

// Intrinsics. The approximate ones are exact here: compare kernels with bounds, never bit for bit.
inline float __expf(float x) { return ::expf(x); }
inline float __exp2f(float x) { return ::exp2f(x); }
inline float __logf(float x) { return ::logf(x); }
inline float __log2f(float x) { return ::log2f(x); }
inline float __sinf(float x) { return ::sinf(x); }
inline float __cosf(float x) { return ::cosf(x); }
inline float __powf(float x, float y) { return ::powf(x, y); }
inline float __fdividef(float x, float y) { return x / y; }
inline float __frcp_rn(float x) { return 1.0f / x; }
inline float __fsqrt_rn(float x) { return ::sqrtf(x); }
inline float __fmaf_rn(float a, float b, float c) { return ::fmaf(a, b, c); }
inline float rsqrtf(float x) { return 1.0f / ::sqrtf(x); }
inline float normcdff(float x) { return 0.5f * ::erfcf(x * -0.70710678f); }
inline int __float2int_rn(float x) { return static_cast<int>(::rintf(x)); }
inline int __float_as_int(float x) { return std::bit_cast<int>(x); }
inline unsigned __float_as_uint(float x) { return std::bit_cast<unsigned>(x); }
inline float __int_as_float(int x) { return std::bit_cast<float>(x); }
inline float __uint_as_float(unsigned x) { return std::bit_cast<float>(x); }
inline int __popc(unsigned x) { return std::popcount(x); }
inline int __popcll(unsigned long long x) { return std::popcount(x); }
inline int __clz(int x) { return std::countl_zero(static_cast<unsigned>(x)); }
inline int __ffs(int x) { return x == 0 ? 0 : std::countr_zero(static_cast<unsigned>(x)) + 1; }
inline unsigned __umulhi(unsigned a, unsigned b) {
  return static_cast<unsigned>((uint64_t{a} * uint64_t{b}) >> 32);
}
template <class T>
requires std::is_arithmetic_v<T> T min(T a, T b) { return b < a ? b : a; }
template <class T>
requires std::is_arithmetic_v<T> T max(T a, T b) { return a < b ? b : a; }

}  // namespace juxta::emu
// NOLINTEND(bugprone-reserved-identifier, readability-identifier-naming)

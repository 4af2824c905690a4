// The emulator of kernels/gpu.h, continued: global memory, launch limits, cp.async, mma, ldmatrix, counters.
// Also the CUDA device shim on a machine without a device.
#include <cstring>
#include <vector>

#include "kernels/gpu_prims.h"
#include "tests/support.h"

#if defined(__SANITIZE_ADDRESS__)
// A fault leaves the emulated threads of its block where they stand, and with them what their stacks own.
extern "C" const char* __asan_default_options() { return "detect_leaks=0"; }
#endif

namespace juxta::emu {
namespace {

using test::expect_error;

template <class T>
struct Global {
  explicit Global(size_t n, T value = T()) : p(static_cast<T*>(emu_malloc(n * sizeof(T)))), n(n) {
    for (size_t i = 0; i < n; ++i) p[i] = value;
  }
  ~Global() { emu_free(p); }
  Global(const Global&) = delete;
  Global& operator=(const Global&) = delete;
  T* p;
  size_t n;
};

// ---- bounds ----

// A thread per element, the guard forgotten.
__global__ void store_checked(float* o) { st(o + blockIdx.x * blockDim.x + threadIdx.x, 1.0f); }
__global__ void store_raw(float* o, int first) { o[first + static_cast<int>(threadIdx.x)] = 1.0f; }
// Reads null on purpose, which the sanitizer of undefined behaviour would report before the emulator does.
__attribute__((no_sanitize("null"))) __global__ void load_raw(const float* x, float* o) { *o = *x; }
__global__ void load_checked(const float* x, float* o) { st(o, ld(x)); }
__global__ void load_vector(const float* x, float* o) { st(o, ld(reinterpret_cast<const float4*>(x)).w); }

TEST(EmuMemory, OneElementPastTheEndIsReportedToTheByte) {
  for (const size_t n : {64, 63, 61}) {  // ends at the guard page and 4 or 12 bytes before it
    const Global<float> o(n);
    launch("store", store_checked, 1, static_cast<unsigned>(n), 0, nullptr, o.p);
    EXPECT_EQ(o.p[n - 1], 1.0f);
    expect_error([&] { launch("store", store_checked, 1, static_cast<unsigned>(n + 1), 0, nullptr, o.p); },
                 {"store<<<", "out of bounds", "writes 4 bytes at 0 bytes past the end of a buffer",
                  concat("thread (", n, ",0,0)").c_str()});
  }
}

TEST(EmuMemory, RawPointersFaultAtTheGuardPage) {
  const Global<float> o(64);
  launch("store", store_raw, 1, 64, 0, nullptr, o.p, 0);
  expect_error(
      [&] { launch("store", store_raw, 1, 65, 0, nullptr, o.p, 0); },
      {"block (0,0,0)", "out of bounds: thread (64,0,0) writes", "0 bytes past the end of a buffer of 256"});
  expect_error([&] { launch("load", load_raw, 1, 1, 0, nullptr, o.p + 64, o.p); },
               {"reads", "0 bytes past the end"});
  expect_error([&] { launch("load", load_raw, 1, 1, 0, nullptr, o.p - 1024, o.p); },
               {"before a buffer of 256"});
  expect_error([&] { launch("load", load_raw, 1, 1, 0, nullptr, static_cast<const float*>(nullptr), o.p); },
               {"reads", "null pointer"});
}

TEST(EmuMemory, RawWritesBesideABufferAreSeenAfterTheLaunch) {
  const Global<float> odd(61);  // 12 bytes remain before the guard page
  expect_error([&] { launch("store", store_raw, 1, 1, 0, nullptr, odd.p, 61); },
               {"out of bounds", "beside a buffer of 244 bytes"});
  expect_error([&] { launch("store", store_raw, 1, 1, 0, nullptr, odd.p, -1); },
               {"out of bounds", "beside a buffer of 244 bytes"});
  launch("store", store_raw, 1, 1, 0, nullptr, odd.p, 60);  // the damage was reported once and mended
}

TEST(EmuMemory, FreedHostAndMisalignedMemoryAreRefused) {
  const Global<float> o(8);
  auto* freed = static_cast<float*>(emu_malloc(64));
  emu_free(freed);
  expect_error([&] { launch("load", load_checked, 1, 1, 0, nullptr, freed, o.p); },
               {"no emulated buffer holds"});
  const float host[8] = {};
  expect_error([&] { launch("load", load_checked, 1, 1, 0, nullptr, host, o.p); }, {"host or freed memory"});
  launch("load", load_vector, 1, 1, 0, nullptr, o.p + 4, o.p);
  expect_error([&] { launch("load", load_vector, 1, 1, 0, nullptr, o.p + 1, o.p); },
               {"misaligned", "offset 4"});
  EXPECT_THROW(emu_free(freed), Error);
  emu_free(nullptr);
}

TEST(EmuMemory, FreshMemoryIsNan) {
  auto* p = static_cast<float*>(emu_malloc(40));
  for (int i = 0; i < 10; ++i) EXPECT_NE(p[i], p[i]);
  EXPECT_EQ(reinterpret_cast<uintptr_t>(p) % 16, 0u);
  emu_free(p);
}

int deep(int n, const char* outer) {
  volatile char room[4096];
  room[0] = *outer;
  return n == 0 ? room[0] : deep(n - 1, const_cast<const char*>(room)) + room[0];
}
__global__ void recurse(int n) {
  const char c = 0;
  if (deep(n, &c) != 0) __syncthreads();
}

TEST(EmuMemory, StackOverflowIsReported) {
  launch("recurse", recurse, 1, 2, 0, nullptr, 3);
  expect_error([] { launch("recurse", recurse, 1, 2, 0, nullptr, 1000); },
               {"stack overflow", "thread (0,0,0)"});
}

// ---- launch ----

__global__ void nothing() {}
__global__ void much_static(float* out) {
  __shared__ Shared<float, 10 << 10> a;
  __shared__ Shared<float, 4 << 10> b;
  a[0] = 1.0f;
  b[0] = 1.0f;
  st(out, static_cast<float>(a[0]) + b[0]);
}
__global__ void some_static(float* out) {
  __shared__ Shared<float, 8 << 10> a;
  a[0] = 1.0f;
  st(out, a[0]);
}

TEST(EmuLaunch, LimitsOfTheDeviceAreEnforced) {
  const auto run = [](dim3 grid, dim3 block, SharedBytes shared) {
    return [=] { launch("nothing", nothing, grid, block, shared, nullptr); };
  };
  run({3, 2, 2}, {4, 4, 64}, 0)();
  run(1, 1024, kPlainSharedBytes)();
  run(1, 1, large_shared(kLargeSharedBytes))();
  expect_error(run(1, 1025, 0), {"nothing<<<", "block.x", "1024", "1025"});
  expect_error(run(1, {1, 1, 65}, 0), {"block.z", "64", "65"});
  expect_error(run(1, {64, 32, 1}, 0), {"2048 threads"});
  expect_error(run(0, 32, 0), {"grid.x", "got 0", "no work"});
  expect_error(run({1, 65536, 1}, 32, 0), {"grid.y", "65535"});
  expect_error(run(1, 0, 0), {"block.x", "got 0"});
  expect_error(run(1, 32, kPlainSharedBytes + 1), {"49153", "large_shared()"});
  expect_error(run(1, 32, large_shared(kLargeSharedBytes + 1)), {"232449", "at most 232448"});
}

TEST(EmuLaunch, StaticAndDynamicSharedMemoryCountTogether) {
  const Global<float> out(1);
  launch("some", some_static, 1, 1, 16 << 10, nullptr, out.p);
  expect_error([&] { launch("some", some_static, 1, 1, (16 << 10) + 1, nullptr, out.p); },
               {"launch limit", "32768 bytes of static", "16385 of dynamic", "large_shared()"});
  launch("some", some_static, 1, 1, large_shared(195 << 10), nullptr, out.p);
  expect_error([&] { launch("some", some_static, 1, 1, large_shared(196 << 10), nullptr, out.p); },
               {"launch limit", "at most 49152 static and 232448 together"});
  expect_error([&] { launch("much", much_static, 1, 1, 0, nullptr, out.p); }, {"57344 bytes of static"});
}

__global__ void where(int* out) {  // every thread of a 3-D launch writes its own coordinates once
  const unsigned t = threadIdx.x + blockDim.x * (threadIdx.y + blockDim.y * threadIdx.z);
  const unsigned b = blockIdx.x + gridDim.x * (blockIdx.y + gridDim.y * blockIdx.z);
  const unsigned i = b * blockDim.x * blockDim.y * blockDim.z + t;
  st(out + i, ld(out + i) + static_cast<int>(i));
}

TEST(EmuLaunch, EveryThreadOfAGridRunsOnce) {
  for (const Schedule s : {Schedule::forward, Schedule::backward, Schedule::shuffled}) {
    const ForceSchedule force(s);
    const Global<int> out(3 * 2 * 2 * 5 * 3 * 2, 0);
    launch("where", where, {3, 2, 2}, {5, 3, 2}, 0, nullptr, out.p);
    for (size_t i = 0; i < out.n; ++i) EXPECT_EQ(out.p[i], static_cast<int>(i));
  }
}

__global__ void launches() { launch("inner", nothing, 1, 1, 0, nullptr); }
__global__ void throws() { JX_FAIL("from a kernel"); }

TEST(EmuLaunch, KernelsNeitherLaunchNorThrow) {
  expect_error([] { launch("outer", launches, 1, 1, 0, nullptr); }, {"outer<<<", "launches inner"});
  expect_error([] { launch("throws", throws, 1, 1, 0, nullptr); }, {"thread (0,0,0) threw", "from a kernel"});
  launch("nothing", nothing, 1, 1, 0, nullptr);
}

// ---- cp.async ----

enum class Copy { good, no_wait, overwrite, wrong_group, no_barrier };

template <Copy kCopy>
__global__ void pipeline(const float* x, float* out, int tiles) {  // tile k + 1 on its way while k is used
  __shared__ Shared<float, 2 * 128> buffer;
  const int t = static_cast<int>(threadIdx.x);
  const auto fetch = [&](int k) {
    if (k < tiles) cp_async_16(buffer + (k % 2 * 128 + 4 * t), x + k * 128 + 4 * t);
    cp_async_commit();
  };
  float sum = 0;
  fetch(0);
  for (int k = 0; k < tiles; ++k) {
    fetch(k + 1);
    if (kCopy == Copy::overwrite) buffer[k % 2 * 128 + 4 * t] = 0.0f;
    if (kCopy == Copy::wrong_group)
      cp_async_wait<2>();
    else if (kCopy != Copy::no_wait)
      cp_async_wait<1>();
    if (kCopy != Copy::no_barrier) __syncthreads();
    for (int i = 0; i < 4; ++i) sum += buffer[k % 2 * 128 + (4 * t + 5 + i) % 128];
    __syncthreads();
  }
  cp_async_wait_all();
  st(out + t, sum);
}

TEST(EmuCopy, AsyncCopiesArriveAtTheirWait) {
  const Global<float> x(3 * 128), out(32);
  for (size_t i = 0; i < x.n; ++i) x.p[i] = static_cast<float>(i);
  const auto run = [&](void (*kernel)(const float*, float*, int)) {
    return [=, &x, &out] { launch("pipeline", kernel, 1, 32, 0, nullptr, x.p, out.p, 3); };
  };
  run(pipeline<Copy::good>)();
  EXPECT_EQ(out.p[0], 3 * (5 + 6 + 7 + 8) + 4 * (128.0f + 256.0f));
  expect_error(run(pipeline<Copy::no_wait>), {"reads", "before the cp.async of thread", "waited for"});
  expect_error(run(pipeline<Copy::wrong_group>), {"reads", "before the cp.async"});
  expect_error(run(pipeline<Copy::overwrite>), {"writes", "before the cp.async"});
  expect_error(run(pipeline<Copy::no_barrier>), {"shared memory"});
}

__global__ void copy_part(const float* x, float* out, int bytes, int shift) {
  __shared__ Shared<float, 4> cell;
  cp_async_16(cell + 0, x + shift, bytes);
  cp_async_wait_all();
  for (int i = 0; i < 4; ++i) st(out + i, cell[i]);
}

TEST(EmuCopy, AsyncCopiesFillWithZerosAndCheckTheirSource) {
  const Global<float> x(6, 2.0f), out(4);
  launch("part", copy_part, 1, 1, 0, nullptr, x.p, out.p, 8, 4);
  EXPECT_EQ(std::vector<float>(out.p, out.p + 4), (std::vector<float>{2, 2, 0, 0}));
  expect_error([&] { launch("part", copy_part, 1, 1, 0, nullptr, x.p, out.p, 16, 4); },
               {"out of bounds", "16 bytes"});
  expect_error([&] { launch("part", copy_part, 1, 1, 0, nullptr, x.p, out.p, 8, 1); }, {"misaligned"});
  expect_error([&] { launch("part", copy_part, 1, 1, 0, nullptr, x.p, out.p, 20, 0); }, {"bytes", "20"});
}

// ---- mma and ldmatrix ----

// C [16, 8] = A [16, 16] B [16, 8]: A row-major by ldmatrix; B by ldmatrix_trans from [16, 8] rows, or from
// B^T [8, 16] by plain loads.
template <bool kTrans>
__global__ void multiply(const bf16* a, const bf16* b, float* c) {
  __shared__ Shared<bf16, 256> sa;
  __shared__ Shared<bf16, 256> sb;
  const int lane = static_cast<int>(threadIdx.x), g = lane / 4, t = lane % 4;
  for (int i = lane; i < 256; i += 32) {
    sa[i] = ld(a + i);
    sb[i] = i < 128 ? ld(b + i) : bf16(0.0f);
  }
  __syncwarp();
  uint32_t fa[4], fb[4];
  ldmatrix_x4(fa, sa + ((lane % 16) * 16 + lane / 16 * 8));
  if (kTrans) {
    ldmatrix_x4_trans(fb, sb + lane * 8);  // rows of 8: two matrices of B, two of zeros
  } else {
    for (int i = 0; i < 2; ++i) fb[i] = shared_cast<uint32_t>(sb + 0)[(g * 16 + 2 * t + 8 * i) / 2];
  }
  float d[4] = {1.0f, 1.0f, 1.0f, 1.0f};  // accumulates on top
  const uint32_t b2[2] = {fb[0], fb[1]};
  mma_16816(d, fa, b2);
  for (int i = 0; i < 4; ++i) st(c + (g + 8 * (i / 2)) * 8 + 2 * t + i % 2, d[i]);
}

TEST(EmuMma, FragmentsGiveThePlainProduct) {
  const Global<bf16> a(256), b(128);
  const Global<float> c(128);
  for (int trans = 0; trans < 2; ++trans) {
    for (size_t i = 0; i < 256; ++i)
      a.p[i] = bf16(static_cast<float>(static_cast<int>(i * 37 % 101) - 50) / 64);
    for (size_t i = 0; i < 128; ++i)
      b.p[i] = bf16(static_cast<float>(static_cast<int>(i * 53 % 97) - 48) / 32);
    launch("multiply", trans ? multiply<true> : multiply<false>, 1, 32, 0, nullptr, a.p, b.p, c.p);
    for (int r = 0; r < 16; ++r)
      for (int n = 0; n < 8; ++n) {
        double sum = 1, size = 1;
        for (int k = 0; k < 16; ++k) {
          const double p = double{a.p[r * 16 + k]} * double{trans ? b.p[k * 8 + n] : b.p[n * 16 + k]};
          sum += p;
          size += std::abs(p);
        }
        EXPECT_NEAR(c.p[r * 8 + n], sum, 1e-6 * size) << r << ' ' << n;
      }
  }
}

__global__ void half_mma() {
  float d[4] = {};
  const uint32_t a[4] = {}, b[2] = {};
  if (threadIdx.x < 16) mma_16816(d, a, b);
}
__global__ void racy_ldmatrix() {
  __shared__ Shared<bf16, 256> s;
  for (unsigned i = 0; i < 8; ++i) s[threadIdx.x * 8 + i] = bf16(1.0f);
  uint32_t r[4];
  ldmatrix_x4(r, s + (threadIdx.x ^ 1) * 8);
}

TEST(EmuMma, WarpInstructionsNeedTheWholeWarpAndABarrier) {
  expect_error([] { launch("half", half_mma, 1, 32, 0, nullptr); }, {"lane 16", "exited"});
  expect_error([] { launch("racy", racy_ldmatrix, 1, 32, 0, nullptr); }, {"shared memory"});
}

// ---- reductions ----

__global__ void reduce_all(const float* x, float* out) {
  __shared__ Shared<float, 2 * kWarp> scratch;
  const float v = ld(x + threadIdx.x);
  float sum = block_sum(v, scratch), a = v, b = v * v;
  const float most = block_max(v, scratch);
  block_sum2(a, b, scratch);
  const float results[] = {sum, most, a, b, static_cast<float>(warp_max(static_cast<int>(threadIdx.x)))};
  if (threadIdx.x == blockDim.x - 1)
    for (int k = 0; k < 5; ++k) st(out + k, results[k]);
}

TEST(EmuPrims, ReductionsOfWarpAndBlock) {
  for (const unsigned threads : {32u, 64u, 96u, 1024u}) {
    const Global<float> x(threads), out(5);
    for (unsigned i = 0; i < threads; ++i) x.p[i] = static_cast<float>((i * 7) % 10) - 20.0f;
    std::vector<float> first;
    for (const Schedule s : {Schedule::forward, Schedule::backward, Schedule::shuffled}) {
      const ForceSchedule force(s);
      launch("reduce", reduce_all, 1, threads, 0, nullptr, x.p, out.p);
      const std::vector<float> now(out.p, out.p + 5);
      if (first.empty()) first = now;
      EXPECT_EQ(now, first);
    }
    float sum = 0, squares = 0;
    for (unsigned i = 0; i < threads; ++i) {
      sum += x.p[i];
      squares += x.p[i] * x.p[i];
    }
    EXPECT_EQ(first, (std::vector<float>{sum, -11.0f, sum, squares, static_cast<float>(threads - 1)}));
  }
}

// ---- counters ----

__global__ void strided(const float* x, float* o, int step) {
  const int i = static_cast<int>(threadIdx.x);
  st(o + i, ld(x + i * step));
}
__global__ void packed(const float* x, float* o) {
  const int i = static_cast<int>(threadIdx.x);
  st(reinterpret_cast<Pack<float, 4>*>(o) + i, ld(reinterpret_cast<const Pack<float, 4>*>(x) + i));
}
__global__ void columns(int pitch) {  // each thread writes a row of its own: a column of banks at a time
  JX_SHARED_DYN(float, tile);
  for (int c = 0; c < 4; ++c) tile[static_cast<int>(threadIdx.x) * pitch + c] = 0.0f;
  __syncthreads();
}

TEST(EmuCounters, GlobalBytesAndSectors) {
  const Global<float> x(64 * 8, 1.0f), o(256);
  reset_counters();
  launch("dense", strided, 1, 64, 0, nullptr, x.p, o.p, 1);
  launch("sparse", strided, 1, 64, 0, nullptr, x.p, o.p, 8);
  launch("packed", packed, 1, 64, 0, nullptr, x.p, o.p);
  EXPECT_EQ(counters().size(), 3u);
  const Counters dense = counters("dense"), sparse = counters("sparse"), pack = counters("packed");
  EXPECT_EQ(dense.load_bytes, 256u);
  EXPECT_EQ(dense.store_bytes, 256u);
  const auto aligned = reinterpret_cast<uintptr_t>(x.p) % 32 == 0;
  EXPECT_EQ(dense.load_sectors, aligned ? 8u : 10u);
  EXPECT_EQ(sparse.load_bytes, 256u);
  EXPECT_EQ(sparse.load_sectors, 64u);
  EXPECT_EQ(pack.load_bytes, 1024u);
  EXPECT_EQ(pack.load_sectors, aligned ? 32u : 34u);
  EXPECT_EQ(pack.launches, 1u);
  EXPECT_EQ(counters("never").launches, 0u);
}

TEST(EmuCounters, BankConflictsAndBarriers) {
  reset_counters();
  launch("padded", columns, 2, 64, 64 * 33 * sizeof(float), nullptr, 33);
  launch("conflicting", columns, 2, 64, 64 * 32 * sizeof(float), nullptr, 32);
  const Counters padded = counters("padded"), bad = counters("conflicting");
  EXPECT_EQ(padded.bank_conflicts, 0u);
  EXPECT_EQ(bad.bank_conflicts, 2u * 2u * 4u * 31u);  // blocks, warps, stores, passes
  EXPECT_EQ(padded.shared_accesses, 2u * 64u * 4u);
  EXPECT_EQ(padded.barriers, 2u);
  EXPECT_EQ(padded.blocks, 2u);
}

}  // namespace
}  // namespace juxta::emu

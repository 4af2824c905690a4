// The emulator of kernels/gpu.h: barriers, warp functions and shared memory. Each check is shown a kernel
// that it must pass and one that it must refuse. Memory, launches and primitives are in
// gpu_emu_memory_test.cpp.
#include <cstring>
#include <thread>
#include <vector>

#include "kernels/gpu_prims.h"
#include "tests/support.h"

namespace juxta::emu {
namespace {

using test::expect_error;

// A typed emulated buffer.
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

// Calls fn once under every schedule, the shuffled one with several seeds.
template <class F>
void under_all_schedules(F fn) {
  const std::pair<Schedule, uint64_t> all[] = {{Schedule::forward, 1},
                                               {Schedule::backward, 1},
                                               {Schedule::shuffled, 1},
                                               {Schedule::shuffled, 2},
                                               {Schedule::shuffled, 3}};
  for (const auto& [schedule, seed] : all) {
    const ForceSchedule force(schedule, seed);
    fn();
  }
}

// Expects that the launch is refused under every schedule, with all parts in the message.
template <class F>
void expect_refused(F launch_it, std::initializer_list<const char*> parts) {
  under_all_schedules([&] { expect_error(launch_it, parts); });
}

enum class Fault { none, missing_barrier, early_return, two_lines };

template <Fault kFault>
__global__ void row_sum(const float* x, float* out, int n) {
  __shared__ Shared<float, 32> part;
  const int lane = threadIdx.x % 32, warp = threadIdx.x / 32, warps = blockDim.x / 32;
  if (kFault == Fault::early_return && static_cast<int>(threadIdx.x) >= n) return;
  float s = 0;
  for (int i = threadIdx.x; i < n; i += blockDim.x) s += ld(x + blockIdx.x * n + i);
  s = warp_sum(s);
  if (lane == 0) part[warp] = s;
  if (kFault == Fault::two_lines &&
      warp % 2 == 0) {  // NOLINT(bugprone-branch-clone): two lines are the point
    __syncthreads();
  } else if (kFault != Fault::missing_barrier) {
    __syncthreads();
  }
  float t = lane < warps ? static_cast<float>(part[lane]) : 0.0f;
  t = warp_sum(t);
  if (threadIdx.x == 0) st(out + blockIdx.x, t);
}

TEST(Emu, GoodKernelGivesTheSameBitsUnderAllSchedules) {
  constexpr int kRows = 5, kCols = 700;
  const Global<float> x(kRows * kCols), out(kRows);
  for (size_t i = 0; i < x.n; ++i) x.p[i] = 1.0f / static_cast<float>(i + 1);
  std::vector<float> first;
  under_all_schedules([&] {
    launch("row_sum", row_sum<Fault::none>, kRows, 256, 0, nullptr, x.p, out.p, kCols);
    const std::vector<float> now(out.p, out.p + kRows);
    if (first.empty()) first = now;
    EXPECT_EQ(first, now);
  });
  for (int r = 0; r < kRows; ++r) {
    double sum = 0;
    for (int c = 0; c < kCols; ++c) sum += x.p[r * kCols + c];
    EXPECT_NEAR(first[r], sum, 1e-6 * sum);
  }
}

TEST(Emu, MissingBarrierIsARace) {
  const Global<float> x(512, 1.0f), out(1);
  expect_refused(
      [&] { launch("bad_sum", row_sum<Fault::missing_barrier>, 1, 256, 0, nullptr, x.p, out.p, 512); },
      {"bad_sum<<<(1,1,1), (256,1,1), 0>>>", "block (0,0,0)", "shared memory"});
}

TEST(Emu, EarlyReturnDivergesAtTheBarrier) {
  const Global<float> x(128, 1.0f), out(1);
  expect_refused(
      [&] { launch("bad_sum", row_sum<Fault::early_return>, 1, 256, 0, nullptr, x.p, out.p, 128); },
      {"barrier divergence", "128 of 256 threads wait at tests/gpu_emu_test.cpp:", "128 have exited"});
}

TEST(Emu, TwoBarrierLinesDiverge) {
  const Global<float> x(256, 1.0f), out(1);
  expect_refused([&] { launch("bad_sum", row_sum<Fault::two_lines>, 1, 256, 0, nullptr, x.p, out.p, 256); },
                 {"barrier divergence", "128 of 256 threads wait at", "and 128 wait at"});
}

TEST(Emu, AnErrorLeavesTheEmulatorUsable) {
  const Global<float> x(256, 1.0f), out(1);
  for (int i = 0; i < 3; ++i) {
    EXPECT_THROW(launch("bad_sum", row_sum<Fault::early_return>, 1, 256, 0, nullptr, x.p, out.p, 128), Error);
    launch("row_sum", row_sum<Fault::none>, 1, 256, 0, nullptr, x.p, out.p, 256);
    EXPECT_EQ(out.p[0], 256.0f);
  }
}

__global__ void votes(int* out) {
  const int t = static_cast<int>(threadIdx.x);
  const int count = __syncthreads_count(t % 3 == 0), any = __syncthreads_or(t == 40),
            all = __syncthreads_and(t != 40), nobody = __syncthreads_or(t < 0);
  const unsigned low = __ballot_sync(kFullMask, t % 32 < 5);
  const int warp_any = __any_sync(kFullMask, t == 33), warp_all = __all_sync(kFullMask, t >= 32);
  if (t == 0 || t == 32) {
    const int results[] = {count, any, all, nobody, static_cast<int>(low), warp_any, warp_all};
    for (int k = 0; k < 7; ++k) st(out + t / 32 * 7 + k, results[k]);
  }
}

TEST(Emu, VotesOfBlockAndWarp) {
  const Global<int> out(14);
  under_all_schedules([&] {
    launch("votes", votes, 1, 64, 0, nullptr, out.p);
    EXPECT_EQ(std::vector<int>(out.p, out.p + 14),
              (std::vector<int>{22, 1, 0, 0, 31, 0, 0, 22, 1, 0, 0, 31, 1, 1}));
  });
}

__global__ void shuffles(int* out) {
  const int lane = static_cast<int>(threadIdx.x);
  st(out + lane, __shfl_sync(kFullMask, lane, 5));
  st(out + 32 + lane, __shfl_up_sync(kFullMask, lane, 3, 8));
  st(out + 64 + lane, __shfl_down_sync(kFullMask, lane, 3, 8));
  st(out + 96 + lane, __shfl_xor_sync(kFullMask, lane, 9, 8));
  st(out + 128 + lane, static_cast<int>(__shfl_sync(kFullMask, 0.5 * lane, 2, 4) * 2));
}

TEST(Emu, ShufflesMoveValuesWithinSegments) {
  const Global<int> out(160);
  under_all_schedules([&] {
    launch("shuffles", shuffles, 1, 32, 0, nullptr, out.p);
    for (int lane = 0; lane < 32; ++lane) {
      EXPECT_EQ(out.p[lane], 5);
      EXPECT_EQ(out.p[32 + lane], lane % 8 < 3 ? lane : lane - 3);
      EXPECT_EQ(out.p[64 + lane], lane % 8 > 4 ? lane : lane + 3);
      EXPECT_EQ(out.p[96 + lane], (lane ^ 9) > (lane | 7) ? lane : lane ^ 9);
      EXPECT_EQ(out.p[128 + lane], lane / 4 * 4 + 2);
    }
  });
}

// Halves of a warp that go separate ways, each with its own mask: allowed.
__global__ void half_warps(int* out) {
  const int lane = static_cast<int>(threadIdx.x);
  int v = lane;
  if (lane < 16) {
    for (int o = 8; o > 0; o /= 2) v += __shfl_xor_sync(0x0000ffffu, v, o);
    v += __shfl_sync(0x0000ffffu, v, 0);
  } else {
    for (int o = 8; o > 0; o /= 2) v += __shfl_xor_sync(0xffff0000u, v, o);
  }
  st(out + lane, v);
}

TEST(Emu, WarpBarriersAreSeparateByMask) {
  const Global<int> out(32);
  under_all_schedules([&] {
    launch("half_warps", half_warps, 1, 32, 0, nullptr, out.p);
    EXPECT_EQ(out.p[0], 240);
    EXPECT_EQ(out.p[31], 376);
  });
}

enum class Mask { exited, absent, not_me, outside, differ, width, kinds, block_and_warp };

template <Mask kMask>
__global__ void bad_masks() {
  const int lane = static_cast<int>(threadIdx.x);
  if (kMask == Mask::exited && lane == 7) return;
  if (kMask == Mask::not_me) __syncwarp(0x7fffffffu);
  if (kMask == Mask::outside && lane < 4) __shfl_sync(0xfu, lane, 9);
  if (kMask == Mask::differ) __shfl_sync(lane < 16 ? kFullMask : 0xffff0001u, lane, 0);
  if (kMask == Mask::width) __shfl_sync(kFullMask, lane, 0, 12);
  if (kMask == Mask::exited || kMask == Mask::absent) __shfl_xor_sync(kFullMask, lane, 1);
  if (kMask == Mask::kinds) {
    if (lane == 0)
      __ballot_sync(kFullMask, 1);
    else
      __shfl_sync(kFullMask, lane, 0);
  }
  if (kMask == Mask::block_and_warp) {
    if (lane == 3)
      __syncthreads();
    else
      __syncwarp();
  }
}

TEST(Emu, WrongMasksAreRefused) {
  const auto run = [](void (*kernel)(), unsigned threads) {
    return [=] { launch("bad_mask", kernel, 1, threads, 0, nullptr); };
  };
  expect_refused(run(bad_masks<Mask::exited>, 32),
                 {"warp mask", "0xffffffff", "lane 7", "(7,0,0)", "exited"});
  expect_refused(run(bad_masks<Mask::absent>, 20), {"warp mask", "names lane 20", "the warp has 20 lanes"});
  expect_refused(run(bad_masks<Mask::not_me>, 32), {"thread (31,0,0)", "0x7fffffff", "does not name"});
  expect_refused(run(bad_masks<Mask::outside>, 32), {"shuffle", "reads lane 9", "0x0000000f"});
  expect_refused(run(bad_masks<Mask::differ>, 32), {"warp divergence", "0xffffffff", "0xffff0001"});
  expect_refused(run(bad_masks<Mask::width>, 32), {"width", "12"});
  expect_refused(run(bad_masks<Mask::kinds>, 32), {"warp divergence", "waits at"});
  expect_refused(run(bad_masks<Mask::block_and_warp>, 32), {"warp divergence", "for the whole block"});
}

// ---- shared memory ----

enum class Race { none, write_write, write_read, read_write, shuffle_only };

template <Race kRace>
__global__ void neighbours(int* out) {  // every thread reads its right neighbour's cell, twice
  __shared__ Shared<int, 64> cell;
  const int t = static_cast<int>(threadIdx.x);
  cell[kRace == Race::write_write ? t / 2 : t] = t;
  if (kRace == Race::write_write || kRace == Race::none || kRace == Race::read_write) __syncthreads();
  if (kRace == Race::shuffle_only) __shfl_sync(kFullMask, t, 0);
  int sum = cell[(t + 1) % 64];
  if (kRace == Race::none) __syncthreads();
  cell[t] = 2 * t;
  __syncthreads();
  sum += cell[(t + 1) % 64];
  st(out + t, sum);
}

TEST(Emu, SharedRacesAreReported) {
  const Global<int> out(64);
  const auto run = [&](void (*kernel)(int*)) {
    return [=, &out] { launch("neighbours", kernel, 1, 64, 0, nullptr, out.p); };
  };
  under_all_schedules([&] {
    run(neighbours<Race::none>)();
    EXPECT_EQ(out.p[3], 4 + 8);
    EXPECT_EQ(out.p[63], 0);
  });
  expect_refused(run(neighbours<Race::write_write>), {"race", "writes", "has written", "no barrier between"});
  expect_refused(run(neighbours<Race::read_write>),
                 {"race", "its last barrier was at tests/gpu_emu_test.cpp:"});
  // Which of the two comes first depends on the schedule: a read of the unwritten, or a race.
  expect_refused(run(neighbours<Race::write_read>), {"shared memory"});
  expect_refused(run(neighbours<Race::shuffle_only>), {"shared memory"});  // a shuffle orders no memory
}

// __syncwarp orders the lanes of its mask and no others.
template <bool kWhole>
__global__ void warp_pairs(int* out) {
  __shared__ Shared<int, 32> cell;
  const int t = static_cast<int>(threadIdx.x);
  cell[t] = t;
  __syncwarp(0x3u << (t / 2 * 2));  // pairs
  st(out + t, cell[t ^ 1]);
  if (kWhole) __syncwarp();
  st(out + t, cell[t ^ 1] + cell[t ^ 2]);
}

TEST(Emu, SyncwarpOrdersItsMaskOnly) {
  const Global<int> out(32);
  under_all_schedules([&] {
    launch("pairs", warp_pairs<true>, 1, 32, 0, nullptr, out.p);
    EXPECT_EQ(out.p[5], 4 + 7);
  });
  expect_refused([&] { launch("pairs", warp_pairs<false>, 1, 32, 0, nullptr, out.p); }, {"shared memory"});
}

// Lanes 0-1, then 1-2 meet: what 0 did is ordered before what 2 does, by way of 1.
template <bool kChain>
__global__ void warp_chain(int* out) {
  __shared__ Shared<int, 1> cell;
  const int t = static_cast<int>(threadIdx.x);
  if (t == 0) cell[0] = 42;
  if (t <= 1) __syncwarp(0x3u);
  if (kChain && (t == 1 || t == 2)) __syncwarp(0x6u);
  if (t == 2) st(out, cell[0]);
}

TEST(Emu, OrderPassesFromLaneToLane) {
  const Global<int> out(1);
  under_all_schedules([&] {
    launch("chain", warp_chain<true>, 1, 32, 0, nullptr, out.p);
    EXPECT_EQ(out.p[0], 42);
  });
  expect_refused([&] { launch("chain", warp_chain<false>, 1, 32, 0, nullptr, out.p); }, {"shared memory"});
}

// A reader in each of two warps; a third writes. Whoever was kept as reader accuses the writer.
__global__ void two_readers() {
  __shared__ Shared<float, 1> cell;
  if (threadIdx.x == 0) cell[0] = 1;
  __syncthreads();
  if (threadIdx.x == 64)
    cell[0] = 2;
  else
    static_cast<void>(static_cast<float>(cell[0]));
}

TEST(Emu, AWriterRacesWithAnyOfManyReaders) {
  expect_refused([] { launch("readers", two_readers, 1, 96, 0, nullptr); }, {"race", "thread (64,0,0)"});
}

template <bool kWrite>
__global__ void uninitialised(float* out) {
  __shared__ Shared<float, 33> cell;
  if (threadIdx.x < 32 && (kWrite || blockIdx.x == 0)) cell[threadIdx.x] = 1.0f;
  if (kWrite && threadIdx.x == 0) cell[32] = 1.0f;
  __syncthreads();
  if (kWrite || blockIdx.x != 0)
    st(out + threadIdx.x, static_cast<float>(cell[threadIdx.x]) + 1.0f);
  else
    st(out + threadIdx.x, 0.0f);
}

TEST(Emu, ReadsOfUnwrittenSharedMemoryAreReported) {
  const Global<float> out(32);
  launch("written", uninitialised<true>, 2, 32, 0, nullptr, out.p);
  // Block 0 wrote every cell that block 1 reads: contents do not live on from block to block.
  expect_error([&] { launch("unwritten", uninitialised<false>, 2, 32, 0, nullptr, out.p); },
               {"block (1,0,0)", "uninitialised shared memory", "of a shared array of 132 bytes"});
}

template <int kIndex>
__global__ void shared_index(float* out) {
  __shared__ Shared<float, 8> cell;
  cell[kIndex] = 3.0f;
  st(out, cell[kIndex]);
}

__global__ void shared_misaligned() {
  JX_SHARED_DYN(char, bytes);
  shared_cast<float>(bytes + 2)[0] = 1.0f;
}

TEST(Emu, SharedIndexAndAlignmentAreChecked) {
  const Global<float> out(1);
  launch("inside", shared_index<7>, 1, 1, 0, nullptr, out.p);
  EXPECT_EQ(out.p[0], 3.0f);
  expect_error([&] { launch("past", shared_index<8>, 1, 1, 0, nullptr, out.p); },
               {"writes 4 bytes at offset 32", "32 bytes"});
  expect_error([&] { launch("before", shared_index<-1>, 1, 1, 0, nullptr, out.p); }, {"offset -4"});
  expect_error([&] { launch("odd", shared_misaligned, 1, 1, 64, nullptr); }, {"offset 2", "aligned to 4"});
}

// Neighbouring bf16 belong to different threads though they share a word; then pairs are read as one word.
__global__ void narrow(uint32_t* out) {
  JX_SHARED_DYN(bf16, half);
  half[threadIdx.x] = bf16(static_cast<float>(threadIdx.x));
  __syncthreads();
  if (threadIdx.x < 32) st(out + threadIdx.x, shared_cast<uint32_t>(half)[threadIdx.x]);
}

TEST(Emu, DynamicSharedMemoryInNarrowAndWideElements) {
  const Global<uint32_t> out(32);
  under_all_schedules([&] { launch("narrow", narrow, 3, 64, 64 * sizeof(bf16), nullptr, out.p); });
  EXPECT_EQ(out.p[31], uint32_t{bf16(62.0f).bits} | uint32_t{bf16(63.0f).bits} << 16);
  expect_error([&] { launch("narrow", narrow, 1, 64, 64, nullptr, out.p); },
               {"dynamic shared memory of 64 bytes"});
}

template <bool kBarrier>
__global__ void histogram(const int* x, int* out, int n) {
  __shared__ Shared<int, 4> bins;
  if (threadIdx.x < 4) bins[threadIdx.x] = 0;
  __syncthreads();
  for (int i = threadIdx.x; i < n; i += blockDim.x) atomicAdd(&bins[ld(x + i)], 1);
  if (kBarrier) __syncthreads();
  if (threadIdx.x < 4) atomicAdd(out + threadIdx.x, bins[threadIdx.x]);
}

TEST(Emu, IntegerAtomicsCountAndRaceWithPlainAccess) {
  const Global<int> x(100), out(4, 0);
  for (int i = 0; i < 100; ++i) x.p[i] = i % 4;
  launch("histogram", histogram<true>, 2, 64, 0, nullptr, x.p, out.p, 100);
  EXPECT_EQ(std::vector<int>(out.p, out.p + 4), (std::vector<int>{50, 50, 50, 50}));
  expect_refused([&] { launch("histogram", histogram<false>, 1, 64, 0, nullptr, x.p, out.p, 100); },
                 {"race", "atomically"});
}

TEST(Emu, HostThreadsEmulateSideBySide) {
  constexpr int kThreads = 4, kCols = 300;
  std::vector<std::thread> pool;
  pool.reserve(kThreads);
  std::vector<float> sums(kThreads);
  for (int k = 0; k < kThreads; ++k)
    pool.emplace_back([&sums, k] {
      const int cols = kCols;
      const Global<float> x(static_cast<size_t>(cols), static_cast<float>(k)), out(1);
      for (int i = 0; i < 5; ++i)
        launch("row_sum", row_sum<Fault::none>, 1, 128, 0, nullptr, x.p, out.p, cols);
      sums[static_cast<size_t>(k)] = out.p[0];
    });
  for (std::thread& t : pool) t.join();
  for (int k = 0; k < kThreads; ++k) EXPECT_EQ(sums[static_cast<size_t>(k)], 300.0f * static_cast<float>(k));
}

}  // namespace
}  // namespace juxta::emu

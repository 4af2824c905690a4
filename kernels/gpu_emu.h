#pragma once
// The CUDA emulator: a .cu file compiled by the C++ compiler runs its blocks as fibers on one host thread,
// and is checked while it runs. kernels/gpu.h says what is checked and what the emulator cannot see.
//
// This header is for the hosts of kernels: memory, schedules, counters, launch. The language that kernels see
// is in gpu_emu_device.h, shared memory in gpu_emu_shared.h.
#include <string>
#include <tuple>
#include <type_traits>
#include <utility>
#include <vector>

#include "kernels/gpu_emu_device.h"
#include "kernels/gpu_emu_shared.h"
#include "kernels/gpu_launch.h"

namespace juxta::emu {

// Global memory. A block ends at a page that faults (after at most 15 bytes that are watched) and begins
// behind watched bytes and another such page; its contents start as NaN. Aligned to 16 bytes only, less than
// cudaMalloc gives: a kernel must not count on more. Error when there is no memory.
void* emu_malloc(size_t bytes);
void emu_free(void* p);  // nullptr is fine; Error for what emu_malloc did not give
// Makes Device{emu} allocate from emu_malloc. Idempotent.
void register_device();

// The order in which ready threads of a block run, and blocks of a grid. A correct kernel gives the same bits
// under all three.
enum class Schedule : uint8_t { forward, backward, shuffled };
// Chooses the schedule for launches of this host thread while it lives.
class ForceSchedule {
 public:
  explicit ForceSchedule(Schedule schedule, uint64_t seed = 1);
  ~ForceSchedule();
  ForceSchedule(const ForceSchedule&) = delete;
  ForceSchedule& operator=(const ForceSchedule&) = delete;

 private:
  Schedule outer_;
  uint64_t outer_seed_;
};

// What the launches of one kernel did. Bytes are those asked for through ld() and st() of gpu_prims.h;
// sectors are the 32-byte pieces that the warps' loads and stores touch, as the hardware counts them between
// L1 and L2 without any reuse.
struct Counters {
  std::string kernel;
  uint64_t launches = 0, blocks = 0;
  uint64_t load_bytes = 0, load_sectors = 0;
  uint64_t store_bytes = 0, store_sectors = 0;
  uint64_t atomics = 0;
  uint64_t shared_accesses = 0;  // per thread
  uint64_t bank_conflicts = 0;   // extra passes of shared memory instructions
  uint64_t barriers = 0;         // __syncthreads, per block
  uint64_t warp_calls = 0;       // shuffles, votes, __syncwarp, mma, ldmatrix, per warp
};
std::vector<Counters> counters();           // of every kernel launched since reset_counters(), by name
Counters counters(const std::string& name);  // zeros for a kernel that never ran
void reset_counters();

// Name and shape of a launch, for messages.
struct LaunchShape {
  const char* name;
  dim3 grid, block;
  SharedBytes shared;
};
std::string to_text(const LaunchShape& s);  // "row_sum<<<(8,1,1), (256,1,1), 0>>>"

namespace detail {
void run_grid(const LaunchShape& shape, void (*body)(void*), void* arg);
}

// Runs kernel(args...) on grid x block threads and returns when all have finished. `stream` is ignored: the
// emulator is synchronous. Error naming the kernel, the shape and the place for every fault found.
template <class... P, class... A>
void launch(const char* name, void (*kernel)(P...), dim3 grid, dim3 block, SharedBytes shared, void* stream,
            A&&... args) {
  static_assert(sizeof...(P) == sizeof...(A), "launch: the kernel takes another number of arguments");
  static_assert((std::is_trivially_copyable_v<P> && ...), "launch: arguments travel as bytes");
  // NOLINTNEXTLINE(bugprone-sizeof-expression): a pointer travels as one
  static_assert((sizeof(P) + ... + 0) <= kMaxParameterBytes, "launch: more than 4 KiB of arguments");
  static_cast<void>(stream);
  std::tuple<P...> values(static_cast<P>(args)...);
  auto body = [&] { std::apply(kernel, values); };
  using Body = decltype(body);
  detail::run_grid({name, grid, block, shared}, [](void* b) { (*static_cast<Body*>(b))(); }, &body);
}

}  // namespace juxta::emu

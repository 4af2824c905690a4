#pragma once
// The state of one emulated block; known to the emulator's own files only.
//
// Time is a counter that advances at every barrier. What a thread did at time t is ordered before what
// another does now if a barrier that both passed completed after t: `base` holds the last barrier of the
// block, Warp::base the last of the whole warp, Warp::seen what barriers over a part of a warp ordered.
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "kernels/gpu_emu.h"
#include "kernels/gpu_emu_fiber.h"

namespace juxta::emu {

enum class State : uint8_t { ready, block_wait, warp_wait, done };

// A 16-byte copy to shared memory under way.
struct AsyncCopy {
  Region* to;
  int64_t offset;
  const void* from;
  int bytes;  // read from `from`; the rest of the 16 become zero
  int group;
};

struct Thread {
  std::unique_ptr<Fiber> fiber;
  bool started = false;  // the fiber waits in its loop for the next block
  State state = State::ready;
  uint3 index;
  Site site;            // of the barrier it waits at, or passed last
  unsigned mask = 0;    // of the warp call it waits in
  WarpFn call = nullptr;
  void* data = nullptr;
  std::vector<AsyncCopy> copies;
  int groups = 0;  // committed so far
};

// Addresses a lane touched since the last barrier of its warp: the n-th of each lane are taken as one
// instruction of the warp. Exact without divergence, close with it.
enum class Access : uint8_t { global_load, global_store, shared_load, shared_store };
inline constexpr int kAccessKinds = 4;
struct Touch {
  uint64_t address;
  uint32_t bytes;
};

struct Warp {
  unsigned present = 0, exited = 0, waiting = 0;  // lanes
  uint64_t base = 0;
  uint64_t seen[kWarp][kWarp] = {};  // [a][b]: lane a comes after what lane b did before this time
  std::vector<Touch> touched[kAccessKinds][kWarp];
  bool dirty[kAccessKinds] = {};
};

class Engine;
extern constinit thread_local Engine* t_engine;  // null before the first launch of a host thread

class Engine {
 public:
  Engine();
  ~Engine();
  Engine(const Engine&) = delete;
  Engine& operator=(const Engine&) = delete;
  static Engine& mine();  // of the running host thread

  void run(const LaunchShape& shape, void (*body)(void*), void* arg);

  // Called on fibers.
  [[noreturn]] void fault(std::string what);  // ends the launch; run() throws
  int block_barrier(int predicate, Site site);
  void warp_call(WarpFn call, unsigned mask, void* data, Site site);
  void commit_copies();
  void wait_copies(int left);
  void note(Access kind, uint64_t address, uint32_t bytes);
  [[noreturn]] void thread_main();
  [[noreturn]] void memory_fault();  // continues here after a fault that the signal handler caught

  // Race detection: is what `thread` did at `when` ordered before what the running thread does now?
  bool ordered(unsigned thread, uint64_t when) const;

  std::string thread_name(unsigned thread) const;  // "thread (5,0,0)"
  std::string last_barrier() const;                // where the running thread last synchronised

  // Set by the signal handler for memory_fault().
  const void* fault_address = nullptr;
  bool fault_writes = false, fault_has_address = false;

  bool inside = false;  // a fiber is running
  unsigned current = 0;
  uint64_t clock = 1, start = 1, base = 1;  // now; start of the block; last barrier of the block
  uint64_t launch_serial = 0;
  size_t static_shared = 0;
  LaunchShape shape{"", 1, 1, 0};
  Counters counts;
  std::vector<Thread> threads;
  std::unique_ptr<Region> dynamic;
  std::vector<unsigned char> dynamic_bytes;

 private:
  void run_block();
  void resume(unsigned thread);
  void suspend(bool forever = false);
  void order_threads();
  std::string diagnose() const;
  std::string diagnose_warps() const;
  void set_up(unsigned thread_count);
  void complete_warp_call(Warp& w, unsigned mask);
  void sync_lanes(Warp& w, unsigned mask);
  void flush(Warp& w);
  void flush_all();
  void check_shape() const;

  std::string error_;
  Flow home_;
  void (*body_)(void*) = nullptr;
  void* arg_ = nullptr;
  std::vector<Warp> warps_;
  std::vector<unsigned> order_;
  unsigned count_ = 0, arrived_ = 0, exited_ = 0;
  int votes_ = 0, vote_result_ = 0;
  uint64_t random_ = 1;
};

// Error unless [p, p + bytes) lies in one emulated buffer; called on fibers.
void check_global(const void* p, size_t bytes, bool writes);
// The words for an address that no emulated buffer holds: how far from which buffer.
std::string describe_address(const void* address);
// Error text if a byte beside an emulated buffer changed; empty when all is well.
std::string check_canaries();
// Catches faults of emulated threads on this host thread.
void arm_signal_handler();
// Adds the counters of a launch to those of its kernel.
void add_counters(const Counters& c);

std::string to_text(Site s);  // "kernels/norm.cu:42"

struct ScheduleChoice {
  Schedule schedule;
  uint64_t seed;
};
ScheduleChoice current_schedule();

}  // namespace juxta::emu

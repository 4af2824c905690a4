// The thread pool behind parallel_for. Each thread that calls it owns its helpers, so two trainers in two
// threads do not meet.
//
// Not OpenMP: libgomp's threads spin at the end of every region, which on a shared machine costs ten times
// the work itself whenever more threads want to run than there are cores, and only the environment can turn
// that off. Helpers here spin for a few microseconds (the gap between two kernels), then sleep; and the
// caller waits for the ranges to be done, not for helpers that have not been scheduled yet.
#include "tensor/parallel.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <memory>
#include <mutex>
#include <thread>
#include <vector>
#if defined(__x86_64__)
#include <immintrin.h>
#endif

#include "tensor/error.h"

namespace juxta {

namespace {

int available_cpus() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return 1;
}

void relax() {
#if defined(__x86_64__)
  _mm_pause();
#endif
}
constexpr int kSpins = 1000;  // about 20 microseconds

thread_local int t_threads = 0;      // 0: not set on this thread
thread_local bool t_inside = false;  // in a range, or a helper: nested calls stay on this thread

class Pool {
 public:
  explicit Pool(int helpers) {
    for (int i = 0; i < helpers; ++i) threads_.emplace_back([this] { serve(); });
  }
  ~Pool() {
    stopping_ = true;
    publish(0);
    for (std::thread& t : threads_) t.join();
  }
  Pool(const Pool&) = delete;
  Pool& operator=(const Pool&) = delete;
  int helpers() const { return static_cast<int>(threads_.size()); }

  void run(int64_t n, int64_t grain, int64_t ranges, detail::RangeFn fn, void* context) {
    n_ = n, grain_ = grain, ranges_ = ranges, fn_ = fn, context_ = context;
    failure_ = nullptr;
    done_.store(0, std::memory_order_relaxed);
    publish(static_cast<uint32_t>(ranges));
    work(state_.load(std::memory_order_relaxed) >> 32);
    for (int spin = 0;; ++spin) {
      const int64_t done = done_.load(std::memory_order_acquire);
      if (done == ranges) break;
      if (spin < kSpins)
        relax();
      else
        done_.wait(done, std::memory_order_acquire);
    }
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  // The upper half of the state numbers the job, the lower half counts ranges that nobody has claimed. A
  // claim is one compare-exchange, so a helper that wakes up late can neither claim from a finished job nor
  // touch the next one under an old number.
  void publish(uint32_t unclaimed) {
    const uint64_t job = (state_.load(std::memory_order_relaxed) >> 32) + 1;
    state_.store(job << 32 | unclaimed, std::memory_order_release);
    state_.notify_all();
  }

  // Claims and runs ranges of job `job` until none is left.
  void work(uint64_t job) {
    for (;;) {
      uint64_t s = state_.load(std::memory_order_acquire);
      do {
        if (s >> 32 != (job & 0xffffffffu) || (s & 0xffffffffu) == 0) return;
      } while (!state_.compare_exchange_weak(s, s - 1, std::memory_order_acq_rel, std::memory_order_acquire));
      // The job may be read until its last range is counted as done: then its owner may write the next one.
      const int64_t ranges = ranges_, r = ranges - static_cast<int64_t>(s & 0xffffffffu);
      try {
        fn_(context_, r * grain_, std::min(n_, (r + 1) * grain_));
      } catch (...) {
        const std::lock_guard lock(mutex_);
        if (!failure_) failure_ = std::current_exception();
      }
      if (done_.fetch_add(1, std::memory_order_acq_rel) + 1 == ranges) done_.notify_all();
    }
  }

  void serve() {
    t_inside = true;
    uint64_t seen = 0;
    for (;;) {
      uint64_t s = state_.load(std::memory_order_acquire);
      for (int spin = 0; s >> 32 == seen; ++spin, s = state_.load(std::memory_order_acquire)) {
        if (spin < kSpins)
          relax();
        else
          state_.wait(s, std::memory_order_acquire);
      }
      if (stopping_) return;
      seen = s >> 32;
      work(seen);
    }
  }

  // The job: written by the owner while no range of it can be claimed, read by whoever has claimed one.
  int64_t n_ = 0, grain_ = 1, ranges_ = 0;
  detail::RangeFn fn_ = nullptr;
  void* context_ = nullptr;
  std::exception_ptr failure_;
  std::mutex mutex_;
  alignas(64) std::atomic<uint64_t> state_{0};
  alignas(64) std::atomic<int64_t> done_{0};
  std::atomic<bool> stopping_{false};
  std::vector<std::thread> threads_;  // last: started when all else is there
};

thread_local std::unique_ptr<Pool> t_pool;

}  // namespace

int num_threads() {
  static const int cpus = available_cpus();
  return t_threads ? t_threads : cpus;
}
void set_num_threads(int n) {
  JX_CHECK(n >= 1, "threads: expected at least 1, got ", n);
  t_threads = n;
}

namespace detail {

void parallel_ranges(int64_t n, int64_t grain, RangeFn fn, void* context) {
  if (n <= 0) return;
  grain = std::max<int64_t>(grain, 1);
  int64_t ranges = (n + grain - 1) / grain;
  const int threads = static_cast<int>(std::min<int64_t>(num_threads(), ranges));
  if (threads == 1 || t_inside || ranges > INT32_MAX) {
    for (int64_t r = 0; r < ranges; ++r) fn(context, r * grain, std::min(n, (r + 1) * grain));
    return;
  }
  if (!t_pool || t_pool->helpers() != num_threads() - 1) t_pool = std::make_unique<Pool>(num_threads() - 1);
  t_inside = true;
  struct Leave {
    ~Leave() { t_inside = false; }
  } leave;
  t_pool->run(n, grain, ranges, fn, context);
}

}  // namespace detail
}  // namespace juxta

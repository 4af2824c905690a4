#include "tensor/parallel.h"

#include <sched.h>

#include <algorithm>
#include <atomic>
#include <exception>
#include <mutex>
#if defined(JUXTA_STD_THREADS)
#include <thread>
#include <vector>
#endif

#include "tensor/error.h"

namespace juxta {

namespace {

int available_cpus() {
  cpu_set_t set;
  if (sched_getaffinity(0, sizeof set, &set) == 0) return std::max(1, CPU_COUNT(&set));
  return 1;
}

thread_local int t_threads = 0;      // 0: not set on this thread
thread_local bool t_inside = false;  // in a range: nested calls stay on this thread

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
  const int64_t ranges = (n + grain - 1) / grain;
  const auto run = [&](int64_t r) { fn(context, r * grain, std::min(n, (r + 1) * grain)); };
  const int threads = static_cast<int>(std::min<int64_t>(num_threads(), ranges));
  if (threads == 1 || t_inside) {
    for (int64_t r = 0; r < ranges; ++r) run(r);
    return;
  }
  std::atomic<int64_t> next{0};
  std::exception_ptr failure;
  std::mutex mutex;
  const auto work = [&] {
    t_inside = true;
    for (int64_t r; (r = next.fetch_add(1, std::memory_order_relaxed)) < ranges;) {
      try {
        run(r);
      } catch (...) {
        const std::lock_guard lock(mutex);
        if (!failure) failure = std::current_exception();
      }
    }
    t_inside = false;
  };
#if defined(JUXTA_STD_THREADS)
  std::vector<std::jthread> helpers;
  for (int t = 1; t < threads; ++t) helpers.emplace_back(work);
  work();
  helpers.clear();
#else
#pragma omp parallel num_threads(threads)
  work();
#endif
  if (failure) std::rethrow_exception(failure);
}

}  // namespace detail
}  // namespace juxta

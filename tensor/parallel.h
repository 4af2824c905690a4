#pragma once
// Threads. This is the only door to them: OpenMP (or std::thread in the tsan build) appears in parallel.cpp
// alone.
//
// Ranges are cut at multiples of `grain`, a function of the shape, never of the thread count. So a kernel
// that sums within its range, and a caller that adds the ranges in order, give the same bits with 1 thread
// and with n.
#include <cstdint>
#include <memory>
#include <type_traits>

namespace juxta {

// Threads used by parallel_for calls made from this thread; defaults to the CPUs the process may use.
int num_threads();
void set_num_threads(int n);  // this thread only; Error when n < 1

namespace detail {
using RangeFn = void (*)(void* context, int64_t begin, int64_t end);
void parallel_ranges(int64_t n, int64_t grain, RangeFn fn, void* context);
}  // namespace detail

// Calls fn(begin, end) for [0, grain), [grain, 2 grain), ... up to n, on several threads. The first exception
// thrown by fn is rethrown here after all ranges have ended. Nested calls run on the calling thread.
template <class F>
void parallel_for(int64_t n, int64_t grain, F&& fn) {
  detail::parallel_ranges(
      n, grain, [](void* f, int64_t b, int64_t e) { (*static_cast<std::remove_reference_t<F>*>(f))(b, e); },
      const_cast<void*>(static_cast<const void*>(std::addressof(fn))));
}

// Grain that gives each range about `work` units when one item costs `cost` units.
inline int64_t grain_for(int64_t cost, int64_t work = 1 << 15) {
  return cost >= work ? 1 : work / (cost > 0 ? cost : 1);
}

}  // namespace juxta

#include "tensor/allocator.h"

#include <sys/mman.h>

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstdlib>
#include <cstring>

#include "tensor/error.h"

namespace juxta {

namespace {

constexpr size_t kAlign = 64, kHuge = size_t{2} << 20, kGuard = 64;
constexpr unsigned char kGuardByte = 0xA5;

void* cpu_allocate(size_t bytes) {
  const bool large = bytes >= kHuge;
  const size_t align = large ? kHuge : kAlign;
  bytes = (bytes + align - 1) / align * align;  // aligned_alloc asks for a multiple
  void* p = std::aligned_alloc(align, bytes);
  if (p && large) madvise(p, bytes, MADV_HUGEPAGE);  // a hint: failure costs speed only
  return p;
}
void cpu_release(void* p, size_t) { std::free(p); }

// Class index of a size: 8 steps per power of two, from 64 bytes.
size_t class_of(size_t bytes) {
  if (bytes <= 8 * kAlign) return (bytes + kAlign - 1) / kAlign - (bytes > 0);
  const int log = std::bit_width(bytes - 1) - 1;  // 2^log < bytes <= 2^(log+1)
  const size_t step = size_t{1} << (log - 3);
  const size_t k = (bytes - (size_t{1} << log) + step - 1) / step;  // 1..8
  return 8 + static_cast<size_t>(log - 9) * 8 + (k - 1);
}

RawMemory g_raw[3] = {{cpu_allocate, cpu_release, true}, {nullptr, nullptr, false}, {nullptr, nullptr, true}};

}  // namespace

size_t CachingAllocator::rounded(size_t bytes) {
  const size_t c = class_of(std::max<size_t>(bytes, 1));
  if (c < 8) return (c + 1) * kAlign;
  const size_t log = 9 + (c - 8) / 8, k = (c - 8) % 8 + 1;
  size_t n = (size_t{1} << log) + k * (size_t{1} << (log - 3));
  return n >= kHuge ? (n + kHuge - 1) / kHuge * kHuge : n;
}

CachingAllocator::CachingAllocator(const RawMemory& raw, Device device)
    : raw_(raw), device_(device), free_(8 * 60) {
  const char* mode = std::getenv("JUXTA_ALLOC");
  debug_ = mode && std::strcmp(mode, "debug") == 0 && raw_.host_visible;
}
CachingAllocator::~CachingAllocator() { trim(); }

void* CachingAllocator::from_system(size_t bytes) {
  void* p = raw_.allocate(bytes);
  if (!p) {  // cached blocks of other sizes may make room
    trim();
    p = raw_.allocate(bytes);
  }
  const std::lock_guard lock(mutex_);
  JX_CHECK(p, "out of memory on ", device_, ": asked for ", bytes, " bytes with ", stats_.live_bytes,
           " bytes in use; use a smaller batch or train.accumulate");
  ++stats_.system_allocations;
  return p;
}

void* CachingAllocator::allocate(size_t bytes) {
  const size_t n = rounded(bytes);
  bool debug;
  void* p = nullptr;
  {
    const std::lock_guard lock(mutex_);
    ++stats_.requests;
    debug = debug_;
    auto& list = free_[class_of(std::max<size_t>(bytes, 1))];
    if (!debug && !list.empty()) {
      p = list.back();
      list.pop_back();
      stats_.cached_bytes -= n;
    }
  }
  if (!p) p = debug ? allocate_debug(bytes) : from_system(n);
  const std::lock_guard lock(mutex_);
  stats_.live_bytes += n;
  stats_.peak_bytes = std::max(stats_.peak_bytes, stats_.live_bytes);
  return p;
}

void CachingAllocator::release(void* p, size_t bytes) {
  const size_t n = rounded(bytes);
  const std::lock_guard lock(mutex_);
  stats_.live_bytes -= n;
  if (release_debug(p)) return;
  free_[class_of(std::max<size_t>(bytes, 1))].push_back(p);
  stats_.cached_bytes += n;
}

void* CachingAllocator::allocate_debug(size_t bytes) {
  if (raw_.guarded) {
    void* p = from_system(bytes);
    const std::lock_guard lock(mutex_);
    debug_blocks_.push_back({p, p, bytes});
    return p;
  }
  // The guard follows the last byte directly, so that a write one element past the end is seen.
  const size_t total = (kGuard + bytes + kGuard + kAlign - 1) / kAlign * kAlign;
  auto* base = static_cast<unsigned char*>(from_system(total));
  std::memset(base, kGuardByte, total);
  std::memset(base + kGuard, 0xFF, bytes);  // NaN in every float type
  const std::lock_guard lock(mutex_);
  debug_blocks_.push_back({base, base + kGuard, bytes});
  return base + kGuard;
}

bool CachingAllocator::release_debug(void* p) {
  const auto it =
      std::find_if(debug_blocks_.begin(), debug_blocks_.end(), [p](const auto& b) { return b.user == p; });
  if (it == debug_blocks_.end()) return false;
  const auto* base = static_cast<const unsigned char*>(it->base);
  for (size_t i = 0; i < kGuard && !raw_.guarded; ++i) {
    if (base[i] == kGuardByte && base[kGuard + it->bytes + i] == kGuardByte) continue;
    std::fprintf(stderr, "juxta: allocator: a block of %zu bytes was written outside its bounds\n",
                 it->bytes);
    std::abort();  // memory is corrupt and destructors may not throw
  }
  raw_.release(it->base, 0);
  *it = debug_blocks_.back();
  debug_blocks_.pop_back();
  return true;
}

void CachingAllocator::trim() {
  const std::lock_guard lock(mutex_);
  for (size_t c = 0; c < free_.size(); ++c) {
    for (void* p : free_[c]) raw_.release(p, 0);
    free_[c].clear();
  }
  stats_.cached_bytes = 0;
}

AllocatorStats CachingAllocator::stats() const {
  const std::lock_guard lock(mutex_);
  return stats_;
}
void CachingAllocator::reset_peak() {
  const std::lock_guard lock(mutex_);
  stats_.peak_bytes = stats_.live_bytes;
}
void CachingAllocator::set_debug(bool on) {
  const std::lock_guard lock(mutex_);
  debug_ = on && raw_.host_visible;
}

void set_raw_memory(DeviceKind kind, const RawMemory& raw) { g_raw[static_cast<int>(kind)] = raw; }

CachingAllocator& allocator(Device device) {
  static std::mutex mutex;
  static CachingAllocator* made[3][16] = {};
  const std::lock_guard lock(mutex);
  JX_CHECK(device.index >= 0 && device.index < 16, "allocator: no device ", device);
  auto*& a = made[static_cast<int>(device.kind)][device.index];
  if (!a) {
    const RawMemory& raw = g_raw[static_cast<int>(device.kind)];
    JX_CHECK(raw.allocate, "allocator: device ", device, " is not available in this process");
    a = new CachingAllocator(raw, device);
  }
  return *a;
}

}  // namespace juxta

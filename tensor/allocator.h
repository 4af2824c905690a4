#pragma once
// Caching allocator: memory of a training step is asked for once and reused in every later step.
//
// Requests are rounded up to size classes (eight per power of two, at most 12.5 % waste); a freed block waits
// in the list of its class. Large CPU blocks are aligned to 2 MiB and advised to be huge pages.
// JUXTA_ALLOC=debug turns reuse off, surrounds each block with guard bytes checked at release, and fills new
// memory with NaN. Memory that does all that itself (the emulator's) is then asked for to the byte.
#include <cstddef>
#include <cstdint>
#include <mutex>
#include <vector>

#include "tensor/storage.h"

namespace juxta {

struct AllocatorStats {
  size_t live_bytes = 0;            // handed out now
  size_t cached_bytes = 0;          // waiting for reuse
  size_t peak_bytes = 0;            // largest live_bytes since reset_peak()
  uint64_t requests = 0;            // allocate() calls
  uint64_t system_allocations = 0;  // of which reached the system; constant in steady state
};

// Raw memory of one device. allocate returns nullptr when there is none.
struct RawMemory {
  void* (*allocate)(size_t bytes);
  void (*release)(void* p, size_t bytes);
  bool host_visible;
  bool guarded = false;  // new memory is NaN, and accesses outside its bytes are found
};

class CachingAllocator {
 public:
  explicit CachingAllocator(const RawMemory& raw, Device device);
  ~CachingAllocator();
  CachingAllocator(const CachingAllocator&) = delete;
  CachingAllocator& operator=(const CachingAllocator&) = delete;

  // At least `bytes` bytes, 64-byte aligned; Error "out of memory" with the statistics when the system has
  // none.
  void* allocate(size_t bytes);
  void release(void* p, size_t bytes);
  void trim();  // returns all cached blocks to the system
  AllocatorStats stats() const;
  void reset_peak();
  // Debug mode (see above) for blocks allocated from now on; the environment sets it at start.
  void set_debug(bool on);

  static size_t rounded(size_t bytes);  // size of the class that serves a request

 private:
  void* from_system(size_t bytes);
  void* allocate_debug(size_t bytes);
  bool release_debug(void* p);

  struct DebugBlock {
    void* base;
    void* user;
    size_t bytes;
  };
  RawMemory raw_;
  Device device_;
  mutable std::mutex mutex_;
  std::vector<std::vector<void*>> free_;  // one list per size class
  std::vector<DebugBlock> debug_blocks_;
  AllocatorStats stats_;
  bool debug_ = false;
};

// The allocator of a device; created at first use, never destroyed (storages may outlive main's statics).
CachingAllocator& allocator(Device device);
// Supplies the raw memory of a device kind other than cpu; called by the code that brings the device.
void set_raw_memory(DeviceKind kind, const RawMemory& raw);

}  // namespace juxta

// A CUDA runtime library with one device that has memory and nothing else, for tests of what moves data
// (named by JUXTA_CUDART). The host may not touch the memory: it is unmapped but during copies.
#include <sys/mman.h>

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <map>

namespace {

constexpr int kSuccess = 0, kInvalidValue = 1, kOutOfMemory = 2;
constexpr size_t kPage = 4096, kMemory = size_t{1} << 28;

std::map<uintptr_t, size_t>& blocks() {
  static auto* map = new std::map<uintptr_t, size_t>;  // released by destructors that run after main
  return *map;
}
size_t g_used = 0;

// The block that holds all of [p, p + bytes), or null.
const std::pair<const uintptr_t, size_t>* block_of(const void* p, size_t bytes) {
  const auto a = reinterpret_cast<uintptr_t>(p);
  auto it = blocks().upper_bound(a);
  if (it == blocks().begin()) return nullptr;
  --it;
  return a + bytes <= it->first + it->second ? &*it : nullptr;
}

// Lets the host at a block while it lives.
class Open {
 public:
  explicit Open(const std::pair<const uintptr_t, size_t>* block) : block_(block) {
    set(PROT_READ | PROT_WRITE);
  }
  ~Open() { set(PROT_NONE); }
  Open(const Open&) = delete;
  Open& operator=(const Open&) = delete;

 private:
  void set(int access) {
    if (block_) mprotect(reinterpret_cast<void*>(block_->first), block_->second, access);
  }
  const std::pair<const uintptr_t, size_t>* block_;
};

}  // namespace

extern "C" {

int cudaGetDeviceCount(int* count) {
  *count = 1;
  return kSuccess;
}
int cudaSetDevice(int index) { return index == 0 ? kSuccess : kInvalidValue; }

int cudaMalloc(void** p, size_t bytes) {
  const size_t mapped = (bytes + kPage - 1) / kPage * kPage;
  if (mapped > kMemory - g_used) return kOutOfMemory;
  *p = mmap(nullptr, mapped, PROT_NONE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
  if (*p == MAP_FAILED) return kOutOfMemory;
  g_used += mapped;
  blocks()[reinterpret_cast<uintptr_t>(*p)] = mapped;
  return kSuccess;
}
int cudaFree(void* p) {
  const auto it = blocks().find(reinterpret_cast<uintptr_t>(p));
  if (it == blocks().end()) return kInvalidValue;
  munmap(p, it->second);
  g_used -= it->second;
  blocks().erase(it);
  return kSuccess;
}

int cudaMemcpyAsync(void* to, const void* from, size_t bytes, int kind, void*) {
  const bool from_device = kind == 2 || kind == 3, to_device = kind == 1 || kind == 3;
  const auto *source = block_of(from, bytes), *target = block_of(to, bytes);
  // As the hardware: what is said to be on the device must be, and the other side must not.
  if (from_device != (source != nullptr) || to_device != (target != nullptr)) return kInvalidValue;
  const Open open_target(target);
  if (source != target) {
    const Open open_source(source);
    std::memcpy(to, from, bytes);
  } else {
    std::memmove(to, from, bytes);
  }
  return kSuccess;
}
int cudaMemsetAsync(void* to, int byte, size_t bytes, void*) {
  const auto* target = block_of(to, bytes);
  if (!target) return kInvalidValue;
  const Open open_target(target);
  std::memset(to, byte, bytes);
  return kSuccess;
}
int cudaStreamSynchronize(void*) { return kSuccess; }
int cudaDeviceSynchronize() { return kSuccess; }
int cudaGetLastError() { return kSuccess; }
const char* cudaGetErrorString(int status) {
  return status == kOutOfMemory ? "out of memory" : status == kSuccess ? "no error" : "invalid argument";
}

}  // extern "C"

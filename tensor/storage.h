#pragma once
// Storage: a counted block of memory on one device, with a version that every write bumps.
#include <atomic>
#include <cstddef>
#include <cstdint>
#include <string>

#include "tensor/ref.h"

namespace juxta {

// emu is the CUDA emulator: host memory that only emulated kernels should touch.
enum class DeviceKind : uint8_t { cpu, cuda, emu };

struct Device {
  DeviceKind kind = DeviceKind::cpu;
  int8_t index = 0;
  bool operator==(const Device&) const = default;
  bool on_host() const { return kind != DeviceKind::cuda; }  // may the CPU read this memory?
};
inline constexpr Device kCpu{};
std::string to_text(Device d);  // "cpu", "cuda:0", "emu:0"

// Data computed from a storage's contents and kept with it (weights packed for a kernel); freed with the
// storage. Immutable once attached, so that readers on several threads need no lock.
class Derived : public Counted {
 public:
  virtual ~Derived() = default;
  void dispose() { delete this; }
};

class Storage : public Counted, public Pooled<Storage> {
 public:
  // Called once with `context` when the last reference goes.
  using Release = void (*)(void* context, void* data, size_t bytes);

  // Owned memory from the device's caching allocator.
  static Ref<Storage> allocate(size_t bytes, Device device);
  // Foreign memory (DLPack, mmap, std::vector): released by `release`, no alignment assumed.
  static Ref<Storage> adopt(void* data, size_t bytes, Device device, Release release, void* context);
  // A part of `parent` with a version of its own: tensors in one arena do not accuse each other of writes (so
  // parts of one storage should not overlap).
  static Ref<Storage> part(const Ref<Storage>& parent, size_t offset, size_t bytes);

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }
  Device device() const { return device_; }
  // The time of the last write through this storage itself; 0 before the first. Times are those of one clock
  // per allocation, which ticks at every write to it or to a part of it.
  uint64_t version() const { return own_.when.load(std::memory_order_relaxed); }
  // Called before every write; `who` must outlive the storage (a string literal).
  void bump(const char* who) {
    if (parent_) return bump_part(who);
    own_.set(clock_.fetch_add(1, std::memory_order_relaxed) + 1, who);
  }
  bool has_parent() const { return static_cast<bool>(parent_); }
  // The last write that may have changed these bytes: through this storage, through one that it is part of,
  // or through a part of it. Writes to parts beside it do not count.
  struct Write {
    uint64_t when = 0;
    const char* who = "nobody";
  };
  Write last_write() const;
  uint64_t content_version() const { return last_write().when; }
  const char* last_writer() const { return last_write().who; }
  // The data derived from these contents, if any; whoever attaches it notes the content_version() inside.
  Ref<Derived> derived() const;
  void attach(Ref<Derived> derived);
  void dispose();

 private:
  Storage(void* data, size_t bytes, Device device, Release release, void* context)
      : data_(data), bytes_(bytes), device_(device), release_(release), context_(context) {}

  // Relaxed: a write that races with a read of the same bytes is the caller's fault, but writes to two parts
  // on two threads are not, and both leave their mark on what they are part of.
  struct Mark {
    std::atomic<uint64_t> when{0};
    std::atomic<const char*> who{"nobody"};
    void set(uint64_t time, const char* writer) {
      who.store(writer, std::memory_order_relaxed);
      when.store(time, std::memory_order_relaxed);
    }
  };
  void bump_part(const char* who);

  void* data_;
  size_t bytes_;
  Device device_;
  Release release_;
  void* context_;
  Ref<Storage> parent_;
  Ref<Derived> derived_;
  Mark own_, parts_;                // the last write through this storage, and through a part of it
  std::atomic<uint64_t> clock_{0};  // of the whole allocation, where there is no parent
};

}  // namespace juxta

#pragma once
// CUDA devices without CUDA at build time: the runtime library is opened when first asked for, so that a
// program that uses no device starts quickly on a machine that has none. A build with JUXTA_CUDA has the
// runtime linked in, which does the same with the driver. JUXTA_CUDART names another library for either.
//
// Everything works on the calling thread's current device (index 0 until set_device). Where there is no
// device, available() is false and every other call that needs one throws Error with the reason.
#include <cstddef>
#include <string>

namespace juxta::cuda {

bool available();                 // a driver, the runtime library and at least one device
int device_count();               // 0 where not available
std::string unavailable_reason(); // why available() is false; empty when it is true

void set_device(int index);  // for the calling thread
void* allocate(size_t bytes);  // aligned to 256 bytes; nullptr when the device is out of memory
void release(void* p);         // null is fine

// Copies and fills are ordered on current_stream(); those to and from the host have finished on return.
void copy_to_device(void* to, const void* from, size_t bytes);
void copy_to_host(void* to, const void* from, size_t bytes);
void copy_on_device(void* to, const void* from, size_t bytes);
void fill_bytes(void* to, int byte, size_t bytes);
void synchronize();  // waits for all work of the device; Error if any of it failed

// The stream (a cudaStream_t) that work of this thread goes to; null is the default stream.
void* current_stream();
class StreamScope {  // uses `stream`, which belongs to the caller, while it lives
 public:
  explicit StreamScope(void* stream);
  ~StreamScope();
  StreamScope(const StreamScope&) = delete;
  StreamScope& operator=(const StreamScope&) = delete;

 private:
  void* outer_;
};

// Makes Device{cuda} allocate from the device. Error where there is none. Idempotent.
void register_device();

}  // namespace juxta::cuda

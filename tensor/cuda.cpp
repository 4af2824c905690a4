#include "tensor/cuda.h"

#include <dlfcn.h>

#include <cstdlib>

#include "tensor/allocator.h"
#include "tensor/error.h"

// The entry points of the CUDA runtime that are used, by the types of its documentation: cudaError_t and
// cudaMemcpyKind are ints to the ABI, streams are pointers. cudaDeviceProp is avoided: its layout changes.
#define JX_CUDA_CALLS(ROW)                                                                  \
  ROW(int, GetDeviceCount, (int* count))                                                    \
  ROW(int, SetDevice, (int index))                                                          \
  ROW(int, Malloc, (void** p, size_t bytes))                                                \
  ROW(int, Free, (void* p))                                                                 \
  ROW(int, MemcpyAsync, (void* to, const void* from, size_t bytes, int kind, void* stream)) \
  ROW(int, MemsetAsync, (void* to, int byte, size_t bytes, void* stream))                   \
  ROW(int, StreamSynchronize, (void* stream))                                               \
  ROW(int, DeviceSynchronize, ())                                                           \
  ROW(int, GetLastError, ())                                                                \
  ROW(const char*, GetErrorString, (int status))

#if defined(JUXTA_WITH_CUDA)  // linked: the kernels need it anyway, and two runtimes in a process would not
                              // agree
#define JX_DECLARE(Result, name, arguments) extern "C" Result cuda##name arguments;
JX_CUDA_CALLS(JX_DECLARE)
#undef JX_DECLARE
#endif

namespace juxta::cuda {

namespace {

constexpr int kSuccess = 0, kOutOfMemory = 2;
enum CopyKind : int { kHostToDevice = 1, kDeviceToHost = 2, kDeviceToDevice = 3 };

struct Runtime {
#define JX_POINTER(Result, name, arguments) Result(*name) arguments = nullptr;
  JX_CUDA_CALLS(JX_POINTER)
#undef JX_POINTER
  int devices = 0;
  std::string reason;  // empty when all is well
};

void* open_library(const char* path) {
  if (path) return dlopen(path, RTLD_NOW | RTLD_LOCAL);
  for (const char* name : {"libcudart.so", "libcudart.so.13", "libcudart.so.12", "libcudart.so.11.0"})
    if (void* library = dlopen(name, RTLD_NOW | RTLD_LOCAL)) return library;
  return nullptr;
}

template <class F>
bool find(void* library, const char* name, F& function) {
  function = reinterpret_cast<F>(dlsym(library, name));
  return function != nullptr;
}

// Fills the entry points; the reason in words when that fails.
std::string find_calls(Runtime& r) {
  const char* path = std::getenv("JUXTA_CUDART");
#if defined(JUXTA_WITH_CUDA)
  if (!path) {
#define JX_TAKE(Result, name, arguments) r.name = cuda##name;
    JX_CUDA_CALLS(JX_TAKE)
#undef JX_TAKE
    return {};
  }
#endif
  void* library = open_library(path);  // stays open: the process may use it until its end
  if (!library) return "the CUDA runtime library (libcudart.so) is not installed";
  bool complete = true;
#define JX_FIND(Result, name, arguments) complete = find(library, "cuda" #name, r.name) && complete;
  JX_CUDA_CALLS(JX_FIND)
#undef JX_FIND
  if (complete) return {};
  return "the CUDA runtime library lacks an entry point that is needed; CUDA 11 or newer is";
}

Runtime open_runtime() {
  Runtime r;
  r.reason = find_calls(r);
  if (!r.reason.empty()) return r;
  const int status = r.GetDeviceCount(&r.devices);
  if (status != kSuccess) {
    r.devices = 0;
    r.GetLastError();  // forget it
    r.reason = r.GetErrorString(status);
  } else if (r.devices == 0) {
    r.reason = "the driver reports no device";
  }
  return r;
}

const Runtime& runtime() {
  static const Runtime r = open_runtime();
  return r;
}

const Runtime& needed(const char* who) {
  const Runtime& r = runtime();
  JX_CHECK(r.devices > 0, who, ": no CUDA device: ", r.reason, "; use the CPU, device = cpu");
  return r;
}

void check(const Runtime& r, int status, const char* who) {
  if (status == kSuccess) return;
  r.GetLastError();
  JX_FAIL(who, ": ", r.GetErrorString(status));
}

thread_local void* t_stream = nullptr;

void copy(const char* who, void* to, const void* from, size_t bytes, CopyKind kind) {
  const Runtime& r = needed(who);
  if (bytes == 0) return;
  check(r, r.MemcpyAsync(to, from, bytes, kind, t_stream), who);
  if (kind != kDeviceToDevice) check(r, r.StreamSynchronize(t_stream), who);
}

}  // namespace

bool available() { return runtime().devices > 0; }
int device_count() { return runtime().devices; }
std::string unavailable_reason() { return runtime().reason; }

void set_device(int index) {
  const Runtime& r = needed("cuda::set_device");
  JX_CHECK(index >= 0 && index < r.devices, "cuda::set_device: index: expected 0 to ", r.devices - 1,
           ", got ", index);
  check(r, r.SetDevice(index), "cuda::set_device");
}

void* allocate(size_t bytes) {
  const Runtime& r = needed("cuda::allocate");
  void* p = nullptr;
  const int status = r.Malloc(&p, bytes ? bytes : 1);
  if (status == kOutOfMemory) {
    r.GetLastError();
    return nullptr;
  }
  check(r, status, "cuda::allocate");
  return p;
}

void release(void* p) {
  if (!p) return;
  const Runtime& r = needed("cuda::release");
  // Called by destructors: failures of earlier work show in synchronize(), and at the end of the process the
  // runtime may be gone already.
  if (r.Free(p) != kSuccess) r.GetLastError();
}

void copy_to_device(void* to, const void* from, size_t bytes) {
  copy("cuda::copy_to_device", to, from, bytes, kHostToDevice);
}
void copy_to_host(void* to, const void* from, size_t bytes) {
  copy("cuda::copy_to_host", to, from, bytes, kDeviceToHost);
}
void copy_on_device(void* to, const void* from, size_t bytes) {
  copy("cuda::copy_on_device", to, from, bytes, kDeviceToDevice);
}

void fill_bytes(void* to, int byte, size_t bytes) {
  const Runtime& r = needed("cuda::fill_bytes");
  if (bytes) check(r, r.MemsetAsync(to, byte, bytes, t_stream), "cuda::fill_bytes");
}

void synchronize() {
  const Runtime& r = needed("cuda::synchronize");
  check(r, r.DeviceSynchronize(), "cuda::synchronize");
}

void* current_stream() { return t_stream; }
StreamScope::StreamScope(void* stream) : outer_(t_stream) { t_stream = stream; }
StreamScope::~StreamScope() { t_stream = outer_; }

void register_device() {
  needed("cuda::register_device");
  set_raw_memory(DeviceKind::cuda,
                 {[](size_t bytes) { return allocate(bytes); }, [](void* p, size_t) { release(p); }, false});
}

}  // namespace juxta::cuda

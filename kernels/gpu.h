#pragma once
// The one door to CUDA: a .cu file includes this header and is compiled twice, by nvcc for devices and by the
// C++ compiler for the emulator, which executes and checks it in the tests on any machine.
//
// Kernels, and what only they use, lie in `namespace juxta::JX_GPU` (juxta::cuda or juxta::emu). They are
// launched by launch(name, kernel, grid, block, shared bytes, stream, args...) alone. Arguments are structs
// of pointers and sizes, by value. Shared memory is `__shared__ Shared<T, N> name;` or
// JX_SHARED_DYN(T, name); warp and block reductions, counted loads and stores, mma, ldmatrix and cp.async are
// in gpu_prims.h, the only file with inline PTX.
//
// The emulator reports, with kernel, block, thread and line:
//   - threads that wait at different __syncthreads, or for threads that have exited;
//   - a warp mask that names an exited or absent lane or not the caller, lanes with different masks, a
//     shuffle from a lane outside the mask;
//   - shared memory: races (two threads, one writing, no __syncthreads or __syncwarp between; a shuffle
//     orders nothing), reads of what no thread of this block wrote, indices out of range, misalignment;
//   - cp.async read or overwritten before its wait: the bytes arrive at the wait, not before;
//   - global memory out of bounds (ld and st to the byte; raw pointers at the guard page, or beside the
//     buffer after the launch), misaligned vectors, host pointers in ld and st, stack overflow;
//   - launch limits: threads, grid, static and dynamic shared memory, bytes of arguments.
// ForceSchedule runs threads and blocks forwards, backwards and shuffled; a result that changes is a fault.
//
// What the emulator cannot see, so that it is on the reader's mind:
//   - no timing and no occupancy; nvcc's own register and spill report is the complement;
//   - memory is sequentially consistent: a missing __threadfence stays unseen;
//   - blocks run one after another: no waiting between blocks is possible, and none is allowed; use a second
//     launch (deterministic anyway). Races between threads in global memory show only as results that change
//     with the schedule;
//   - warps have no lockstep and there is no __activemask: what relies on either is wrong here and there;
//   - approximate intrinsics, flush to zero, contraction to fma and the tensor cores' accumulation round
//     otherwise: compare with f64 bounds, never bit for bit with a device;
//   - __launch_bounds__ is not checked; wgmma, TMA and clusters are out: an sm_90 variant is optional and has
//     an sm_80 twin; cuBLAS and cuDNN run on devices alone.
#include "kernels/gpu_launch.h"
#include "tensor/cuda.h"
#include "tensor/dtype.h"
#include "tensor/error.h"

#ifndef __CUDACC__

#define JX_UNROLL  // before a loop of few, constant passes whose index picks registers
#define JX_GPU emu
#include "kernels/gpu_emu.h"

namespace juxta::emu {
using cuda::current_stream;
}

#else

#define JX_UNROLL _Pragma("unroll")
#define JX_GPU cuda
#include <cuda_runtime.h>

#include <cstdlib>
#include <type_traits>

namespace juxta::cuda {

// A shared array of N elements; `s[i]`, `s + i` and `&s[i]` work on both sides. Bytes inside, because
// elements with constructors may not lie in __shared__ memory.
template <class T, int N>
class Shared {
 public:
  __device__ operator T*() { return data(); }
  __device__ T* data() { return reinterpret_cast<T*>(bytes_); }

 private:
  alignas(16) unsigned char bytes_[N * sizeof(T)];
};
template <class T>
using SharedPtr = T*;
template <class U, class T>
__device__ U* shared_cast(T* p) {
  return reinterpret_cast<U*>(p);
}

#define JX_SHARED_DYN(T, name)                                      \
  extern __shared__ __align__(128) unsigned char juxta_dynamic_shared[]; \
  T* const name = reinterpret_cast<T*>(juxta_dynamic_shared)

namespace detail {
inline std::string shape_text(const char* name, dim3 g, dim3 b, SharedBytes shared) {
  return concat(name, "<<<(", g.x, ",", g.y, ",", g.z, "), (", b.x, ",", b.y, ",", b.z, "), ", shared.bytes,
                ">>>");
}
// JUXTA_CUDA_SYNC=1 waits after every launch, so that an error names the kernel that made it.
inline bool sync_each_launch() {
  static const bool on = std::getenv("JUXTA_CUDA_SYNC") != nullptr;
  return on;
}
}  // namespace detail

// Runs kernel(args...) on grid x block threads, on `stream` (a cudaStream_t; current_stream() as a rule).
// Error naming the kernel and the shape when CUDA refuses the launch.
template <class... P, class... A>
void launch(const char* name, void (*kernel)(P...), dim3 grid, dim3 block, SharedBytes shared, void* stream,
            A&&... args) {
  static_assert(sizeof...(P) == sizeof...(A), "launch: the kernel takes another number of arguments");
  static_assert((std::is_trivially_copyable_v<P> && ...), "launch: arguments travel as bytes");
  static_assert((sizeof(P) + ... + 0) <= kMaxParameterBytes, "launch: more than 4 KiB of arguments");
  cudaError_t status = cudaSuccess;
  if (shared.large)
    status = cudaFuncSetAttribute(kernel, cudaFuncAttributeMaxDynamicSharedMemorySize,
                                  static_cast<int>(shared.bytes));
  if (status == cudaSuccess) {
    kernel<<<grid, block, shared.bytes, static_cast<cudaStream_t>(stream)>>>(static_cast<P>(args)...);
    status = cudaGetLastError();
  }
  if (status == cudaSuccess && detail::sync_each_launch())
    status = cudaStreamSynchronize(static_cast<cudaStream_t>(stream));
  JX_CHECK(status == cudaSuccess, detail::shape_text(name, grid, block, shared), ": ",
           cudaGetErrorString(status));
}

}  // namespace juxta::cuda

#endif

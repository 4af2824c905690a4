#pragma once
// Scratch memory of a thread, for kernels that pack operands. Code compiled per instruction set may not
// allocate; it asks here. Each slot is one block that only grows, 64-byte aligned, kept until its thread
// ends: no allocation in steady state.
#include <cstdint>

namespace juxta {

// One slot per purpose, so that nested users do not hand each other the same memory.
enum class Scratch : int { gemm_a, gemm_b, gemm_tile, conv, attention, contrast, other };
inline constexpr int kScratchSlots = 7;

// At least `bytes` bytes, uninitialised, valid until the next call with the same slot on this thread.
void* thread_scratch(Scratch slot, int64_t bytes);
inline float* scratch_floats(Scratch slot, int64_t count) {
  return static_cast<float*>(thread_scratch(slot, count * 4));
}

}  // namespace juxta

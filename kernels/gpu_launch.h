#pragma once
// What a kernel launch may ask for, alike on CUDA devices and in the emulator.
//
// Limits are those of compute capability 8.0 and 9.0 (CUDA C++ Programming Guide, "Compute Capabilities").
#include <cstddef>
#include <cstdint>

namespace juxta {

inline constexpr unsigned kWarp = 32;             // lanes of a warp
inline constexpr unsigned kFullMask = 0xffffffffu;  // all lanes of a warp

inline constexpr unsigned kMaxBlockThreads = 1024;
inline constexpr unsigned kMaxBlock[3] = {1024, 1024, 64};
inline constexpr unsigned kMaxGrid[3] = {0x7fffffffu, 65535, 65535};
inline constexpr size_t kPlainSharedBytes = size_t{48} << 10;  // static shared memory; all without opt-in
inline constexpr size_t kLargeSharedBytes = size_t{227} << 10;  // static + dynamic with large_shared()
inline constexpr size_t kMaxParameterBytes = 4096;              // all kernel parameters together

// Dynamic shared memory of a launch in bytes. More than 48 KiB must be asked for by name, because the driver
// wants to be told and because such a block may be alone on its multiprocessor.
struct SharedBytes {
  size_t bytes;
  bool large = false;
  constexpr SharedBytes(size_t n) : bytes(n) {}
  constexpr SharedBytes(size_t n, bool opt_in) : bytes(n), large(opt_in) {}
};
constexpr SharedBytes large_shared(size_t bytes) { return {bytes, true}; }

}  // namespace juxta

// The emulated twins of mma and ldmatrix: what the warp computes once all lanes have come.
#include <bit>

#include "kernels/gpu_emu_engine.h"
#include "kernels/gpu_prims.h"

namespace juxta::emu::detail {

namespace {
float half_of(uint32_t pair, unsigned which) {
  return std::bit_cast<float>(which ? pair & 0xffff0000u : pair << 16);
}
}  // namespace

// Products of bf16 are exact in f32; the sum runs over k in order, one rounding per term. Tensor cores round
// otherwise, and not better.
void mma(void* const data[kWarp], unsigned) {
  float d[kWarp][4];
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    const unsigned g = lane / 4, t = lane % 4;
    for (unsigned i = 0; i < 4; ++i) {
      const unsigned row = g + 8 * (i / 2), column = 2 * t + i % 2;
      float sum = static_cast<const Mma*>(data[lane])->d[i];
      for (unsigned k = 0; k < 16; ++k) {
        const auto* from_a = static_cast<const Mma*>(data[row % 8 * 4 + k % 8 / 2]);
        const auto* from_b = static_cast<const Mma*>(data[column * 4 + k % 8 / 2]);
        sum += half_of(from_a->a[row / 8 + 2 * (k / 8)], k % 2) * half_of(from_b->b[k / 8], k % 2);
      }
      d[lane][i] = sum;
    }
  }
  for (unsigned lane = 0; lane < kWarp; ++lane)
    for (unsigned i = 0; i < 4; ++i) static_cast<Mma*>(data[lane])->d[i] = d[lane][i];
}

void ldmatrix(void* const data[kWarp], unsigned) {
  for (unsigned lane = 0; lane < kWarp; ++lane) {
    auto* mine = static_cast<MatrixRow*>(data[lane]);
    for (unsigned m = 0; m < 4; ++m) {
      uint32_t pair = 0;
      for (unsigned half = 0; half < 2; ++half) {
        unsigned row = lane / 4, column = 2 * (lane % 4) + half;
        if (mine->trans) std::swap(row, column);
        pair |= uint32_t{static_cast<const MatrixRow*>(data[8 * m + row])->row[column]} << 16 * half;
      }
      mine->r[m] = pair;
    }
  }
}

}  // namespace juxta::emu::detail

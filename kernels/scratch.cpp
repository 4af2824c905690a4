#include "kernels/scratch.h"

#include <sys/mman.h>

#include <cstdlib>
#include <new>

namespace juxta {

namespace {
constexpr size_t kAlign = 64, kHuge = size_t{2} << 20;

struct Blocks {
  struct Block {
    void* p = nullptr;
    size_t bytes = 0;
  };
  Block block[kScratchSlots];
  ~Blocks() {
    for (const Block& b : block) std::free(b.p);
  }
};
thread_local Blocks t_blocks;
}  // namespace

void* thread_scratch(Scratch slot, int64_t bytes) {
  Blocks::Block& b = t_blocks.block[static_cast<int>(slot)];
  if (static_cast<size_t>(bytes) <= b.bytes && b.p) return b.p;
  // Blocks of half a huge page or more become whole huge pages: packed panels are walked with long strides.
  const size_t align = static_cast<size_t>(bytes) >= kHuge / 2 ? kHuge : kAlign;
  const size_t wanted = (static_cast<size_t>(bytes > 0 ? bytes : 1) + align - 1) / align * align;
  std::free(b.p);
  b = {};
  b.p = std::aligned_alloc(align, wanted);
  if (!b.p) throw std::bad_alloc();
  if (align == kHuge) madvise(b.p, wanted, MADV_HUGEPAGE);  // a hint: failure costs speed only
  b.bytes = wanted;
  return b.p;
}

}  // namespace juxta

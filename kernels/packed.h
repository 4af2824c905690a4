#pragma once
// Weights packed for a kernel, cached by version: packed once after each write, freed with the weights.
#include <array>
#include <cstdint>
#include <functional>

#include "tensor/tensor.h"

namespace juxta {

// What distinguishes two packings of one storage. `layout` is an address that stands for kernel and
// instruction set (a table's pack entry); `numbers` are offset, sizes and strides, as the family likes.
struct PackKey {
  const void* layout = nullptr;
  std::array<int64_t, 6> numbers{};
  bool operator==(const PackKey&) const = default;
};

// The packing of `weight` under `key`: `words` f32 words, filled by `pack` unless the storage holds one made
// from its present contents. Safe from several threads (two may pack at once; both results are right).
// Memory that others change behind the library's back (adopted storages) must be bumped by them.
Tensor packed_weights(const Tensor& weight, const PackKey& key, int64_t words,
                      const std::function<void(float*)>& pack);

}  // namespace juxta

#include "kernels/packed.h"

#include <vector>

namespace juxta {

namespace {
struct PackedWeights final : Derived {
  struct Entry {
    PackKey key;
    Tensor words;
  };
  uint64_t version = 0;
  std::vector<Entry> entries;
};
}  // namespace

Tensor packed_weights(const Tensor& weight, const PackKey& key, int64_t words,
                      const std::function<void(float*)>& pack) {
  Storage& storage = *weight.storage();
  const uint64_t version = storage.content_version();
  Ref<Derived> held = storage.derived();
  const auto* old = dynamic_cast<const PackedWeights*>(held.get());
  const bool fresh = old && old->version == version;
  if (fresh) {
    for (const PackedWeights::Entry& e : old->entries)
      if (e.key == key) return e.words;
  }
  // Stale panels go before new ones are made: the allocator then hands out the same block again.
  if (!fresh && old) storage.attach(held = nullptr);
  Tensor panels = Tensor::empty({words}, DType::f32, weight.device());
  pack(panels.write<float>("packed_weights"));
  auto* next = new PackedWeights;
  const Ref<Derived> owner(next);
  next->version = version;
  if (fresh) next->entries = old->entries;
  next->entries.push_back({key, panels});
  storage.attach(owner);
  return panels;
}

}  // namespace juxta

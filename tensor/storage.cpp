#include "tensor/storage.h"

#include "tensor/allocator.h"
#include "tensor/error.h"

namespace juxta {

std::string to_text(Device d) {
  if (d.kind == DeviceKind::cpu) return "cpu";
  return (d.kind == DeviceKind::cuda ? "cuda:" : "emu:") + std::to_string(d.index);
}

Ref<Storage> Storage::allocate(size_t bytes, Device device) {
  CachingAllocator& from = allocator(device);
  void* data = from.allocate(bytes);
  return Ref<Storage>(new Storage(
      data, bytes, device,
      [](void* context, void* p, size_t n) { static_cast<CachingAllocator*>(context)->release(p, n); },
      &from));
}

Ref<Storage> Storage::adopt(void* data, size_t bytes, Device device, Release release, void* context) {
  return Ref<Storage>(new Storage(data, bytes, device, release, context));
}

Ref<Storage> Storage::part(const Ref<Storage>& parent, size_t offset, size_t bytes) {
  JX_CHECK(offset <= parent->bytes() && bytes <= parent->bytes() - offset, "storage: part [", offset, ", ",
           offset, " + ", bytes, ") lies outside a storage of ", parent->bytes(), " bytes");
  Ref<Storage> s(
      new Storage(static_cast<char*>(parent->data()) + offset, bytes, parent->device(), nullptr, nullptr));
  s->parent_ = parent;
  return s;
}

void Storage::dispose() {
  if (release_) release_(context_, data_, bytes_);
  delete this;
}

}  // namespace juxta

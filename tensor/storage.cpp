#include "tensor/storage.h"

#include <mutex>

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

void Storage::bump_part(const char* who) {
  Storage* root = this;
  while (root->parent_) root = root->parent_.get();
  const uint64_t now = root->clock_.fetch_add(1, std::memory_order_relaxed) + 1;
  own_.set(now, who);
  for (Storage* p = parent_.get(); p; p = p->parent_.get()) p->parts_.set(now, who);
}

Storage::Write Storage::last_write() const {
  Write last;
  const auto see = [&last](const Mark& m) {
    const uint64_t when = m.when.load(std::memory_order_relaxed);
    if (when > last.when) last = {when, m.who.load(std::memory_order_relaxed)};
  };
  see(parts_);
  for (const Storage* s = this; s; s = s->parent_.get()) see(s->own_);
  return last;
}

namespace {
std::mutex g_derived_mutex;  // held for the copy of one pointer
}  // namespace

Ref<Derived> Storage::derived() const {
  const std::lock_guard lock(g_derived_mutex);
  return derived_;
}
void Storage::attach(Ref<Derived> derived) {
  const std::lock_guard lock(g_derived_mutex);
  std::swap(derived_, derived);
}

void Storage::dispose() {
  if (release_) release_(context_, data_, bytes_);
  delete this;
}

}  // namespace juxta

#pragma once
// Shared memory of an emulated block: every access is checked against who wrote and read the bytes before.
//
// Shared<T, N> stands for a __shared__ array, JX_SHARED_DYN for the dynamic part, SharedPtr<T> for a pointer
// into either. On the device they are a bare array and T*. Here s[i] is a SharedRef that reads or writes when
// it is used as a value or assigned: so write `const float v = s[i];`, never `auto v = s[i];`.
#include <cstdint>
#include <memory>
#include <type_traits>

#include "kernels/gpu_emu_device.h"

namespace juxta::emu {

// Dynamic shared memory of the block as `T* name` (SharedPtr<T> here), aligned to 128 bytes.
#define JX_SHARED_DYN(T, name) \
  const ::juxta::emu::SharedPtr<T> name = ::juxta::emu::dynamic_shared().template pointer<T>()

template <class T>
class SharedPtr;

// A piece of shared memory with the history of its bytes in the running block.
class Region {
 public:
  Region(unsigned char* data, int64_t bytes, bool is_static);
  ~Region();
  Region(const Region&) = delete;
  Region& operator=(const Region&) = delete;

  // Each call is one access of the running thread. Faults: outside the region, misaligned, a race, a read of
  // what this block has not written, a cp.async in flight.
  void read(void* to, int64_t offset, int bytes, int align);
  void write(const void* from, int64_t offset, int bytes, int align);
  // Returns the place for a read-modify-write that is atomic against others of its kind.
  void* atomic(int64_t offset, int bytes);

  // cp.async: claims the destination at issue; lands the bytes at wait.
  void begin_copy(int64_t offset, int bytes);
  void finish_copy(const void* from, int64_t offset, int bytes, int copied);

  void resize(unsigned char* data, int64_t bytes);
  int64_t bytes() const { return bytes_; }
  template <class T>
  SharedPtr<T> pointer(int64_t offset = 0) {
    return SharedPtr<T>(this, offset);
  }

 private:
  struct Cell;  // the history of `granule_` bytes
  void enter(int64_t offset, int bytes, int align, const char* verb);
  void refine(int granule);
  void check_read(Cell& c, int64_t offset);
  void check_write(Cell& c, int64_t offset, const char* verb);
  [[noreturn]] void race(const char* verb, int64_t offset, const char* earlier, unsigned thread);
  std::string place(int64_t offset) const;

  unsigned char* data_;
  int64_t bytes_;
  int granule_;
  bool static_;
  uint64_t launch_ = 0, block_ = 0;  // last entered in
  std::unique_ptr<Cell[]> cells_;
};

Region& dynamic_shared();

template <class T>
class SharedRef {
 public:
  using Value = std::remove_const_t<T>;
  SharedRef(Region* region, int64_t offset) : region_(region), offset_(offset) {}
  SharedRef(const SharedRef&) = default;

  operator Value() const {
    Value v;
    region_->read(&v, offset_, sizeof v, alignof(Value));
    return v;
  }
  Value operator=(const Value& v) const requires(!std::is_const_v<T>) {
    region_->write(&v, offset_, sizeof v, alignof(Value));
    return v;
  }
  // NOLINTNEXTLINE(bugprone-unhandled-self-assignment): the element is assigned, not this reference
  Value operator=(const SharedRef& other) const requires(!std::is_const_v<T>) {
    return *this = static_cast<Value>(other);
  }
  Value operator+=(const Value& v) const { return *this = static_cast<Value>(Value(*this) + v); }
  Value operator-=(const Value& v) const { return *this = static_cast<Value>(Value(*this) - v); }
  Value operator*=(const Value& v) const { return *this = static_cast<Value>(Value(*this) * v); }
  SharedPtr<T> operator&() const { return SharedPtr<T>(region_, offset_); }

 private:
  Region* region_;
  int64_t offset_;
};

template <class T>
class SharedPtr {
 public:
  SharedPtr() = default;
  SharedPtr(Region* region, int64_t offset) : region_(region), offset_(offset) {}
  operator SharedPtr<const T>() const requires(!std::is_const_v<T>) { return {region_, offset_}; }

  SharedRef<T> operator[](int64_t i) const { return {region_, offset_ + i * kSize}; }
  SharedRef<T> operator*() const { return {region_, offset_}; }
  SharedPtr operator+(int64_t n) const { return {region_, offset_ + n * kSize}; }
  SharedPtr operator-(int64_t n) const { return {region_, offset_ - n * kSize}; }
  SharedPtr& operator+=(int64_t n) { return *this = *this + n; }
  int64_t operator-(const SharedPtr& other) const { return (offset_ - other.offset_) / kSize; }
  bool operator==(const SharedPtr&) const = default;

  Region* region() const { return region_; }
  int64_t offset() const { return offset_; }  // in bytes

 private:
  static constexpr int64_t kSize = sizeof(T);
  Region* region_ = nullptr;
  int64_t offset_ = 0;
};

// The same place seen as elements of another type.
template <class U, class T>
SharedPtr<U> shared_cast(SharedPtr<T> p) {
  return SharedPtr<U>(p.region(), p.offset());
}

template <class T, int N>
class Shared {
 public:
  Shared() : region_(bytes_, sizeof bytes_, true) {}
  SharedRef<T> operator[](int64_t i) { return {&region_, i * static_cast<int64_t>(sizeof(T))}; }
  operator SharedPtr<T>() { return region_.template pointer<T>(); }
  operator SharedPtr<const T>() { return region_.template pointer<const T>(); }
  SharedPtr<T> operator+(int64_t n) { return region_.template pointer<T>() + n; }
  SharedPtr<T> operator&() { return *this; }

 private:
  alignas(128) unsigned char bytes_[N * sizeof(T)];
  Region region_;
};

// Atomics on integers in shared memory: atomicAdd(&s[i], v).
namespace detail {
template <AtomicInt T, class F>
T atomic(SharedPtr<T> p, F change) {
  T* at = static_cast<T*>(p.region()->atomic(p.offset(), sizeof(T)));
  const T old = *at;
  *at = change(old);
  return old;
}
}  // namespace detail
template <AtomicInt T>
T atomicAdd(SharedPtr<T> p, std::type_identity_t<T> v) {
  using U = std::make_unsigned_t<T>;
  return detail::atomic(p, [v](T old) { return static_cast<T>(static_cast<U>(old) + static_cast<U>(v)); });
}
template <AtomicInt T>
T atomicMax(SharedPtr<T> p, std::type_identity_t<T> v) {
  return detail::atomic(p, [v](T old) { return old > v ? old : v; });
}
template <AtomicInt T>
T atomicMin(SharedPtr<T> p, std::type_identity_t<T> v) {
  return detail::atomic(p, [v](T old) { return old < v ? old : v; });
}
template <AtomicInt T>
T atomicOr(SharedPtr<T> p, std::type_identity_t<T> v) {
  return detail::atomic(p, [v](T old) { return old | v; });
}
float atomicAdd(SharedPtr<float>, float) = delete;

}  // namespace juxta::emu

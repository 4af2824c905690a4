#pragma once
// Ref: intrusive counted pointer. Pooled: objects of one type from a per-thread free list, so that
// steady-state training makes and drops storages and graph nodes without malloc.
#include <atomic>
#include <cstddef>
#include <new>
#include <utility>
#include <vector>

namespace juxta {

// Base of counted objects. The count starts at 0; Ref raises it.
class Counted {
 public:
  Counted() = default;
  Counted(const Counted&) = delete;
  Counted& operator=(const Counted&) = delete;
  void retain() const { refs_.fetch_add(1, std::memory_order_relaxed); }
  bool drop() const { return refs_.fetch_sub(1, std::memory_order_acq_rel) == 1; }
  int use_count() const { return refs_.load(std::memory_order_acquire); }

 protected:
  ~Counted() = default;

 private:
  mutable std::atomic<int> refs_{0};
};

// How Ref counts a T: by default through Counted, with `void T::dispose()` called once when the last Ref
// goes. A header that holds Refs to an incomplete type declares a specialisation.
template <class T>
struct RefOps {
  static void retain(T* p) { p->retain(); }
  static void drop(T* p) {
    if (p->drop()) p->dispose();
  }
};

template <class T>
class Ref {
 public:
  Ref() = default;
  Ref(std::nullptr_t) {}
  explicit Ref(T* p) : p_(p) {
    if (p_) RefOps<T>::retain(p_);
  }
  Ref(const Ref& o) : Ref(o.p_) {}
  Ref(Ref&& o) noexcept : p_(std::exchange(o.p_, nullptr)) {}
  Ref& operator=(Ref o) noexcept {
    std::swap(p_, o.p_);
    return *this;
  }
  ~Ref() {
    if (p_) RefOps<T>::drop(p_);
  }
  T* get() const { return p_; }
  T* operator->() const { return p_; }
  T& operator*() const { return *p_; }
  explicit operator bool() const { return p_ != nullptr; }
  bool operator==(const Ref& o) const { return p_ == o.p_; }

 private:
  T* p_ = nullptr;
};

// Gives T an operator new/delete over a per-thread free list. Memory freed on another thread joins that
// thread's list.
template <class T>
struct Pooled {
  static void* operator new(std::size_t bytes) {
    if (gone()) return ::operator new(bytes);
    auto& list = free_list().blocks;
    if (list.empty()) return ::operator new(bytes);
    void* p = list.back();
    list.pop_back();
    return p;
  }
  static void operator delete(void* p) {
    if (gone()) return ::operator delete(p);
    auto& list = free_list().blocks;
    if (list.size() >= kKeep) return ::operator delete(p);
    list.push_back(p);
  }

 private:
  static constexpr std::size_t kKeep = 1 << 14;
  struct List {
    std::vector<void*> blocks;
    ~List() {
      for (void* p : blocks) ::operator delete(p);
      blocks.clear();
      gone() = true;
    }
  };
  // Has this thread's list been destroyed? Objects of static lifetime die after it.
  static bool& gone() {
    thread_local bool value = false;
    return value;
  }
  static List& free_list() {
    thread_local List list;
    return list;
  }
};

}  // namespace juxta

#pragma once
// InlineVector: a vector whose first N elements live inside the object, so that graph nodes of ordinary size
// cost no malloc. Elements beyond N spill to a std::vector holding all of them.
#include <array>
#include <cstddef>
#include <utility>
#include <vector>

namespace juxta {

template <class T, size_t N>
class InlineVector {
 public:
  size_t size() const { return size_; }
  bool empty() const { return size_ == 0; }
  T* data() { return heap_.empty() ? inline_.data() : heap_.data(); }
  const T* data() const { return heap_.empty() ? inline_.data() : heap_.data(); }
  T* begin() { return data(); }
  T* end() { return data() + size_; }
  const T* begin() const { return data(); }
  const T* end() const { return data() + size_; }
  T& operator[](size_t i) { return data()[i]; }
  const T& operator[](size_t i) const { return data()[i]; }
  void push_back(T value) {
    if (size_ == N && heap_.empty()) {
      heap_.reserve(2 * N);
      for (T& x : inline_) heap_.push_back(std::move(x));
    }
    if (size_ < N && heap_.empty()) {
      inline_[size_] = std::move(value);
    } else {
      heap_.push_back(std::move(value));
    }
    ++size_;
  }
  void resize(size_t n) {
    while (size_ < n) push_back(T{});
  }
  void clear() {
    for (size_t i = 0; heap_.empty() && i < size_; ++i) inline_[i] = T{};
    heap_.clear();
    size_ = 0;
  }

 private:
  std::array<T, N> inline_{};
  std::vector<T> heap_;
  size_t size_ = 0;
};

}  // namespace juxta

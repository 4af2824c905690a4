#pragma once
// Dims: up to eight sizes or strides, stored inline so that a Tensor never allocates for its shape.
#include <array>
#include <cstdint>
#include <initializer_list>
#include <span>
#include <string>

#include "tensor/error.h"

namespace juxta {

inline constexpr int kMaxDims = 8;

class Dims {
 public:
  Dims() = default;
  Dims(std::initializer_list<int64_t> v) : Dims(std::span<const int64_t>(v.begin(), v.size())) {}
  explicit Dims(std::span<const int64_t> v) {
    JX_CHECK(v.size() <= kMaxDims, "dims: expected at most ", kMaxDims, " dimensions, got ", v.size());
    for (int64_t x : v) d_[static_cast<size_t>(n_++)] = x;
  }
  int size() const { return n_; }
  bool empty() const { return n_ == 0; }
  int64_t& operator[](int i) { return d_[static_cast<size_t>(i)]; }
  int64_t operator[](int i) const { return d_[static_cast<size_t>(i)]; }
  const int64_t* begin() const { return d_.data(); }
  const int64_t* end() const { return d_.data() + n_; }
  int64_t back() const { return (*this)[n_ - 1]; }
  void push_back(int64_t v) {
    JX_CHECK(n_ < kMaxDims, "dims: expected at most ", kMaxDims, " dimensions");
    d_[static_cast<size_t>(n_++)] = v;
  }
  void erase(int i) {
    for (int k = i; k + 1 < n_; ++k) (*this)[k] = (*this)[k + 1];
    --n_;
  }
  void insert(int i, int64_t v) {
    push_back(v);
    for (int k = n_ - 1; k > i; --k) (*this)[k] = (*this)[k - 1];
    (*this)[i] = v;
  }
  bool operator==(const Dims& o) const {
    if (n_ != o.n_) return false;
    for (int i = 0; i < n_; ++i)
      if ((*this)[i] != o[i]) return false;
    return true;
  }

 private:
  std::array<int64_t, kMaxDims> d_{};
  int n_ = 0;
};

std::string to_text(const Dims& d);      // "[2, 3]"
int64_t numel(const Dims& d);            // product; Error on negative sizes or overflow
Dims contiguous_strides(const Dims& d);  // row-major, in elements
Dims broadcast(const Dims& a, const Dims& b,
               const char* who);  // NumPy rules; Error naming `who` if they disagree
// Index of a dimension given as 0..n-1 or -1..-n; Error naming `who` when out of range.
int wrap_dim(int dim, int n, const char* who);

}  // namespace juxta

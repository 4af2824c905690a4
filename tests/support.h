#pragma once
// What tests of every room share: values, comparisons, expected errors, temporary folders. Needs the tensor
// room alone.
#include <gtest/gtest.h>

#include <functional>
#include <initializer_list>
#include <string>

#include "tensor/tensor.h"

namespace juxta::test {

// Deterministic inputs, f64.
Tensor normal(Dims dims, uint64_t seed, double mean = 0.0, double stddev = 1.0);
Tensor uniform(Dims dims, uint64_t seed, double low = 0.0, double high = 1.0);
// i64 values in [0, n).
Tensor indices(Dims dims, uint64_t seed, int64_t n);

// Largest |a - b|, in f64; inf when one has NaN where the other has not.
double max_abs_diff(const Tensor& a, const Tensor& b);
double max_abs(const Tensor& a);
bool same_bits(const Tensor& a, const Tensor& b);

// Expects that `call` throws an Error whose text contains each of `parts`.
void expect_error(const std::function<void()>& call, std::initializer_list<const char*> parts);

// A fresh empty folder, removed at the end of the scope.
class TempDir {
 public:
  TempDir();
  ~TempDir();
  TempDir(const TempDir&) = delete;
  TempDir& operator=(const TempDir&) = delete;
  const std::string& path() const { return path_; }
  std::string operator/(const std::string& name) const { return path_ + "/" + name; }

 private:
  std::string path_;
};

}  // namespace juxta::test

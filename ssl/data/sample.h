#pragma once
// Which images stand for a set where all of them would take too long, and which are held out for testing
// where there is no test split. Files are often in the order of their classes: the first n would show a few.
#include <span>
#include <vector>

#include "ssl/data/dataset.h"

namespace juxta::ssl {

// k of the indices 0..n-1 in ascending order, all of them when k >= n: one at a random place of each of k
// equal parts, so that neither an order by class nor one that repeats (0, 1, .., 9, 0, 1, ..) hides a class.
// The same n and k always give the same indices.
std::vector<int64_t> spread_sample(int64_t n, int64_t k);
// The same of given rows.
std::vector<int64_t> spread_sample(std::span<const int64_t> rows, int64_t k);

// Every fifth of n images is held out for testing.
struct HeldOut {
  std::vector<int64_t> keep, held;
};
HeldOut every_fifth(int64_t n);

// The labels at `rows`, i64 [rows], and the images with them, as a set of its own memory.
Tensor take_labels(const ImageSet& set, std::span<const int64_t> rows);
ImageSet take_images(const ImageSet& set, std::span<const int64_t> rows);

}  // namespace juxta::ssl

#include "ssl/data/sample.h"

#include <algorithm>
#include <cstring>
#include <numeric>

#include "tensor/rng.h"

namespace juxta::ssl {

std::vector<int64_t> spread_sample(int64_t n, int64_t k) {
  JX_CHECK(n >= 0 && k >= 0, "spread_sample: expected 0 or more of 0 or more, got ", k, " of ", n);
  std::vector<int64_t> rows(static_cast<size_t>(std::min(n, k)));
  std::iota(rows.begin(), rows.end(), 0);
  if (k >= n) return rows;
  const Draw draw{stream_id("spread_sample"), 0};
  for (int64_t i = 0; i < k; ++i) {
    const int64_t begin = i * n / k, end = (i + 1) * n / k;  // n > k: no part is empty
    const uint64_t place = draw.bits(static_cast<uint64_t>(i)) % static_cast<uint64_t>(end - begin);
    rows[static_cast<size_t>(i)] = begin + static_cast<int64_t>(place);
  }
  return rows;
}

std::vector<int64_t> spread_sample(std::span<const int64_t> rows, int64_t k) {
  std::vector<int64_t> chosen = spread_sample(static_cast<int64_t>(rows.size()), k);
  for (int64_t& i : chosen) i = rows[static_cast<size_t>(i)];
  return chosen;
}

HeldOut every_fifth(int64_t n) {
  HeldOut split;
  for (int64_t i = 0; i < n; ++i) (i % 5 == 4 ? split.held : split.keep).push_back(i);
  return split;
}

Tensor take_labels(const ImageSet& set, std::span<const int64_t> rows) {
  const Tensor labels = set.labels.contiguous();
  Tensor taken = Tensor::empty({static_cast<int64_t>(rows.size())}, DType::i64);
  auto* to = taken.write<int64_t>("take_labels");
  for (const int64_t row : rows) {
    JX_CHECK(row >= 0 && row < labels.numel(), "take_labels: row ", row, " of ", labels.numel());
    *to++ = labels.data<int64_t>()[row];
  }
  return taken;
}

ImageSet take_images(const ImageSet& set, std::span<const int64_t> rows) {
  ImageSet taken = set;
  taken.labels = take_labels(set, rows);
  const Tensor images = set.images.contiguous();
  Dims dims = images.dims();
  dims[0] = static_cast<int64_t>(rows.size());
  taken.images = Tensor::empty(dims, DType::u8);
  if (rows.empty()) return taken;
  const int64_t size = images.numel() / set.size();
  auto* to = taken.images.write<uint8_t>("take_images");
  for (const int64_t row : rows) {
    std::memcpy(to, images.data<uint8_t>() + row * size, static_cast<size_t>(size));
    to += size;
  }
  return taken;
}

}  // namespace juxta::ssl

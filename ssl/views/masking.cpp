#include "ssl/views/masking.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

#include "autograd/ops.h"

namespace juxta::ssl {

MaeMask mae_mask(const Tensor& noise, double mask_ratio) {
  constexpr const char* kRule = "mae_masking";
  JX_CHECK(noise.defined() && is_float(noise.dtype()) && noise.ndim() == 2 && noise.numel() > 0, kRule,
           ": noise: expected a float [N, L], got ", noise);
  JX_CHECK(mask_ratio >= 0 && mask_ratio <= 1, kRule, ": mask_ratio: expected 0 to 1, got ", mask_ratio);
  const int64_t n = noise.size(0), length = noise.size(1);
  const auto keep = static_cast<int64_t>(static_cast<double>(length) * (1 - mask_ratio));
  const Tensor wide = noise.to(DType::f64).contiguous();
  MaeMask out{Tensor::empty({n, keep}, DType::i64), Tensor::empty({n, length}, DType::i64),
              Tensor::empty({n, length}, DType::i64)};
  std::vector<int64_t> order(static_cast<size_t>(length));
  for (int64_t i = 0; i < n; ++i) {
    const double* row = wide.data<double>() + i * length;
    for (int64_t l = 0; l < length; ++l)
      JX_CHECK(std::isfinite(row[l]), kRule, ": noise: expected finite values, got ", row[l], " in row ", i);
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [row](int64_t a, int64_t b) { return row[a] < row[b]; });
    std::copy_n(order.begin(), keep, out.ids_keep.write<int64_t>(kRule) + i * keep);
    for (int64_t rank = 0; rank < length; ++rank) {
      const int64_t at = i * length + order[static_cast<size_t>(rank)];
      out.ids_restore.write<int64_t>(kRule)[at] = rank;
      out.mask.write<int64_t>(kRule)[at] = rank >= keep;
    }
  }
  return out;
}

Var keep_tokens(const Var& tokens, const Tensor& ids_keep) {
  JX_CHECK(tokens.defined() && is_float(tokens.dtype()) && tokens.ndim() == 3,
           "mae_masking: tokens: expected a float "
           "[N, L, D], got ",
           tokens);
  const int64_t n = tokens.size(0), length = tokens.size(1), d = tokens.size(2);
  JX_CHECK(
      ids_keep.defined() && ids_keep.dtype() == DType::i64 && ids_keep.ndim() == 2 && ids_keep.size(0) == n,
      "mae_masking: ids_keep: expected i64 [", n, ", K], got ", ids_keep);
  const int64_t keep = ids_keep.size(1);
  Tensor rows = ids_keep.clone();  // of the patches of all images in one list
  for (int64_t i = 0; i < n * keep; ++i) {
    const int64_t patch = rows.data<int64_t>()[i];
    JX_CHECK(patch >= 0 && patch < length, "mae_masking: ids_keep: expected 0 to ", length - 1, ", got ",
             patch);
    rows.write<int64_t>("mae_masking")[i] = i / keep * length + patch;
  }
  return reshape(index_select(reshape(tokens, {n * length, d}), 0, rows.view({n * keep})), {n, keep, d});
}

Tensor simmim_mask(const Tensor& order, int64_t side, const SimMimMask& p) {
  constexpr const char* kRule = "simmim";
  JX_CHECK(p.model_patch_size >= 1 && p.mask_patch_size >= 1 && p.mask_patch_size % p.model_patch_size == 0,
           kRule, ": mask_patch_size: expected a multiple of model_patch_size ", p.model_patch_size, ", got ",
           p.mask_patch_size);
  JX_CHECK(side >= 1 && side % p.mask_patch_size == 0, kRule,
           ": images: expected sides that are multiples of "
           "mask_patch_size ",
           p.mask_patch_size, ", got ", side);
  JX_CHECK(p.mask_ratio >= 0 && p.mask_ratio <= 1, kRule, ": mask_ratio: expected 0 to 1, got ",
           p.mask_ratio);
  const int64_t cells = side / p.mask_patch_size, count = cells * cells, fine = side / p.model_patch_size,
                scale = p.mask_patch_size / p.model_patch_size;
  JX_CHECK(order.defined() && order.dtype() == DType::i64 && order.ndim() == 2 && order.size(1) == count,
           kRule, ": order: expected i64 [N, ", count, "], got ", order);
  const auto masked = static_cast<int64_t>(std::ceil(static_cast<double>(count) * p.mask_ratio));
  const Tensor given = order.contiguous();
  Tensor mask = Tensor::empty({order.size(0), fine, fine}, DType::i64);
  for (int64_t i = 0; i < order.size(0); ++i) {
    std::vector<int64_t> coarse(static_cast<size_t>(count), -1);
    for (int64_t k = 0; k < count; ++k) {
      const int64_t cell = given.data<int64_t>()[i * count + k];
      JX_CHECK(cell >= 0 && cell < count && coarse[static_cast<size_t>(cell)] < 0, kRule,
               ": order: expected a permutation of 0 to ", count - 1, " in row ", i, ", got ", cell, " at ",
               k);
      coarse[static_cast<size_t>(cell)] = k < masked;
    }
    for (int64_t y = 0; y < fine; ++y)
      for (int64_t x = 0; x < fine; ++x)
        mask.write<int64_t>(kRule)[(i * fine + y) * fine + x] =
            coarse[static_cast<size_t>(y / scale * cells + x / scale)];
  }
  return mask;
}

}  // namespace juxta::ssl

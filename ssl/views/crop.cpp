#include "ssl/views/crop.h"

#include <algorithm>
#include <cmath>

#include "tensor/error.h"

namespace juxta::ssl {

CropBox search_crop(int64_t height, int64_t width, const CropRange& range, std::span<const double> uniforms) {
  JX_CHECK(height >= 1 && width >= 1, "crop: size: expected at least 1 x 1, got ", height, " x ", width);
  JX_CHECK(range.min_area > 0 && range.min_area <= range.max_area && range.max_area <= 1,
           "crop: areas: expected 0 < min <= max <= 1, got ", range.min_area, " and ", range.max_area);
  JX_CHECK(range.min_aspect > 0 && range.min_aspect <= 1, "crop: min_aspect: expected above 0 to 1, got ",
           range.min_aspect);
  JX_CHECK(uniforms.size() == 4 * kCropTries, "crop: uniforms: expected ", 4 * kCropTries, ", got ",
           uniforms.size());
  const double h = static_cast<double>(height), w = static_cast<double>(width),
               bound = -std::log(range.min_aspect);
  const auto whole = [](double v) { return static_cast<int64_t>(std::nearbyint(v)); };
  for (size_t i = 0; i < uniforms.size(); i += 4) {
    const double area = h * w * (range.min_area + (range.max_area - range.min_area) * uniforms[i]);
    const double aspect = std::exp(-bound + 2 * bound * uniforms[i + 1]);
    const int64_t box_w = whole(std::sqrt(area * aspect)), box_h = whole(std::sqrt(area / aspect));
    if (box_w < 1 || box_w > width || box_h < 1 || box_h > height) continue;
    const auto place = [](int64_t room, double u) {
      return std::min(room, static_cast<int64_t>(std::floor(u * static_cast<double>(room + 1))));
    };
    return {place(height - box_h, uniforms[i + 2]), place(width - box_w, uniforms[i + 3]), box_h, box_w};
  }
  CropBox box{0, 0, height, width};
  if (w / h < range.min_aspect) box.height = whole(w / range.min_aspect);
  if (w / h > 1 / range.min_aspect) box.width = whole(h / range.min_aspect);
  box.top = (height - box.height) / 2;
  box.left = (width - box.width) / 2;
  return box;
}

std::array<int, 4> jitter_order(std::span<const double> uniforms) {
  JX_CHECK(uniforms.size() == 4, "jitter: order: expected 4 uniforms, got ", uniforms.size());
  std::array<int, 4> order{0, 1, 2, 3};
  std::stable_sort(order.begin(), order.end(), [&](int a, int b) {
    return uniforms[static_cast<size_t>(a)] < uniforms[static_cast<size_t>(b)];
  });
  return order;
}

double jitter_factor(double strength, double uniform) {
  const double low = std::max(0.0, 1 - strength), high = 1 + strength;
  return low + (high - low) * uniform;
}

double hue_turn(double strength, double uniform) { return (2 * uniform - 1) * strength; }

}  // namespace juxta::ssl

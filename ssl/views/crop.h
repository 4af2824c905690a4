#pragma once
// The numbers of a view as torchvision draws them, from given uniforms in [0, 1).
#include <array>
#include <cstdint>
#include <span>

namespace juxta::ssl {

struct CropBox {
  int64_t top, left, height, width;  // pixels
};
struct CropRange {
  double min_area = 0.08, max_area = 1.0;  // as fractions of the image
  double min_aspect = 0.75;                // width / height log-uniform in [min_aspect, 1 / min_aspect]
};
inline constexpr int kCropTries = 10;

// Random resized crop (Szegedy et al. 2014, arXiv 1409.4842): up to ten tries of an area and an aspect whose
// box fits; then a centred box, whole but for the nearest allowed aspect. `uniforms` are ten times (area,
// aspect, top, left).
CropBox search_crop(int64_t height, int64_t width, const CropRange& range, std::span<const double> uniforms);

// Which of the four colour steps comes when: the places of the uniforms in ascending order, as a sort of
// keys.
std::array<int, 4> jitter_order(std::span<const double> uniforms);
// U(max(0, 1 - strength), 1 + strength).
double jitter_factor(double strength, double uniform);
// Turns, U(-strength, strength).
double hue_turn(double strength, double uniform);

}  // namespace juxta::ssl

#include "kernels/augment.h"

#include <Eigen/Dense>
#include <algorithm>
#include <cmath>
#include <numbers>

namespace juxta {

namespace {

// Rotation of the chroma plane of YIQ (NTSC weights) by `turns`, as a row-major 3x3 matrix on RGB. The way
// back is the exact inverse of the way there, so that no turn is the identity.
void hue_matrix(float turns, float* out) {
  const double angle = 2.0 * std::numbers::pi * static_cast<double>(turns), c = std::cos(angle),
               s = std::sin(angle);
  Eigen::Matrix3d to_yiq, rotation;
  to_yiq << 0.299, 0.587, 0.114, 0.596, -0.274, -0.322, 0.211, -0.523, 0.312;
  rotation << 1, 0, 0, 0, c, -s, 0, s, c;
  const Eigen::Matrix3d m = to_yiq.inverse() * rotation * to_yiq;
  for (int i = 0; i < 3; ++i)
    for (int j = 0; j < 3; ++j) out[3 * i + j] = static_cast<float>(m(i, j));
}

int blur_taps(double sigma, int64_t side, float* tap) {
  const auto wanted = static_cast<int64_t>(std::ceil(3.0 * sigma));
  const int radius = static_cast<int>(std::min({wanted, int64_t{kMaxRadius}, side - 1}));
  double total = 0;
  for (int k = -radius; k <= radius; ++k) total += std::exp(-0.5 * k * k / (sigma * sigma));
  for (int k = 0; k <= radius; ++k)
    tap[k] = static_cast<float>(std::exp(-0.5 * k * k / (sigma * sigma)) / total);
  return radius;
}

}  // namespace

void prepare_view(ViewParams& v, int64_t side_h, int64_t side_w) {
  if (v.hue != 0) hue_matrix(v.hue, v.hue_matrix);
  if (v.blur > 0) {
    v.radius_h = blur_taps(static_cast<double>(v.blur), side_h, v.taps_h);
    v.radius_w = blur_taps(static_cast<double>(v.blur), side_w, v.taps_w);
  }
}

JX_DECLARE_ISA_TABLES(AugmentTable, augment_f32)

const TableChoice<AugmentTable>& augment_tables() {
  static const TableChoice<AugmentTable> c(DType::f32, ref::augment_table, JX_ISA_TABLES_F32(augment_f32));
  return c;
}

}  // namespace juxta

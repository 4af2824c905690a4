#include "ssl/data/hyper_pixels.h"

namespace juxta::ssl {

HyperPixels hyper_pixel_labels(const Tensor& mask, const HyperPixelParams& p) {
  constexpr const char* kName = "hyper_pixel_labels";
  JX_CHECK(mask.defined() && mask.dtype() == DType::i64 && mask.ndim() == 3 && mask.numel() > 0, kName,
           ": mask: expected an i64 [N, H, W], got ", mask);
  const int64_t s = p.stride, n = mask.size(0), height = mask.size(1), width = mask.size(2);
  JX_CHECK(s >= 1 && height % s == 0 && width % s == 0, kName, ": stride: expected a divisor of ", height,
           " and ", width, ", got ", s);
  JX_CHECK(p.low >= 0 && p.low <= p.high && p.high <= 1, kName,
           ": low, high: expected 0 <= low <= high <= 1, got ", p.low, " and ", p.high);
  const Tensor pixels = mask.contiguous();
  const int64_t* m = pixels.data<int64_t>();
  const Dims dims{n, height / s, width / s};
  HyperPixels r{Tensor::empty(dims, DType::f64), Tensor::empty(dims, DType::i64),
                Tensor::empty(dims, DType::i64)};
  double* frac = r.frac.write<double>(kName);
  int64_t *label = r.label.write<int64_t>(kName), *boundary = r.boundary.write<int64_t>(kName);
  for (int64_t cell = 0; cell < r.frac.numel(); ++cell) {
    const int64_t column = cell % (width / s), row = cell / (width / s);  // row counts through all images
    int64_t ones = 0, known = 0;
    for (int64_t y = row * s; y < (row + 1) * s; ++y)
      for (int64_t x = column * s; x < (column + 1) * s; ++x) {
        const int64_t v = m[y * width + x];
        JX_CHECK(v >= -1 && v <= 1, kName, ": mask: expected -1, 0 or 1, got ", v);
        ones += v == 1, known += v >= 0;
      }
    frac[cell] = known ? static_cast<double>(ones) / static_cast<double>(known) : 0;
    const bool between = known && frac[cell] > p.low && frac[cell] < p.high;
    const bool majority = p.boundary_label == BoundaryLabel::majority;
    boundary[cell] = ones > 0 && ones < known;
    label[cell] = !known ? -1 : between ? (majority ? frac[cell] >= 0.5 : -1) : frac[cell] >= p.high;
  }
  return r;
}

}  // namespace juxta::ssl

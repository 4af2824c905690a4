#pragma once
// Hyper-pixels (HPCL-Net, arXiv 2308.01251): cells of a feature map of stride s, labelled by the s x s pixels
// under them.
#include "ssl/params.h"
#include "tensor/tensor.h"

namespace juxta::ssl {

enum class BoundaryLabel { ignore, majority };

struct HyperPixelParams {
  int64_t stride = 4;
  double low = 0, high = 1;
  BoundaryLabel boundary_label = BoundaryLabel::ignore;
  void fields(Params& f) {
    f("stride", stride), f("low", low), f("high", high);
    f("boundary_label", boundary_label, {"ignore", "majority"});
  }
};

// mask i64 [N, H, W] of 1 (object), 0 (none) and -1 (unknown); H and W multiples of the stride.
//   frac = #ones / #known (0 if nothing is known);  label 1 if frac >= high, 0 if frac <= low,
//   otherwise -1 (ignore) or frac >= 1/2 (majority). -1 where nothing is known. low = high leaves no cell
//   between.
//   boundary: both kinds are there, 0 < frac < 1
struct HyperPixels {
  Tensor frac;             // f64 [N, H / s, W / s]
  Tensor label, boundary;  // i64
};
HyperPixels hyper_pixel_labels(const Tensor& mask, const HyperPixelParams& p = {});

}  // namespace juxta::ssl

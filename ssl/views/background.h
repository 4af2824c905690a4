#pragma once
// Backgrounds and speeds of videos (CoMix, Sahoo et al. 2021, arXiv 2110.15128).
#include <vector>

#include "tensor/tensor.h"

namespace juxta::ssl {

// The temporal median of frames [F, .., H, W, C] with values 0 to 255 per pixel and channel, cut to whole
// numbers as an 8-bit picture stores it: [.., H, W, C].
Tensor median_background(const Tensor& video);

// (1 - gamma) clips + gamma background: clips [B, K, F, H, W, C], backgrounds [B, H, W, C] of the other
// domain's videos, gamma in [0, 1] (the paper draws it from (0, 0.5) once per step).
Tensor mix_background(const Tensor& clips, const Tensor& backgrounds, double gamma);

// The slow view: one clip of each of `slow` nearly equal runs of `clips` (the first runs are the longer
// ones); u holds a uniform number in [0, 1) per run.
std::vector<int64_t> slow_clips(int64_t clips, const std::vector<double>& u);

}  // namespace juxta::ssl

#include "ssl/views/background.h"

#include <algorithm>
#include <cmath>

#include "autograd/ops.h"

namespace juxta::ssl {

Tensor median_background(const Tensor& video) {
  constexpr const char* kRule = "median_background";
  JX_CHECK(video.defined() && is_float(video.dtype()) && video.ndim() >= 2 && video.size(0) >= 1, kRule,
           ": video: expected frames, a float [F, .., H, W, C] with F >= 1, got ", video);
  const Tensor x = video.to(DType::f64).contiguous();
  const int64_t frames = x.size(0), pixels = x.numel() / frames;
  Dims dims;
  for (int d = 1; d < x.ndim(); ++d) dims.push_back(x.size(d));
  Tensor out = Tensor::empty(dims, DType::f64);
  double* to = out.write<double>(kRule);
  std::vector<double> values(static_cast<size_t>(frames));
  const size_t upper = values.size() / 2;
  for (int64_t i = 0; i < pixels; ++i) {
    for (int64_t f = 0; f < frames; ++f) {
      const double v = x.data<double>()[f * pixels + i];
      JX_CHECK(v >= 0 && v <= 255, kRule, ": video: expected values from 0 to 255, got ", v, " in frame ", f);
      values[static_cast<size_t>(f)] = v;
    }
    std::sort(values.begin(), values.end());
    const double middle = frames % 2 ? values[upper] : 0.5 * (values[upper - 1] + values[upper]);
    to[i] = std::floor(middle);
  }
  return out.to(video.dtype());
}

Tensor mix_background(const Tensor& clips, const Tensor& backgrounds, double gamma) {
  constexpr const char* kRule = "mix_background";
  JX_CHECK(clips.defined() && is_float(clips.dtype()) && clips.ndim() == 6, kRule,
           ": clips: expected a float [B, K, F, H, W, C], got ", clips);
  const Dims dims{clips.size(0), clips.size(3), clips.size(4), clips.size(5)};
  JX_CHECK(backgrounds.defined() && backgrounds.dtype() == clips.dtype() && backgrounds.dims() == dims, kRule,
           ": backgrounds: expected ", clips.dtype(), " ", dims, ", got ", backgrounds);
  JX_CHECK(gamma >= 0 && gamma <= 1, kRule, ": gamma: expected a number in [0, 1], got ", gamma);
  const Var background(backgrounds.unsqueeze(1).unsqueeze(1));
  return add(affine(Var(clips), 1 - gamma, 0.0), affine(background, gamma, 0.0)).value();
}

std::vector<int64_t> slow_clips(int64_t clips, const std::vector<double>& u) {
  constexpr const char* kRule = "slow_clips";
  const int64_t slow = static_cast<int64_t>(u.size());
  JX_CHECK(slow >= 1 && slow <= clips, kRule, ": slow: expected 1 to ", clips, " (clips), got ", slow);
  std::vector<int64_t> pick;
  int64_t start = 0;
  for (int64_t r = 0; r < slow; ++r) {
    const double drawn = u[static_cast<size_t>(r)];
    JX_CHECK(drawn >= 0 && drawn < 1, kRule, ": u: expected numbers in [0, 1), got ", drawn, " at ", r);
    const int64_t length = clips / slow + (r < clips % slow);
    pick.push_back(start + std::min(length - 1, static_cast<int64_t>(drawn * static_cast<double>(length))));
    start += length;
  }
  return pick;
}

}  // namespace juxta::ssl

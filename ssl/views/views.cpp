#include "ssl/views/views.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "ssl/views/crop.h"
#include "tensor/parallel.h"
#include "tensor/rng.h"

namespace juxta::ssl {

namespace {

// A sequence of uniforms from one Philox draw. Every step takes its numbers whether or not it happens, so
// that switching one step off leaves the others' numbers alone.
class Numbers {
 public:
  explicit Numbers(const ViewKey& key) {
    const uint64_t a = mix_key(key.seed, stream_id("augment"));
    const uint64_t b = mix_key(a ^ static_cast<uint64_t>(key.epoch), static_cast<uint64_t>(key.sample));
    draw_ = {b, static_cast<uint64_t>(key.occurrence) << 16 | static_cast<uint64_t>(key.view)};
  }
  double next() { return static_cast<double>(draw_.uniform(index_++)); }
  double next(double low, double high) { return low + (high - low) * next(); }
  bool chance(double p) { return next() < p; }

 private:
  Draw draw_;
  uint64_t index_ = 0;
};

// Random resized crop: area and log-aspect uniform. Either a box of fractional pixels, clipped to the image
// where it does not fit, or whole pixels by search.
void draw_crop(const ViewConfig& c, Numbers& u, ViewParams& v) {
  if (c.crop_search) {
    std::array<double, 4 * kCropTries> uniforms;
    for (double& x : uniforms) x = u.next();
    const CropBox box = search_crop(v.height, v.width, {c.min_crop, c.max_crop, c.min_aspect}, uniforms);
    v.x = static_cast<float>(box.left);
    v.y = static_cast<float>(box.top);
    v.w = static_cast<float>(box.width);
    v.h = static_cast<float>(box.height);
    return;
  }
  const double H = v.height, W = v.width, bound = -std::log(c.min_aspect);
  const double area = u.next(c.min_crop, c.max_crop) * H * W, aspect = std::exp(u.next(-bound, bound));
  const double w = std::min(std::sqrt(area * aspect), W), h = std::min(std::sqrt(area / aspect), H);
  v.w = static_cast<float>(w);
  v.h = static_cast<float>(h);
  v.x = static_cast<float>(u.next() * (W - w));
  v.y = static_cast<float>(u.next() * (H - h));
}

void draw_jitter(const ViewConfig& c, Numbers& u, int64_t channels, ViewParams& v) {
  v.jitter = u.chance(c.jitter);
  const auto factor = [&](double s) { return static_cast<float>(jitter_factor(s, u.next())); };
  v.brightness = factor(c.brightness);
  v.contrast = factor(c.contrast);
  v.saturation = factor(c.saturation);
  v.hue = static_cast<float>(hue_turn(c.hue, u.next()));
  for (int i = 3; i > 0; --i) {  // Fisher-Yates
    const int k = static_cast<int>(u.next() * (i + 1));
    if (c.shuffle_jitter) std::swap(v.order[i], v.order[k]);
  }
  for (int64_t k = 0; k < channels; ++k) v.gain[k] = factor(c.gain);
}

}  // namespace

namespace {
constexpr Range kCropArea{.low = 0, .high = 1, .above_low = true};
}  // namespace

void ViewConfig::fields(Fields& f) {
  f("min_crop", min_crop, "smallest area of the random crop, as a fraction", kCropArea);
  f("max_crop", max_crop, "largest area of the random crop", kCropArea);
  f("min_aspect", min_aspect, "aspect ratios are log-uniform in [this, 1 / this]", kCropArea);
  f("crop_search", crop_search, "crops of whole pixels by torchvision's ten tries");
  f("flip", flip, "probability of a horizontal flip", kFraction);
  f("jitter", jitter, "probability of colour jitter", kFraction);
  f("brightness", brightness, "brightness factors U(1 - this, 1 + this), not below 0", Range{0, 100});
  f("contrast", contrast, "contrast factors U(1 - this, 1 + this), not below 0", Range{0, 100});
  f("saturation", saturation, "saturation factors U(1 - this, 1 + this), not below 0, colour only",
    Range{0, 100});
  f("hue", hue, "hue turns U(-this, this), colour only", Range{0, 0.5});
  f("gain", gain, "gain per channel U(1 - this, 1 + this), not below 0", Range{0, 100});
  f("shuffle_jitter", shuffle_jitter, "random order of the jitter steps");
  f("grey", grey, "probability of grey, colour only", kFraction);
  f("blur", blur, "probability of a Gaussian blur", kFraction);
  f("blur_min", blur_min, "smallest sigma, in pixels of a 224-pixel side", Range{0, 1000});
  f("blur_max", blur_max, "largest sigma", Range{0, 1000});
  f("solarize", solarize, "probability of solarising", kFraction);
  f("solarize_threshold", solarize_threshold, "values from here on are inverted", kFraction);
  f("size", size, "side of the views; 0: the image's own", Range{0, kMostSide});
  f("eval_size", eval_size, "side of the whole images in evaluation; 0: that of the views",
    Range{0, kMostSide});
  f("normalize", normalize, "standardise channels by the training set's mean and stddev");
}

void ViewConfig::check(const std::string& where) const {
  ViewConfig copy = *this;
  Fields f;
  f.section("view", copy);
  f.check(where);
  JX_CHECK(min_crop <= max_crop, where, ": view.min_crop: ", min_crop, " is more than view.max_crop ",
           max_crop);
  JX_CHECK(blur_min <= blur_max, where, ": view.blur_min: ", blur_min, " is more than view.blur_max ",
           blur_max);
}

ViewParams draw_view(const ViewConfig& c, const ViewKey& key, const uint8_t* image, int64_t height,
                     int64_t width, int64_t channels, int64_t side_h, int64_t side_w) {
  JX_CHECK(channels >= 1 && channels <= kMaxChannels, "views: ", channels, " channels; 1 to ", kMaxChannels,
           " are supported");
  Numbers u(key);
  ViewParams v{};
  v.image = image;
  v.height = static_cast<int32_t>(height);
  v.width = static_cast<int32_t>(width);
  draw_crop(c, u, v);
  v.flip = u.chance(c.flip);
  draw_jitter(c, u, channels, v);
  v.grey = u.chance(c.grey) && channels == 3;
  const bool blurred = u.chance(c.blur);
  const double sigma = u.next(c.blur_min, c.blur_max) * static_cast<double>(std::max(side_h, side_w)) / 224.0;
  v.blur = blurred && c.blur > 0 ? static_cast<float>(sigma) : 0.0f;
  v.solarize = u.chance(c.solarize) ? static_cast<float>(c.solarize_threshold) : 2.0f;
  prepare_view(v, side_h, side_w);
  return v;
}

PixelStats pixel_stats(const ImageSet& set) {
  const int64_t C = set.channels(), pixels = set.images.numel() / C;
  const auto* p = set.images.data<uint8_t>();
  PixelStats s;
  for (int64_t c = 0; c < C; ++c) {
    uint64_t sum = 0, square = 0;
    for (int64_t i = 0; i < pixels; ++i) {
      const uint64_t v = p[i * C + c];
      sum += v;
      square += v * v;
    }
    const double n = static_cast<double>(pixels), mean = static_cast<double>(sum) / n;
    const double var = static_cast<double>(square) / n - mean * mean;
    s.mean.push_back(static_cast<float>(mean / 255.0));
    s.inv_std.push_back(static_cast<float>(255.0 / std::sqrt(std::max(var, 1e-6))));
  }
  return s;
}

namespace {

// Renders params(i, view parameters) for items [0, n).
template <class F>
Tensor render(const ImageSet& set, int64_t n, int64_t size, const PixelStats* stats, F params) {
  const int64_t H = set.images.size(1), W = set.images.size(2), C = set.channels();
  const int64_t oh = size ? size : H, ow = size ? size : W;
  Tensor out = Tensor::empty({n, oh, ow, C});
  float* pixels = out.write<float>("views");
  const auto* images = set.images.data<uint8_t>();
  const auto entry = augment_tables().on(kCpu).view;
  parallel_for(n, 16, [&](int64_t begin, int64_t end) {
    std::vector<float> scratch(static_cast<size_t>(AugmentArgs::scratch_floats(oh, ow, C)));
    for (int64_t i = begin; i < end; ++i) {
      const ViewParams v = params(i, images, oh, ow);
      const AugmentArgs args{&v,
                             pixels + i * oh * ow * C,
                             scratch.data(),
                             oh,
                             ow,
                             C,
                             stats ? stats->mean.data() : nullptr,
                             stats ? stats->inv_std.data() : nullptr};
      entry(args, 0, 1);
    }
  });
  return out;
}

}  // namespace

Tensor make_views(const ImageSet& set, std::span<const int64_t> samples, std::span<const int64_t> occurrences,
                  const ViewConfig& config, uint64_t seed, int64_t epoch, int view, const PixelStats* stats) {
  config.check("views");
  const int64_t H = set.images.size(1), W = set.images.size(2), C = set.channels();
  return render(set, static_cast<int64_t>(samples.size()), config.size, stats,
                [&](int64_t i, const uint8_t* images, int64_t oh, int64_t ow) {
                  const int64_t s = samples[static_cast<size_t>(i)];
                  const ViewKey key{seed, epoch, s, occurrences[static_cast<size_t>(i)], view};
                  return draw_view(config, key, images + s * H * W * C, H, W, C, oh, ow);
                });
}

Tensor plain_images(const ImageSet& set, int64_t begin, int64_t end, const ViewConfig& config,
                    const PixelStats* stats) {
  config.check("views");
  const int64_t H = set.images.size(1), W = set.images.size(2), C = set.channels();
  return render(set, end - begin, config.eval_size ? config.eval_size : config.size, stats,
                [&](int64_t i, const uint8_t* images, int64_t, int64_t) {
                  ViewParams v{};
                  v.image = images + (begin + i) * H * W * C;
                  v.height = static_cast<int32_t>(H);
                  v.width = static_cast<int32_t>(W);
                  v.w = static_cast<float>(W);
                  v.h = static_cast<float>(H);
                  return v;
                });
}

}  // namespace juxta::ssl

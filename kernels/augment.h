#pragma once
// Augmentation of one image into one view: crop and resize, flip, colour jitter, grey, blur, solarise.
//
// Everything random was drawn before (ssl/views); a ViewParams says exactly what to do, so the same numbers
// give the same view on every machine and thread. Pixels are worked on as planes [C][H W] in a scratch buffer
// and leave interleaved.
//
//   crop      bilinear samples of the box (x, y, w, h), in source pixels, at pixel centres, clamped
//   jitter    in the given order: brightness p <- b p;  contrast p <- m + c (p - m), m the image's mean grey;
//             saturation p <- g + s (p - g), g the grey of the pixel;  hue: rotation by `hue` turns of the
//             chroma plane of YIQ; then gain per channel. Grey is 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601),
//             the mean of the channels when C != 3.
//   grey      every channel becomes the grey of the pixel
//   blur      Gaussian of standard deviation `blur` pixels, cut at 3 sigma, mirrored at the borders
//   solarise  p >= threshold becomes 1 - p
//   end       clamped to [0, 1], then (p - mean[c]) / stddev[c]
//
// Sources: SimCLR (arXiv 2002.05709, appendix A), MoCo v2 (2003.04297), BYOL (2006.07733, appendix B).
#include <array>
#include <cmath>
#include <cstdint>

#include "kernels/table.h"

namespace juxta {

inline constexpr int kMaxChannels = 16;
inline constexpr int kMaxRadius = 63;  // of the blur, pixels
enum class JitterOp : uint8_t { brightness, contrast, saturation, hue };

struct ViewParams {
  const uint8_t* image;  // [height, width, C]
  int32_t height, width;
  float x, y, w, h;  // crop box in source pixels
  bool flip = false;
  bool jitter = false;
  JitterOp order[4] = {JitterOp::brightness, JitterOp::contrast, JitterOp::saturation, JitterOp::hue};
  float brightness = 1, contrast = 1, saturation = 1, hue = 0;
  float gain[kMaxChannels] = {1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 1};
  bool grey = false;
  float blur = 0;      // sigma, 0: none
  float solarize = 2;  // threshold, above 1: none

  // Derived by prepare_view(): the matrix of the hue rotation, and half kernels of the blur (tap 0 at the
  // centre).
  float hue_matrix[9] = {1, 0, 0, 0, 1, 0, 0, 0, 1};
  int radius_h = 0, radius_w = 0;
  float taps_h[kMaxRadius + 1], taps_w[kMaxRadius + 1];
};

struct AugmentArgs {
  const ViewParams* views;  // one per item
  float* out;               // [items, side_h, side_w, channels]
  float* scratch;           // scratch_floats(); one thread at a time may use it
  int64_t side_h, side_w, channels;
  const float *mean, *inv_std;  // [channels] of the final normalisation, or null

  static int64_t scratch_floats(int64_t side_h, int64_t side_w, int64_t channels) {
    // Planes, the blur's plane, two rows or one mirrored row, the sample positions of the columns.
    return (channels + 1) * side_h * side_w + 3 * side_w + 3 * side_w;
  }
};

struct AugmentTable {
  static constexpr const char* kFamily = "augment";
  static constexpr std::array kNames{"view"};
  void (*view)(const AugmentArgs&, int64_t item, int64_t item_end);
};
const TableChoice<AugmentTable>& augment_tables();

// Fills the derived fields from hue and blur, for outputs of side_h x side_w. The kernel is cut at 3 sigma,
// at kMaxRadius and below the image's side, so that a mirrored index stays inside.
void prepare_view(ViewParams& v, int64_t side_h, int64_t side_w);

namespace ref {

struct GreyWeights {
  float w[kMaxChannels] = {};
  explicit GreyWeights(int64_t channels) {
    for (int64_t c = 0; c < channels; ++c) w[c] = 1.0f / static_cast<float>(channels);
    if (channels == 3) w[0] = 0.299f, w[1] = 0.587f, w[2] = 0.114f;
  }
};

inline void crop(const ViewParams& v, const AugmentArgs& a, float* planes) {
  const int64_t area = a.side_h * a.side_w;
  for (int64_t oy = 0; oy < a.side_h; ++oy) {
    for (int64_t ox = 0; ox < a.side_w; ++ox) {
      const int64_t fx = v.flip ? a.side_w - 1 - ox : ox;
      float sy = v.y + (static_cast<float>(oy) + 0.5f) * v.h / static_cast<float>(a.side_h) - 0.5f;
      float sx = v.x + (static_cast<float>(fx) + 0.5f) * v.w / static_cast<float>(a.side_w) - 0.5f;
      sy = std::fmin(std::fmax(sy, 0.0f), static_cast<float>(v.height - 1));
      sx = std::fmin(std::fmax(sx, 0.0f), static_cast<float>(v.width - 1));
      const auto y0 = static_cast<int64_t>(sy), x0 = static_cast<int64_t>(sx);
      const int64_t y1 = y0 + 1 < v.height ? y0 + 1 : y0, x1 = x0 + 1 < v.width ? x0 + 1 : x0;
      const float ty = sy - static_cast<float>(y0), tx = sx - static_cast<float>(x0);
      for (int64_t c = 0; c < a.channels; ++c) {
        const auto at = [&](int64_t y, int64_t x) {
          return static_cast<float>(v.image[(y * v.width + x) * a.channels + c]) * (1.0f / 255.0f);
        };
        const float top = at(y0, x0) + tx * (at(y0, x1) - at(y0, x0));
        const float low = at(y1, x0) + tx * (at(y1, x1) - at(y1, x0));
        planes[c * area + oy * a.side_w + ox] = top + ty * (low - top);
      }
    }
  }
}

inline float grey_at(const float* planes, int64_t area, int64_t i, int64_t channels, const GreyWeights& g) {
  float sum = 0;
  for (int64_t c = 0; c < channels; ++c) sum += g.w[c] * planes[c * area + i];
  return sum;
}

inline void jitter(const ViewParams& v, int64_t channels, int64_t area, float* planes) {
  const GreyWeights weights(channels);
  for (JitterOp op : v.order) {
    if (op == JitterOp::brightness) {
      for (int64_t i = 0; i < channels * area; ++i) planes[i] *= v.brightness;
    } else if (op == JitterOp::contrast) {
      double mean = 0;
      for (int64_t i = 0; i < area; ++i)
        mean += static_cast<double>(grey_at(planes, area, i, channels, weights));
      const auto m = static_cast<float>(mean / static_cast<double>(area));
      for (int64_t i = 0; i < channels * area; ++i) planes[i] = m + v.contrast * (planes[i] - m);
    } else if (op == JitterOp::saturation && channels == 3) {
      for (int64_t i = 0; i < area; ++i) {
        const float grey = grey_at(planes, area, i, channels, weights);
        for (int64_t c = 0; c < 3; ++c)
          planes[c * area + i] = grey + v.saturation * (planes[c * area + i] - grey);
      }
    } else if (op == JitterOp::hue && channels == 3 && v.hue != 0) {
      const float* m = v.hue_matrix;
      for (int64_t i = 0; i < area; ++i) {
        const float r = planes[i], g = planes[area + i], b = planes[2 * area + i];
        for (int64_t c = 0; c < 3; ++c)
          planes[c * area + i] = m[3 * c] * r + m[3 * c + 1] * g + m[3 * c + 2] * b;
      }
    }
  }
  for (int64_t c = 0; c < channels; ++c)
    for (int64_t i = 0; i < area; ++i) planes[c * area + i] *= v.gain[c];
}

inline void make_grey(int64_t channels, int64_t area, float* planes) {
  const GreyWeights weights(channels);
  for (int64_t i = 0; i < area; ++i) {
    const float grey = grey_at(planes, area, i, channels, weights);
    for (int64_t c = 0; c < channels; ++c) planes[c * area + i] = grey;
  }
}

inline int64_t mirror(int64_t i, int64_t n) { return i < 0 ? -i : i >= n ? 2 * (n - 1) - i : i; }

inline void blur(const ViewParams& v, const AugmentArgs& a, float* planes, float* temp) {
  const int64_t H = a.side_h, W = a.side_w;
  for (int64_t c = 0; c < a.channels; ++c) {
    float* p = planes + c * H * W;
    for (int64_t y = 0; y < H; ++y)
      for (int64_t x = 0; x < W; ++x) {
        float sum = v.taps_h[0] * p[y * W + x];
        for (int k = 1; k <= v.radius_h; ++k)
          sum += v.taps_h[k] * (p[mirror(y - k, H) * W + x] + p[mirror(y + k, H) * W + x]);
        temp[y * W + x] = sum;
      }
    for (int64_t y = 0; y < H; ++y)
      for (int64_t x = 0; x < W; ++x) {
        float sum = v.taps_w[0] * temp[y * W + x];
        for (int k = 1; k <= v.radius_w; ++k)
          sum += v.taps_w[k] * (temp[y * W + mirror(x - k, W)] + temp[y * W + mirror(x + k, W)]);
        p[y * W + x] = sum;
      }
  }
}

inline void finish(const ViewParams& v, const AugmentArgs& a, const float* planes, float* out) {
  const int64_t area = a.side_h * a.side_w;
  for (int64_t i = 0; i < area; ++i)
    for (int64_t c = 0; c < a.channels; ++c) {
      float p = planes[c * area + i];
      if (p >= v.solarize) p = 1.0f - p;
      p = std::fmin(std::fmax(p, 0.0f), 1.0f);
      out[i * a.channels + c] = a.mean ? (p - a.mean[c]) * a.inv_std[c] : p;
    }
}

inline void augment_view(const AugmentArgs& a, int64_t item, int64_t item_end) {
  const int64_t area = a.side_h * a.side_w;
  float *planes = a.scratch, *temp = a.scratch + a.channels * area;
  for (int64_t i = item; i < item_end; ++i) {
    const ViewParams& v = a.views[i];
    crop(v, a, planes);
    if (v.jitter) jitter(v, a.channels, area, planes);
    if (v.grey) make_grey(a.channels, area, planes);
    if (v.blur > 0) blur(v, a, planes, temp);
    finish(v, a, planes, a.out + i * area * a.channels);
  }
}

inline constexpr AugmentTable augment_table{augment_view};

}  // namespace ref
}  // namespace juxta

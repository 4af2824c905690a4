// Views on vectors: lanes are neighbouring output pixels of one plane; formulas in augment.h.
#include "kernels/augment.h"
#include "kernels/simd.h"

#if JX_OWN_F32
namespace juxta::JX_ISA {

namespace {

// Horizontal sample positions are the same for every row: index and weight per output column, computed once a
// view.
struct Columns {
  int32_t *left, *right;
  float* t;
};

Columns sample_columns(const ViewParams& v, const AugmentArgs& a, float* memory) {
  Columns s{reinterpret_cast<int32_t*>(memory), reinterpret_cast<int32_t*>(memory + a.side_w),
            memory + 2 * a.side_w};
  const float step = v.w / static_cast<float>(a.side_w), last = static_cast<float>(v.width - 1);
  for (int64_t ox = 0; ox < a.side_w; ++ox) {
    const int64_t fx = v.flip ? a.side_w - 1 - ox : ox;
    float x = v.x + (static_cast<float>(fx) + 0.5f) * step - 0.5f;
    x = x < 0.0f ? 0.0f : x > last ? last : x;
    const auto x0 = static_cast<int32_t>(x);
    s.left[ox] = x0 * static_cast<int32_t>(a.channels);
    s.right[ox] = (x0 + 1 < v.width ? x0 + 1 : x0) * static_cast<int32_t>(a.channels);
    s.t[ox] = x - static_cast<float>(x0);
  }
  return s;
}

// One row of one plane: gathers are scalar (bytes at irregular places), the blend is not.
void crop_row(const ViewParams& v, const AugmentArgs& a, const Columns& s, int64_t oy, float* const planes,
              float* rows) {
  const float step = v.h / static_cast<float>(a.side_h), last = static_cast<float>(v.height - 1);
  float y = v.y + (static_cast<float>(oy) + 0.5f) * step - 0.5f;
  y = y < 0.0f ? 0.0f : y > last ? last : y;
  const auto y0 = static_cast<int64_t>(y);
  const int64_t y1 = y0 + 1 < v.height ? y0 + 1 : y0;
  const F32 ty(y - static_cast<float>(y0)), scale(1.0f / 255.0f);
  const uint8_t *top = v.image + y0 * v.width * a.channels, *low = v.image + y1 * v.width * a.channels;
  for (int64_t c = 0; c < a.channels; ++c) {
    for (int64_t x = 0; x < a.side_w; ++x) {
      rows[x] = top[s.left[x] + c] + s.t[x] * static_cast<float>(top[s.right[x] + c] - top[s.left[x] + c]);
      rows[a.side_w + x] =
          low[s.left[x] + c] + s.t[x] * static_cast<float>(low[s.right[x] + c] - low[s.left[x] + c]);
    }
    float* out = planes + (c * a.side_h + oy) * a.side_w;
    for_lanes(a.side_w, [&](int64_t x, int n) {
      const F32 p = load_part(rows + x, n), q = load_part(rows + a.side_w + x, n);
      store_part(out + x, fma(ty, q - p, p) * scale, n);
    });
  }
}

JX_INLINE F32 grey_of(const float* planes, int64_t area, int64_t i, int n, int64_t channels,
                      const float* weights) {
  F32 sum = F32(weights[0]) * load_part(planes + i, n);
  for (int64_t c = 1; c < channels; ++c) sum = fma(F32(weights[c]), load_part(planes + c * area + i, n), sum);
  return sum;
}

void contrast(float factor, int64_t channels, int64_t area, const float* weights, float* planes) {
  F32 sum(0.0f);
  for_lanes(area, [&](int64_t i, int n) { sum += grey_of(planes, area, i, n, channels, weights); });
  const F32 mean(reduce_add(sum) / static_cast<float>(area)), f(factor);
  for_lanes(channels * area, [&](int64_t i, int n) {
    store_part(planes + i, fma(f, load_part(planes + i, n) - mean, mean), n);
  });
}

void saturation(float factor, int64_t area, const float* weights, float* planes) {
  const F32 f(factor);
  for_lanes(area, [&](int64_t i, int n) {
    const F32 grey = grey_of(planes, area, i, n, 3, weights);
    for (int64_t c = 0; c < 3; ++c) {
      float* p = planes + c * area + i;
      store_part(p, fma(f, load_part(p, n) - grey, grey), n);
    }
  });
}

void hue(const float* m, int64_t area, float* planes) {
  for_lanes(area, [&](int64_t i, int n) {
    const F32 r = load_part(planes + i, n), g = load_part(planes + area + i, n),
              b = load_part(planes + 2 * area + i, n);
    for (int64_t c = 0; c < 3; ++c)
      store_part(planes + c * area + i,
                 fma(F32(m[3 * c]), r, fma(F32(m[3 * c + 1]), g, F32(m[3 * c + 2]) * b)), n);
  });
}

void scale_plane(float factor, int64_t count, float* p) {
  const F32 f(factor);
  for_lanes(count, [&](int64_t i, int n) { store_part(p + i, f * load_part(p + i, n), n); });
}

void jitter(const ViewParams& v, int64_t channels, int64_t area, const float* weights, float* planes) {
  for (JitterOp op : v.order) {
    if (op == JitterOp::brightness) scale_plane(v.brightness, channels * area, planes);
    if (op == JitterOp::contrast) contrast(v.contrast, channels, area, weights, planes);
    if (op == JitterOp::saturation && channels == 3) saturation(v.saturation, area, weights, planes);
    if (op == JitterOp::hue && channels == 3 && v.hue != 0.0f) hue(v.hue_matrix, area, planes);
  }
  for (int64_t c = 0; c < channels; ++c)
    if (v.gain[c] != 1.0f) scale_plane(v.gain[c], area, planes + c * area);
}

void make_grey(int64_t channels, int64_t area, const float* weights, float* planes) {
  for_lanes(area, [&](int64_t i, int n) {
    const F32 grey = grey_of(planes, area, i, n, channels, weights);
    for (int64_t c = 0; c < channels; ++c) store_part(planes + c * area + i, grey, n);
  });
}

JX_INLINE int64_t mirror(int64_t i, int64_t n) { return i < 0 ? -i : i >= n ? 2 * (n - 1) - i : i; }

// Separable: rows of the vertical pass are whole vectors; the horizontal pass runs on a copy widened by its
// mirror images.
void blur(const ViewParams& v, const AugmentArgs& a, float* planes, float* temp, float* line) {
  const int64_t H = a.side_h, W = a.side_w;
  for (int64_t c = 0; c < a.channels; ++c) {
    float* p = planes + c * H * W;
    for (int64_t y = 0; y < H; ++y)
      for_lanes(W, [&](int64_t x, int n) {
        F32 sum = F32(v.taps_h[0]) * load_part(p + y * W + x, n);
        for (int k = 1; k <= v.radius_h; ++k)
          sum = fma(F32(v.taps_h[k]),
                    load_part(p + mirror(y - k, H) * W + x, n) + load_part(p + mirror(y + k, H) * W + x, n),
                    sum);
        store_part(temp + y * W + x, sum, n);
      });
    const int r = v.radius_w;
    for (int64_t y = 0; y < H; ++y) {
      for (int64_t x = -r; x < W + r; ++x) line[x + r] = temp[y * W + mirror(x, W)];
      for_lanes(W, [&](int64_t x, int n) {
        F32 sum = F32(v.taps_w[0]) * load_part(line + r + x, n);
        for (int k = 1; k <= r; ++k)
          sum = fma(F32(v.taps_w[k]), load_part(line + r + x - k, n) + load_part(line + r + x + k, n), sum);
        store_part(p + y * W + x, sum, n);
      });
    }
  }
}

void finish(const ViewParams& v, const AugmentArgs& a, float* planes, float* out) {
  const int64_t area = a.side_h * a.side_w;
  const F32 zero(0.0f), one(1.0f), threshold(v.solarize);
  for (int64_t c = 0; c < a.channels; ++c) {
    float* p = planes + c * area;
    const F32 mean(a.mean ? a.mean[c] : 0.0f), inv(a.mean ? a.inv_std[c] : 1.0f);
    for_lanes(area, [&](int64_t i, int n) {
      F32 x = load_part(p + i, n);
      x = select(x >= threshold, one - x, x);
      store_part(p + i, (min(max(x, zero), one) - mean) * inv, n);
    });
    for (int64_t i = 0; i < area; ++i) out[i * a.channels + c] = p[i];
  }
}

void augment_view(const AugmentArgs& a, int64_t item, int64_t item_end) {
  const int64_t area = a.side_h * a.side_w;
  float *planes = a.scratch, *temp = planes + a.channels * area, *lines = temp + area,
        *columns = lines + 3 * a.side_w;
  float weights[kMaxChannels];
  for (int64_t c = 0; c < a.channels; ++c) weights[c] = 1.0f / static_cast<float>(a.channels);
  if (a.channels == 3) weights[0] = 0.299f, weights[1] = 0.587f, weights[2] = 0.114f;
  for (int64_t i = item; i < item_end; ++i) {
    const ViewParams& v = a.views[i];
    const Columns samples = sample_columns(v, a, columns);
    for (int64_t oy = 0; oy < a.side_h; ++oy) crop_row(v, a, samples, oy, planes, lines);
    if (v.jitter) jitter(v, a.channels, area, weights, planes);
    if (v.grey) make_grey(a.channels, area, weights, planes);
    if (v.blur > 0) blur(v, a, planes, temp, lines);
    finish(v, a, planes, a.out + i * area * a.channels);
  }
}

}  // namespace

extern const AugmentTable augment_f32{augment_view};

}  // namespace juxta::JX_ISA
#endif

#include "kernels/conv_plan.h"

#include <algorithm>

namespace juxta {

namespace {

int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
// n cut into equal runs of at most `most`: the length of a run.
int64_t even_run(int64_t n, int64_t most) {
  most = std::clamp<int64_t>(most, 1, std::max<int64_t>(n, 1));
  return std::max<int64_t>(1, ceil_div(n, ceil_div(std::max<int64_t>(n, 1), most)));
}

// Floats that `channels` channels of x under images x rows x cols output positions take in the block.
int64_t block_floats(const ConvGeometry& g, int64_t channels, int64_t images, int64_t rows, int64_t cols) {
  const int64_t in_rows = (rows - 1) * g.in_step[1] + g.tap_span[1] + 1,
                phases = std::min(g.in_step[2], g.tap_span[2] + 1),
                row = phases * (cols + g.tap_span[2] / g.in_step[2]) * 16;
  return images * ceil_div(channels, 16) * (g.tap_span[0] + 1) * in_rows * row;
}

void set_taps(ConvCall& c, std::vector<ConvTap> taps) {
  ConvGeometry& g = c.geometry;
  c.taps = std::move(taps);
  g.taps = c.taps.data();
  g.tap_count = static_cast<int64_t>(c.taps.size());
  for (int axis = 0; axis < 3 && !c.taps.empty(); ++axis) {
    const auto [low, high] = std::minmax_element(
        c.taps.begin(), c.taps.end(),
        [axis](const ConvTap& a, const ConvTap& b) { return a.offset[axis] < b.offset[axis]; });
    g.tap_min[axis] = low->offset[axis];
    g.tap_span[axis] = high->offset[axis] - low->offset[axis];
  }
}

// A 1x1 convolution without stride sees no neighbours: all pixels of the batch lie on one axis.
void flatten_pixels(ConvCall& c) {
  ConvGeometry& g = c.geometry;
  for (int axis = 0; axis < 3; ++axis)
    if (g.in_step[axis] != 1 || c.out_step[axis] != 1 || g.in[axis] != g.out[axis] ||
        c.y_size[axis] != g.out[axis])
      return;
  if (g.tap_count != 1 || g.tap_min[0] || g.tap_min[1] || g.tap_min[2]) return;
  const int64_t pixels = g.batch * g.in[0] * g.in[1] * g.in[2];
  g.batch = 1;
  for (int axis = 0; axis < 3; ++axis) g.in[axis] = g.out[axis] = c.y_size[axis] = axis == 2 ? pixels : 1;
}

// Tiles of about `wish` floats of x: whole rows where they fit, several images where one is small.
ConvTiling tile_for(const ConvGeometry& g, int64_t channels, int64_t wish, int64_t most_pixels) {
  ConvTiling t;
  t.cols = even_run(g.out[2], most_pixels);
  while (t.cols > 1 && block_floats(g, channels, 1, 1, t.cols) > kConvBlock)
    t.cols = even_run(g.out[2], t.cols - std::max<int64_t>(1, t.cols / 8));
  if (block_floats(g, channels, 1, 1, t.cols) > kConvBlock || t.cols < std::min<int64_t>(8, g.out[2])) {
    t.gather = true;
    t.cols = even_run(g.out[2], std::min<int64_t>(most_pixels, 256));
    t.rows = even_run(g.out[1], std::max<int64_t>(1, most_pixels / t.cols));
    ConvGeometry one_tap = g;  // the gradient of the weights then fills the block tap by tap
    for (int64_t& span : one_tap.tap_span) span = 0;
    while (t.rows > 1 && block_floats(one_tap, channels, 1, t.rows, t.cols) > kConvBlock)
      t.rows = (t.rows + 1) / 2;
    return t;
  }
  // Tasks of few pixels may take the whole block: they would stream the weights too often, from the second
  // cache or, where they do not fit there, from further away.
  const int64_t few = g.tap_count * g.in_group * g.out_group > (128 << 10) ? 160 : 64;
  const auto fits = [&](int64_t images, int64_t rows) {
    const int64_t pixels = images * rows * t.cols;
    return block_floats(g, channels, images, rows, t.cols) <= (pixels <= few ? kConvBlock : wish) &&
           pixels <= most_pixels;
  };
  while (t.rows < g.out[1] && fits(1, t.rows + 1)) ++t.rows;
  t.rows = even_run(g.out[1], t.rows);
  if (t.rows == g.out[1] && t.cols == g.out[2] && g.out[0] == 1)
    while (t.images < g.batch && fits(t.images + 1, t.rows)) ++t.images;
  t.images = even_run(g.batch, t.images);
  return t;
}

int64_t positions(const ConvGeometry& g) { return g.batch * g.out[0] * g.out[1] * g.out[2]; }

// Enough tasks for many threads where there are pixels enough.
int64_t pixels_per_task(const ConvGeometry& g) { return std::max<int64_t>(64, positions(g) / 32); }

ConvGeometry base_geometry(const ConvShape& s) {
  ConvGeometry g;
  g.batch = s.batch;
  g.groups = s.groups;
  g.in_group = s.in_channels / s.groups;
  g.out_group = s.out_channels / s.groups;
  return g;
}

ConvCall untiled_conv(const ConvShape& s) {
  ConvCall c;
  c.geometry = base_geometry(s);
  for (int axis = 0; axis < 3; ++axis) {
    c.geometry.in[axis] = s.in[axis];
    c.geometry.out[axis] = c.y_size[axis] = s.out[axis];
    c.geometry.in_step[axis] = s.stride[axis];
  }
  std::vector<ConvTap> taps;
  for (int64_t d = 0; d < s.kernel[0]; ++d)
    for (int64_t h = 0; h < s.kernel[1]; ++h)
      for (int64_t w = 0; w < s.kernel[2]; ++w)
        taps.push_back({{static_cast<int32_t>(d * s.dilation[0] - s.padding[0]),
                         static_cast<int32_t>(h * s.dilation[1] - s.padding[1]),
                         static_cast<int32_t>(w * s.dilation[2] - s.padding[2])},
                        static_cast<int32_t>((d * s.kernel[1] + h) * s.kernel[2] + w)});
  set_taps(c, std::move(taps));
  flatten_pixels(c);
  return c;
}

// Kernel elements of one axis that reach phase f, with their offsets into dy.
std::vector<std::pair<int64_t, int64_t>> phase_taps(const ConvShape& s, int axis, int64_t f) {
  std::vector<std::pair<int64_t, int64_t>> taps;
  for (int64_t t = 0; t < s.kernel[axis]; ++t) {
    const int64_t distance = f + s.padding[axis] - t * s.dilation[axis];
    if (distance % s.stride[axis] == 0) taps.emplace_back(t, distance / s.stride[axis]);
  }
  return taps;
}

ConvCall conv_data_phase(const ConvShape& s, const int64_t (&phase)[3]) {
  ConvCall c;
  c.geometry = base_geometry(s);
  std::swap(c.geometry.in_group, c.geometry.out_group);
  for (int axis = 0; axis < 3; ++axis) {
    c.geometry.in[axis] = s.out[axis];
    c.geometry.out[axis] = ceil_div(s.in[axis] - phase[axis], s.stride[axis]);
    c.y_size[axis] = s.in[axis];
    c.out_step[axis] = s.stride[axis];
    c.out_first[axis] = phase[axis];
  }
  std::vector<ConvTap> taps;
  for (const auto& d : phase_taps(s, 0, phase[0]))
    for (const auto& h : phase_taps(s, 1, phase[1]))
      for (const auto& w : phase_taps(s, 2, phase[2]))
        taps.push_back(
            {{static_cast<int32_t>(d.second), static_cast<int32_t>(h.second), static_cast<int32_t>(w.second)},
             static_cast<int32_t>((d.first * s.kernel[1] + h.first) * s.kernel[2] + w.first)});
  set_taps(c, std::move(taps));
  flatten_pixels(c);
  c.geometry.tile = tile_for(c.geometry, c.geometry.in_group, kConvBlockWish, pixels_per_task(c.geometry));
  return c;
}

}  // namespace

int64_t conv_out_size(int64_t in, int64_t kernel, int64_t stride, int64_t padding, int64_t dilation) {
  const int64_t room = in + 2 * padding - dilation * (kernel - 1) - 1;
  return room < 0 ? 0 : room / stride + 1;
}

ConvCall plan_conv(const ConvShape& shape) {
  ConvCall c = untiled_conv(shape);
  c.geometry.tile = tile_for(c.geometry, c.geometry.in_group, kConvBlockWish, pixels_per_task(c.geometry));
  return c;
}

std::vector<ConvCall> plan_conv_data(const ConvShape& shape) {
  std::vector<ConvCall> calls;
  int64_t f[3];
  for (f[0] = 0; f[0] < std::min(shape.stride[0], shape.in[0]); ++f[0])
    for (f[1] = 0; f[1] < std::min(shape.stride[1], shape.in[1]); ++f[1])
      for (f[2] = 0; f[2] < std::min(shape.stride[2], shape.in[2]); ++f[2])
        calls.push_back(conv_data_phase(shape, f));
  return calls;
}

ConvGradCall plan_conv_weight(const ConvShape& shape) {
  ConvGradCall p;
  p.call = untiled_conv(shape);
  ConvGeometry& g = p.call.geometry;
  const bool depthwise = g.in_group == 1 && g.out_group == 1;
  // An item reads all of dy once per run of channels: enough products per value read, then enough items.
  const int64_t blocks = std::max(g.in_group >= 128 ? 2 : 1, static_cast<int>(8 / g.tap_count));
  p.channels = depthwise ? 64 : std::min(ceil_div(g.in_group, 16), blocks) * 16;
  const int64_t runs = conv_channel_runs(g, p.channels) * (depthwise ? 1 : g.groups);
  // About 128 pixels keep x and dy of one register tile in the first cache.
  g.tile = tile_for(g, std::min(p.channels, g.in_group), kConvBlockWish / 4, 160);
  // Adding the parts of a large dw would cost more than the threads it feeds gain.
  p.parts = runs >= 16 ? 1 : std::min<int64_t>(16, ceil_div(32, runs));
  p.parts = std::max<int64_t>(1, std::min(p.parts, conv_tasks(g)));
  return p;
}

}  // namespace juxta

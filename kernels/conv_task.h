#pragma once
// From one task of a tap convolution to register tiles: which rows and pixels go together, and where each
// tile reads and writes.
#include "kernels/conv_tile.h"

namespace juxta::JX_ISA {

// What the tiles of one panel (output channels) of one task share.
template <class M>
struct TaskTiles {
  using T = typename M::Input;
  const ConvGeometry& g;
  const ConvTask& t;
  float* block;
  ConvTile<T> tile;
  int64_t a_image, a_row;  // floats between images and output rows of the block
  int64_t y_image, y_row;  // elements of y between images and output rows
  T* y;                    // this panel at the first output position of the task
  int64_t rows, cols;
  Ahead ahead;

  // Rows are numbered with the images of the task running fastest, so that a tile of several rows mostly has
  // them at one height.
  [[gnu::always_inline]] int64_t images() const { return t.image_end - t.image; }
  [[gnu::always_inline]] int64_t row_count() const { return images() * rows; }
  [[gnu::always_inline]] const float* block_row(int64_t i) const {
    return block + i % images() * a_image + i / images() * a_row;
  }
  [[gnu::always_inline]] T* y_at(int64_t i) const {
    return y + i % images() * y_image + i / images() * y_row;
  }

  // The run of taps that rows [i, i + count) see x through; the others see the padding above or below.
  [[gnu::always_inline]] void choose_taps(int64_t i, int64_t count) {
    const int64_t high = (t.row + i / images()) * g.in_step[1],
                  low = (t.row + (i + count - 1) / images()) * g.in_step[1];
    tile.tap = 0;
    tile.tap_end = g.tap_count;
    if (high + g.tap_min[1] >= 0 && low + g.tap_min[1] + g.tap_span[1] < g.in[1]) return;
    const auto sees = [&](const ConvTap& tap) {
      return low + tap.offset[1] >= 0 && high + tap.offset[1] < g.in[1];
    };
    while (tile.tap < tile.tap_end && !sees(g.taps[tile.tap])) ++tile.tap;
    while (tile.tap < tile.tap_end && !sees(g.taps[tile.tap_end - 1])) --tile.tap_end;
  }
};

// Rows [i, ...) in tiles of R whole rows; returns the first row that is left.
template <class M, int V, int R>
static int64_t whole_rows(TaskTiles<M>& s, int64_t i) {
  if (s.cols > kMostPixels<V, R>) return i;
  const auto run_tile = pick_tile<M, V, R>(static_cast<int>(s.cols));
  for (const int64_t count = s.row_count(); i + R <= count; i += R) {
    for (int r = 0; r < R; ++r) {
      s.tile.a[r] = s.block_row(i + r);
      s.tile.y[r] = s.y_at(i + r);
    }
    s.choose_taps(i, R);
    run_tile(s.tile);
    s.ahead.next();
  }
  return i;
}

// All output positions of the task for one panel of V vectors. Narrow images take several rows per tile; a
// wide row is cut into tiles that differ by one pixel at most.
template <class M, int V>
static void block_panel(TaskTiles<M>& s) {
  int64_t i = whole_rows<M, V, 4>(s, 0);
  i = whole_rows<M, V, 2>(s, i);
  const int64_t tiles = (s.cols + kMostPixels<V, 1> - 1) / kMostPixels<V, 1>, wide = s.cols % tiles;
  const int pixels = static_cast<int>(s.cols / tiles);
  const auto narrow_tile = pick_tile<M, V, 1>(pixels);
  const auto wide_tile = wide ? pick_tile<M, V, 1>(pixels + 1) : narrow_tile;
  for (const int64_t count = s.row_count(); i < count; ++i) {
    s.tile.a[0] = s.block_row(i);
    s.tile.y[0] = s.y_at(i);
    s.choose_taps(i, 1);
    for (int64_t q = 0; q < tiles; ++q) {
      const int64_t p = q < wide ? pixels + 1 : pixels;
      (q < wide ? wide_tile : narrow_tile)(s.tile);
      s.tile.a[0] += p * kUnits;
      s.tile.y[0] += p * s.tile.y_pixel;
    }
    s.ahead.next();
  }
}

inline constexpr int kGatherTaps = 256;  // of at most 16 pixels: they fit the block

// One channel block of `p` pixels under taps [first, first + taps), from row i and column q of the task on.
template <class M>
static void gather_taps(const TaskTiles<M>& s, const typename M::Input* x, int channels, int64_t first,
                        int64_t taps, int64_t i, int64_t q, int64_t p) {
  float* to = s.block;
  for (int64_t k = first; k < first + taps; ++k)
    for (int64_t j = 0; j < p; ++j, to += kUnits) {
      const typename M::Input* from = pixel_under(s.g, x, s.g.taps[k], s.t.image + i % s.images(), s.t.d,
                                                  s.t.row + i / s.images(), s.t.col + q + j);
      if (from)
        M::copy(to, from, channels);
      else
        __builtin_memset(to, 0, kUnits * sizeof(float));
    }
}

// For windows so wide that their part of x does not fit the block: the pixels of each register tile are
// collected in it, some taps at a time; sums wait in `partial` meanwhile. x is the address of the group's
// first channel.
template <class M, int V>
static void gather_panel(TaskTiles<M>& s, const typename M::Input* x) {
  const int64_t blocks = (s.g.in_group + M::kChannels - 1) / M::kChannels;
  const int last = static_cast<int>(s.g.in_group - (blocks - 1) * M::kChannels);
  alignas(64) float partial[kAccumulators * kWidth];
  int64_t offset[kGatherTaps];
  const float* const weights = s.tile.w;
  s.tile.blocks = 1;
  s.tile.offset = offset;
  s.tile.partial = partial;
  s.tile.a[0] = s.block;
  s.tile.tap = 0;
  for (int64_t i = 0, p; i < s.row_count(); ++i)
    for (int64_t q = 0; q < s.cols; q += p) {
      p = s.cols - q < kMostPixels<V, 1> ? s.cols - q : kMostPixels<V, 1>;
      for (int k = 0; k < kGatherTaps; ++k) offset[k] = k * p * kUnits;
      s.tile.w = weights;
      s.tile.y[0] = s.y_at(i) + q * s.tile.y_pixel;
      for (int64_t b = 0; b < blocks; ++b)
        for (int64_t first = 0; first < s.g.tap_count; first += kGatherTaps) {
          const int channels = b + 1 < blocks ? M::kChannels : last;
          const int64_t left = s.g.tap_count - first;
          s.tile.taps = s.tile.tap_end = left < kGatherTaps ? left : kGatherTaps;
          s.tile.last_units = M::units(channels);
          gather_taps(s, x + b * M::kChannels, channels, first, s.tile.taps, i, q, p);
          s.tile.resume = b > 0 || first > 0;
          s.tile.finish = b + 1 == blocks && left <= kGatherTaps;
          pick_tile<M, V, 1>(static_cast<int>(p))(s.tile);
          s.tile.w += s.tile.taps * s.tile.last_units * V * kWidth;
        }
    }
}

}  // namespace juxta::JX_ISA

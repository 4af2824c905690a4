#pragma once
// Register tiles of the weight gradient: taps x input channels x vectors of output channels stay in registers
// while the pixels of one task go by; x comes from the block of conv_block.h, dy from memory.
#include "kernels/conv_block.h"

namespace juxta::JX_ISA {

template <class T>
struct GradTile {
  const float* a[9];  // the block at the first pixel, per tap
  const T* dy;        // the first output channel at the first pixel
  float* part[9];     // sums [channel][out_group], per tap
  int64_t images, rows, cols;
  int64_t a_image, a_row;              // floats between images and rows of the block
  int64_t dy_image, dy_row, dy_pixel;  // elements of dy
  int64_t part_row;                    // out_group
  int taps, channels, lanes;           // of these sums, how many are wanted
};

// C channels, G taps, V vectors; Full: every lane is wanted.
template <class T, int C, int G, int V, bool Full>
static void grad_tile(const GradTile<T>& t) {
  F32 acc[G * C * V];
#pragma GCC unroll 32
  for (int i = 0; i < G * C * V; ++i) acc[i] = F32(0.0f);
  for (int64_t n = 0; n < t.images; ++n)
    for (int64_t r = 0; r < t.rows; ++r) {
      const T* dy = t.dy + n * t.dy_image + r * t.dy_row;
      int64_t at = n * t.a_image + r * t.a_row;
      for (int64_t q = 0; q < t.cols; ++q, at += kUnits, dy += t.dy_pixel) {
        F32 d[V];
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) {
          const int n_left = t.lanes - v * kWidth;
          d[v] = Full || n_left >= kWidth ? load(dy + v * kWidth)
                 : n_left > 0             ? load_n(dy + v * kWidth, n_left)
                                          : F32(0.0f);
        }
#pragma GCC unroll 32
        for (int i = 0; i < G * C; ++i) {
          const F32 a(t.a[i / C][at + i % C]);
#pragma GCC unroll 4
          for (int v = 0; v < V; ++v) acc[i * V + v] = fma(a, d[v], acc[i * V + v]);
        }
      }
    }
#pragma GCC unroll 32
  for (int i = 0; i < G * C; ++i) {
    if (i / C >= t.taps || i % C >= t.channels) continue;
#pragma GCC unroll 4
    for (int v = 0; v < V; ++v) {
      float* sum = t.part[i / C] + i % C * t.part_row + v * kWidth;
      const int left = t.lanes - v * kWidth, n = left < kWidth ? left : kWidth;
      if (n > 0) store_part(sum, load_part(sum, n) + acc[i * V + v], n);
    }
  }
}

template <class T>
using GradTileFn = void (*)(const GradTile<T>&);

// How many channels, taps and output vectors a tile covers, by the channels there are.
template <class T>
struct GradShape {
  int channels, taps, vectors;
  GradTileFn<T> full, part;
};
template <class T, int C, int G, int V>
[[gnu::always_inline]] static inline GradShape<T> grad_shape() {
  return {C, G, V, grad_tile<T, C, G, V, true>, grad_tile<T, C, G, V, false>};
}
template <class T>
[[gnu::always_inline]] static inline GradShape<T> pick_grad(int64_t in, int64_t out) {
  constexpr int kTall = JX_LEVEL >= 2 ? 16 : 8, kFew = JX_LEVEL >= 2 ? 3 : 2;
  const bool narrow = out <= kWidth;
  if (in == 1) return grad_shape<T, 1, 9, 1>();
  if (in <= 4)
    return narrow || JX_LEVEL < 2 ? grad_shape<T, 4, kFew, 1>() : grad_shape < T, 4, 3,
           JX_LEVEL < 2 ? 1 : 2 > ();
  return narrow ? grad_shape<T, kTall, 1, 1>() : grad_shape<T, kTall / 2, 1, 2>();
}

// All taps of one group over one task: a run of channels [c, c_end) in the block.
template <class T>
static void grad_task(const ConvWeightGrad<T>& a, int64_t group, int64_t c, int64_t c_end, const ConvTask& t,
                      float* sums, const BlockMap& m, const float* block, const ConvTap* taps,
                      int64_t tap_count) {
  const ConvGeometry& g = a.g;
  const int64_t pixel = g.groups * g.out_group;
  const GradShape<T> shape = pick_grad<T>(c_end - c < kUnits ? c_end - c : kUnits, g.out_group);
  GradTile<T> tile;
  tile.images = t.image_end - t.image;
  tile.rows = t.row_end - t.row;
  tile.cols = t.col_end - t.col;
  tile.a_image = m.image;
  tile.a_row = m.row * g.in_step[1];
  tile.dy_pixel = pixel;
  tile.dy_row = g.out[2] * pixel;
  tile.dy_image = g.out[0] * g.out[1] * tile.dy_row;
  tile.part_row = g.out_group;
  const T* dy = a.dy + t.image * tile.dy_image + (t.d * g.out[1] + t.row) * tile.dy_row + t.col * pixel +
                group * g.out_group;
  for (int64_t o = 0; o < g.out_group; o += shape.vectors * kWidth) {
    const int64_t lanes = g.out_group - o, wide = shape.vectors * kWidth;
    tile.lanes = static_cast<int>(lanes < wide ? lanes : wide);
    tile.dy = dy + o;
    for (int64_t tap = 0; tap < tap_count; tap += shape.taps) {
      const int64_t more = tap_count - tap;
      tile.taps = static_cast<int>(more < shape.taps ? more : shape.taps);
      for (int64_t k = c; k < c_end; k += shape.channels) {
        const int64_t left = c_end - k;
        tile.channels = static_cast<int>(left < shape.channels ? left : shape.channels);
        for (int i = 0; i < shape.taps; ++i) {  // unwanted taps repeat the last one
          const ConvTap& from = taps[tap + (i < tile.taps ? i : tile.taps - 1)];
          tile.a[i] = block + tap_offset(g, m, from) + (k - c) / kUnits * m.block + (k - c) % kUnits;
          const int64_t row = (group * g.tap_count + (&from - g.taps)) * g.in_group + k;
          tile.part[i] = sums + row * g.out_group + o;
        }
        (tile.lanes == wide ? shape.full : shape.part)(tile);
      }
    }
  }
}

// One item: the sums of one part for one group and one run of channels.
template <class T>
static void grad_item(const ConvWeightGrad<T>& a, int64_t part, int64_t group, int64_t run, float* block) {
  const ConvGeometry& g = a.g;
  const int64_t c = run * a.channels, c_end = c + a.channels < g.in_group ? c + a.channels : g.in_group;
  float* sums = a.part + part * g.groups * g.tap_count * g.in_group * g.out_group;
  for (int64_t tap = 0; tap < g.tap_count; ++tap)
    __builtin_memset(sums + ((group * g.tap_count + tap) * g.in_group + c) * g.out_group, 0,
                     static_cast<size_t>((c_end - c) * g.out_group) * sizeof(float));
  const T* x = a.x + group * g.in_group + c;
  const int64_t tasks = conv_tasks(g);
  for (int64_t k = conv_part_begin(tasks, a.parts, part); k < conv_part_begin(tasks, a.parts, part + 1);
       ++k) {
    const ConvTask t = conv_task(g, k);
    if (!g.tile.gather) {
      const BlockMap m = map_block<WideUnits<T>>(g, t, c_end - c);
      fill_block<WideUnits<T>>(g, t, m, x, block);
      grad_task(a, group, c, c_end, t, sums, m, block, g.taps, g.tap_count);
      continue;
    }
    for (int64_t tap = 0; tap < g.tap_count; ++tap) {
      ConvWeightGrad<T> one = a;
      for (int axis = 0; axis < 3; ++axis) {
        one.g.tap_min[axis] = g.taps[tap].offset[axis];
        one.g.tap_span[axis] = 0;
      }
      const BlockMap m = map_block<WideUnits<T>>(one.g, t, c_end - c);
      fill_block<WideUnits<T>>(one.g, t, m, x, block);
      grad_task(one, group, c, c_end, t, sums, m, block, g.taps + tap, 1);
    }
  }
}

}  // namespace juxta::JX_ISA

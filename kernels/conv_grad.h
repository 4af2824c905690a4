#pragma once
// Register tiles of the weight gradient: taps x input channels x vectors of output channels stay in registers
// while the pixels of one task go by. x comes from the block of conv_block.h, dy from panels
// [output vectors][step][vectors * kWidth] beside it: the rows of dy in memory lie so far apart that they
// would fall into few sets of the first cache. A step is one pixel in f32, two where the CPU multiplies pairs
// of bf16.
#include "kernels/conv_block.h"

namespace juxta::JX_ISA {

// Most pixels of a task, and output channels that are packed at a time.
inline constexpr int64_t kGradPixels = 160, kGradOutputs = 256;

struct GradTile {
  const float* a[9] = {};     // the block at the first pixel, per tap
  const float* dy = nullptr;  // panel of these output channels
  float* part[9] = {};        // sums [channel][out_group], per tap
  int64_t images = 0, rows = 0, steps = 0;
  int64_t a_image = 0, a_row = 0;         // floats between images and rows of the block
  int64_t dy_image = 0, dy_row = 0;       // floats between images and rows of the panel
  int64_t part_row = 0;                   // out_group
  int taps = 0, channels = 0, lanes = 0;  // of these sums, how many are wanted
};

// C channels, G taps, V vectors.
template <class M, int C, int G, int V>
static void grad_tile(const GradTile& t) {
  F32 acc[G * C * V];
#pragma GCC unroll 32
  for (int i = 0; i < G * C * V; ++i) acc[i] = F32(0.0f);
  for (int64_t n = 0; n < t.images; ++n)
    for (int64_t r = 0; r < t.rows; ++r) {
      const float* dy = t.dy + n * t.dy_image + r * t.dy_row;
      int64_t at = n * t.a_image + r * t.a_row;
      for (int64_t q = 0; q < t.steps; ++q, at += M::kPixels * kUnits, dy += V * kWidth) {
        F32 d[V];
#pragma GCC unroll 4
        for (int v = 0; v < V; ++v) d[v] = load(dy + v * kWidth);
#pragma GCC unroll 32
        for (int i = 0; i < G * C; ++i) {
          const F32 a(t.a[i / C][at + i % C]);
#pragma GCC unroll 4
          for (int v = 0; v < V; ++v) acc[i * V + v] = M::mul_add(a, d[v], acc[i * V + v]);
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

// How many channels, taps and output vectors a tile covers.
struct GradShape {
  int channels, taps, vectors;
  void (*run)(const GradTile&);
};
template <class M, int C, int G, int V>
[[gnu::always_inline]] static inline GradShape grad_shape() {
  return {C, G, V, grad_tile<M, C, G, V>};
}
// Few channels take several taps instead: enough sums in flight, and little waste.
template <class M>
[[gnu::always_inline]] static inline GradShape pick_grad(int64_t in, int64_t out) {
  const bool narrow = out <= kWidth;
  if (in == 1) return grad_shape<M, 1, 9, 1>();
#if JX_LEVEL >= 2
  if (in <= 4) return narrow ? grad_shape<M, 4, 3, 1>() : grad_shape<M, 4, 3, 2>();
  return narrow ? grad_shape<M, 16, 1, 1>() : grad_shape<M, 8, 1, 2>();
#else
  if (in <= 4) return grad_shape<M, 4, 2, 1>();
  return narrow ? grad_shape<M, 8, 1, 1>() : grad_shape<M, 4, 1, 2>();
#endif
}

// `lanes` channels of one step of dy, the rest 0; `more`: the step's second pixel exists.
template <class M>
[[gnu::always_inline]] static inline void pack_dy_step(const typename M::Input* dy, int64_t pixel, bool more,
                                                       int64_t wide, int64_t lanes, float* to) {
  for (int64_t v = 0; v < wide; v += kWidth) {
    const int n = static_cast<int>(lanes - v < 0 ? 0 : lanes - v < kWidth ? lanes - v : kWidth);
    if constexpr (M::kPixels == 2)
      M::join(to + v, M::channels(dy + v, n), M::channels(dy + v + pixel, more ? n : 0));
    else
      store(to + v, n == 0 ? F32(0.0f) : load_part(dy + v, n));
  }
}

// dy of one task from output channel `o` on, at most kGradOutputs channels, as panels of `wide` channels.
template <class M>
static void pack_dy(const ConvWeightGrad<typename M::Input>& a, const ConvTask& t, int64_t group, int64_t o,
                    int64_t wide, float* to) {
  const ConvGeometry& g = a.g;
  const int64_t pixel = g.groups * g.out_group, rows = t.row_end - t.row, cols = t.col_end - t.col,
                panel = (t.image_end - t.image) * rows * ((cols + M::kPixels - 1) / M::kPixels) * wide,
                o_end = o + kGradOutputs < g.out_group ? o + kGradOutputs : g.out_group;
  for (int64_t i = 0; i < (t.image_end - t.image) * rows; ++i) {
    const int64_t n = t.image + i / rows, r = t.row + i % rows,
                  first = ((n * g.out[0] + t.d) * g.out[1] + r) * g.out[2] + t.col;
    const typename M::Input* dy = a.dy + first * pixel + group * g.out_group;
    for (int64_t q = 0; q < cols; q += M::kPixels, dy += M::kPixels * pixel, to += wide) {
      float* step = to;
      for (int64_t k = o; k < o_end; k += wide, step += panel)
        pack_dy_step<M>(dy + k, pixel, q + 1 < cols, wide, g.out_group - k, step);
    }
  }
}

// Channels [c, c_end) of one group (they are in the block) and taps [tap, tap_end), over one task.
struct GradRun {
  int64_t group, c, c_end, tap, tap_end;
  Ahead x, dy;  // of the next task
};

// Output positions [begin, end) among `count` from `first` on whose window position at `offset` lies inside
// an axis.
struct Inside {
  int64_t begin, end;
};
JX_INLINE Inside inside(int64_t first, int64_t count, int64_t step, int64_t offset, int64_t size) {
  int64_t begin = 0, end = count;
  while (begin < end && (first + begin) * step + offset < 0) ++begin;
  while (begin < end && (first + end - 1) * step + offset >= size) --end;
  return {begin, end};
}

// Cuts a tile of one tap to the rows and steps whose pixels lie inside x: padding adds nothing. False:
// nothing is left.
template <class M>
[[gnu::always_inline]] static inline bool trim_tile(const ConvGeometry& g, const ConvTask& t,
                                                    const ConvTap& tap, int64_t wide, GradTile& tile) {
  const Inside rows = inside(t.row, t.row_end - t.row, g.in_step[1], tap.offset[1], g.in[1]);
  const Inside cols = inside(t.col, t.col_end - t.col, g.in_step[2], tap.offset[2], g.in[2]);
  const int64_t step = cols.begin / M::kPixels;
  tile.rows = rows.end - rows.begin;
  tile.steps = (cols.end + M::kPixels - 1) / M::kPixels - step;
  tile.a[0] += rows.begin * tile.a_row + step * M::kPixels * kUnits;
  tile.dy += rows.begin * tile.dy_row + step * wide;
  return tile.rows > 0 && cols.end > cols.begin;
}

// All taps and channels of a run over one task, for output channels from `o` on (their panels are `dy`).
template <class M>
static void grad_taps(const ConvWeightGrad<typename M::Input>& a, GradRun& run, const ConvTask& t,
                      float* sums, const BlockMap& m, const float* block, int64_t o, const GradShape& shape,
                      const float* dy) {
  const ConvGeometry& g = a.g;
  const int64_t rows = t.row_end - t.row, steps = (t.col_end - t.col + M::kPixels - 1) / M::kPixels,
                wide = shape.vectors * kWidth, images = t.image_end - t.image;
  GradTile tile{.images = images,
                .rows = rows,
                .steps = steps,
                .a_image = m.image,
                .a_row = m.row * g.in_step[1],
                .dy_image = rows * steps * wide,
                .dy_row = steps * wide,
                .part_row = g.out_group};
  for (int64_t k = o; k < g.out_group && k < o + kGradOutputs; k += wide, dy += images * tile.dy_image) {
    tile.lanes = static_cast<int>(g.out_group - k < wide ? g.out_group - k : wide);
    for (int64_t tap = run.tap; tap < run.tap_end; tap += shape.taps) {
      const int64_t more = run.tap_end - tap;
      tile.taps = static_cast<int>(more < shape.taps ? more : shape.taps);
      for (int64_t c = run.c; c < run.c_end; c += shape.channels) {
        const int64_t left = run.c_end - c, i = c - run.c;
        tile.channels = static_cast<int>(left < shape.channels ? left : shape.channels);
        tile.dy = dy;
        for (int q = 0; q < shape.taps; ++q) {  // unwanted taps repeat the last one
          const int64_t at = tap + (q < tile.taps ? q : tile.taps - 1);
          tile.a[q] = block + tap_offset(g, m, g.taps[at]) + i / kUnits * m.block + i % kUnits;
          tile.part[q] = sums + ((run.group * g.tap_count + at) * g.in_group + c) * g.out_group + k;
        }
        if (shape.taps > 1 || trim_tile<M>(g, t, g.taps[tap], wide, tile)) shape.run(tile);
        run.x.next();
        run.dy.next();
      }
    }
  }
}

// All of dy under a task (one group, whole rows).
template <class T>
[[gnu::always_inline]] static inline Ahead ahead_of_dy(const ConvWeightGrad<T>& a, const ConvTask& t,
                                                       int64_t calls) {
  const ConvGeometry& g = a.g;
  const int64_t last = (t.image_end - 1) * g.out[1] + t.row_end - 1, first = t.image * g.out[1] + t.row;
  Ahead ahead;
  ahead.at = reinterpret_cast<const char*>(a.dy + (first * g.out[2] + t.col) * g.out_group);
  ahead.end = reinterpret_cast<const char*>(a.dy + (last * g.out[2] + t.col_end) * g.out_group);
  ahead.rows = ((ahead.end - ahead.at) / 64 + calls) / calls;
  return ahead;
}

template <class M>
static void grad_task(const ConvWeightGrad<typename M::Input>& a, GradRun run, const ConvTask& t,
                      const ConvTask* next, float* sums, float* block) {
  const ConvGeometry& g = a.g;
  const int64_t channels = run.c_end - run.c;
  const BlockMap m = map_block<M>(g, t, channels);
  fill_block<M>(g, t, m, a.x + run.group * g.in_group + run.c, block);
  const GradShape shape = pick_grad<M>(channels < kUnits ? channels : kUnits, g.out_group);
  if (next) {
    const int64_t tiles = (g.out_group + shape.vectors * kWidth - 1) / (shape.vectors * kWidth) *
                          ((run.tap_end - run.tap + shape.taps - 1) / shape.taps) *
                          ((channels + shape.channels - 1) / shape.channels);
    run.x = ahead_of_x(g, a.x, *next, run.c, channels, tiles);
    run.dy = ahead_of_dy(a, *next, tiles);
  }
  float* dy = block + kConvBlock;
  for (int64_t o = 0; o < g.out_group; o += kGradOutputs) {
    pack_dy<M>(a, t, run.group, o, shape.vectors * kWidth, dy);
    grad_taps<M>(a, run, t, sums, m, block, o, shape, dy);
  }
}

// One item: the sums of one part for one group and one run of channels.
template <class M>
static void grad_item(const ConvWeightGrad<typename M::Input>& a, int64_t part, int64_t group, int64_t run) {
  const ConvGeometry& g = a.g;
  float* block = scratch_floats(Scratch::conv, kConvBlock + kGradPixels * kGradOutputs);
  const int64_t c = run * a.channels, c_end = c + a.channels < g.in_group ? c + a.channels : g.in_group;
  float* sums = a.part + part * g.groups * g.tap_count * g.in_group * g.out_group;
  for (int64_t tap = 0; tap < g.tap_count; ++tap)
    __builtin_memset(sums + ((group * g.tap_count + tap) * g.in_group + c) * g.out_group, 0,
                     static_cast<size_t>((c_end - c) * g.out_group) * sizeof(float));
  const int64_t tasks = conv_tasks(g), end = conv_part_begin(tasks, a.parts, part + 1);
  for (int64_t k = conv_part_begin(tasks, a.parts, part); k < end; ++k) {
    const ConvTask t = conv_task(g, k), next = conv_task(g, k + 1);
    if (!g.tile.gather) {
      const bool fetch = k + 1 < end && g.groups == 1 && g.out[0] == 1;
      grad_task<M>(a, {group, c, c_end, 0, g.tap_count, {}, {}}, t, fetch ? &next : nullptr, sums, block);
      continue;
    }
    for (int64_t tap = 0; tap < g.tap_count; ++tap) {  // all windows together would not fit the block
      ConvWeightGrad<typename M::Input> one = a;
      for (int axis = 0; axis < 3; ++axis) {
        one.g.tap_min[axis] = g.taps[tap].offset[axis];
        one.g.tap_span[axis] = 0;
      }
      grad_task<M>(one, {group, c, c_end, tap, tap + 1, {}, {}}, t, nullptr, sums, block);
    }
  }
}

}  // namespace juxta::JX_ISA

#pragma once
// Convolution (cross-correlation) over one, two or three axes: dense, grouped, depthwise, strided, dilated
// and transposed. Images are [N, D, H, W, C] (D = 1 for images, D = H = 1 for signals), weights [O, I/g, kD,
// kH, kW].
//
// Per axis, with stride s, padding p, dilation d:
//   y[n, j, o] = bias[o] + sum_t sum_c x[n, j s + t d - p, c] w[o, c, t],   positions outside x count as 0
//   J = (in + 2 p - d (k - 1) - 1) / s + 1
// and on the way to memory y <- act(y) + residual.
// Gradient:
//   dx[n, i, c] = sum over (j, t) with j s + t d - p = i of sum_o dy[n, j, o] w[o, c, t]
//   dw[o, c, t] = sum_n sum_j x[n, j s + t d - p, c] dy[n, j, o],   dbias[o] = sum dy[.., o]
// Saved: x, weight. The transposed convolution is the map dx <- dy above (so its gradient is the
// convolution).
//
// Everything but dw is one operation, the *tap convolution*: a list of taps, each with an offset and a matrix
// [in channels, out channels]:
//   y[n, j out_step + out_first, o] = bias[o] + sum_taps sum_c x[n, j in_step + offset, c] w_tap[c, o]
// Forward has in_step = s and one tap per kernel element. dx of a strided convolution falls apart into s
// phases per axis: i = j s + f is reached by the taps with (f + p - t d) divisible by s, at offset (f + p - t
// d) / s in dy. No phase multiplies with zeros that were put between pixels. kernels/conv_plan.h makes the
// lists.
//
// dw is summed over fixed parts of the pixels, then over the parts in order: the bits do not depend on the
// number of threads. bf16: products of bf16 values, sums in f32, dw and dbias in f32.
//
// Fast kernels read pixels in place of an im2col matrix (Georganas et al., arXiv 1808.05567): a task copies
// its part of x, with padding, into a block [16 channels][row][column] of cache, and register tiles of pixels
// x output channels run over the taps in it.
#include <array>

#include "kernels/act.h"
#include "kernels/table.h"
#include "tensor/dtype.h"

namespace juxta {

// Floats in the block of x that a task keeps in cache, and the number of floats at which a task
// has enough. Most taps of a kernel.
inline constexpr int64_t kConvBlock = 160 << 10, kConvBlockWish = 32 << 10, kConvMaxTaps = 2048;

struct ConvTap {
  int32_t offset[3];  // D, H, W, in positions of x
  int32_t weight;     // index into the kD kH kW elements of the weight
};

// How the output positions of a tap convolution are cut into tasks, from the shape alone.
struct ConvTiling {
  int64_t images = 1, rows = 1, cols = 1;  // a task: images x one D x rows x cols
  bool gather = false;  // the part of x under a task is too large for the block: collect per register tile
};

// The sizes that a tap convolution and the gradient of its weights share.
struct ConvGeometry {
  int64_t batch = 1;
  int64_t in[3] = {1, 1, 1};                        // D, H, W of x
  int64_t out[3] = {1, 1, 1};                       // output positions per axis
  int64_t in_step[3] = {1, 1, 1};                   // of the window, per output position
  int64_t groups = 1, in_group = 1, out_group = 1;  // channels per group
  const ConvTap* taps = nullptr;
  int64_t tap_count = 0;
  int64_t tap_min[3] = {0, 0, 0}, tap_span[3] = {0, 0, 0};  // smallest offset; largest minus smallest
  ConvTiling tile;
};

// What happens to the sums z, bias included, on their way to y: y = act(z) + residual. Both pointers are laid
// out as y.
template <class T>
struct ConvEpilogue {
  Act act = Act::none;
  const T* residual = nullptr;  // or null
  // Receives what the gradient of act wants, z where act_needs_input(act) and else act(z); or null.
  T* saved = nullptr;
};

template <class T>
struct TapConv {
  ConvGeometry g;
  const T* x;                       // [batch, in.., groups * in_group]
  const void* packed;               // made by `pack` of the same table
  const Acc<T>* bias;               // [groups * out_group] or null
  T* y;                             // [batch, y_size.., groups * out_group]
  int64_t y_size[3] = {1, 1, 1};    // D, H, W of y
  int64_t out_step[3] = {1, 1, 1};  // position j is written at j * out_step + out_first
  int64_t out_first[3] = {0, 0, 0};
  ConvEpilogue<T> epilogue = {};
};

// Weights in the order in which a table's `conv` reads them. Element (group, o, c, tap) is read at
// w[group * group_stride + o * out_stride + c * in_stride + taps[tap].weight]: exchanging the strides serves
// dx. The range of the entry counts pack_items().
template <class T>
struct ConvPack {
  const Acc<T>* w;
  void* packed;  // packed_bytes()
  const ConvTap* taps;
  int64_t tap_count, groups, in_group, out_group;
  int64_t group_stride, out_stride, in_stride;
};
inline constexpr int64_t kConvPackChunk = 64;  // output channels per item
inline int64_t conv_pack_items(int64_t groups, int64_t in_group, int64_t out_group) {
  if (in_group == 1 && out_group == 1) return (groups + kConvPackChunk - 1) / kConvPackChunk;
  return groups * ((out_group + kConvPackChunk - 1) / kConvPackChunk);
}
// Room for the padded forms of all tables.
template <class T>
int64_t conv_packed_bytes(int64_t taps, int64_t groups, int64_t in_group, int64_t out_group) {
  const int64_t wide = in_group == 1 && out_group == 1 ? 1 : (out_group + 15) / 16 * 16;
  return groups * wide * taps * ((in_group + 1) / 2 * 2) * static_cast<int64_t>(sizeof(Acc<T>)) + 64;
}

// Partial sums of dw. Tasks of the tiling are cut into `parts` runs of whole tasks; an item is one part of
// one group and one run of `channels` input channels (depthwise: of groups).
template <class T>
struct ConvWeightGrad {
  ConvGeometry g;
  const T* x;    // [batch, in.., groups * in_group]
  const T* dy;   // [batch, out.., groups * out_group]
  Acc<T>* part;  // [parts, groups, taps, in_group, out_group]
  int64_t parts;
  int64_t channels;  // a multiple of 16
};

// dw[group, o, c, taps[t].weight] = sum over parts of part[.., group, t, c, o]; an item is one (group, o).
template <class A>
struct ConvWeightSum {
  const A* part;  // [parts, groups, taps, in_group, out_group]
  A* dw;          // [groups * out_group, in_group, taps], every tap once
  const ConvTap* taps;
  int64_t parts, groups, tap_count, in_group, out_group;
};

// Partial sums of dbias over runs of `chunk` pixels; an item is one run. ConvWeightSum adds them.
template <class T>
struct ConvBiasGrad {
  const T* dy;   // [pixels, channels]
  Acc<T>* part;  // [runs, channels]
  int64_t pixels, channels, chunk;
};

template <class T>
struct ConvTable {
  static constexpr const char* kFamily = "conv";
  static constexpr std::array kNames{"pack", "conv", "weight_grad", "weight_sum", "bias_grad"};
  void (*pack)(const ConvPack<T>&, int64_t item, int64_t item_end);
  void (*conv)(const TapConv<T>&, int64_t task, int64_t task_end);
  void (*weight_grad)(const ConvWeightGrad<T>&, int64_t item, int64_t item_end);
  void (*weight_sum)(const ConvWeightSum<Acc<T>>&, int64_t row, int64_t row_end);
  void (*bias_grad)(const ConvBiasGrad<T>&, int64_t run, int64_t run_end);
};

template <class T>
const TableChoice<ConvTable<T>>& conv_tables();  // T: float, bf16, double

// The output positions of one task.
struct ConvTask {
  int64_t image, image_end, d, row, row_end, col, col_end;
};
[[gnu::always_inline]] inline int64_t conv_tasks(const ConvGeometry& g) {
  return (g.batch + g.tile.images - 1) / g.tile.images * g.out[0] *
         ((g.out[1] + g.tile.rows - 1) / g.tile.rows) * ((g.out[2] + g.tile.cols - 1) / g.tile.cols);
}
[[gnu::always_inline]] inline ConvTask conv_task(const ConvGeometry& g, int64_t task) {
  const int64_t bands = (g.out[1] + g.tile.rows - 1) / g.tile.rows,
                strips = (g.out[2] + g.tile.cols - 1) / g.tile.cols;
  const int64_t strip = task % strips, band = task / strips % bands, d = task / (strips * bands) % g.out[0],
                lot = task / (strips * bands * g.out[0]);
  const auto least = [](int64_t a, int64_t b) { return a < b ? a : b; };
  return {lot * g.tile.images,
          least(g.batch, (lot + 1) * g.tile.images),
          d,
          band * g.tile.rows,
          least(g.out[1], (band + 1) * g.tile.rows),
          strip * g.tile.cols,
          least(g.out[2], (strip + 1) * g.tile.cols)};
}
// Tasks [first, end) of one part.
[[gnu::always_inline]] inline int64_t conv_part_begin(int64_t tasks, int64_t parts, int64_t part) {
  return tasks * part / parts;
}
// Items of a weight gradient: parts x groups x runs of channels, channels fastest.
[[gnu::always_inline]] inline int64_t conv_channel_runs(const ConvGeometry& g, int64_t channels) {
  const int64_t n = g.in_group == 1 && g.out_group == 1 ? g.groups : g.in_group;
  return (n + channels - 1) / channels;
}
[[gnu::always_inline]] inline int64_t conv_grad_items(const ConvGeometry& g, int64_t parts,
                                                      int64_t channels) {
  const bool depthwise = g.in_group == 1 && g.out_group == 1;
  return parts * (depthwise ? 1 : g.groups) * conv_channel_runs(g, channels);
}

}  // namespace juxta

#include "kernels/conv_ref.h"

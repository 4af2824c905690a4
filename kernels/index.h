#pragma once
// Indexing: rows by number (embedding, index_select), single elements (gather), sums by number (scatter_add
// and the gradients of the others), and the cutting of images into patches.
//
// Forward, with x [outer, rows, inner] and index [count]:
//   take_rows    out[o, i, :] = x[o, index[i], :]
//   segment_sum  out[o, r, :] = sum over i with index[i] = r of x[o, i, :]
//   gather       out[r, m] = x[r, index[r, m]]
// take_rows and segment_sum are each other's gradient: d take_rows = segment_sum of dy, d segment_sum =
// take_rows of dy. The gradient of gather sums within its own row: dx[r, k] = sum_{m: index[r, m] = k} dy[r,
// m]. Saved: the index alone.
//
// A sum by number runs over compressed sparse rows (CSR): sort_segments orders 0..count-1 by index, equal
// ones as they came (a counting sort), and every output row adds its own segment in that order. So there are
// no atomics, each output is written once, and the bits do not depend on the number of threads. Sums are f32
// (f64 for f64) and rounded once.
//
// Patches (Dosovitskiy et al., arXiv 2010.11929): image [N, H, W, C] -> [N, (H/p)(W/p), p p C], patches row
// by row, inside a patch its rows, columns, channels. A permutation, so its gradient is the way back.
#include <array>

#include "kernels/table.h"
#include "tensor/dtype.h"

namespace juxta {

template <class T>
struct TakeRows {
  const T* x;            // [outer, rows, inner]
  const int64_t* index;  // [count], all in [0, rows)
  T* out;                // [outer, count, inner]
  int64_t rows, count, inner;
};  // the range counts outer * count

struct SortSegments {
  const int64_t* index;  // [count], all in [0, rows)
  int64_t* offsets;      // [rows + 1]: segment r is order[offsets[r]] .. order[offsets[r + 1] - 1]
  int64_t* order;        // [count]
  int64_t rows, count;
};  // one item

template <class T>
struct SegmentSum {
  const T* x;  // [outer, count, inner]
  const int64_t *offsets, *order;
  T* out;  // [outer, rows, inner]; rows without a segment become 0
  int64_t rows, count, inner;
};  // the range counts outer * rows

template <class T>
struct GatherFwd {
  const T* x;            // [rows, cols]
  const int64_t* index;  // [rows, count], all in [0, cols)
  T* out;                // [rows, count]
  int64_t cols, count;
};  // the range counts rows

template <class T>
struct GatherBwd {
  const T* dy;           // [rows, count]
  const int64_t* index;  // [rows, count]
  Acc<T>* dx;            // [rows, cols]
  int64_t cols, count;
};  // the range counts rows

template <class T>
struct Patches {
  const T* x;                              // patchify: image; unpatchify: patches
  T* out;                                  // the other
  int64_t height, width, channels, patch;  // of the image; patch divides height and width
};                                         // the range counts strips: N * height / patch

template <class T>
struct IndexTable {
  static constexpr const char* kFamily = "index";
  static constexpr std::array kNames{"take_rows",  "sort_segments", "segment_sum", "gather_fwd",
                                     "gather_bwd", "patchify",      "unpatchify"};
  void (*take_rows)(const TakeRows<T>&, int64_t item, int64_t item_end);
  void (*sort_segments)(const SortSegments&, int64_t begin, int64_t end);
  void (*segment_sum)(const SegmentSum<T>&, int64_t item, int64_t item_end);
  void (*gather_fwd)(const GatherFwd<T>&, int64_t row, int64_t row_end);
  void (*gather_bwd)(const GatherBwd<T>&, int64_t row, int64_t row_end);
  void (*patchify)(const Patches<T>&, int64_t strip, int64_t strip_end);
  void (*unpatchify)(const Patches<T>&, int64_t strip, int64_t strip_end);
};

template <class T>
const TableChoice<IndexTable<T>>& index_tables();  // T: float, bf16, double

namespace ref {

template <class T>
void take_rows(const TakeRows<T>& a, int64_t item, int64_t item_end) {
  for (int64_t i = item; i < item_end; ++i) {
    const T* from = a.x + (i / a.count * a.rows + a.index[i % a.count]) * a.inner;
    for (int64_t c = 0; c < a.inner; ++c) a.out[i * a.inner + c] = from[c];
  }
}

// Shared by all CPU tables: two passes over integers, bound by memory.
void sort_segments(const SortSegments& a, int64_t begin, int64_t end);

template <class T>
void segment_sum(const SegmentSum<T>& a, int64_t item, int64_t item_end) {
  for (int64_t i = item; i < item_end; ++i) {
    const int64_t row = i % a.rows;
    const T* x = a.x + i / a.rows * a.count * a.inner;
    for (int64_t c = 0; c < a.inner; ++c) {
      Acc<T> sum = 0;
      for (int64_t s = a.offsets[row]; s < a.offsets[row + 1]; ++s)
        sum += static_cast<Acc<T>>(x[a.order[s] * a.inner + c]);
      a.out[i * a.inner + c] = static_cast<T>(sum);
    }
  }
}

template <class T>
void gather_fwd(const GatherFwd<T>& a, int64_t row, int64_t row_end) {
  for (int64_t r = row; r < row_end; ++r)
    for (int64_t m = r * a.count; m < (r + 1) * a.count; ++m) a.out[m] = a.x[r * a.cols + a.index[m]];
}

template <class T>
void gather_bwd(const GatherBwd<T>& a, int64_t row, int64_t row_end) {
  for (int64_t r = row; r < row_end; ++r) {
    for (int64_t c = 0; c < a.cols; ++c) a.dx[r * a.cols + c] = 0;
    for (int64_t m = r * a.count; m < (r + 1) * a.count; ++m)
      a.dx[r * a.cols + a.index[m]] += static_cast<Acc<T>>(a.dy[m]);
  }
}

// Image element and patch element of (strip, y, x, c) within Patches.
template <class T>
int64_t patch_element(const Patches<T>& a, int64_t strip, int64_t y, int64_t x, int64_t c) {
  const int64_t token = strip * (a.width / a.patch) + x / a.patch;
  return ((token * a.patch + y) * a.patch + x % a.patch) * a.channels + c;
}

template <class T, bool kForward>
void patches(const Patches<T>& a, int64_t strip, int64_t strip_end) {
  for (int64_t s = strip; s < strip_end; ++s)
    for (int64_t y = 0; y < a.patch; ++y)
      for (int64_t x = 0; x < a.width; ++x)
        for (int64_t c = 0; c < a.channels; ++c) {
          const int64_t image = ((s * a.patch + y) * a.width + x) * a.channels + c;
          const int64_t token = patch_element(a, s, y, x, c);
          if (kForward)
            a.out[token] = a.x[image];
          else
            a.out[image] = a.x[token];
        }
}

template <class T>
inline constexpr IndexTable<T> index_table{take_rows<T>,  sort_segments,    segment_sum<T>,   gather_fwd<T>,
                                           gather_bwd<T>, patches<T, true>, patches<T, false>};

}  // namespace ref
}  // namespace juxta

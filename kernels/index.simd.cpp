// Indexing on vectors; formulas in index.h. All entries are bound by memory: rows move by whole registers,
// and a sum by number keeps its output row in registers while it walks the segment.
#include "kernels/index.h"
#include "kernels/simd.h"

namespace juxta::JX_ISA {

namespace {

// Rows up to this many bytes are moved 16 bytes at a time in line: a call of memcpy costs more than they do.
constexpr int64_t kShortRow = 128;

template <class T>
[[gnu::always_inline]] inline void copy_row(T* to, const T* from, int64_t n) {
  if (n * static_cast<int64_t>(sizeof(T)) > kShortRow) {
    __builtin_memcpy(static_cast<void*>(to), from, static_cast<size_t>(n) * sizeof(T));
    return;
  }
  constexpr int64_t kStep = 16 / sizeof(T);
  int64_t i = 0;
  for (; i + kStep <= n; i += kStep) __builtin_memcpy(static_cast<void*>(to + i), from + i, 16);
  for (; i < n; ++i) to[i] = from[i];
}

template <class T>
void take_rows(const TakeRows<T>& a, int64_t item, int64_t item_end) {
  int64_t o = item / a.count, i = item % a.count;
  for (T* out = a.out + item * a.inner; item < item_end; ++item, out += a.inner) {
    copy_row(out, a.x + (o * a.rows + a.index[i]) * a.inner, a.inner);
    if (++i == a.count) i = 0, ++o;
  }
}

// out[c .. c + V registers) = sum over the segment; the last register has n lanes.
template <class T, int V>
[[gnu::always_inline]] inline void sum_block(const T* x, const int64_t* order, int64_t count, int64_t inner,
                                             T* out, int n) {
  F32 sum[V];
  for (int v = 0; v < V; ++v) sum[v] = F32(0.0f);
  for (int64_t s = 0; s < count; ++s) {
    const T* row = x + order[s] * inner;
    for (int v = 0; v < V - 1; ++v) sum[v] += load(row + v * kWidth);
    sum[V - 1] += load_part(row + (V - 1) * kWidth, n);
  }
  for (int v = 0; v < V - 1; ++v) store(out + v * kWidth, sum[v]);
  store_part(out + (V - 1) * kWidth, sum[V - 1], n);
}

template <class T>
void segment_sum(const SegmentSum<T>& a, int64_t item, int64_t item_end) {
  int64_t o = item / a.rows, row = item % a.rows;
  for (; item < item_end; ++item) {
    const T* x = a.x + o * a.count * a.inner;
    T* out = a.out + item * a.inner;
    const int64_t* order = a.order + a.offsets[row];
    const int64_t count = a.offsets[row + 1] - a.offsets[row];
    int64_t c = 0;
    if (count == 0) {
      __builtin_memset(static_cast<void*>(out), 0, static_cast<size_t>(a.inner) * sizeof(T));
      c = a.inner;
    } else if (count == 1) {
      copy_row(out, x + order[0] * a.inner, a.inner);
      c = a.inner;
    }
    for (; c + 8 * kWidth <= a.inner; c += 8 * kWidth)
      sum_block<T, 8>(x + c, order, count, a.inner, out + c, kWidth);
    for (; c + kWidth <= a.inner; c += kWidth) sum_block<T, 1>(x + c, order, count, a.inner, out + c, kWidth);
    if (c < a.inner) sum_block<T, 1>(x + c, order, count, a.inner, out + c, static_cast<int>(a.inner - c));
    if (++row == a.rows) row = 0, ++o;
  }
}

template <class T>
void gather_fwd(const GatherFwd<T>& a, int64_t row, int64_t row_end) {
  for (int64_t r = row; r < row_end; ++r) {
    const T* x = a.x + r * a.cols;
    for (int64_t m = r * a.count; m < (r + 1) * a.count; ++m) a.out[m] = x[a.index[m]];
  }
}

template <class T>
void gather_bwd(const GatherBwd<T>& a, int64_t row, int64_t row_end) {
  for (int64_t r = row; r < row_end; ++r) {
    float* dx = a.dx + r * a.cols;
    __builtin_memset(dx, 0, static_cast<size_t>(a.cols) * sizeof(float));
    for (int64_t m = r * a.count; m < (r + 1) * a.count; ++m) dx[a.index[m]] += static_cast<float>(a.dy[m]);
  }
}

// Walks the runs of patch * channels elements that lie together in both layouts.
template <class T, bool kForward>
void patches(const Patches<T>& a, int64_t strip, int64_t strip_end) {
  const int64_t run = a.patch * a.channels, tokens = a.width / a.patch, line = a.width * a.channels;
  for (int64_t s = strip; s < strip_end; ++s) {
    for (int64_t t = 0; t < tokens; ++t) {
      for (int64_t y = 0; y < a.patch; ++y) {
        const int64_t image = (s * a.patch + y) * line + t * run;
        const int64_t token = ((s * tokens + t) * a.patch + y) * run;
        if (kForward)
          copy_row(a.out + token, a.x + image, run);
        else
          copy_row(a.out + image, a.x + token, run);
      }
    }
  }
}

}  // namespace

#if JX_OWN_F32
extern const IndexTable<float> index_f32{take_rows<float>,     ref::sort_segments, segment_sum<float>,
                                         gather_fwd<float>,    gather_bwd<float>,  patches<float, true>,
                                         patches<float, false>};
#endif
extern const IndexTable<bf16> index_bf16{take_rows<bf16>,     ref::sort_segments, segment_sum<bf16>,
                                         gather_fwd<bf16>,    gather_bwd<bf16>,   patches<bf16, true>,
                                         patches<bf16, false>};

}  // namespace juxta::JX_ISA

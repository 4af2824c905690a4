// Pooling with vectors along the channels; formulas in pool.h.
#include "kernels/pool.h"

#include "kernels/simd.h"

namespace juxta::JX_ISA {

namespace {

JX_INLINE VI select_int(Mask m, VI yes, VI no) { return (m.v & yes) | (~m.v & no); }
JX_INLINE VI load_ints(const int32_t* p, int n) {
  VI v{};
  if (n == kWidth)
    __builtin_memcpy(&v, p, sizeof v);
  else
    for (int i = 0; i < n; ++i) v[i] = p[i];
  return v;
}
JX_INLINE void store_ints(int32_t* p, VI v, int n) {
  if (n == kWidth)
    __builtin_memcpy(p, &v, sizeof v);
  else
    for (int i = 0; i < n; ++i) p[i] = v[i];
}

template <class T>
void max_fwd(const MaxPoolFwd<T>& a, int64_t row, int64_t row_end) {
  const PoolShape& s = a.s;
  for (int64_t k = row; k < row_end; ++k) {
    const PoolRange rows = pool_window(s, k % s.out_height, s.height);
    const int64_t top = k / s.out_height * s.height + k % s.out_height * s.stride - s.padding;
    for (int64_t w = 0; w < s.out_width; ++w) {
      const PoolRange cols = pool_window(s, w, s.width);
      const int64_t left = w * s.stride - s.padding, at = (k * s.out_width + w) * s.channels;
      for_lanes(s.channels, [&](int64_t c, int n) {
        F32 best(0.0f);
        VI winner = broadcast_int(-1);
        for (int64_t r = rows.begin; r < rows.end; ++r)
          for (int64_t q = cols.begin; q < cols.end; ++q) {
            const F32 v = load_part(a.x + ((top + r) * s.width + left + q) * s.channels + c, n);
            const Mask takes = (v > best) | (v != v) | Mask{winner < broadcast_int(0)};
            best = select(takes, v, best);
            winner = select_int(takes, broadcast_int(static_cast<int32_t>(r * s.kernel + q)), winner);
          }
        store_part(a.y + at + c, best, n);
        store_ints(a.winner + at + c, winner, n);
      });
    }
  }
}

// dx of one row: f(offset of the output element, index in the window, lanes) summed over the covering
// windows.
template <class T, class F>
[[gnu::always_inline]] inline void gather_row(const PoolShape& s, int64_t k, T* dx, F32 scale, F f) {
  const int64_t i = k % s.height, n = k / s.height;
  const PoolRange rows = pool_cover(s, i, s.out_height);
  for (int64_t j = 0; j < s.width; ++j) {
    const PoolRange cols = pool_cover(s, j, s.out_width);
    for_lanes(s.channels, [&](int64_t c, int lanes) {
      F32 sum(0.0f);
      for (int64_t h = rows.begin; h < rows.end; ++h)
        for (int64_t w = cols.begin; w < cols.end; ++w) {
          const int64_t r = i + s.padding - h * s.stride, q = j + s.padding - w * s.stride;
          sum += f(((n * s.out_height + h) * s.out_width + w) * s.channels + c, r * s.kernel + q, lanes);
        }
      store_part(dx + (k * s.width + j) * s.channels + c, scale * sum, lanes);
    });
  }
}

template <class T>
void max_bwd(const MaxPoolBwd<T>& a, int64_t row, int64_t row_end) {
  for (int64_t k = row; k < row_end; ++k)
    gather_row(a.s, k, a.dx, F32(1.0f), [&](int64_t at, int64_t r, int n) {
      const Mask won{load_ints(a.winner + at, n) == broadcast_int(static_cast<int32_t>(r))};
      return select(won, load_part(a.dy + at, n), F32(0.0f));
    });
}

template <class T>
void avg_fwd(const AvgPoolFwd<T>& a, int64_t row, int64_t row_end) {
  const PoolShape& s = a.s;
  const F32 count(static_cast<float>(s.kernel * s.kernel));
  for (int64_t k = row; k < row_end; ++k) {
    const PoolRange rows = pool_window(s, k % s.out_height, s.height);
    const int64_t top = k / s.out_height * s.height + k % s.out_height * s.stride - s.padding;
    for (int64_t w = 0; w < s.out_width; ++w) {
      const PoolRange cols = pool_window(s, w, s.width);
      const int64_t left = w * s.stride - s.padding;
      for_lanes(s.channels, [&](int64_t c, int n) {
        F32 sum(0.0f);
        for (int64_t r = rows.begin; r < rows.end; ++r)
          for (int64_t q = cols.begin; q < cols.end; ++q)
            sum += load_part(a.x + ((top + r) * s.width + left + q) * s.channels + c, n);
        store_part(a.y + (k * s.out_width + w) * s.channels + c, sum / count, n);
      });
    }
  }
}

template <class T>
void avg_bwd(const AvgPoolBwd<T>& a, int64_t row, int64_t row_end) {
  const F32 scale(1.0f / static_cast<float>(a.s.kernel * a.s.kernel));
  for (int64_t k = row; k < row_end; ++k)
    gather_row(a.s, k, a.dx, scale, [&](int64_t at, int64_t, int n) { return load_part(a.dy + at, n); });
}

template <class T>
void global_avg_fwd(const GlobalAvgFwd<T>& a, int64_t sample, int64_t sample_end) {
  const F32 count(static_cast<float>(a.pixels));
  for (int64_t k = sample; k < sample_end; ++k) {
    const T* x = a.x + k * a.pixels * a.channels;
    for_lanes(a.channels, [&](int64_t c, int n) {
      F32 s0(0.0f), s1(0.0f);  // two chains hide the latency of the additions
      int64_t p = 0;
      for (; p + 2 <= a.pixels; p += 2) {
        s0 += load_part(x + p * a.channels + c, n);
        s1 += load_part(x + (p + 1) * a.channels + c, n);
      }
      if (p < a.pixels) s0 += load_part(x + p * a.channels + c, n);
      store_part(a.y + k * a.channels + c, (s0 + s1) / count, n);
    });
  }
}

template <class T>
void global_avg_bwd(const GlobalAvgBwd<T>& a, int64_t sample, int64_t sample_end) {
  const F32 count(static_cast<float>(a.pixels));
  for (int64_t k = sample; k < sample_end; ++k)
    for (int64_t p = 0; p < a.pixels; ++p)
      for_lanes(a.channels, [&](int64_t c, int n) {
        store_part(a.dx + (k * a.pixels + p) * a.channels + c,
                   load_part(a.dy + k * a.channels + c, n) / count, n);
      });
}

}  // namespace

#if JX_OWN_F32
extern const PoolTable<float> pool_f32{max_fwd<float>, max_bwd<float>,        avg_fwd<float>,
                                       avg_bwd<float>, global_avg_fwd<float>, global_avg_bwd<float>};
#endif
extern const PoolTable<bf16> pool_bf16{max_fwd<bf16>, max_bwd<bf16>,        avg_fwd<bf16>,
                                       avg_bwd<bf16>, global_avg_fwd<bf16>, global_avg_bwd<bf16>};

}  // namespace juxta::JX_ISA

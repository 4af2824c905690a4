// Normalisation on vectors; formulas in norm.h and norm_group.h, batch norm in norm_batch.simd.cpp. Four
// accumulators hide the latency of the additions.
#include "kernels/norm.h"
#include "kernels/norm_batch_entries.h"
#include "kernels/simd.h"

namespace juxta::JX_ISA {

namespace {

// Sum of f(i, n) over a row: four partial sums of whole registers, then the tail, then a fixed tree.
template <class F>
[[gnu::always_inline]] inline float row_sum(int64_t cols, F f) {
  F32 s0(0.0f), s1(0.0f), s2(0.0f), s3(0.0f);
  int64_t c = 0;
  for (; c + 4 * kWidth <= cols; c += 4 * kWidth) {
    s0 += f(c, kWidth);
    s1 += f(c + kWidth, kWidth);
    s2 += f(c + 2 * kWidth, kWidth);
    s3 += f(c + 3 * kWidth, kWidth);
  }
  for (; c + kWidth <= cols; c += kWidth) s0 += f(c, kWidth);
  if (c < cols) s1 += keep_first(f(c, static_cast<int>(cols - c)), static_cast<int>(cols - c), 0.0f);
  return reduce_add((s0 + s1) + (s2 + s3));
}

template <class T>
void layer_norm_fwd(const LayerNormFwd<T>& a, int64_t row, int64_t row_end) {
  const float inv_cols = 1.0f / static_cast<float>(a.cols);
  for (int64_t r = row; r < row_end; ++r) {
    const T* x = a.x + r * a.x_stride;
    T* y = a.y + r * a.cols;
    const float mean = inv_cols * row_sum(a.cols, [x](int64_t i, int n) { return load_part(x + i, n); });
    const F32 m(mean);
    const float var = inv_cols * row_sum(a.cols, [x, m](int64_t i, int n) {
                        const F32 d = load_part(x + i, n) - m;
                        return d * d;
                      });
    const float rstd = 1.0f / __builtin_sqrtf(var + static_cast<float>(a.eps));
    const F32 s(rstd);
    for_lanes(a.cols, [&](int64_t i, int n) {
      F32 v = (load_part(x + i, n) - m) * s;
      if (a.weight) v = v * load_part(a.weight + i, n);
      if (a.bias) v = v + load_part(a.bias + i, n);
      store_part(y + i, v, n);
    });
    a.mean[r] = mean;
    a.rstd[r] = rstd;
  }
}

// Both row sums of the gradient, and this row's share of dweight and dbias, in one pass.
template <class T>
[[gnu::always_inline]] inline void bwd_sums(const LayerNormBwd<T>& a, int64_t r, float* dw, float* db,
                                            float& sum_g, float& sum_gx) {
  const T *x = a.x + r * a.x_stride, *dy = a.dy + r * a.cols;
  const F32 m(a.mean[r]), s(a.rstd[r]);
  F32 sg(0.0f), sgx(0.0f);
  for_lanes(a.cols, [&](int64_t i, int n) {
    const F32 xhat = (load_part(x + i, n) - m) * s, d = load_part(dy + i, n);
    const F32 g = a.weight ? d * load_part(a.weight + i, n) : d;  // 0 in the lanes of a tail
    sg += g;
    sgx = fma(g, xhat, sgx);
    if (dw) store_part(dw + i, fma(d, xhat, load_part(dw + i, n)), n);
    if (db) store_part(db + i, d + load_part(db + i, n), n);
  });
  sum_g = reduce_add(sg) / static_cast<float>(a.cols);
  sum_gx = reduce_add(sgx) / static_cast<float>(a.cols);
}

template <class T>
void layer_norm_bwd(const LayerNormBwd<T>& a, int64_t chunk, int64_t chunk_end) {
  for (int64_t k = chunk; k < chunk_end; ++k) {
    float *dw = a.dweight ? a.dweight + k * a.cols : nullptr, *db = a.dbias ? a.dbias + k * a.cols : nullptr;
    if (dw) __builtin_memset(dw, 0, static_cast<size_t>(a.cols) * sizeof(float));
    if (db) __builtin_memset(db, 0, static_cast<size_t>(a.cols) * sizeof(float));
    for (int64_t r = k * a.chunk; r < a.rows && r < (k + 1) * a.chunk; ++r) {
      float sum_g, sum_gx;
      bwd_sums(a, r, dw, db, sum_g, sum_gx);
      if (!a.dx) continue;
      const T *x = a.x + r * a.x_stride, *dy = a.dy + r * a.cols;
      const F32 m(a.mean[r]), s(a.rstd[r]), mg(sum_g), mgx(sum_gx);
      for_lanes(a.cols, [&](int64_t i, int n) {
        const F32 xhat = (load_part(x + i, n) - m) * s, d = load_part(dy + i, n);
        const F32 g = a.weight ? d * load_part(a.weight + i, n) : d;
        store_part(a.dx + r * a.cols + i, s * (g - mg - xhat * mgx), n);
      });
    }
  }
}

// 1 / |x| of a row whose squares overflow, 0 when an element is infinite.
template <class T>
[[gnu::noinline]] float inverse_of_huge_norm(const T* x, int64_t cols) {
  constexpr float kScale = 0x1p-80f;
  return kScale / __builtin_sqrtf(row_sum(cols, [x](int64_t i, int n) {
           const F32 v = load_part(x + i, n) * F32(kScale);
           return v * v;
         }));
}

template <class T>
void l2_normalize_fwd(const L2NormalizeFwd<T>& a, int64_t row, int64_t row_end) {
  for (int64_t r = row; r < row_end; ++r) {
    const T* x = a.x + r * a.x_stride;
    const float norm = __builtin_sqrtf(row_sum(a.cols, [x](int64_t i, int n) {
      const F32 v = load_part(x + i, n);
      return v * v;
    }));
    const float eps = static_cast<float>(a.eps);
    a.inv[r] = norm > __FLT_MAX__ ? inverse_of_huge_norm(x, a.cols) : 1.0f / (norm > eps ? norm : eps);
    const F32 inv(a.inv[r]);
    for_lanes(a.cols,
              [&](int64_t i, int n) { store_part(a.y + r * a.cols + i, load_part(x + i, n) * inv, n); });
  }
}

template <class T>
void l2_normalize_bwd(const L2NormalizeBwd<T>& a, int64_t row, int64_t row_end) {
  const float clamped = 1.0f / static_cast<float>(a.eps);
  for (int64_t r = row; r < row_end; ++r) {
    const T *y = a.y + r * a.cols, *dy = a.dy + r * a.cols;
    float dot =
        row_sum(a.cols, [y, dy](int64_t i, int n) { return load_part(y + i, n) * load_part(dy + i, n); });
    if (a.inv[r] >= clamped) dot = 0.0f;
    const F32 inv(a.inv[r]), d(dot);
    for_lanes(a.cols, [&](int64_t i, int n) {
      store_part(a.dx + r * a.cols + i, inv * (load_part(dy + i, n) - load_part(y + i, n) * d), n);
    });
  }
}

void column_sum(const ColumnSum<float>& a, int64_t column, int64_t column_end) {
  for_lanes(column_end - column, [&](int64_t i, int n) {
    F32 sum(0.0f);
    for (int64_t r = 0; r < a.rows; ++r) sum += load_part(a.x + r * a.cols + column + i, n);
    store_part(a.out + column + i, sum, n);
  });
}

// ---- RMS norm

template <class T>
void rms_norm_fwd(const RmsNormFwd<T>& a, int64_t row, int64_t row_end) {
  for (int64_t r = row; r < row_end; ++r) {
    const T* x = a.x + r * a.x_stride;
    const float sum = row_sum(a.cols, [x](int64_t i, int n) {
      const F32 v = load_part(x + i, n);
      return v * v;
    });
    a.rstd[r] = 1.0f / __builtin_sqrtf(sum / static_cast<float>(a.cols) + static_cast<float>(a.eps));
    const F32 s(a.rstd[r]);
    for_lanes(a.cols, [&](int64_t i, int n) {
      F32 v = load_part(x + i, n) * s;
      if (a.weight) v = v * load_part(a.weight + i, n);
      store_part(a.y + r * a.cols + i, v, n);
    });
  }
}

template <class T>
void rms_norm_bwd(const RmsNormBwd<T>& a, int64_t chunk, int64_t chunk_end) {
  for (int64_t k = chunk; k < chunk_end; ++k) {
    float* dw = a.dweight ? a.dweight + k * a.cols : nullptr;
    if (dw) __builtin_memset(dw, 0, static_cast<size_t>(a.cols) * sizeof(float));
    for (int64_t r = k * a.chunk; r < a.rows && r < (k + 1) * a.chunk; ++r) {
      const T *x = a.x + r * a.x_stride, *dy = a.dy + r * a.cols;
      const F32 s(a.rstd[r]);
      F32 sum(0.0f);
      for_lanes(a.cols, [&](int64_t i, int n) {
        const F32 xhat = load_part(x + i, n) * s, d = load_part(dy + i, n);
        const F32 g = a.weight ? d * load_part(a.weight + i, n) : d;
        sum = fma(g, xhat, sum);
        if (dw) store_part(dw + i, fma(d, xhat, load_part(dw + i, n)), n);
      });
      if (!a.dx) continue;
      const F32 dot(reduce_add(sum) / static_cast<float>(a.cols));
      for_lanes(a.cols, [&](int64_t i, int n) {
        const F32 d = load_part(dy + i, n), g = a.weight ? d * load_part(a.weight + i, n) : d;
        store_part(a.dx + r * a.cols + i, s * (g - load_part(x + i, n) * s * dot), n);
      });
    }
  }
}

// ---- group norm: a group's channels of one position are neighbours in memory

// Sum of f(element, channel, n) over group g of sample n.
template <class F>
[[gnu::always_inline]] inline float group_sum(int64_t sample, int64_t g, int64_t positions, int64_t channels,
                                              int64_t groups, F f) {
  const int64_t width = channels / groups;
  F32 sum(0.0f);
  for (int64_t s = 0; s < positions; ++s) {
    const int64_t base = (sample * positions + s) * channels + g * width;
    for_lanes(width, [&](int64_t i, int n) { sum += keep_first(f(base + i, g * width + i, n), n, 0.0f); });
  }
  return reduce_add(sum);
}

template <class T>
void group_norm_fwd(const GroupNormFwd<T>& a, int64_t sample, int64_t sample_end) {
  const int64_t width = a.channels / a.groups;
  const float count = static_cast<float>(a.positions * width);
  for (int64_t k = sample; k < sample_end; ++k) {
    for (int64_t g = 0; g < a.groups; ++g) {
      const float mean = group_sum(k, g, a.positions, a.channels, a.groups,
                                   [&](int64_t i, int64_t, int n) { return load_part(a.x + i, n); }) /
                         count;
      const F32 m(mean);
      const float var = group_sum(k, g, a.positions, a.channels, a.groups,
                                  [&](int64_t i, int64_t, int n) {
                                    const F32 d = load_part(a.x + i, n) - m;
                                    return d * d;
                                  }) /
                        count;
      const float rstd = 1.0f / __builtin_sqrtf(var + static_cast<float>(a.eps));
      const F32 s(rstd);
      for (int64_t p = 0; p < a.positions; ++p) {
        const int64_t base = (k * a.positions + p) * a.channels + g * width;
        for_lanes(width, [&](int64_t i, int n) {
          F32 v = (load_part(a.x + base + i, n) - m) * s;
          if (a.weight) v = v * load_part(a.weight + g * width + i, n);
          if (a.bias) v = v + load_part(a.bias + g * width + i, n);
          store_part(a.y + base + i, v, n);
        });
      }
      a.mean[k * a.groups + g] = mean;
      a.rstd[k * a.groups + g] = rstd;
    }
  }
}

template <class T>
void group_norm_bwd(const GroupNormBwd<T>& a, int64_t sample, int64_t sample_end) {
  const int64_t width = a.channels / a.groups;
  const float count = static_cast<float>(a.positions * width);
  for (int64_t k = sample; k < sample_end; ++k) {
    float *dw = a.dweight + k * a.channels, *db = a.dbias + k * a.channels;
    for (int64_t g = 0; g < a.groups; ++g) {
      const F32 m(a.mean[k * a.groups + g]), s(a.rstd[k * a.groups + g]);
      F32 sg(0.0f), sgx(0.0f);
      for_lanes(width, [&](int64_t i, int n) {
        const int64_t c = g * width + i;
        F32 sum(0.0f), dot(0.0f);
        for (int64_t p = 0; p < a.positions; ++p) {
          const int64_t e = (k * a.positions + p) * a.channels + c;
          const F32 d = load_part(a.dy + e, n);
          sum += d;
          dot = fma(d, (load_part(a.x + e, n) - m) * s, dot);
        }
        store_part(db + c, sum, n);
        store_part(dw + c, dot, n);
        const F32 w = a.weight ? load_part(a.weight + c, n) : F32(1.0f);
        sg += keep_first(sum * w, n, 0.0f);
        sgx += keep_first(dot * w, n, 0.0f);
      });
      if (!a.dx) continue;
      const F32 mg(reduce_add(sg) / count), mgx(reduce_add(sgx) / count);
      for (int64_t p = 0; p < a.positions; ++p) {
        const int64_t base = (k * a.positions + p) * a.channels + g * width;
        for_lanes(width, [&](int64_t i, int n) {
          const F32 xhat = (load_part(a.x + base + i, n) - m) * s;
          F32 d = load_part(a.dy + base + i, n);
          if (a.weight) d = d * load_part(a.weight + g * width + i, n);
          store_part(a.dx + base + i, s * (d - mg - xhat * mgx), n);
        });
      }
    }
  }
}

template <class T>
constexpr NormTable<T> make_table() {
  NormTable<T> t{};
  t.layer_norm_fwd = layer_norm_fwd<T>, t.layer_norm_bwd = layer_norm_bwd<T>;
  t.l2_normalize_fwd = l2_normalize_fwd<T>, t.l2_normalize_bwd = l2_normalize_bwd<T>;
  t.column_sum = column_sum;
  t.batch_moments = batch_moments, t.batch_combine = batch_combine, t.batch_apply = batch_apply;
  t.batch_grad_sums = batch_grad_sums, t.batch_grad = batch_grad;
  t.rms_norm_fwd = rms_norm_fwd<T>, t.rms_norm_bwd = rms_norm_bwd<T>;
  t.group_norm_fwd = group_norm_fwd<T>, t.group_norm_bwd = group_norm_bwd<T>;
  return t;
}

}  // namespace

#if JX_OWN_F32
extern const NormTable<float> norm_f32 = make_table<float>();
#endif
extern const NormTable<bf16> norm_bf16 = make_table<bf16>();

}  // namespace juxta::JX_ISA

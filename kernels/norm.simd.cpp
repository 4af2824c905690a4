// Layer norm and L2 normalisation on vectors; formulas in norm.h. Four accumulators hide the latency of the
// additions.
#include "kernels/norm.h"
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

template <class T>
void l2_normalize_fwd(const L2NormalizeFwd<T>& a, int64_t row, int64_t row_end) {
  for (int64_t r = row; r < row_end; ++r) {
    const T* x = a.x + r * a.x_stride;
    const float norm = __builtin_sqrtf(row_sum(a.cols, [x](int64_t i, int n) {
      const F32 v = load_part(x + i, n);
      return v * v;
    }));
    const float eps = static_cast<float>(a.eps);
    a.inv[r] = 1.0f / (norm > eps ? norm : eps);
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

}  // namespace

extern const NormTable<float> norm_f32{layer_norm_fwd<float>, layer_norm_bwd<float>, l2_normalize_fwd<float>,
                                       l2_normalize_bwd<float>, column_sum};
extern const NormTable<bf16> norm_bf16{layer_norm_fwd<bf16>, layer_norm_bwd<bf16>, l2_normalize_fwd<bf16>,
                                       l2_normalize_bwd<bf16>, column_sum};

}  // namespace juxta::JX_ISA

#pragma once
// Normalisation: layer norm and L2 normalisation of rows here; batch norm in norm_batch.h, group and RMS norm
// in norm_group.h.
//
// Layer norm (Ba, Kiros, Hinton 2016, arXiv 1607.06450), per row r of x [rows, cols]:
//   mean = 1/C sum_c x_c,  var = 1/C sum_c (x_c - mean)^2 (biased),  rstd = (var + eps)^-1/2
//   xhat = (x - mean) rstd,  y = xhat weight + bias
// Gradient, with g = dy weight:
//   dx = rstd (g - 1/C sum_c g_c - xhat 1/C sum_c g_c xhat_c),  dweight = sum_r dy xhat,  dbias = sum_r dy
// Saved: x, mean, rstd. The variance is computed about the mean (two passes over a row that sits in L1): the
// difference of large squares would lose all digits when |mean| >> std.
//
// L2 normalisation (x / max(|x|, eps), as torch.nn.functional.normalize; eps 1e-12):
//   inv = 1 / max(|x|, eps),  y = x inv;  dx = inv (dy - y (y . dy)), without the second term where |x| <=
//   eps. Saved: y, inv, and whether the row was clamped (inv == 1/eps). Rows whose squares overflow are
//   scaled down before they are squared.
//
// dweight and dbias are summed in two steps so that the bits do not depend on the thread count: each chunk of
// `chunk` rows writes one row of partial sums, then column_sum adds the rows in order.
#include <array>
#include <cmath>
#include <limits>

#include "kernels/norm_batch.h"
#include "kernels/norm_group.h"
#include "kernels/table.h"
#include "tensor/dtype.h"

namespace juxta {

template <class T>
struct LayerNormFwd {
  const T* x;            // [rows, cols], rows x_stride apart
  const Acc<T>* weight;  // [cols] or null (1)
  const Acc<T>* bias;    // [cols] or null (0)
  T* y;                  // [rows, cols] contiguous
  Acc<T>*mean, *rstd;    // [rows]
  int64_t cols, x_stride;
  double eps;
};

template <class T>
struct LayerNormBwd {
  const T *x, *dy;  // [rows, cols]; x rows x_stride apart, dy contiguous
  const Acc<T>*weight, *mean, *rstd;
  T* dx;                   // [rows, cols] or null
  Acc<T>*dweight, *dbias;  // partial sums [chunks, cols] or null
  int64_t rows, cols, x_stride;
  int64_t chunk;  // rows per chunk; the range of an entry counts chunks
};

template <class T>
struct L2NormalizeFwd {
  const T* x;   // [rows, cols], rows x_stride apart
  T* y;         // [rows, cols]
  Acc<T>* inv;  // [rows]
  int64_t cols, x_stride;
  double eps;
};

template <class T>
struct L2NormalizeBwd {
  const T *y, *dy;    // [rows, cols]
  const Acc<T>* inv;  // [rows]
  T* dx;              // [rows, cols]
  int64_t cols;
  double eps;
};

// out[c] = sum over rows in order; the second step of every two-step parameter gradient.
template <class A>
struct ColumnSum {
  const A* x;          // [rows, cols]
  A* out;              // [cols]
  int64_t rows, cols;  // the range of the entry counts columns
};

template <class T>
struct NormTable {
  static constexpr const char* kFamily = "norm";
  static constexpr std::array kNames{
      "layer_norm_fwd", "layer_norm_bwd", "l2_normalize_fwd", "l2_normalize_bwd", "column_sum",
      "batch_moments",  "batch_combine",  "batch_apply",      "batch_grad_sums",  "batch_grad",
      "rms_norm_fwd",   "rms_norm_bwd",   "group_norm_fwd",   "group_norm_bwd"};
  void (*layer_norm_fwd)(const LayerNormFwd<T>&, int64_t row, int64_t row_end);
  void (*layer_norm_bwd)(const LayerNormBwd<T>&, int64_t chunk, int64_t chunk_end);
  void (*l2_normalize_fwd)(const L2NormalizeFwd<T>&, int64_t row, int64_t row_end);
  void (*l2_normalize_bwd)(const L2NormalizeBwd<T>&, int64_t row, int64_t row_end);
  void (*column_sum)(const ColumnSum<Acc<T>>&, int64_t column, int64_t column_end);
  void (*batch_moments)(const BatchMoments<T>&, int64_t chunk, int64_t chunk_end);
  void (*batch_combine)(const BatchCombine<Acc<T>>&, int64_t item, int64_t item_end);
  void (*batch_apply)(const BatchApply<T>&, int64_t row, int64_t row_end);
  void (*batch_grad_sums)(const BatchGradSums<T>&, int64_t chunk, int64_t chunk_end);
  void (*batch_grad)(const BatchGrad<T>&, int64_t row, int64_t row_end);
  void (*rms_norm_fwd)(const RmsNormFwd<T>&, int64_t row, int64_t row_end);
  void (*rms_norm_bwd)(const RmsNormBwd<T>&, int64_t chunk, int64_t chunk_end);
  void (*group_norm_fwd)(const GroupNormFwd<T>&, int64_t sample, int64_t sample_end);
  void (*group_norm_bwd)(const GroupNormBwd<T>&, int64_t sample, int64_t sample_end);
};

template <class T>
const TableChoice<NormTable<T>>& norm_tables();  // T: float, bf16, double

namespace ref {

template <class T>
void layer_norm_fwd(const LayerNormFwd<T>& a, int64_t row, int64_t row_end) {
  using A = Acc<T>;
  for (int64_t r = row; r < row_end; ++r) {
    const T* x = a.x + r * a.x_stride;
    A mean = 0, var = 0;
    for (int64_t c = 0; c < a.cols; ++c) mean += static_cast<A>(x[c]);
    mean /= static_cast<A>(a.cols);
    for (int64_t c = 0; c < a.cols; ++c) var += (static_cast<A>(x[c]) - mean) * (static_cast<A>(x[c]) - mean);
    const A rstd = A(1) / std::sqrt(var / static_cast<A>(a.cols) + static_cast<A>(a.eps));
    for (int64_t c = 0; c < a.cols; ++c) {
      const A xhat = (static_cast<A>(x[c]) - mean) * rstd;
      a.y[r * a.cols + c] =
          static_cast<T>(xhat * (a.weight ? a.weight[c] : A(1)) + (a.bias ? a.bias[c] : A(0)));
    }
    a.mean[r] = mean;
    a.rstd[r] = rstd;
  }
}

template <class T>
void layer_norm_bwd_row(const LayerNormBwd<T>& a, int64_t r, Acc<T>* dw, Acc<T>* db) {
  using A = Acc<T>;
  const T *x = a.x + r * a.x_stride, *dy = a.dy + r * a.cols;
  A sum_g = 0, sum_gx = 0;
  for (int64_t c = 0; c < a.cols; ++c) {
    const A xhat = (static_cast<A>(x[c]) - a.mean[r]) * a.rstd[r], d = static_cast<A>(dy[c]);
    const A g = a.weight ? d * a.weight[c] : d;
    sum_g += g;
    sum_gx += g * xhat;
    if (dw) dw[c] += d * xhat;
    if (db) db[c] += d;
  }
  if (!a.dx) return;
  sum_g /= static_cast<A>(a.cols);
  sum_gx /= static_cast<A>(a.cols);
  for (int64_t c = 0; c < a.cols; ++c) {
    const A xhat = (static_cast<A>(x[c]) - a.mean[r]) * a.rstd[r];
    const A g = a.weight ? static_cast<A>(dy[c]) * a.weight[c] : static_cast<A>(dy[c]);
    a.dx[r * a.cols + c] = static_cast<T>(a.rstd[r] * (g - sum_g - xhat * sum_gx));
  }
}

template <class T>
void layer_norm_bwd(const LayerNormBwd<T>& a, int64_t chunk, int64_t chunk_end) {
  for (int64_t k = chunk; k < chunk_end; ++k) {
    Acc<T>*dw = a.dweight ? a.dweight + k * a.cols : nullptr, *db = a.dbias ? a.dbias + k * a.cols : nullptr;
    for (int64_t c = 0; c < a.cols; ++c) {
      if (dw) dw[c] = 0;
      if (db) db[c] = 0;
    }
    for (int64_t r = k * a.chunk; r < a.rows && r < (k + 1) * a.chunk; ++r) layer_norm_bwd_row(a, r, dw, db);
  }
}

// 1 / |x| of a row whose squares overflow, 0 when an element is infinite. A power of two leaves the digits,
// and what underflows is nothing beside such a norm.
template <class T>
Acc<T> inverse_of_huge_norm(const T* x, int64_t cols) {
  using A = Acc<T>;
  const A scale = static_cast<A>(sizeof(A) == 4 ? 0x1p-80 : 0x1p-600);
  A sum = 0;
  for (int64_t c = 0; c < cols; ++c) {
    const A v = static_cast<A>(x[c]) * scale;
    sum += v * v;
  }
  return scale / std::sqrt(sum);
}

template <class T>
void l2_normalize_fwd(const L2NormalizeFwd<T>& a, int64_t row, int64_t row_end) {
  using A = Acc<T>;
  for (int64_t r = row; r < row_end; ++r) {
    const T* x = a.x + r * a.x_stride;
    A sum = 0;
    for (int64_t c = 0; c < a.cols; ++c) sum += static_cast<A>(x[c]) * static_cast<A>(x[c]);
    const A norm = std::sqrt(sum), eps = static_cast<A>(a.eps);
    a.inv[r] = A(1) / (norm > eps ? norm : eps);
    if (norm > std::numeric_limits<A>::max()) a.inv[r] = inverse_of_huge_norm(x, a.cols);
    for (int64_t c = 0; c < a.cols; ++c)
      a.y[r * a.cols + c] = static_cast<T>(static_cast<A>(x[c]) * a.inv[r]);
  }
}

template <class T>
void l2_normalize_bwd(const L2NormalizeBwd<T>& a, int64_t row, int64_t row_end) {
  using A = Acc<T>;
  const A clamped = A(1) / static_cast<A>(a.eps);
  for (int64_t r = row; r < row_end; ++r) {
    const T *y = a.y + r * a.cols, *dy = a.dy + r * a.cols;
    A dot = 0;
    for (int64_t c = 0; c < a.cols; ++c) dot += static_cast<A>(y[c]) * static_cast<A>(dy[c]);
    if (a.inv[r] >= clamped) dot = 0;
    for (int64_t c = 0; c < a.cols; ++c)
      a.dx[r * a.cols + c] = static_cast<T>(a.inv[r] * (static_cast<A>(dy[c]) - static_cast<A>(y[c]) * dot));
  }
}

template <class A>
void column_sum(const ColumnSum<A>& a, int64_t column, int64_t column_end) {
  for (int64_t c = column; c < column_end; ++c) {
    A sum = 0;
    for (int64_t r = 0; r < a.rows; ++r) sum += a.x[r * a.cols + c];
    a.out[c] = sum;
  }
}

template <class T>
inline constexpr NormTable<T> norm_table{
    layer_norm_fwd<T>, layer_norm_bwd<T>,     l2_normalize_fwd<T>, l2_normalize_bwd<T>, column_sum<Acc<T>>,
    batch_moments<T>,  batch_combine<Acc<T>>, batch_apply<T>,      batch_grad_sums<T>,  batch_grad<T>,
    rms_norm_fwd<T>,   rms_norm_bwd<T>,       group_norm_fwd<T>,   group_norm_bwd<T>};

}  // namespace ref
}  // namespace juxta

// Layer norm and L2 normalisation on CUDA devices, and on the emulator: one block a row, formulas in norm.h.
// The row is read from L2 a second time for the variance, and a third for the result; rows of a model fit
// there.
#include "kernels/gpu_prims.h"
#include "kernels/norm.h"

namespace juxta::JX_GPU {

namespace {

template <class T>
__global__ void layer_norm_fwd_row_per_block(LayerNormFwd<T> a, int64_t first) {
  __shared__ Shared<float, kWarp> scratch;
  const int64_t r = first + blockIdx.x;
  const T* x = a.x + r * a.x_stride;
  const float cols = static_cast<float>(a.cols);
  float sum = 0;
  for (int64_t c = threadIdx.x; c < a.cols; c += blockDim.x) sum += value(x + c);
  const float mean = block_sum(sum, scratch) / cols;
  float square = 0;
  for (int64_t c = threadIdx.x; c < a.cols; c += blockDim.x) {
    const float d = value(x + c) - mean;
    square += d * d;
  }
  const float rstd = 1.0f / sqrtf(block_sum(square, scratch) / cols + static_cast<float>(a.eps));
  for (int64_t c = threadIdx.x; c < a.cols; c += blockDim.x) {
    float y = (value(x + c) - mean) * rstd;
    if (a.weight) y *= ld(a.weight + c);
    if (a.bias) y += ld(a.bias + c);
    st(a.y + r * a.cols + c, T(y));
  }
  if (threadIdx.x != 0) return;
  st(a.mean + r, mean);
  st(a.rstd + r, rstd);
}

template <class T>
__global__ void layer_norm_dx_row_per_block(LayerNormBwd<T> a) {
  __shared__ Shared<float, 2 * kWarp> scratch;
  const int64_t r = blockIdx.x;
  const T *x = a.x + r * a.x_stride, *dy = a.dy + r * a.cols;
  const float mean = ld(a.mean + r), rstd = ld(a.rstd + r), cols = static_cast<float>(a.cols);
  float sum_g = 0, sum_gx = 0;
  for (int64_t c = threadIdx.x; c < a.cols; c += blockDim.x) {
    const float g = value(dy + c) * (a.weight ? ld(a.weight + c) : 1.0f);
    sum_g += g;
    sum_gx += g * ((value(x + c) - mean) * rstd);
  }
  block_sum2(sum_g, sum_gx, scratch);
  sum_g /= cols;
  sum_gx /= cols;
  for (int64_t c = threadIdx.x; c < a.cols; c += blockDim.x) {
    const float g = value(dy + c) * (a.weight ? ld(a.weight + c) : 1.0f), xhat = (value(x + c) - mean) * rstd;
    st(a.dx + r * a.cols + c, T(rstd * (g - sum_g - xhat * sum_gx)));
  }
}

// Partial dweight and dbias of one chunk of rows: a thread a column, so neighbouring threads read
// neighbouring elements.
template <class T>
__global__ void layer_norm_dparams_column_per_thread(LayerNormBwd<T> a, int64_t first) {
  const int64_t c = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x, k = first + blockIdx.y;
  if (c >= a.cols) return;
  const int64_t end = (k + 1) * a.chunk < a.rows ? (k + 1) * a.chunk : a.rows;
  float dw = 0, db = 0;
  for (int64_t r = k * a.chunk; r < end; ++r) {
    const float d = value(a.dy + r * a.cols + c);
    dw += d * ((value(a.x + r * a.x_stride + c) - ld(a.mean + r)) * ld(a.rstd + r));
    db += d;
  }
  if (a.dweight) st(a.dweight + k * a.cols + c, dw);
  if (a.dbias) st(a.dbias + k * a.cols + c, db);
}

template <class T>
__global__ void l2_normalize_fwd_row_per_block(L2NormalizeFwd<T> a, int64_t first) {
  __shared__ Shared<float, kWarp> scratch;
  const int64_t r = first + blockIdx.x;
  const T* x = a.x + r * a.x_stride;
  float sum = 0;
  for (int64_t c = threadIdx.x; c < a.cols; c += blockDim.x) sum += value(x + c) * value(x + c);
  const float norm = sqrtf(block_sum(sum, scratch)), eps = static_cast<float>(a.eps);
  const float inv = 1.0f / (norm > eps ? norm : eps);
  for (int64_t c = threadIdx.x; c < a.cols; c += blockDim.x) st(a.y + r * a.cols + c, T(value(x + c) * inv));
  if (threadIdx.x == 0) st(a.inv + r, inv);
}

template <class T>
__global__ void l2_normalize_bwd_row_per_block(L2NormalizeBwd<T> a, int64_t first) {
  __shared__ Shared<float, kWarp> scratch;
  const int64_t r = first + blockIdx.x;
  const T *y = a.y + r * a.cols, *dy = a.dy + r * a.cols;
  float dot = 0;
  for (int64_t c = threadIdx.x; c < a.cols; c += blockDim.x) dot += value(y + c) * value(dy + c);
  dot = block_sum(dot, scratch);
  const float inv = ld(a.inv + r);
  if (inv >= 1.0f / static_cast<float>(a.eps)) dot = 0;
  for (int64_t c = threadIdx.x; c < a.cols; c += blockDim.x)
    st(a.dx + r * a.cols + c, T(inv * (value(dy + c) - value(y + c) * dot)));
}

__global__ void column_sum_column_per_thread(ColumnSum<float> a, int64_t first, int64_t end) {
  const int64_t c = first + static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (c >= end) return;
  float sum = 0;
  for (int64_t r = 0; r < a.rows; ++r) sum += ld(a.x + r * a.cols + c);
  st(a.out + c, sum);
}

template <class T>
void layer_norm_fwd(const LayerNormFwd<T>& a, int64_t row, int64_t row_end) {
  launch("layer_norm_fwd_row_per_block", layer_norm_fwd_row_per_block<T>, blocks_for(row_end - row),
         threads_for_row(a.cols), 0, current_stream(), a, row);
}

template <class T>
void layer_norm_bwd(const LayerNormBwd<T>& a, int64_t chunk, int64_t chunk_end) {
  if (a.dx)
    launch("layer_norm_dx_row_per_block", layer_norm_dx_row_per_block<T>, blocks_for(a.rows),
           threads_for_row(a.cols), 0, current_stream(), a);
  if (a.dweight || a.dbias)
    launch("layer_norm_dparams_column_per_thread", layer_norm_dparams_column_per_thread<T>,
           dim3(blocks_for(a.cols, 128), blocks_for(chunk_end - chunk)), 128, 0, current_stream(), a, chunk);
}

template <class T>
void l2_normalize_fwd(const L2NormalizeFwd<T>& a, int64_t row, int64_t row_end) {
  launch("l2_normalize_fwd_row_per_block", l2_normalize_fwd_row_per_block<T>, blocks_for(row_end - row),
         threads_for_row(a.cols), 0, current_stream(), a, row);
}

template <class T>
void l2_normalize_bwd(const L2NormalizeBwd<T>& a, int64_t row, int64_t row_end) {
  launch("l2_normalize_bwd_row_per_block", l2_normalize_bwd_row_per_block<T>, blocks_for(row_end - row),
         threads_for_row(a.cols), 0, current_stream(), a, row);
}

void column_sum(const ColumnSum<float>& a, int64_t column, int64_t column_end) {
  launch("column_sum_column_per_thread", column_sum_column_per_thread, blocks_for(column_end - column, 128),
         128, 0, current_stream(), a, column, column_end);
}

// Batch, group and RMS norm have no device kernels yet: null entries.
template <class T>
constexpr NormTable<T> make_table() {
  NormTable<T> t{};
  t.layer_norm_fwd = layer_norm_fwd<T>;
  t.layer_norm_bwd = layer_norm_bwd<T>;
  t.l2_normalize_fwd = l2_normalize_fwd<T>;
  t.l2_normalize_bwd = l2_normalize_bwd<T>;
  t.column_sum = column_sum;
  return t;
}

}  // namespace

extern const NormTable<float> norm_f32;
extern const NormTable<bf16> norm_bf16;
const NormTable<float> norm_f32 = make_table<float>();
const NormTable<bf16> norm_bf16 = make_table<bf16>();

}  // namespace juxta::JX_GPU

// The norm family on CUDA devices, and on the emulator; formulas in norm.h, norm_group.h and norm_batch.h. A
// block a row where statistics are per row: it is read from L2 a second time for the variance, and a third
// for the result; rows of a model fit there.
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
  float inv = 1.0f / (norm > eps ? norm : eps);
  if (norm > 3.4e38f) {  // the squares overflow: scaled down first; the whole block comes here together
    sum = 0;
    for (int64_t c = threadIdx.x; c < a.cols; c += blockDim.x)
      sum += value(x + c) * 0x1p-80f * (value(x + c) * 0x1p-80f);
    inv = 0x1p-80f / sqrtf(block_sum(sum, scratch));
  }
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

// ---- rms norm

template <class T>
__global__ void rms_norm_fwd_row_per_block(RmsNormFwd<T> a, int64_t first) {
  __shared__ Shared<float, kWarp> scratch;
  const int64_t r = first + blockIdx.x;
  const T* x = a.x + r * a.x_stride;
  float sum = 0;
  for (int64_t c = threadIdx.x; c < a.cols; c += blockDim.x) sum += value(x + c) * value(x + c);
  const float mean = block_sum(sum, scratch) / static_cast<float>(a.cols);
  const float rstd = 1.0f / sqrtf(mean + static_cast<float>(a.eps));
  for (int64_t c = threadIdx.x; c < a.cols; c += blockDim.x)
    st(a.y + r * a.cols + c, T(value(x + c) * rstd * (a.weight ? ld(a.weight + c) : 1.0f)));
  if (threadIdx.x == 0) st(a.rstd + r, rstd);
}

template <class T>
__global__ void rms_norm_dx_row_per_block(RmsNormBwd<T> a) {
  __shared__ Shared<float, kWarp> scratch;
  const int64_t r = blockIdx.x;
  const T *x = a.x + r * a.x_stride, *dy = a.dy + r * a.cols;
  const float rstd = ld(a.rstd + r);
  float dot = 0;
  for (int64_t c = threadIdx.x; c < a.cols; c += blockDim.x)
    dot += value(dy + c) * (a.weight ? ld(a.weight + c) : 1.0f) * (value(x + c) * rstd);
  dot = block_sum(dot, scratch) / static_cast<float>(a.cols);
  for (int64_t c = threadIdx.x; c < a.cols; c += blockDim.x) {
    const float g = value(dy + c) * (a.weight ? ld(a.weight + c) : 1.0f);
    st(a.dx + r * a.cols + c, T(rstd * (g - value(x + c) * rstd * dot)));
  }
}

template <class T>
__global__ void rms_norm_dweight_column_per_thread(RmsNormBwd<T> a, int64_t first) {
  const int64_t c = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x, k = first + blockIdx.y;
  if (c >= a.cols) return;
  const int64_t end = (k + 1) * a.chunk < a.rows ? (k + 1) * a.chunk : a.rows;
  float dw = 0;
  for (int64_t r = k * a.chunk; r < end; ++r)
    dw += value(a.dy + r * a.cols + c) * (value(a.x + r * a.x_stride + c) * ld(a.rstd + r));
  st(a.dweight + k * a.cols + c, dw);
}

template <class T>
void rms_norm_fwd(const RmsNormFwd<T>& a, int64_t row, int64_t row_end) {
  launch("rms_norm_fwd_row_per_block", rms_norm_fwd_row_per_block<T>, blocks_for(row_end - row),
         threads_for_row(a.cols), 0, current_stream(), a, row);
}

template <class T>
void rms_norm_bwd(const RmsNormBwd<T>& a, int64_t chunk, int64_t chunk_end) {
  if (a.dx)
    launch("rms_norm_dx_row_per_block", rms_norm_dx_row_per_block<T>, blocks_for(a.rows),
           threads_for_row(a.cols), 0, current_stream(), a);
  if (a.dweight)
    launch("rms_norm_dweight_column_per_thread", rms_norm_dweight_column_per_thread<T>,
           dim3(blocks_for(a.cols, 128), blocks_for(chunk_end - chunk)), 128, 0, current_stream(), a, chunk);
}

// ---- group norm: a block a group of one sample

// Element i of group g of sample n, and its channel.
struct GroupElement {
  int64_t at, channel;
};
__device__ inline GroupElement group_element(int64_t n, int64_t g, int64_t i, int64_t positions,
                                             int64_t channels, int64_t groups) {
  const int64_t width = channels / groups, channel = g * width + i % width;
  return {(n * positions + i / width) * channels + channel, channel};
}

template <class T>
__global__ void group_norm_fwd_group_per_block(GroupNormFwd<T> a, int64_t first) {
  __shared__ Shared<float, kWarp> scratch;
  const int64_t g = blockIdx.x, n = first + blockIdx.y, count = a.positions * (a.channels / a.groups);
  const auto element = [&](int64_t i) { return group_element(n, g, i, a.positions, a.channels, a.groups); };
  float sum = 0;
  for (int64_t i = threadIdx.x; i < count; i += blockDim.x) sum += value(a.x + element(i).at);
  const float mean = block_sum(sum, scratch) / static_cast<float>(count);
  float square = 0;
  for (int64_t i = threadIdx.x; i < count; i += blockDim.x) {
    const float d = value(a.x + element(i).at) - mean;
    square += d * d;
  }
  const float var = block_sum(square, scratch) / static_cast<float>(count);
  const float rstd = 1.0f / sqrtf(var + static_cast<float>(a.eps));
  for (int64_t i = threadIdx.x; i < count; i += blockDim.x) {
    const GroupElement e = element(i);
    float y = (value(a.x + e.at) - mean) * rstd;
    if (a.weight) y *= ld(a.weight + e.channel);
    if (a.bias) y += ld(a.bias + e.channel);
    st(a.y + e.at, T(y));
  }
  if (threadIdx.x != 0) return;
  st(a.mean + n * a.groups + g, mean);
  st(a.rstd + n * a.groups + g, rstd);
}

template <class T>
__global__ void group_norm_dparams_channel_per_thread(GroupNormBwd<T> a, int64_t first) {
  const int64_t c = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x, n = first + blockIdx.y;
  if (c >= a.channels) return;
  const int64_t g = n * a.groups + c / (a.channels / a.groups);
  const float mean = ld(a.mean + g), rstd = ld(a.rstd + g);
  float dw = 0, db = 0;
  for (int64_t s = 0; s < a.positions; ++s) {
    const int64_t i = (n * a.positions + s) * a.channels + c;
    const float d = value(a.dy + i);
    dw += d * ((value(a.x + i) - mean) * rstd);
    db += d;
  }
  st(a.dweight + n * a.channels + c, dw);
  st(a.dbias + n * a.channels + c, db);
}

template <class T>
__global__ void group_norm_dx_group_per_block(GroupNormBwd<T> a, int64_t first) {
  __shared__ Shared<float, 2 * kWarp> scratch;
  const int64_t g = blockIdx.x, n = first + blockIdx.y, width = a.channels / a.groups;
  const float mean = ld(a.mean + n * a.groups + g), rstd = ld(a.rstd + n * a.groups + g);
  float sum_g = 0, sum_gx = 0;
  for (int64_t c = g * width + threadIdx.x; c < (g + 1) * width; c += blockDim.x) {
    const float w = a.weight ? ld(a.weight + c) : 1.0f;
    sum_g += ld(a.dbias + n * a.channels + c) * w;
    sum_gx += ld(a.dweight + n * a.channels + c) * w;
  }
  block_sum2(sum_g, sum_gx, scratch);
  const int64_t count = a.positions * width;
  sum_g /= static_cast<float>(count);
  sum_gx /= static_cast<float>(count);
  for (int64_t i = threadIdx.x; i < count; i += blockDim.x) {
    const GroupElement e = group_element(n, g, i, a.positions, a.channels, a.groups);
    const float gradient = value(a.dy + e.at) * (a.weight ? ld(a.weight + e.channel) : 1.0f);
    const float xhat = (value(a.x + e.at) - mean) * rstd;
    st(a.dx + e.at, T(rstd * (gradient - sum_g - xhat * sum_gx)));
  }
}

template <class T>
void group_norm_fwd(const GroupNormFwd<T>& a, int64_t sample, int64_t sample_end) {
  launch("group_norm_fwd_group_per_block", group_norm_fwd_group_per_block<T>,
         dim3(blocks_for(a.groups), blocks_for(sample_end - sample)),
         threads_for_row(a.positions * (a.channels / a.groups)), 0, current_stream(), a, sample);
}

template <class T>
void group_norm_bwd(const GroupNormBwd<T>& a, int64_t sample, int64_t sample_end) {
  launch("group_norm_dparams_channel_per_thread", group_norm_dparams_channel_per_thread<T>,
         dim3(blocks_for(a.channels, 128), blocks_for(sample_end - sample)), 128, 0, current_stream(), a,
         sample);
  if (a.dx)
    launch("group_norm_dx_group_per_block", group_norm_dx_group_per_block<T>,
           dim3(blocks_for(a.groups), blocks_for(sample_end - sample)),
           threads_for_row(a.positions * (a.channels / a.groups)), 0, current_stream(), a, sample);
}

// ---- batch norm: a thread a channel for sums over rows, a thread an element elsewhere

template <class T>
__global__ void batch_moments_channel_per_thread(BatchMoments<T> a, int64_t first) {
  const int64_t c = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x, k = first + blockIdx.y;
  const int64_t channels = a.shape.channels;
  if (c >= channels) return;
  const int64_t begin = a.shape.chunk_begin(k), end = a.shape.chunk_end(k);
  const float shift = value(a.x + begin * channels + c), n = static_cast<float>(end - begin);
  float sum = 0, square = 0;
  for (int64_t r = begin; r < end; ++r) {
    const float d = value(a.x + r * channels + c) - shift;
    sum += d;
    square += d * d;
  }
  st(a.mean + k * channels + c, shift + sum / n);
  st(a.m2 + k * channels + c, square - sum * (sum / n));
}

__global__ void batch_combine_channel_per_thread(BatchCombine<float> a, int64_t first, int64_t end) {
  const int64_t c = first + static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (c >= end) return;
  const int64_t channels = a.shape.channels, per = a.shape.chunks_per_group();
  const float keep = static_cast<float>(1.0 - a.momentum), take = static_cast<float>(a.momentum);
  for (int64_t group = 0; group < a.shape.groups; ++group) {
    float n = 0, mean = 0, m2 = 0;
    for (int64_t k = group * per; a.part_mean && k < (group + 1) * per; ++k) {
      const float nk = static_cast<float>(a.shape.chunk_end(k) - a.shape.chunk_begin(k)), total = n + nk;
      const float delta = ld(a.part_mean + k * channels + c) - mean;
      mean += delta * (nk / total);
      m2 += ld(a.part_m2 + k * channels + c) + delta * delta * (n * (nk / total));
      n = total;
    }
    m2 = m2 < 0 ? 0.0f : m2;  // NaN passes
    const float var = a.part_mean ? m2 / n : ld(a.running_var + c);
    st(a.mean + group * channels + c, a.part_mean ? mean : ld(a.running_mean + c));
    st(a.rstd + group * channels + c, 1.0f / sqrtf(var + static_cast<float>(a.eps)));
    if (!a.part_mean || !a.running_mean) continue;
    st(a.running_mean + c, keep * ld(a.running_mean + c) + take * mean);
    st(a.running_var + c, keep * ld(a.running_var + c) + take * (m2 / (n - 1.0f)));
  }
}

// act's argument without the residual. s: the group's first statistic.
template <class T, class Args>
__device__ float batch_argument(const Args& a, int64_t i, int64_t c, int64_t s) {
  float v = (value(a.x + i) - ld(a.mean + s + c)) * ld(a.rstd + s + c);
  if (a.weight) v *= ld(a.weight + c);
  return a.bias ? v + ld(a.bias + c) : v;
}

// dy behind relu.
template <class T, class Args>
__device__ float batch_gradient(const Args& a, int64_t i, int64_t c, int64_t s) {
  const float dy = value(a.dy + i);
  if (!a.relu) return dy;
  return (a.y ? value(a.y + i) : batch_argument<T>(a, i, c, s)) > 0 ? dy : 0.0f;
}

template <class T>
__global__ void batch_apply_element_per_thread(BatchApply<T> a, int64_t first, int64_t end) {
  const int64_t i = first + static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= end) return;
  const int64_t channels = a.shape.channels, c = i % channels,
                s = i / channels / a.shape.group_rows() * channels;
  float v = batch_argument<T>(a, i, c, s);
  if (a.residual) v += value(a.residual + i);
  st(a.y + i, T(a.relu && v < 0 ? 0.0f : v));
}

template <class T>
__global__ void batch_grad_sums_channel_per_thread(BatchGradSums<T> a, int64_t first) {
  const int64_t c = static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x, k = first + blockIdx.y;
  const int64_t channels = a.shape.channels;
  if (c >= channels) return;
  const int64_t s = k / a.shape.chunks_per_group() * channels, end = a.shape.chunk_end(k);
  const float mean = ld(a.mean + s + c), rstd = ld(a.rstd + s + c);
  float sum = 0, dot = 0;
  for (int64_t r = a.shape.chunk_begin(k); r < end; ++r) {
    const float g = batch_gradient<T>(a, r * channels + c, c, s);
    sum += g;
    dot += g * ((value(a.x + r * channels + c) - mean) * rstd);
  }
  st(a.sum_g + k * channels + c, sum);
  st(a.sum_gx + k * channels + c, dot);
}

template <class T>
__global__ void batch_grad_element_per_thread(BatchGrad<T> a, int64_t first, int64_t end) {
  const int64_t i = first + static_cast<int64_t>(blockIdx.x) * blockDim.x + threadIdx.x;
  if (i >= end) return;
  const int64_t channels = a.shape.channels, c = i % channels,
                s = i / channels / a.shape.group_rows() * channels;
  const float g = batch_gradient<T>(a, i, c, s), inverse = 1.0f / static_cast<float>(a.shape.group_rows());
  if (a.dresidual) st(a.dresidual + i, T(g));
  if (!a.dx) return;
  const float rstd = ld(a.rstd + s + c);
  float d = g;
  if (a.sum_g) {
    const float xhat = (value(a.x + i) - ld(a.mean + s + c)) * rstd;
    d = g - ld(a.sum_g + s + c) * inverse - xhat * (ld(a.sum_gx + s + c) * inverse);
  }
  st(a.dx + i, T(d * rstd * (a.weight ? ld(a.weight + c) : 1.0f)));
}

constexpr unsigned kThreads = 256;

template <class T>
void batch_moments(const BatchMoments<T>& a, int64_t chunk, int64_t chunk_end) {
  launch("batch_moments_channel_per_thread", batch_moments_channel_per_thread<T>,
         dim3(blocks_for(a.shape.channels, 128), blocks_for(chunk_end - chunk)), 128, 0, current_stream(), a,
         chunk);
}

void batch_combine(const BatchCombine<float>& a, int64_t channel, int64_t channel_end) {
  launch("batch_combine_channel_per_thread", batch_combine_channel_per_thread,
         blocks_for(channel_end - channel, 128), 128, 0, current_stream(), a, channel, channel_end);
}

template <class T>
void batch_apply(const BatchApply<T>& a, int64_t row, int64_t row_end) {
  const int64_t begin = row * a.shape.channels, end = row_end * a.shape.channels;
  launch("batch_apply_element_per_thread", batch_apply_element_per_thread<T>,
         blocks_for(end - begin, kThreads), kThreads, 0, current_stream(), a, begin, end);
}

template <class T>
void batch_grad_sums(const BatchGradSums<T>& a, int64_t chunk, int64_t chunk_end) {
  launch("batch_grad_sums_channel_per_thread", batch_grad_sums_channel_per_thread<T>,
         dim3(blocks_for(a.shape.channels, 128), blocks_for(chunk_end - chunk)), 128, 0, current_stream(), a,
         chunk);
}

template <class T>
void batch_grad(const BatchGrad<T>& a, int64_t row, int64_t row_end) {
  const int64_t begin = row * a.shape.channels, end = row_end * a.shape.channels;
  launch("batch_grad_element_per_thread", batch_grad_element_per_thread<T>, blocks_for(end - begin, kThreads),
         kThreads, 0, current_stream(), a, begin, end);
}

template <class T>
constexpr NormTable<T> make_table() {
  return {layer_norm_fwd<T>, layer_norm_bwd<T>, l2_normalize_fwd<T>, l2_normalize_bwd<T>, column_sum,
          batch_moments<T>,  batch_combine,     batch_apply<T>,      batch_grad_sums<T>,  batch_grad<T>,
          rms_norm_fwd<T>,   rms_norm_bwd<T>,   group_norm_fwd<T>,   group_norm_bwd<T>};
}

}  // namespace

extern const NormTable<float> norm_f32;
extern const NormTable<bf16> norm_bf16;
const NormTable<float> norm_f32 = make_table<float>();
const NormTable<bf16> norm_bf16 = make_table<bf16>();

}  // namespace juxta::JX_GPU

// Softmax, logsumexp and cross-entropy on CUDA devices, and on the emulator: one block a row, formulas and
// the rules for masks, infinities and NaN in softmax.h. A row is read once for its maximum and sum, which
// each thread takes together for its share, and once more from L2 for the result.
#include "kernels/gpu_prims.h"
#include "kernels/softmax.h"

namespace juxta::JX_GPU {

namespace {

// Entries of one row; those that the mask hides are -inf, and what lies behind the mask is not read.
template <class T>
struct MaskedRow {
  const T* x;
  const bool* mask;
  int64_t col_step;
  __device__ float operator[](int64_t c) const {
    return mask && !ld(mask + c * col_step) ? -INFINITY : value(x + c);
  }
};
template <class T>
__device__ MaskedRow<T> plain_row(const T* x) {
  return {x, nullptr, 0};
}

__device__ inline float finite_or_0(float m) { return m - m == 0.0f ? m : 0.0f; }

struct MaxSum {
  float max, sum;  // max: 0 when not finite; sum of e^(x - max)
};
// Of the whole row, in every thread. A thread rescales its sum when it meets a larger maximum; at the end all
// sums are brought to the maximum of the row. A NaN is never larger than anything, but it makes the sum NaN.
template <class Row>
__device__ MaxSum max_sum(const Row& x, int64_t cols, SharedPtr<float> scratch) {
  float top = -INFINITY, sum = 0;
  for (int64_t c = threadIdx.x; c < cols; c += blockDim.x) {
    const float v = x[c];
    if (v > top) {
      sum *= expf(top - finite_or_0(v));
      top = v;
    }
    sum += expf(v - finite_or_0(top));
  }
  const float max = finite_or_0(block_max(top, scratch));
  // Where top is -inf the sum is 0 or NaN; where it is +inf the sum is +inf already, and so is that of the
  // row.
  return {max, block_sum(sum * expf(top - max), scratch)};
}

template <class T>
__global__ void softmax_fwd_row_per_block(SoftmaxFwd<T> a, int64_t first) {
  __shared__ Shared<float, kWarp> scratch;
  const int64_t r = first + blockIdx.x;
  const MaskedRow<T> x{a.x + r * a.x_stride, mask_row(a.mask, r), a.mask.col_step};
  const MaxSum row = max_sum(x, a.cols, scratch);
  T* y = a.y + r * a.cols;
  const bool empty = row.sum == 0.0f;  // nothing but -inf
  if (a.log) {
    const float l = empty ? 0.0f : logf(row.sum);
    for (int64_t c = threadIdx.x; c < a.cols; c += blockDim.x) st(y + c, T((x[c] - row.max) - l));
  } else {
    const float inv = empty ? 0.0f : 1.0f / row.sum;
    for (int64_t c = threadIdx.x; c < a.cols; c += blockDim.x) st(y + c, T(expf(x[c] - row.max) * inv));
  }
}

template <class T>
__global__ void softmax_bwd_row_per_block(SoftmaxBwd<T> a, int64_t first) {
  __shared__ Shared<float, kWarp> scratch;
  const int64_t r = first + blockIdx.x;
  const T *y = a.y + r * a.cols, *dy = a.dy + r * a.cols;
  float sum = 0;
  for (int64_t c = threadIdx.x; c < a.cols; c += blockDim.x) {
    const float p = value(y + c), g = value(dy + c);
    if (!a.log)
      sum += p * g;
    else if (p != -INFINITY)
      sum += g;
  }
  sum = block_sum(sum, scratch);
  for (int64_t c = threadIdx.x; c < a.cols; c += blockDim.x) {
    const float p = value(y + c), g = value(dy + c);
    const float dx = !a.log ? p * (g - sum) : p == -INFINITY ? 0.0f : g - expf(p) * sum;
    st(a.dx + r * a.cols + c, T(dx));
  }
}

template <class T>
__global__ void logsumexp_fwd_row_per_block(LogSumExpFwd<T> a, int64_t first) {
  __shared__ Shared<float, kWarp> scratch;
  const int64_t r = first + blockIdx.x;
  const MaskedRow<T> x{a.x + r * a.x_stride, mask_row(a.mask, r), a.mask.col_step};
  const MaxSum row = max_sum(x, a.cols, scratch);
  if (threadIdx.x != 0) return;
  const float l = logf(row.sum);
  st(a.y + r, row.max + l);
  st(a.stats + 2 * r, row.max);
  st(a.stats + 2 * r + 1, l);
}

template <class T>
__global__ void logsumexp_bwd_row_per_block(LogSumExpBwd<T> a, int64_t first) {
  const int64_t r = first + blockIdx.x;
  const MaskedRow<T> x{a.x + r * a.x_stride, mask_row(a.mask, r), a.mask.col_step};
  const float m = ld(a.stats + 2 * r), l = ld(a.stats + 2 * r + 1), dy = ld(a.dy + r);
  const bool empty = l == -INFINITY;
  for (int64_t c = threadIdx.x; c < a.cols; c += blockDim.x)
    st(a.dx + r * a.cols + c, T(empty ? 0.0f : dy * expf((x[c] - m) - l)));
}

template <class T>
__global__ void cross_entropy_fwd_row_per_block(CrossEntropyFwd<T> a, int64_t first) {
  __shared__ Shared<float, kWarp> scratch;
  const int64_t r = first + blockIdx.x, target = ld(a.target + r);
  const T* x = a.x + r * a.x_stride;
  const MaxSum row = max_sum(plain_row(x), a.cols, scratch);
  const float l = logf(row.sum), s = static_cast<float>(a.smoothing);
  float y = 0;
  if (target != a.ignore) {
    y = (1.0f - s) * (l + (row.max - value(x + target)));
    if (s != 0.0f) {  // the same for all threads, as is target: they meet in block_sum
      float below = 0;
      for (int64_t c = threadIdx.x; c < a.cols; c += blockDim.x) below += row.max - value(x + c);
      y += s * (l + block_sum(below, scratch) / static_cast<float>(a.cols));
    }
  }
  if (threadIdx.x != 0) return;
  st(a.y + r, y);
  st(a.stats + 2 * r, row.max);
  st(a.stats + 2 * r + 1, l);
}

template <class T>
__global__ void cross_entropy_bwd_row_per_block(CrossEntropyBwd<T> a, int64_t first) {
  const int64_t r = first + blockIdx.x, target = ld(a.target + r);
  const T* x = a.x + r * a.x_stride;
  const float m = ld(a.stats + 2 * r), l = ld(a.stats + 2 * r + 1), dy = ld(a.dy + r);
  const float s = static_cast<float>(a.smoothing), each = s / static_cast<float>(a.cols);
  const bool ignored = target == a.ignore;
  for (int64_t c = threadIdx.x; c < a.cols; c += blockDim.x) {
    const float p = expf((value(x + c) - m) - l), g = c == target ? p - (1.0f - s) - each : p - each;
    st(a.dx + r * a.cols + c, T(ignored ? 0.0f : dy * g));
  }
}

template <class T>
__global__ void soft_cross_entropy_fwd_row_per_block(SoftCrossEntropyFwd<T> a, int64_t first) {
  __shared__ Shared<float, 2 * kWarp> scratch;
  const int64_t r = first + blockIdx.x;
  const T* x = a.x + r * a.x_stride;
  const float* q = a.q + r * a.q_stride;
  const MaxSum row = max_sum(plain_row(x), a.cols, scratch);
  float below = 0, mass = 0;
  for (int64_t c = threadIdx.x; c < a.cols; c += blockDim.x) {
    const float w = ld(q + c);
    if (w != 0.0f) below += w * (row.max - value(x + c));  // no mass where x is -inf adds 0
    mass += w;
  }
  block_sum2(below, mass, scratch);
  if (threadIdx.x != 0) return;
  const float l = logf(row.sum);
  st(a.y + r, below + (mass == 0.0f ? 0.0f : mass * l));
  st(a.stats + 3 * r, row.max);
  st(a.stats + 3 * r + 1, l);
  st(a.stats + 3 * r + 2, mass);
}

template <class T>
__global__ void soft_cross_entropy_bwd_row_per_block(SoftCrossEntropyBwd<T> a, int64_t first) {
  const int64_t r = first + blockIdx.x;
  const T* x = a.x + r * a.x_stride;
  const float *q = a.q + r * a.q_stride, *stats = a.stats + 3 * r;
  const float m = ld(stats), l = ld(stats + 1), mass = ld(stats + 2), dy = ld(a.dy + r);
  for (int64_t c = threadIdx.x; c < a.cols; c += blockDim.x) {
    const float p = mass == 0.0f ? 0.0f : expf((value(x + c) - m) - l);
    st(a.dx + r * a.cols + c, T(dy * (p * mass - ld(q + c))));
  }
}

// One block for each of the rows [row, row_end).
template <class Args>
void launch_rows(const char* name, void (*kernel)(Args, int64_t), const Args& a, int64_t row,
                 int64_t row_end) {
  launch(name, kernel, blocks_for(row_end - row), threads_for_row(a.cols), 0, current_stream(), a, row);
}

#define JX_ROW_ENTRY(entry, Args)                                                    \
  template <class T>                                                                 \
  void entry(const Args<T>& a, int64_t row, int64_t row_end) {                       \
    launch_rows(#entry "_row_per_block", entry##_row_per_block<T>, a, row, row_end); \
  }
JX_ROW_ENTRY(softmax_fwd, SoftmaxFwd)
JX_ROW_ENTRY(softmax_bwd, SoftmaxBwd)
JX_ROW_ENTRY(logsumexp_fwd, LogSumExpFwd)
JX_ROW_ENTRY(logsumexp_bwd, LogSumExpBwd)
JX_ROW_ENTRY(cross_entropy_fwd, CrossEntropyFwd)
JX_ROW_ENTRY(cross_entropy_bwd, CrossEntropyBwd)
JX_ROW_ENTRY(soft_cross_entropy_fwd, SoftCrossEntropyFwd)
JX_ROW_ENTRY(soft_cross_entropy_bwd, SoftCrossEntropyBwd)
#undef JX_ROW_ENTRY

template <class T>
constexpr SoftmaxTable<T> make_table() {
  return {softmax_fwd<T>,       softmax_bwd<T>,       logsumexp_fwd<T>,          logsumexp_bwd<T>,
          cross_entropy_fwd<T>, cross_entropy_bwd<T>, soft_cross_entropy_fwd<T>, soft_cross_entropy_bwd<T>};
}

}  // namespace

extern const SoftmaxTable<float> softmax_f32;
extern const SoftmaxTable<bf16> softmax_bf16;
const SoftmaxTable<float> softmax_f32 = make_table<float>();
const SoftmaxTable<bf16> softmax_bf16 = make_table<bf16>();

}  // namespace juxta::JX_GPU

#pragma once
// Every differentiable op: one line and one comment each. Shapes are in memory order; images are [N, H, W,
// C]. Ops take tensors of any strides. Parameters beside bf16 activations (weights, biases, gains) are f32,
// beside f64 f64. Each throws Error, naming the op and the argument, on shapes, dtypes or devices that do not
// fit.
#include <cstdint>
#include <span>
#include <vector>

#include "autograd/var.h"
#include "kernels/act.h"
#include "tensor/rng.h"

namespace juxta {

// ---- elementwise.cpp. Binary ops broadcast (NumPy rules); both operands have one dtype.
Var add(const Var& a, const Var& b);      // a + b
Var sub(const Var& a, const Var& b);      // a - b
Var mul(const Var& a, const Var& b);      // a b
Var div(const Var& a, const Var& b);      // a / b
Var minimum(const Var& a, const Var& b);  // ties: half the gradient to each, as PyTorch
Var maximum(const Var& a, const Var& b);
Var where(const Tensor& mask, const Var& a, const Var& b);  // mask (bool) ? a : b, broadcast
Var affine(const Var& x, double scale, double shift);       // scale x + shift
Var neg(const Var& x);
Var exp(const Var& x);
Var log(const Var& x);
Var log1p(const Var& x);
Var expm1(const Var& x);
Var sqrt(const Var& x);  // gradient 0 at 0
Var rsqrt(const Var& x);
Var square(const Var& x);
Var reciprocal(const Var& x);
Var abs(const Var& x);  // gradient 0 at 0
Var pow(const Var& x, double p);
Var sin(const Var& x);
Var cos(const Var& x);
Var tanh(const Var& x);
Var atanh(const Var& x);
Var acos(const Var& x);
Var erf(const Var& x);
Var sigmoid(const Var& x);
Var log_sigmoid(const Var& x);  // -softplus(-x), stable
Var softplus(const Var& x);     // log(1 + e^x), stable
Var relu(const Var& x);
Var leaky_relu(const Var& x, double slope = 0.01);
Var elu(const Var& x, double alpha = 1.0);
Var gelu(const Var& x);       // exact: x Phi(x)
Var gelu_tanh(const Var& x);  // tanh approximation
Var silu(const Var& x);       // x sigmoid(x)
Var activate(const Var& x, Act act);
Var clamp(const Var& x, double low, double high);  // gradient 0 outside
Var cast(const Var& x, DType dtype);               // between f32, bf16 and f64
Var stop_gradient(const Var& x);                   // the value as a constant
// Inverted dropout: zero with probability p, else x / (1 - p). Identity when not training or p = 0.
Var dropout(const Var& x, double p, Rng& rng, bool training);
// Stochastic depth: dropout of whole samples (axis 0).
Var drop_path(const Var& x, double p, Rng& rng, bool training);

// ---- reduce.cpp. `dims` empty means all; negative dims count from the end.
Var sum(const Var& x, const std::vector<int>& dims = {}, bool keepdim = false);
Var mean(const Var& x, const std::vector<int>& dims = {}, bool keepdim = false);
Var variance(const Var& x, const std::vector<int>& dims = {}, bool keepdim = false, bool unbiased = true);
Var amax(const Var& x, const std::vector<int>& dims = {},
         bool keepdim = false);  // gradient shared evenly among ties
Var amin(const Var& x, const std::vector<int>& dims = {}, bool keepdim = false);
Var norm(const Var& x, const std::vector<int>& dims = {}, bool keepdim = false);  // L2 norm; gradient 0 at 0
Var cumsum(const Var& x, int dim);
Tensor argmax(const Tensor& x, int dim, bool keepdim = false);  // i64; first of ties; NaN is the largest
struct TopK {
  Var values;
  Tensor indices;
};
// k largest of the last axis, descending; ties by lower index; NaN is larger than any number
TopK topk(const Var& x, int64_t k);

// ---- shape.cpp. Views where memory allows.
Var reshape(const Var& x, Dims dims);  // one size may be -1
// [N, H, W, C] or [N, C] to [N, C H W] in PyTorch's channel-first order.
Var flatten(const Var& x);
Var transpose(const Var& x, int a, int b);
Var permute(const Var& x, Dims order);
Var slice(const Var& x, int dim, int64_t begin, int64_t end);
Var select(const Var& x, int dim, int64_t index);
Var unsqueeze(const Var& x, int dim);
Var squeeze(const Var& x, int dim);
Var expand(const Var& x, Dims dims);
Var cat(std::span<const Var> parts, int dim);
Var stack(std::span<const Var> parts, int dim);
std::vector<Var> split(const Var& x, int dim, std::span<const int64_t> sizes);
Var pad(const Var& x, int dim, int64_t before, int64_t after, double value = 0.0);
Var flip(const Var& x, int dim);

// ---- softmax.cpp, over the last axis. `mask` (bool, broadcast to x): false entries count as -inf; a row
// without any true entry gives zeros (softmax) or -inf (logsumexp) with zero gradient. Losses of bf16 logits
// are f32.
Var softmax(const Var& x, const Tensor& mask = {});
Var log_softmax(const Var& x, const Tensor& mask = {});
Var logsumexp(const Var& x, const Tensor& mask = {});  // removes the axis; f32 out for bf16 in
// Per-row cross-entropy logsumexp(x) - x[target]: logits [.., K], target i64 [..] (ignore_index rows give 0).
Var cross_entropy(const Var& logits, const Tensor& target, double label_smoothing = 0.0,
                  int64_t ignore_index = -100);
// Per-row -sum_k p_k log_softmax(x)_k with target probabilities [.., K] (gradient to the logits only).
Var soft_cross_entropy(const Var& logits, const Tensor& target);

// ---- norm.cpp
// Layer norm over the last axis: (x - mean) / sqrt(var + eps) * weight + bias; weight, bias [C] or undefined.
Var layer_norm(const Var& x, const Var& weight, const Var& bias, double eps = 1e-5);
Var rms_norm(const Var& x, const Var& weight, double eps = 1e-6);  // x / sqrt(mean x^2 + eps) * weight
// x / max(|x|_2, eps) over the last axis.
Var l2_normalize(const Var& x, double eps = 1e-12);
// Group norm of [N, .., C] with `groups` groups of channels (Wu & He, arXiv 1803.08494).
Var group_norm(const Var& x, int64_t groups, const Var& weight, const Var& bias, double eps = 1e-5);
struct BatchNormState {  // running statistics; updated in place when training (never inside a replay)
  Tensor running_mean, running_var;  // [C]; undefined: none are kept
  double momentum = 0.1;  // new = (1 - momentum) old + momentum batch; unbiased variance, as PyTorch
};
// Batch norm of [N, .., C] (Ioffe & Szegedy, arXiv 1502.03167) with a fused tail: act(bn(x) + residual).
// Training uses batch statistics per each of `groups` equal parts of axis 0 (ghost BN); evaluation uses the
// running ones.
Var batch_norm(const Var& x, const Var& weight, const Var& bias, BatchNormState& state, bool training,
               double eps = 1e-5, Act act = Act::none, const Var& residual = {}, int64_t groups = 1);

// ---- matmul.cpp
// a [.., M, K] times b [.., K, N], leading axes broadcast; transposed views are read in place, never copied.
Var matmul(const Var& a, const Var& b);
// act(x weight^T + bias) + residual: x [.., I], weight [O, I], bias [O] or undefined, residual [.., O] or
// undefined.
Var linear(const Var& x, const Var& weight, const Var& bias, Act act = Act::none, const Var& residual = {});

// ---- conv.cpp. Weights are [O, I / groups, kH, kW] as in PyTorch; the kernels pack them.
struct ConvOptions {
  int64_t stride = 1, padding = 0, dilation = 1, groups = 1;
  int64_t output_padding = 0;  // transposed only
  Act act = Act::none;
};
// act(conv(x) + bias) + residual in one pass; residual, of the output's shape, may be undefined.
Var conv2d(const Var& x, const Var& weight, const Var& bias, const ConvOptions& options = {},
           const Var& residual = {});  // [N, H, W, I]
Var conv1d(const Var& x, const Var& weight, const Var& bias, const ConvOptions& options = {},
           const Var& residual = {});  // [N, T, I], weight [O, I, k]
Var conv_transpose2d(const Var& x, const Var& weight, const Var& bias, const ConvOptions& options = {},
                     const Var& residual = {});  // weight [I, O / g, k, k]
Var max_pool2d(const Var& x, int64_t kernel, int64_t stride, int64_t padding = 0);
Var avg_pool2d(const Var& x, int64_t kernel, int64_t stride,
               int64_t padding = 0);  // padding counts, as PyTorch
Var global_avg_pool(const Var& x);    // [N, .., C] -> [N, C]
// Bilinear, align_corners = false, no antialias, as torch.nn.functional.interpolate.
Var resize_bilinear(const Var& x, int64_t height, int64_t width);

// ---- attention.cpp
struct AttentionOptions {
  double scale = 0;         // 0: 1 / sqrt(D)
  bool causal = false;      // query t sees keys <= t + (Tk - Tq)
  Tensor key_lengths = {};  // i64 [B]: keys from this index on are masked; undefined: all
  Tensor mask = {};         // bool [Tq, Tk], [B, Tq, Tk] or [B, H, Tq, Tk]; false = masked
  Var bias = {};            // added to the scores, [H, Tq, Tk] or [B, H, Tq, Tk]; may want a gradient
};
// softmax(q k^T scale + bias) v without a T x T matrix. q [B, Tq, H, D], k and v [B, Tk, H, D] -> [B, Tq, H,
// D]. Batch, token and head strides are free (slices of a packed qkv are read in place). A row with every key
// masked gives 0.
Var attention(const Var& q, const Var& k, const Var& v, const AttentionOptions& options = {});
// The same from one packed tensor [B, T, 3, H, D]: q, k and v are read in place and dqkv is written in place.
Var attention_qkv(const Var& qkv, const AttentionOptions& options = {});
// The attention probabilities [B, H, Tq, Tk], for people and for losses on them: f32 for bf16 inputs.
Var attention_scores(const Var& q, const Var& k, const AttentionOptions& options = {});

// ---- index.cpp. Indices are i64; out of range is an Error naming the first bad value.
Var embedding(const Var& weight, const Tensor& ids);           // weight [V, C], ids [..] -> [.., C]
Var index_select(const Var& x, int dim, const Tensor& index);  // index [M]
Var gather(const Var& x, const Tensor& index);  // last axis: x [.., K], index [.., M] -> [.., M]
Var scatter_add(const Var& x, const Tensor& index, int64_t rows);  // out[index[i]] += x[i]; x [M, ..]
Var patchify(const Var& x, int64_t patch);  // [N, H, W, C] -> [N, (H/p)(W/p), p p C], channels last inside
Var unpatchify(const Var& x, int64_t patch, int64_t height, int64_t width);

// ---- distance.cpp
// |a_i - b_j|^2 of every pair, from the differences (no cancellation for close rows): a [M, D], b [N, D] ->
// [M, N].
Var pairwise_sq_distance(const Var& a, const Var& b);
// A function of x that was computed outside the ops together with its derivative: `value` of one element,
// `dx` of x's shape, both constants. The result has that value, and hands dx times its cotangent to x. For
// rules over triplets and sorted rows, whose derivative is known in closed form.
Var with_gradient(const Tensor& value, std::span<const Var> xs, std::span<const Tensor> dxs);

// ---- linalg.cpp. Matrices are the last two axes, f32 or f64; computed in double.
// Lower L with (a + a^T) / 2 = L L^T. Error naming the matrix that is not positive definite.
Var cholesky(const Var& a);
// x with l x = b: lower triangular l [.., N, N] (what is above the diagonal is not read), b [.., N, M].
Var triangular_solve(const Var& l, const Var& b);
// [.., M, N] -> [.., min(M, N)], descending. Gradient U diag(dy) V^T; values that are 0 to rounding get none.
Var singular_values(const Var& x);

// ---- contrast.cpp: see autograd/contrast.h for the fused similarity + masked log-sum-exp.

}  // namespace juxta

#pragma once
// Layers. Constructors take sizes and the "init" stream; weights start as torch.nn's defaults unless a model
// sets its own.
#include <cstdint>

#include "autograd/ops.h"
#include "nn/module.h"

namespace juxta::nn {

struct Linear {
  Parameter weight, bias;  // [O, I], [O]
  Linear() = default;
  Linear(int64_t in, int64_t out, bool with_bias, Rng& init);
  // act(x W^T + b) + residual; x [.., I] -> [.., O]
  Var operator()(const Var& x, Act act = Act::none, const Var& residual = {}) const {
    return linear(x, weight, bias, act, residual);
  }
  void visit(Visitor& v) { v("weight", weight), v("bias", bias); }
};

struct Conv2d {
  Parameter weight, bias;  // [O, I / groups, k, k], [O]
  ConvOptions options;
  Conv2d() = default;
  Conv2d(int64_t in, int64_t out, int64_t kernel, const ConvOptions& options, bool with_bias, Rng& init);
  Var operator()(const Var& x) const {
    return conv2d(x, weight, bias, options);
  }  // [N, H, W, I] -> [N, H', W', O]
  void visit(Visitor& v) { v("weight", weight), v("bias", bias); }
};

struct Conv1d {
  Parameter weight, bias;  // [O, I / groups, k], [O]
  ConvOptions options;
  Conv1d() = default;
  Conv1d(int64_t in, int64_t out, int64_t kernel, const ConvOptions& options, bool with_bias, Rng& init);
  Var operator()(const Var& x) const { return conv1d(x, weight, bias, options); }  // [N, T, I] -> [N, T', O]
  void visit(Visitor& v) { v("weight", weight), v("bias", bias); }
};

// Batch norm over all axes but the last, with running statistics. The statistics are those of PyTorch:
// momentum 0.1, unbiased running variance.
struct BatchNorm {
  Parameter weight, bias;  // [C]; absent when not affine
  BatchNormState running;
  Tensor num_batches_tracked;  // i64 scalar, kept for state_dict compatibility
  double eps = 1e-5;
  BatchNorm() = default;
  explicit BatchNorm(int64_t channels, bool affine = true);
  // act(bn(x) + residual)
  Var operator()(const Var& x, const Ctx& ctx, Act act = Act::none, const Var& residual = {});
  void visit(Visitor& v);
};

struct LayerNorm {
  Parameter weight, bias;  // [C]
  double eps = 1e-5;
  LayerNorm() = default;
  explicit LayerNorm(int64_t channels, double epsilon = 1e-5);
  Var operator()(const Var& x) const { return layer_norm(x, weight, bias, eps); }
  void visit(Visitor& v) { v("weight", weight), v("bias", bias); }
};

struct GroupNorm {
  Parameter weight, bias;  // [C]
  int64_t groups = 1;
  double eps = 1e-5;
  GroupNorm() = default;
  GroupNorm(int64_t groups, int64_t channels);
  Var operator()(const Var& x) const { return group_norm(x, groups, weight, bias, eps); }
  void visit(Visitor& v) { v("weight", weight), v("bias", bias); }
};

struct Embedding {
  Parameter weight;  // [V, C]
  Embedding() = default;
  Embedding(int64_t rows, int64_t channels, double stddev, Rng& init);
  Var operator()(const Tensor& ids) const { return embedding(weight, ids); }  // i64 [..] -> [.., C]
  void visit(Visitor& v) { v("weight", weight); }
};

// Rates of layers without parameters; each is the identity in evaluation or at rate 0.
struct Dropout {
  double p = 0;
  Var operator()(const Var& x, const Ctx& ctx) const;
};
struct DropPath {
  double p = 0;
  Var operator()(const Var& x, const Ctx& ctx) const;
};

// x gamma, gamma [C] starting at `value` (Touvron et al., arXiv 2103.17239).
struct LayerScale {
  Parameter gamma;
  LayerScale() = default;
  LayerScale(int64_t channels, double value);
  Var operator()(const Var& x) const { return mul(x, cast(gamma, x.dtype())); }
  void visit(Visitor& v) { v("gamma", gamma); }
};

// Multi-head self-attention with packed projections (timm names: qkv, proj).
struct Attention {
  Linear qkv, proj;
  int64_t heads = 1;
  Dropout proj_drop;
  Attention() = default;
  Attention(int64_t dim, int64_t heads, bool qkv_bias, double drop, Rng& init);
  Var operator()(const Var& x, const Ctx& ctx,
                 const AttentionOptions& options = {}) const;  // [B, T, C] -> [B, T, C]
  void visit(Visitor& v) { v("qkv", qkv), v("proj", proj); }
};

// Multi-head cross-attention: queries from x [B, Tq, C], keys and values from memory [B, Tk, M].
struct CrossAttention {
  Linear q, kv, proj;
  int64_t heads = 1;
  CrossAttention() = default;
  CrossAttention(int64_t dim, int64_t memory_dim, int64_t heads, bool bias, Rng& init);
  Var operator()(const Var& x, const Var& memory, const AttentionOptions& options = {}) const;
  void visit(Visitor& v) { v("q", q), v("kv", kv), v("proj", proj); }
};

// fc2(act(fc1(x))) (timm names).
struct Mlp {
  Linear fc1, fc2;
  Act act = Act::gelu;
  Dropout drop;
  Mlp() = default;
  Mlp(int64_t dim, int64_t hidden, Act act, double drop, Rng& init);
  Var operator()(const Var& x, const Ctx& ctx) const;
  void visit(Visitor& v) { v("fc1", fc1), v("fc2", fc2); }
};

// Image [N, H, W, I] to patch tokens [N, (H/p)(W/p), C] by a convolution of stride p.
struct PatchEmbed {
  Conv2d proj;
  int64_t patch = 16;
  PatchEmbed() = default;
  PatchEmbed(int64_t channels, int64_t patch, int64_t dim, Rng& init);
  Var operator()(const Var& x) const;
  void visit(Visitor& v) { v("proj", proj); }
};

}  // namespace juxta::nn

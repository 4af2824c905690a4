#include "nn/layers.h"

#include "nn/init.h"

namespace juxta::nn {

namespace {
Parameter ones(int64_t n) { return Parameter(Tensor::full({n}, 1.0)); }
Parameter zeros(int64_t n) { return Parameter(Tensor::zeros({n})); }

// `n` itself, so that initialisers can check.
int64_t check_size(const char* layer, const char* what, int64_t n) {
  JX_CHECK(n >= 1, layer, ": ", what, ": expected at least 1, got ", n);
  return n;
}
// Channels, kernel and groups of a convolution.
void check_conv(const char* layer, int64_t in, int64_t out, int64_t kernel, int64_t groups) {
  check_size(layer, "in", in), check_size(layer, "out", out);
  check_size(layer, "kernel", kernel), check_size(layer, "groups", groups);
  JX_CHECK(in % groups == 0 && out % groups == 0, layer, ": ", in, " -> ", out,
           " channels do not divide into ", groups, " groups");
}

Rng& stream(const Ctx& ctx, const char* who) {
  JX_CHECK(ctx.rng, who, ": training needs a random stream in Ctx::rng");
  return *ctx.rng;
}
}  // namespace

Linear::Linear(int64_t in, int64_t out, bool with_bias, Rng& init) {
  check_size("Linear", "in", in), check_size("Linear", "out", out);
  weight = Parameter(torch_default({out, in}, in, init));
  if (with_bias) bias = Parameter(torch_default({out}, in, init));
}

Conv2d::Conv2d(int64_t in, int64_t out, int64_t kernel, const ConvOptions& o, bool with_bias, Rng& init)
    : options(o) {
  check_conv("Conv2d", in, out, kernel, o.groups);
  const int64_t fan_in = in / o.groups * kernel * kernel;
  weight = Parameter(torch_default({out, in / o.groups, kernel, kernel}, fan_in, init));
  if (with_bias) bias = Parameter(torch_default({out}, fan_in, init));
}

Conv1d::Conv1d(int64_t in, int64_t out, int64_t kernel, const ConvOptions& o, bool with_bias, Rng& init)
    : options(o) {
  check_conv("Conv1d", in, out, kernel, o.groups);
  const int64_t fan_in = in / o.groups * kernel;
  weight = Parameter(torch_default({out, in / o.groups, kernel}, fan_in, init));
  if (with_bias) bias = Parameter(torch_default({out}, fan_in, init));
}

BatchNorm::BatchNorm(int64_t channels, bool affine) {
  check_size("BatchNorm", "channels", channels);
  if (affine) {
    weight = ones(channels);
    bias = zeros(channels);
  }
  running.running_mean = Tensor::zeros({channels});
  running.running_var = Tensor::full({channels}, 1.0);
  num_batches_tracked = Tensor::full({}, 0, DType::i64);
}

Var BatchNorm::operator()(const Var& x, const Ctx& ctx, Act act, const Var& residual) {
  if (ctx.training && !ReplayDraws::active()) *num_batches_tracked.write<int64_t>("batch_norm") += 1;
  return batch_norm(x, weight, bias, running, ctx.training, eps, act, residual,
                    ctx.training ? ctx.bn_groups : 1);
}

void BatchNorm::visit(Visitor& v) {
  v("weight", weight), v("bias", bias);
  v("running_mean", running.running_mean), v("running_var", running.running_var);
  v("num_batches_tracked", num_batches_tracked);
}

LayerNorm::LayerNorm(int64_t channels, double epsilon)
    : weight(ones(check_size("LayerNorm", "channels", channels))), bias(zeros(channels)), eps(epsilon) {}

GroupNorm::GroupNorm(int64_t g, int64_t channels)
    : weight(ones(check_size("GroupNorm", "channels", channels))), bias(zeros(channels)), groups(g) {
  JX_CHECK(g > 0 && channels % g == 0, "GroupNorm: ", channels, " channels do not divide into ", g,
           " groups");
}

Embedding::Embedding(int64_t rows, int64_t channels, double stddev, Rng& init)
    : weight(normal({check_size("Embedding", "rows", rows), check_size("Embedding", "channels", channels)},
                    stddev, init)) {}

Var Dropout::operator()(const Var& x, const Ctx& ctx) const {
  return p > 0 && ctx.training ? dropout(x, p, stream(ctx, "dropout"), true) : x;
}
Var DropPath::operator()(const Var& x, const Ctx& ctx) const {
  return p > 0 && ctx.training ? drop_path(x, p, stream(ctx, "drop_path"), true) : x;
}

LayerScale::LayerScale(int64_t channels, double value)
    : gamma(Tensor::full({check_size("LayerScale", "channels", channels)}, value)) {}

Attention::Attention(int64_t dim, int64_t n_heads, bool qkv_bias, double drop, Rng& init)
    : qkv(dim, 3 * dim, qkv_bias, init), proj(dim, dim, true, init), heads(n_heads), proj_drop{drop} {
  JX_CHECK(n_heads > 0 && dim % n_heads == 0, "Attention: ", dim, " channels do not divide into ", n_heads,
           " heads");
}

Var Attention::operator()(const Var& x, const Ctx& ctx, const AttentionOptions& options) const {
  const int64_t B = x.size(0), T = x.size(1), C = x.size(2);
  const Var packed = reshape(qkv(x), {B, T, 3, heads, C / heads});  // [B, T, 3, H, D]
  const Var y = attention_qkv(packed, options);                     // [B, T, H, D]
  return proj_drop(proj(reshape(y, {B, T, C})), ctx);
}

CrossAttention::CrossAttention(int64_t dim, int64_t memory_dim, int64_t n_heads, bool bias, Rng& init)
    : q(dim, dim, bias, init),
      kv(memory_dim, 2 * dim, bias, init),
      proj(dim, dim, true, init),
      heads(n_heads) {
  JX_CHECK(n_heads > 0 && dim % n_heads == 0, "CrossAttention: ", dim, " channels do not divide into ",
           n_heads, " heads");
}

Var CrossAttention::operator()(const Var& x, const Var& memory, const AttentionOptions& options) const {
  const int64_t B = x.size(0), Tq = x.size(1), C = x.size(2), Tk = memory.size(1), D = C / heads;
  const Var queries = reshape(q(x), {B, Tq, heads, D});
  const Var packed = reshape(kv(memory), {B, Tk, 2, heads, D});
  const Var y = attention(queries, select(packed, 2, 0), select(packed, 2, 1), options);  // [B, Tq, H, D]
  return proj(reshape(y, {B, Tq, C}));
}

Mlp::Mlp(int64_t dim, int64_t hidden, Act a, double p, Rng& init)
    : fc1(dim, hidden, true, init), fc2(hidden, dim, true, init), act(a), drop{p} {}

Var Mlp::operator()(const Var& x, const Ctx& ctx) const { return drop(fc2(drop(fc1(x, act), ctx)), ctx); }

PatchEmbed::PatchEmbed(int64_t channels, int64_t p, int64_t dim, Rng& init)
    : proj(channels, dim, p, {.stride = p}, true, init), patch(p) {}

Var PatchEmbed::operator()(const Var& x) const {
  JX_CHECK(x.ndim() == 4 && x.size(1) % patch == 0 && x.size(2) % patch == 0,
           "patch_embed: expected images [N, H, W, C] "
           "with sides divisible by ",
           patch, ", got ", x);
  const Var y = proj(x);  // [N, H/p, W/p, C]
  return reshape(y, {y.size(0), y.size(1) * y.size(2), y.size(3)});
}

}  // namespace juxta::nn

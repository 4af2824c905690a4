#include "nn/vit.h"

#include "nn/init.h"

namespace juxta::nn {

namespace {

struct Size {
  const char* prefix;
  int64_t dim, depth, heads;
};
// Ti/S/B of DeiT (Touvron et al., arXiv 2012.12877); "vit" itself takes dim, depth and heads from the config.
constexpr Size kSizes[] = {
    {"vit_tiny", 192, 12, 3}, {"vit_small", 384, 12, 6}, {"vit_base", 768, 12, 12}, {"vit", 192, 12, 3}};

// Tokens [B, T, C] at per-image positions [B, K] -> [B, K, C].
Var keep_rows(const Var& t, const Tensor& keep) {
  const int64_t B = t.size(0), T = t.size(1), C = t.size(2), K = keep.size(1);
  JX_CHECK(keep.size(0) == B, "vit: keep: expected [", B, ", K], got ", keep);
  Tensor flat = Tensor::empty({B * K}, DType::i64);
  const Tensor from = keep.contiguous();
  auto* p = flat.write<int64_t>("vit");
  for (int64_t i = 0; i < B * K; ++i) {
    const int64_t token = from.data<int64_t>()[i];
    JX_CHECK(token >= 0 && token < T, "vit: keep: patch ", token, " of ", T);
    p[i] = i / K * T + token;
  }
  return reshape(index_select(reshape(t, {B * T, C}), 0, flat), {B, K, C});
}

// timm's initialiser: truncated normal 0.02 for linear weights, zero biases; the patch convolution keeps
// torch's default.
void init_linear(Linear& l, Rng& init) {
  l.weight.var().set_value(truncated_normal(l.weight.var().dims(), 0.02, init));
  if (l.bias.defined()) l.bias.var().set_value(Tensor::zeros(l.bias.var().dims()));
}

ModelConfig resolve(ModelConfig c) {
  for (const Size& s : kSizes) {
    if (c.name.rfind(s.prefix, 0) != 0) continue;
    if (!c.width) c.width = s.dim;
    if (!c.depth) c.depth = s.depth;
    if (!c.heads) c.heads = s.heads;
    break;
  }
  if (!c.patch) c.patch = c.image_size >= 96 ? 16 : 4;
  if (c.pool.empty()) c.pool = "token";
  JX_CHECK(c.pool == "token" || c.pool == "avg", "model.pool: expected 'token' or 'avg', got '", c.pool, "'");
  JX_CHECK(c.image_size % c.patch == 0, "model.patch: image size ", c.image_size, " is not divisible by ",
           c.patch);
  JX_CHECK(c.heads > 0 && c.width % c.heads == 0, "model.heads: width ", c.width, " does not divide into ",
           c.heads, " heads");
  return c;
}

}  // namespace

VitBlock::VitBlock(int64_t dim, int64_t heads, int64_t hidden, double layer_scale, double drop, double path,
                   Rng& init)
    : norm1(dim, 1e-6),
      norm2(dim, 1e-6),
      attn(dim, heads, true, drop, init),
      mlp(dim, hidden, Act::gelu, drop, init),
      drop_path{path} {
  for (Linear* l : {&attn.qkv, &attn.proj, &mlp.fc1, &mlp.fc2}) init_linear(*l, init);
  if (layer_scale > 0) {
    ls1.emplace(dim, layer_scale);
    ls2.emplace(dim, layer_scale);
  }
}

Var VitBlock::operator()(const Var& x, const Ctx& ctx) const {
  Var a = attn(norm1(x), ctx);
  if (ls1) a = (*ls1)(a);
  const Var y = add(x, drop_path(a, ctx));
  Var m = mlp(norm2(y), ctx);
  if (ls2) m = (*ls2)(m);
  return add(y, drop_path(m, ctx));
}

Vit::Vit(const ModelConfig& config, Rng& init) : Encoder(resolve(config)) {
  const ModelConfig& c = config_;
  dim_ = c.width;
  grid_ = c.image_size / c.patch;
  token_pool_ = c.pool == "token";
  patch_embed_ = PatchEmbed(c.in_channels, c.patch, dim_, init);
  if (token_pool_) cls_token_ = Parameter(normal({1, 1, dim_}, 1e-6, init));
  if (c.registers > 0) reg_token_ = Parameter(normal({1, c.registers, dim_}, 1e-6, init));
  // As in timm, registers have no position: pos_embed covers the class token and the patches.
  pos_embed_ = Parameter(truncated_normal({1, (token_pool_ ? 1 : 0) + patches(), dim_}, 0.02, init));
  for (int64_t i = 0; i < c.depth; ++i) {
    const double path =
        c.depth > 1 ? c.drop_path * static_cast<double>(i) / static_cast<double>(c.depth - 1) : 0;
    blocks_.emplace_back(dim_, c.heads, 4 * dim_, c.layer_scale, c.dropout, path, init);
  }
  norm_ = LayerNorm(dim_, 1e-6);
}

void Vit::add_mask_token(Rng& init) { mask_token_ = Parameter(truncated_normal({1, 1, dim_}, 0.02, init)); }

Var Vit::tokens(const Var& x, const Ctx& ctx, const VitMask& mask) {
  JX_CHECK(x.ndim() == 4 && x.size(1) == config_.image_size && x.size(2) == config_.image_size &&
               x.size(3) == config_.in_channels,
           config_.name, ": expected images [N, ", config_.image_size, ", ", config_.image_size, ", ",
           config_.in_channels, "], got ", x);
  const DType dtype = config_.compute;
  const int64_t B = x.size(0), prefix = token_pool_ ? 1 : 0;
  Var t = patch_embed_(cast(x, dtype));  // [B, P, C]
  if (mask.masked.defined()) {
    JX_CHECK(mask_token_.defined(), config_.name, ": masked patches need add_mask_token() first");
    t = where(mask.masked.unsqueeze(2), cast(mask_token_, dtype), t);
  }
  const Var pos = cast(pos_embed_, dtype);  // [1, prefix + P, C]
  t = add(t, slice(pos, 1, prefix, prefix + patches()));
  if (mask.keep.defined()) {
    t = mask.keep.ndim() == 1 ? index_select(t, 1, mask.keep) : keep_rows(t, mask.keep);  // [B, K, C]
  }
  std::vector<Var> parts;
  if (token_pool_) parts.push_back(expand(add(cast(cls_token_, dtype), slice(pos, 1, 0, 1)), {B, 1, dim_}));
  if (reg_token_.defined()) parts.push_back(expand(cast(reg_token_, dtype), {B, config_.registers, dim_}));
  parts.push_back(t);
  t = parts.size() == 1 ? t : cat(parts, 1);  // [B, T, C]
  for (const VitBlock& block : blocks_) t = block(t, ctx);
  return norm_(t);
}

Var Vit::pool(const Var& tokens) const {
  if (token_pool_) return select(tokens, 1, 0);
  return mean(slice(tokens, 1, prefix_tokens(), tokens.size(1)), {1});
}

Var Vit::feature_map(const Var& x, const Ctx& ctx) { return tokens(x, ctx, {}); }
Var Vit::features(const Var& x, const Ctx& ctx) {
  return cast(pool(tokens(x, ctx, {})), acc_dtype(config_.compute));
}

void Vit::visit(Visitor& v) {
  v("cls_token", cls_token_), v("reg_token", reg_token_), v("pos_embed", pos_embed_),
      v("mask_token", mask_token_);
  v("patch_embed", patch_embed_), v("blocks", blocks_), v("norm", norm_);
}

}  // namespace juxta::nn

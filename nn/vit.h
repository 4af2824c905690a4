#pragma once
// Vision Transformer (Dosovitskiy et al., arXiv 2010.11929) with timm's names: cls_token, reg_token,
// pos_embed, patch_embed.proj, blocks.0.norm1, blocks.0.attn.qkv, blocks.0.ls1.gamma, blocks.0.mlp.fc1, norm.
// Registers: Darcet et al., arXiv 2309.16588. Stochastic depth: Huang et al., arXiv 1603.09382.
#include "nn/encoder.h"
#include "nn/layers.h"

namespace juxta::nn {

// x + ls1(attn(norm1(x))), then x + ls2(mlp(norm2(x))).
struct VitBlock {
  LayerNorm norm1, norm2;
  Attention attn;
  Mlp mlp;
  std::optional<LayerScale> ls1, ls2;
  DropPath drop_path;
  VitBlock(int64_t dim, int64_t heads, int64_t hidden, double layer_scale, double drop, double drop_path,
           Rng& init);
  Var operator()(const Var& x, const Ctx& ctx) const;  // [B, T, C] -> [B, T, C]
  void visit(Visitor& v) {
    v("norm1", norm1), v("attn", attn), v("ls1", ls1), v("norm2", norm2), v("mlp", mlp), v("ls2", ls2);
  }
};

// Which patches a forward pass sees.
struct VitMask {
  Tensor
      keep;  // i64 [K]: only these patches enter (the same for all images of the batch; MAE-style), or [B, K]
  Tensor masked;  // bool [B, P]: true patches are replaced by mask_token (SimMIM, iBOT)
};

class Vit : public Encoder {
 public:
  Vit(const ModelConfig& config, Rng& init);
  Var features(const Var& x,
               const Ctx& ctx) override;  // class token after the last norm, or the mean of patch tokens
  Var feature_map(const Var& x,
                  const Ctx& ctx) override;  // all tokens after the last norm [B, prefix + P, C]
  Var tokens(const Var& x, const Ctx& ctx, const VitMask& mask);
  Var pool(const Var& tokens) const;  // [B, T, C] -> [B, C]
  int64_t feature_dim() const override { return dim_; }
  int64_t prefix_tokens() const { return (token_pool_ ? 1 : 0) + config_.registers; }
  int64_t patches() const { return grid_ * grid_; }
  // Makes the learned token that stands for masked patches (absent until asked for).
  void add_mask_token(Rng& init);
  void visit(Visitor& v) override;

 private:
  int64_t dim_, grid_;
  bool token_pool_;
  PatchEmbed patch_embed_;
  Parameter cls_token_, reg_token_, pos_embed_, mask_token_;
  std::vector<VitBlock> blocks_;
  LayerNorm norm_;
};

}  // namespace juxta::nn

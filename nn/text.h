#pragma once
// Transformer text encoder with Hugging Face BERT's names: embeddings.word_embeddings,
// encoder.layer.0.attention.self.query, encoder.layer.0.attention.output.dense,
// encoder.layer.0.intermediate.dense, encoder.layer.0.output.LayerNorm, ... Post-norm as in BERT (Devlin et
// al., arXiv 1810.04805) or pre-norm (Xiong et al., arXiv 2002.04745).
#include "nn/encoder.h"
#include "nn/layers.h"

namespace juxta::nn {

struct TextBlock {
  Linear query, key, value, attention_out, intermediate, out;
  LayerNorm attention_norm, out_norm;
  int64_t heads;
  bool pre_norm;
  Dropout drop;
  TextBlock(int64_t dim, int64_t heads, int64_t hidden, bool pre_norm, double dropout, Rng& init);
  Var operator()(const Var& x, const Ctx& ctx,
                 const AttentionOptions& options) const;  // [B, T, C] -> [B, T, C]
  void visit(Visitor& v);

 private:
  Var attend(const Var& x, const Ctx& ctx, const AttentionOptions& options) const;
};

class TextEncoder : public Encoder {
 public:
  TextEncoder(const ModelConfig& config, Rng& init);
  // Token ids i64 [B, T]; `lengths` i64 [B] (undefined: all T): tokens from there on are padding.
  Var tokens(const Tensor& ids, const Tensor& lengths, const Ctx& ctx, bool causal = false);
  Var pool(const Var& tokens, const Tensor& lengths) const;  // first token, or the mean of the real ones
  Var features(const Var& ids, const Ctx& ctx) override;
  Var feature_map(const Var& ids, const Ctx& ctx) override { return tokens(ids.value(), {}, ctx); }
  int64_t feature_dim() const override { return config_.width; }
  void visit(Visitor& v) override;

 private:
  Embedding words_, positions_, types_;
  LayerNorm embedding_norm_;
  std::optional<LayerNorm> final_norm_;  // pre-norm only
  std::vector<TextBlock> blocks_;
  Dropout drop_;
};

}  // namespace juxta::nn

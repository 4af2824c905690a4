#include "nn/text.h"

#include <algorithm>

#include "nn/init.h"
#include "nn/sentence.h"

namespace juxta::nn {

namespace {
// BERT's initialiser: normal 0.02, zero biases.
Linear bert_linear(int64_t in, int64_t out, Rng& init) {
  Linear l;
  l.weight = Parameter(normal({out, in}, 0.02, init));
  l.bias = Parameter(Tensor::zeros({out}));
  return l;
}

ModelConfig resolve(ModelConfig c) {
  const bool base = c.name == "bert_base";
  if (!c.width) c.width = base ? 768 : 256;
  if (!c.depth) c.depth = base ? 12 : 4;
  if (!c.heads) c.heads = base ? 12 : 4;
  if (c.pool.empty()) c.pool = "cls";
  JX_CHECK(c.pool == "cls" || c.pool == "mean", "model.pool: expected 'cls' or 'mean', got '", c.pool, "'");
  JX_CHECK(c.width % c.heads == 0, "model.heads: width ", c.width, " does not divide into ", c.heads,
           " heads");
  return c;
}
}  // namespace

TextBlock::TextBlock(int64_t dim, int64_t n_heads, int64_t hidden, bool pre, double dropout, Rng& init)
    : query(bert_linear(dim, dim, init)),
      key(bert_linear(dim, dim, init)),
      value(bert_linear(dim, dim, init)),
      attention_out(bert_linear(dim, dim, init)),
      intermediate(bert_linear(dim, hidden, init)),
      out(bert_linear(hidden, dim, init)),
      attention_norm(dim, 1e-12),
      out_norm(dim, 1e-12),
      heads(n_heads),
      pre_norm(pre),
      drop{dropout} {}

Var TextBlock::attend(const Var& x, const Ctx& ctx, const AttentionOptions& options) const {
  const int64_t B = x.size(0), T = x.size(1), C = x.size(2);
  const Dims split{B, T, heads, C / heads};
  const Var y =
      attention(reshape(query(x), split), reshape(key(x), split), reshape(value(x), split), options);
  return drop(attention_out(reshape(y, {B, T, C})), ctx);
}

Var TextBlock::operator()(const Var& x, const Ctx& ctx, const AttentionOptions& options) const {
  const auto feed_forward = [&](const Var& h) { return drop(out(intermediate(h, Act::gelu)), ctx); };
  if (pre_norm) {
    const Var y = add(x, attend(attention_norm(x), ctx, options));
    return add(y, feed_forward(out_norm(y)));
  }
  const Var y = attention_norm(add(x, attend(x, ctx, options)));
  return out_norm(add(y, feed_forward(y)));
}

void TextBlock::visit(Visitor& v) {
  v("attention.self.query", query), v("attention.self.key", key), v("attention.self.value", value);
  v("attention.output.dense", attention_out), v("attention.output.LayerNorm", attention_norm);
  v("intermediate.dense", intermediate), v("output.dense", out), v("output.LayerNorm", out_norm);
}

TextEncoder::TextEncoder(const ModelConfig& config, Rng& init)
    : Encoder(resolve(config)), drop_{config.dropout} {
  const ModelConfig& c = config_;
  words_ = Embedding(c.vocab, c.width, 0.02, init);
  positions_ = Embedding(c.max_tokens, c.width, 0.02, init);
  types_ = Embedding(2, c.width, 0.02, init);
  embedding_norm_ = LayerNorm(c.width, 1e-12);
  if (c.pre_norm) final_norm_ = LayerNorm(c.width, 1e-12);
  for (int64_t i = 0; i < c.depth; ++i)
    blocks_.emplace_back(c.width, c.heads, 4 * c.width, c.pre_norm, c.dropout, init);
}

Var TextEncoder::tokens(const Tensor& ids, const Tensor& lengths, const Ctx& ctx, bool causal) {
  JX_CHECK(ids.ndim() == 2 && ids.dtype() == DType::i64, config_.name,
           ": expected token ids i64 [B, T], got ", ids);
  const int64_t T = ids.size(1);
  JX_CHECK(T <= config_.max_tokens, config_.name, ": ", T, " tokens, at most ", config_.max_tokens,
           "; truncate them");
  Var x = add(words_(ids), slice(positions_.weight, 0, 0, T));  // [B, T, C]
  x = add(x, select(types_.weight, 0, 0));
  x = cast(drop_(embedding_norm_(x), ctx), config_.compute);
  AttentionOptions options;
  options.key_lengths = lengths;
  options.causal = causal;
  for (const TextBlock& block : blocks_) x = block(x, ctx, options);
  return final_norm_ ? (*final_norm_)(x) : x;
}

Var TextEncoder::pool(const Var& tokens, const Tensor& lengths) const {
  if (config_.pool == "cls") return select(tokens, 1, 0);
  if (!lengths.defined()) return mean(tokens, {1});
  const int64_t B = tokens.size(0), T = tokens.size(1);
  Tensor mask = Tensor::zeros({B, T}, DType::i64);
  auto* p = mask.write<int64_t>("text_pool");
  for (int64_t b = 0; b < B; ++b) {
    const int64_t n = lengths.select(0, b).data<int64_t>()[0];
    JX_CHECK(n >= 1 && n <= T, config_.name, ": length ", n, " of sample ", b, " is outside [1, ", T, "]");
    std::fill_n(p + b * T, n, 1);
  }
  return masked_mean(tokens, mask);
}

Var TextEncoder::features(const Var& ids, const Ctx& ctx) {
  return cast(pool(tokens(ids.value(), {}, ctx), {}), acc_dtype(config_.compute));
}

void TextEncoder::visit(Visitor& v) {
  v("embeddings.word_embeddings", words_), v("embeddings.position_embeddings", positions_);
  v("embeddings.token_type_embeddings", types_), v("embeddings.LayerNorm", embedding_norm_);
  v("encoder.layer", blocks_), v("final_layer_norm", final_norm_);
}

}  // namespace juxta::nn

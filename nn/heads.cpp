#include "nn/heads.h"

#include "nn/init.h"

namespace juxta::nn {

MlpHead::MlpHead(std::span<const int64_t> sizes, const HeadOptions& o, Rng& init) : options(o) {
  JX_CHECK(sizes.size() >= 2, "MlpHead: expected at least input and output sizes, got ", sizes.size());
  const size_t n = sizes.size() - 1;
  for (size_t i = 0; i < n; ++i) {
    const bool last = i + 1 == n;
    layers.emplace_back(sizes[i], sizes[i + 1], last ? o.last_bias : o.hidden_bias, init);
    if (last ? o.last_batch_norm : o.batch_norm) norms.emplace_back(sizes[i + 1], !last || o.last_affine);
  }
}

Var MlpHead::operator()(const Var& x, const Ctx& ctx) {
  Var h = x;
  for (size_t i = 0; i < layers.size(); ++i) {
    const bool last = i + 1 == layers.size();
    if (last) {
      h = layers[i](h);
      if (options.last_batch_norm) h = norms.back()(h, ctx);
    } else if (options.batch_norm) {
      h = norms[i](layers[i](h), ctx, Act::relu);
    } else {
      h = layers[i](h, Act::relu);
    }
  }
  return h;
}

PrototypeHead::PrototypeHead(int64_t dim, int64_t prototypes, Rng& init)
    : weight(torch_default({prototypes, dim}, dim, init)) {}

DinoHead::DinoHead(int64_t dim, int64_t prototypes, int64_t hidden, int64_t bottleneck, Rng& init) {
  for (const auto& [in, out] : {std::pair{dim, hidden}, {hidden, hidden}, {hidden, bottleneck}}) {
    mlp.emplace_back(in, out, true, init);
    mlp.back().weight.var().set_value(truncated_normal({out, in}, 0.02, init));
    mlp.back().bias.var().set_value(Tensor::zeros({out}));
  }
  weight_v = Parameter(torch_default({prototypes, bottleneck}, bottleneck, init));
}

Var DinoHead::operator()(const Var& x) const {
  Var h = x;
  for (size_t i = 0; i < mlp.size(); ++i) h = mlp[i](h, i + 1 < mlp.size() ? Act::gelu : Act::none);
  return linear(l2_normalize(h), l2_normalize(weight_v), Var());
}

}  // namespace juxta::nn

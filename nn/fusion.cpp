#include "nn/fusion.h"

#include <algorithm>

#include "autograd/ops.h"

namespace juxta::nn {

namespace {

constexpr const char* kOp = "fusion_layer";

// (1 - mask) (-10,000) for every head and query, [N, heads, Tq, Tk]; undefined without a mask.
Var mask_bias(const char* name, const Tensor& mask, const Var& keys, int64_t queries, int64_t heads) {
  if (!mask.defined()) return {};
  const int64_t n = keys.size(0), length = keys.size(1);
  JX_CHECK(mask.dtype() == DType::i64 && mask.dims() == Dims({n, length}), kOp, ": ", name,
           ": expected i64 [", n, ", ", length, "], got ", mask);
  const Tensor given = mask.contiguous();
  Tensor bias = Tensor::zeros({n, 1, 1, length}, DType::f64);
  for (int64_t row = 0; row < n; ++row) {
    const int64_t* keep = given.data<int64_t>() + row * length;
    // Where everything is masked, -10,000 throughout changes nothing but costs f32 its digits.
    if (std::all_of(keep, keep + length, [](int64_t k) { return k == 0; })) continue;
    for (int64_t i = 0; i < length; ++i)
      bias.write<double>(kOp)[row * length + i] = keep[i] != 0 ? 0.0 : -10000.0;
  }
  const DType dtype = keys.dtype() == DType::bf16 ? DType::f32 : keys.dtype();
  return Var(bias.to(dtype).expand({n, heads, queries, length}).contiguous());
}

// x + W_o attention(x W_q, memory W_k, memory W_v) + b_o, the sum before its norm.
Var attended(const Var& x, const Var& memory, const AttentionWeights& w, const Var& bias, int64_t heads) {
  const int64_t n = x.size(0), width = x.size(2), per_head = width / heads;
  const auto split = [&](const Var& t) { return reshape(t, {n, t.size(1), heads, per_head}); };
  AttentionOptions o;
  o.bias = bias;
  const Var mixed = attention(split(linear(x, w.wq, w.bq)), split(linear(memory, w.wk, w.bk)),
                              split(linear(memory, w.wv, w.bv)), o);
  return linear(reshape(mixed, x.dims()), w.wo, w.bo, Act::none, x);
}

}  // namespace

Var fusion_layer(const Var& hidden, const Var& image, const Tensor& text_mask, const Tensor& image_mask,
                 const FusionWeights& w, const FusionOptions& o) {
  JX_CHECK(hidden.defined() && is_float(hidden.dtype()) && hidden.ndim() == 3 && hidden.numel() > 0, kOp,
           ": hidden: expected a float [N, L, W], got ", hidden);
  JX_CHECK(o.heads >= 1 && hidden.size(2) % o.heads == 0, kOp, ": heads: expected a divisor of the width ",
           hidden.size(2), ", got ", o.heads);
  Var h = attended(hidden, hidden, w.self, mask_bias("text_mask", text_mask, hidden, hidden.size(1), o.heads),
                   o.heads);
  h = layer_norm(h, w.ln1_g, w.ln1_b, o.eps);
  if (image.defined()) {
    JX_CHECK(image.ndim() == 3 && image.size(0) == hidden.size(0) && image.dtype() == hidden.dtype(), kOp,
             ": image: expected ", hidden.dtype(), " [", hidden.size(0), ", P, I], got ", image);
    const Var bias = mask_bias("image_mask", image_mask, image, hidden.size(1), o.heads);
    h = layer_norm(attended(h, image, w.cross, bias, o.heads), w.ln2_g, w.ln2_b, o.eps);
  }
  const Var inner = linear(h, w.w1, w.b1, Act::gelu);
  return layer_norm(linear(inner, w.w2, w.b2, Act::none, h), w.ln3_g, w.ln3_b, o.eps);
}

}  // namespace juxta::nn

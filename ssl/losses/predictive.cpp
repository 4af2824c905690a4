#include "ssl/losses/predictive.h"

#include "autograd/contrast.h"
#include "autograd/ops.h"

namespace juxta::ssl {

namespace {

void check_sequence(const char* name, const Var& x) {
  JX_CHECK(x.defined() && is_float(x.dtype()) && x.ndim() == 3 && x.numel() >= 1, "cpc: ", name,
           ": expected a float with three axes, got ", x);
  check_finite("cpc", {name, x});
}

// Predictions and latents [N, L, D] that belong together at equal positions: the sum of all N L terms.
Var among_sequences(const Var& predicted, const Var& latent) {
  const int64_t n = latent.size(0), length = latent.size(1);
  const Var scores =
      matmul(transpose(predicted, 0, 1), transpose(transpose(latent, 0, 1), 1, 2));  // [L, N, N]
  Tensor own = Tensor::empty({length, n}, DType::i64);
  for (int64_t i = 0; i < own.numel(); ++i) own.write<int64_t>("cpc")[i] = i % n;
  return sum(cross_entropy(scores, own));
}

Var among_all(const Var& predicted, const Var& latent) {
  const int64_t rows = latent.size(0) * latent.size(1);
  const Var a = reshape(predicted, {rows, latent.size(2)}), b = reshape(latent, {rows, latent.size(2)});
  ContrastOptions o;
  o.op = "cpc";
  o.positive = Tensor::arange(rows);
  const ContrastResult s = contrast({&a, 1}, {&b, 1}, constant_temperature(1, a), o);
  return sum(sub(s.lse, s.positive));
}

}  // namespace

Loss cpc(const Var& context, const Var& latent, const Var& weight, const CpcParams& p) {
  check_sequence("context", context);
  check_sequence("latent", latent);
  check_sequence("weight", weight);
  const int64_t n = context.size(0), length = context.size(1), steps = weight.size(0);
  JX_CHECK(latent.size(0) == n && latent.size(1) == length, "cpc: latent: expected [", n, ", ", length,
           ", D] like context, got ", latent);
  JX_CHECK(weight.size(1) == latent.size(2) && weight.size(2) == context.size(2),
           "cpc: weight: expected [S, ", latent.size(2), ", ", context.size(2), "], got ", weight);
  JX_CHECK(steps < length, "cpc: weight: ", steps, " steps ahead in sequences of ", length,
           "; expected fewer steps than positions");
  const Var c = at_least_f32(context), z = at_least_f32(latent), w = at_least_f32(weight);
  Var total;
  int64_t terms = 0;
  for (int64_t k = 1; k <= steps; ++k) {
    const Var predicted = linear(slice(c, 1, 0, length - k), select(w, 0, k - 1), {});  // W_k c_t
    const Var future = slice(z, 1, k, length);
    const Var part = (p.negatives == CpcNegatives::batch ? among_sequences : among_all)(predicted, future);
    total = total.defined() ? add(total, part) : part;
    terms += n * (length - k);
  }
  return {affine(total, 1.0 / static_cast<double>(terms), 0.0), {}};
}

}  // namespace juxta::ssl

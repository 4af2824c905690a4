#include "ssl/losses/pairwise.h"

#include <cmath>

#include "autograd/contrast.h"
#include "autograd/ops.h"

namespace juxta::ssl {

namespace {

// Of one element, in the dtype of losses beside `like`.
Var scalar_beside(const char* loss, Named x, const Var& like) {
  JX_CHECK(x.value.defined() && is_float(x.value.dtype()) && x.value.numel() == 1, loss, ": ", x.name,
           ": expected one number, got ", x.value);
  check_finite(loss, x);
  return reshape(cast(x.value, like.dtype()), {1});
}

// x with one more column of the value v (of one element).
Var with_column(const Var& x, const Var& v) {
  return cat(std::vector{x, expand(reshape(v, {1, 1}), {x.size(0), 1})}, 1);
}

}  // namespace

Loss siglip(const Var& image, const Var& text, const Var& logit_scale, const Var& logit_bias,
            const SigLipParams& p) {
  check_embeddings("siglip", {{"image", image}, {"text", text}});
  JX_CHECK(p.chunk >= 0, "siglip: chunk: expected 0 (whole) or a number of texts, got ", p.chunk);
  const Var i = l2_normalize(at_least_f32(image)), t = l2_normalize(at_least_f32(text));
  const Var temperature = exp(neg(scalar_beside("siglip", {"logit_scale", logit_scale}, i)));
  const Var bias = scalar_beside("siglip", {"logit_bias", logit_bias}, i);
  // [i, 1] . [t, bias temperature] / temperature = e^logit_scale i . t + bias
  const Var rows = with_column(i, Var(Tensor::full({1}, 1.0, i.dtype(), i.device())));
  const Var columns = with_column(t, mul(bias, temperature));
  const int64_t n = i.size(0), chunk = p.chunk == 0 ? n : p.chunk;
  std::vector<Var> losses;
  Var samples;
  for (int64_t begin = 0; begin < n; begin += chunk) {
    const int64_t end = std::min(begin + chunk, n);
    ContrastOptions o;
    o.op = "siglip";
    o.term = ContrastTerm::sigmoid;
    o.positive = Tensor::full({n}, -1.0, DType::i64);  // only the own chunk has positives
    for (int64_t r = begin; r < end; ++r) o.positive.write<int64_t>("siglip")[r] = r - begin;
    const Var part = slice(columns, 0, begin, end);
    const Var sums = contrast({&rows, 1}, {&part, 1}, temperature, o).lse;
    samples = samples.defined() ? add(samples, stop_gradient(sums)) : stop_gradient(sums);
    losses.push_back(mean(sums));
  }
  const Var per_chunk = stack(losses, 0);
  return {sum(per_chunk), {{"chunk_loss", stop_gradient(per_chunk)}}, samples};
}

namespace {

// 2 - 2 x_i . x_j of unit rows is rounded at 2, however near the rows are, and t multiplies that: above this
// t the rows are compared as they are, about their mean.
constexpr double kLargestUnitT = 16;

// log mean_{i<j} e^{-t |x_i - x_j|^2}: every pair twice in the sum over rows, without i = j.
Var log_gaussian_mean(const Var& x, double t, bool unit) {
  const int64_t n = x.size(0);
  ContrastOptions o;
  o.op = "align_uniform";
  o.row_ids = Tensor::arange(n);
  const Var temperature = constant_temperature(1.0 / (2 * t), x);
  Var lse;
  double shift = 0;
  if (unit && t <= kLargestUnitT) {  // |x_i - x_j|^2 = 2 - 2 x_i . x_j
    lse = contrast_symmetric({&x, 1}, temperature, o).lse;
    shift = -2 * t;
  } else {  // [x, -|x|^2/2, 1] . [x, 1, -|x|^2/2] = -|x_i - x_j|^2 / 2, small numbers about the mean
    const Var c = sub(x, stop_gradient(mean(x, {0}, true)));
    const Var half = affine(sum(square(c), {1}, true), -0.5, 0.0),
              one(Tensor::full({n, 1}, 1.0, x.dtype(), x.device()));
    const Var rows = cat(std::vector{c, half, one}, 1), columns = cat(std::vector{c, one, half}, 1);
    o.column_ids = o.row_ids;
    lse = contrast({&rows, 1}, {&columns, 1}, temperature, o).lse;
  }
  return affine(logsumexp(lse), 1.0, shift - std::log(static_cast<double>(n) * static_cast<double>(n - 1)));
}

}  // namespace

Loss align_uniform(const Var& z1, const Var& z2, const AlignUniformParams& p) {
  check_embeddings("align_uniform", {{"z1", z1}, {"z2", z2}});
  JX_CHECK(z1.size(0) >= 2, "align_uniform: z1: expected N >= 2, since uniformity is a mean over pairs, got ",
           z1);
  JX_CHECK(p.t > 0 && std::isfinite(p.t), "align_uniform: t: expected a positive number, got ", p.t);
  JX_CHECK(p.alpha >= 1 && std::isfinite(p.alpha), "align_uniform: alpha: expected at least 1, got ",
           p.alpha);
  const auto prepared = [&](const Var& z) {
    return p.normalize ? l2_normalize(at_least_f32(z)) : at_least_f32(z);
  };
  const Var x = prepared(z1), y = prepared(z2), difference = sub(x, y);
  // alpha = 2 needs no root, whose gradient at equal views would be lost
  const Var distance = p.alpha == 2 ? sum(square(difference), {1}) : pow(norm(difference, {1}), p.alpha);
  const Var align = mean(distance);
  const Var uniform =
      affine(add(log_gaussian_mean(x, p.t, p.normalize), log_gaussian_mean(y, p.t, p.normalize)), 0.5, 0.0);
  const Var loss = add(affine(align, p.align_weight, 0.0), affine(uniform, p.uniform_weight, 0.0));
  return {loss, {{"align", stop_gradient(align)}, {"uniform", stop_gradient(uniform)}}};
}

}  // namespace juxta::ssl

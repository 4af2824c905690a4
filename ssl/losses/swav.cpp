#include "ssl/losses/swav.h"

#include <algorithm>

#include "autograd/ops.h"
#include "ssl/losses/sinkhorn.h"

namespace juxta::ssl {

namespace {

void check_swav(const Var& z, const Var& prototypes, const Tensor& queue, const SwavParams& p) {
  JX_CHECK(z.defined() && is_float(z.dtype()) && z.ndim() == 3 && z.size(0) >= 2 && z.size(1) >= 1,
           "swav: z: expected a float [V, B, D] of at least two views, got ", z);
  check_finite("swav", {"z", z});
  check_embeddings("swav", {{"prototypes", prototypes}});
  JX_CHECK(prototypes.size(1) == z.size(2) && prototypes.dtype() == z.dtype(),
           "swav: prototypes: expected rows like those of z, ", z, ", got ", prototypes);
  check_temperature("swav", p.temperature);
  check_temperature("swav", p.epsilon, "epsilon");
  JX_CHECK(p.iterations >= 1, "swav: iterations: expected at least 1, got ", p.iterations);
  JX_CHECK(p.n_assign >= 1 && p.n_assign <= z.size(0), "swav: n_assign: expected 1 to ", z.size(0),
           ", the views, got ", p.n_assign);
  if (!queue.defined()) return;
  JX_CHECK(is_float(queue.dtype()) && queue.ndim() == 3 && queue.size(0) == p.n_assign &&
               queue.size(2) == z.size(2),
           "swav: queue: expected [", p.n_assign, ", L, ", z.size(2), "], got ", queue);
  check_finite("swav", {"queue", Var(queue)});
}

// Does the queue [L, D] of one view count: is its last row written?
bool is_full(const Tensor& queue) {
  if (queue.size(0) == 0) return false;
  const Tensor last = queue.select(0, queue.size(0) - 1).to(DType::f64).contiguous();
  return std::any_of(last.data<double>(), last.data<double>() + last.numel(),
                     [](double v) { return v != 0; });
}

// Codes [A, B, K] of the assigning views from scores [V, B, K].
Tensor codes_of(const Tensor& scores, const Tensor& prototypes, const Tensor& queue, const SwavParams& p) {
  const NoGrad no_grad;
  const int64_t batch = scores.size(1);
  const SinkhornParams sinkhorn{p.epsilon, p.iterations, batch};
  std::vector<Var> codes;
  for (int64_t a = 0; a < p.n_assign; ++a) {
    Var rows(scores.select(0, a));
    const Tensor past = queue.defined() ? queue.select(0, a) : Tensor();
    if (past.defined() && is_full(past)) {
      const Var parts[] = {matmul(Var(past.to(scores.dtype())), transpose(Var(prototypes), 0, 1)), rows};
      rows = cat(parts, 0);
    }
    codes.emplace_back(sinkhorn_knopp(rows.value(), sinkhorn));
  }
  return stack(codes, 0).value();
}

// What the sum over pairs of views weighs log p of view v with: the mean of the other views' codes, [B, K].
// Its rows sum to 0 when only v itself assigns.
Tensor target_of(const Tensor& codes, int64_t v, int64_t views) {
  const NoGrad no_grad;
  const int64_t assigning = codes.size(0);
  Var total(Tensor::zeros({codes.size(1), codes.size(2)}, codes.dtype(), codes.device()));
  for (int64_t a = 0; a < assigning; ++a)
    if (a != v) total = add(total, Var(codes.select(0, a)));
  return affine(total, 1.0 / static_cast<double>(assigning * (views - 1)), 0.0).value();
}

void check_scale(const char* name, const Var& logit_scale, const Var& beside) {
  JX_CHECK(logit_scale.defined() && logit_scale.numel() == 1 && is_float(logit_scale.dtype()),
           "swalip: ", name, ": expected a float of one element, got ", logit_scale);
  check_finite("swalip", {name, logit_scale});
  JX_CHECK(logit_scale.dtype() == at_least_f32(beside).dtype(), "swalip: ", name, ": expected ",
           at_least_f32(beside).dtype(), " beside ", beside, ", got ", logit_scale);
}

Var half_of_both(const Var& first, const Var& second) { return affine(add(first, second), 0.5, 0.0); }

}  // namespace

Loss swav(const Var& z, const Var& prototypes, const Tensor& queue, const SwavParams& p) {
  check_swav(z, prototypes, queue, p);
  const int64_t views = z.size(0), batch = z.size(1), d = z.size(2), k = prototypes.size(0);
  const Var x = at_least_f32(z), c = at_least_f32(prototypes);
  const Var rows = reshape(p.normalize ? l2_normalize(x) : x, {views * batch, d});
  const Var scores = reshape(matmul(rows, transpose(c, 0, 1)), {views, batch, k});
  const Tensor codes = codes_of(scores.value(), c.value(), queue, p);
  const Var logits = affine(scores, 1.0 / p.temperature, 0.0);
  std::vector<Var> of_view;
  for (int64_t v = 0; v < views; ++v)
    of_view.push_back(soft_cross_entropy(select(logits, 0, v), target_of(codes, v, views)));
  const Var samples = sum(stack(of_view, 0), {0});
  return {mean(samples), {{"codes", Var(codes)}}, stop_gradient(samples)};
}

void renormalise_rows(Tensor& x) {
  JX_CHECK(x.defined() && is_float(x.dtype()) && x.ndim() == 2,
           "renormalise_rows: x: expected a float [K, D], got ", x);
  const NoGrad no_grad;
  x.copy_from(l2_normalize(Var(x)).value(), "renormalise_rows");
}

Loss swalip_views(const Var& h_image, const Var& h_text, const Var& logit_scale, const SwalipParams& p) {
  JX_CHECK(h_image.defined() && is_float(h_image.dtype()) && h_image.ndim() == 3 && h_image.size(0) == 2 &&
               h_image.numel() > 0,
           "swalip: h_image: expected a float [2, N, D], got ", h_image);
  JX_CHECK(h_text.defined() && h_text.dims() == h_image.dims() && h_text.dtype() == h_image.dtype(),
           "swalip: h_text: expected ", h_image, " like h_image, got ", h_text);
  check_finite("swalip", {"h_image", h_image});
  check_finite("swalip", {"h_text", h_text});
  check_scale("h_logit_scale", logit_scale, h_image);
  check_temperature("swalip", p.epsilon, "epsilon");
  JX_CHECK(p.iterations >= 1, "swalip: iterations: expected at least 1, got ", p.iterations);
  const SinkhornParams sinkhorn{p.epsilon, p.iterations, 0};
  const Var image = l2_normalize(at_least_f32(h_image)), text = l2_normalize(at_least_f32(h_text));
  const Var scale = exp(logit_scale);
  const auto products = [&](int64_t a, int64_t b) {
    return matmul(select(image, 0, a), transpose(select(text, 0, b), 0, 1));
  };
  Tensor first;
  std::vector<Var> rows;  // per pair of views, [N]
  for (int64_t a = 0; a < 2; ++a)
    for (int64_t b = 0; b < 2; ++b) {
      const Tensor others = products(1 - a, 1 - b).value();
      const Tensor to_text = sinkhorn_knopp(others, sinkhorn);
      const Tensor to_image = sinkhorn_knopp(others.transpose(0, 1), sinkhorn);
      if (a == 0 && b == 0) first = to_text;
      const Var logits = mul(products(a, b), scale);
      rows.push_back(half_of_both(soft_cross_entropy(logits, to_text),
                                  soft_cross_entropy(transpose(logits, 0, 1), to_image)));
    }
  const Var samples = mean(stack(rows, 0), {0});
  return {mean(samples), {{"target_image_11", Var(first)}}, stop_gradient(samples)};
}

Loss swalip_prototypes(const Var& p_image, const Var& p_text, const Var& p_image_m, const Var& p_text_m,
                       const Var& logit_scale, const SwalipParams& p) {
  check_embeddings("swalip", {{"p_image", p_image}, {"p_text", p_text}});
  JX_CHECK(p_image_m.defined() == p_text_m.defined(),
           "swalip: p_image_m and p_text_m: they go together; one of them is missing");
  if (p_image_m.defined())
    check_embeddings("swalip", {{"p_image", p_image}, {"p_image_m", p_image_m}, {"p_text_m", p_text_m}});
  check_scale("logit_scale", logit_scale, p_image);
  check_temperature("swalip", p.epsilon, "epsilon");
  JX_CHECK(p.iterations >= 1, "swalip: iterations: expected at least 1, got ", p.iterations);
  const SinkhornParams sinkhorn{p.epsilon, p.iterations, 0};
  const Tensor image = sinkhorn_knopp((p_image_m.defined() ? p_image_m : p_image).value(), sinkhorn);
  const Tensor text = sinkhorn_knopp((p_text_m.defined() ? p_text_m : p_text).value(), sinkhorn);
  const Var scale = exp(logit_scale);
  const Var samples = half_of_both(soft_cross_entropy(mul(at_least_f32(p_image), scale), text),
                                   soft_cross_entropy(mul(at_least_f32(p_text), scale), image));
  return {mean(samples), {{"assign_image", Var(image)}, {"assign_text", Var(text)}}, stop_gradient(samples)};
}

}  // namespace juxta::ssl

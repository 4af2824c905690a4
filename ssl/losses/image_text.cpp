#include "ssl/losses/image_text.h"

#include "autograd/contrast.h"
#include "autograd/ops.h"
#include "ssl/losses/batch_contrastive.h"

namespace juxta::ssl {

namespace {

void check_scale(const char* loss, Named scale) {
  JX_CHECK(scale.value.defined() && is_float(scale.value.dtype()) && scale.value.numel() == 1, loss, ": ",
           scale.name, ": expected one number, got ", scale.value);
  check_finite(loss, scale);
}

// The temperature e^-logit_scale beside operands of this dtype.
Var temperature_of(const Var& logit_scale, DType dtype) {
  return exp(neg(reshape(cast(logit_scale, dtype), {1})));
}

}  // namespace

Loss clip(const Var& image, const Var& text, const Var& logit_scale, const ClipParams& p) {
  check_embeddings("clip", {{"image", image}, {"text", text}});
  check_scale("clip", {"logit_scale", logit_scale});
  ContrastOptions o;
  o.op = "clip";
  o.normalize = p.normalize;
  o.two_way = true;  // one matrix serves both directions
  o.positive = Tensor::arange(image.size(0));
  const Var i = at_least_f32(image), t = at_least_f32(text);
  const ContrastResult s = contrast({&i, 1}, {&t, 1}, temperature_of(logit_scale, i.dtype()), o);
  const Var rows = sub(s.lse, s.positive), columns = sub(s.column_lse, s.column_positive);
  return {affine(add(mean(rows), mean(columns)), 0.5, 0.0),
          {},
          stop_gradient(affine(add(rows, columns), 0.5, 0.0))};
}

namespace {

void check_pair(const char* loss, Named a, Named b, double temperature) {
  check_embeddings(loss, {a, b});
  check_temperature(loss, temperature);
  JX_CHECK(a.value.size(0) >= 2, loss, ": ", a.name,
           ": expected N >= 2, since the own pair is left out, got ", a.value);
}

// Rows (and columns when two_way) against the others: log sum_{j != i} e^{s_ij}, and s_ii.
ContrastResult leave_one_out(const char* op, const Var& a, const Var& b, double temperature, bool normalize,
                             bool two_way) {
  ContrastOptions o;
  o.op = op;
  o.normalize = normalize;
  o.two_way = two_way;
  o.over = LseOver::negatives;
  o.positive = Tensor::arange(a.size(0));
  return contrast({&a, 1}, {&b, 1}, constant_temperature(temperature, a), o);
}

// unit(softmax(beta x m^T) m), [N, D], without the N x N matrix.
Var retrieve(const Var& x, const Var& m, double beta) {
  const Dims one_head{1, x.size(0), 1, x.size(1)};
  const Var memory = reshape(m, one_head);
  AttentionOptions o;
  o.scale = beta;
  return l2_normalize(reshape(attention(reshape(x, one_head), memory, memory, o), x.dims()));
}

}  // namespace

Loss info_loob(const Var& z1, const Var& z2, const InfoLoobParams& p) {
  check_pair("info_loob", {"z1", z1}, {"z2", z2}, p.temperature);
  const ContrastResult s = leave_one_out("info_loob", z1, z2, p.temperature, p.normalize, true);
  const double factor = p.scale_by_temperature ? p.temperature : 1.0;
  const Var samples = affine(add(sub(s.lse, s.positive), sub(s.column_lse, s.column_positive)), factor, 0.0);
  return {mean(samples), {}, stop_gradient(samples)};
}

Loss cloob(const Var& image, const Var& text, const CloobParams& p) {
  check_pair("cloob", {"image", image}, {"text", text}, p.temperature);
  check_temperature("cloob", p.beta, "beta");
  const auto unit = [&](const Var& x) {
    return p.normalize ? l2_normalize(at_least_f32(x)) : at_least_f32(x);
  };
  const Var i = unit(image), t = unit(text);
  const auto loob = [&](const Var& anchor, const Var& other) {
    const ContrastResult s = leave_one_out("cloob", anchor, other, p.temperature, false, false);
    return sub(s.lse, s.positive);
  };
  const Var images = loob(retrieve(i, i, p.beta), retrieve(t, i, p.beta));
  const Var texts = loob(retrieve(t, t, p.beta), retrieve(i, t, p.beta));
  const Var samples = affine(add(images, texts), p.scale_by_temperature ? p.temperature : 1.0, 0.0);
  return {mean(samples), {}, stop_gradient(samples)};
}

Loss slip(const Var& image, const Var& text, const Var& logit_scale, const Var& aug1, const Var& aug2,
          const SlipParams& p) {
  check_embeddings("slip", {{"image", image}, {"text", text}});
  check_embeddings("slip", {{"aug1", aug1}, {"aug2", aug2}});
  check_temperature("slip", p.ssl_temperature, "ssl_temperature");
  check_scale("slip", {"logit_scale", logit_scale});
  const Var pairs = clip(image, text, logit_scale).loss;
  const Var views = nt_xent(aug1, aug2, {.temperature = p.ssl_temperature}).loss;
  return {add(pairs, affine(views, p.ssl_scale, 0.0)),
          {{"clip_loss", stop_gradient(pairs)}, {"ssl_loss", stop_gradient(views)}}};
}

namespace {

// Per-row cross-entropies [N] of unit rows in both directions, the target smoothed by eps over all columns.
struct BothWays {
  Var image, text;
};
BothWays smoothed_pairs(const Var& image, const Var& text, const Var& temperature, double eps) {
  ContrastOptions o;
  o.op = "cl2l";
  o.two_way = true;
  o.positive = Tensor::arange(image.size(0));
  const ContrastResult s = contrast({&image, 1}, {&text, 1}, temperature, o);
  if (eps == 0) return {sub(s.lse, s.positive), sub(s.column_lse, s.column_positive)};
  // 1/N sum_j s_ij is the similarity with the mean of the columns
  const auto smoothed = [&](const Var& lse, const Var& own, const Var& rows, const Var& others) {
    const Var average = div(sum(mul(rows, mean(others, {0}, true)), {1}), temperature);
    return sub(lse, add(affine(own, 1.0 - eps, 0.0), affine(average, eps, 0.0)));
  };
  return {smoothed(s.lse, s.positive, image, text), smoothed(s.column_lse, s.column_positive, text, image)};
}

void check_views(const Var& h_image, const Var& h_text, int64_t n) {
  JX_CHECK(h_image.defined() && is_float(h_image.dtype()) && h_image.ndim() == 3 && h_image.size(1) == n &&
               h_image.size(2) >= 1,
           "cl2l: h_image: expected a float [A, ", n, ", E], got ", h_image);
  JX_CHECK(h_text.defined() && h_text.dims() == h_image.dims() && h_text.dtype() == h_image.dtype(),
           "cl2l: h_text: expected ", h_image, " like h_image, got ", h_text);
  check_finite("cl2l", {"h_image", h_image});
  check_finite("cl2l", {"h_text", h_text});
}

}  // namespace

Loss cl2l(const Var& z_image, const Var& z_text, const Var& logit_scale, const Var& h_image,
          const Var& h_text, const Var& h_logit_scale, const Cl2lParams& p) {
  check_embeddings("cl2l", {{"z_image", z_image}, {"z_text", z_text}});
  check_scale("cl2l", {"logit_scale", logit_scale});
  JX_CHECK(p.label_smoothing >= 0 && p.label_smoothing <= 1,
           "cl2l: label_smoothing: expected a number from 0 to 1, got ", p.label_smoothing);
  const Var zi = l2_normalize(at_least_f32(z_image)), zt = l2_normalize(at_least_f32(z_text));
  const BothWays global = smoothed_pairs(zi, zt, temperature_of(logit_scale, zi.dtype()), 0);
  BothWays local{Var(Tensor::zeros({zi.size(0)}, zi.dtype())), Var(Tensor::zeros({zi.size(0)}, zi.dtype()))};
  double views = 0;
  if (h_image.defined() || h_text.defined()) {
    check_views(h_image, h_text, zi.size(0));
    check_scale("cl2l", {"h_logit_scale", h_logit_scale});
    views = static_cast<double>(h_image.size(0));
    const Var hi = l2_normalize(at_least_f32(h_image)), ht = l2_normalize(at_least_f32(h_text));
    const Var temperature = temperature_of(h_logit_scale, hi.dtype());
    for (int64_t a = 0; a < hi.size(0); ++a)
      for (int64_t b = 0; b < ht.size(0); ++b) {
        // l_i contrasts image view a with text view b, l_t text view a with image view b: all pairs, both
        // ways
        const BothWays pair =
            smoothed_pairs(select(hi, 0, a), select(ht, 0, b), temperature, p.label_smoothing);
        local.image = add(local.image, affine(pair.image, 1 / (views * views), 0.0));
        local.text = add(local.text, affine(pair.text, 1 / (views * views), 0.0));
      }
  }
  const double factor = (p.reduction == PairSum::avg ? 0.5 : 1.0) / (1 + views);
  const Var samples = affine(
      add(add(global.image, global.text), affine(add(local.image, local.text), views, 0.0)), factor, 0.0);
  return {mean(samples),
          {{"image_global", stop_gradient(mean(global.image))},
           {"text_global", stop_gradient(mean(global.text))},
           {"image_local", stop_gradient(mean(local.image))},
           {"text_local", stop_gradient(mean(local.text))}},
          stop_gradient(samples)};
}

}  // namespace juxta::ssl

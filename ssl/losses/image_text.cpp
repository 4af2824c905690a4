#include "ssl/losses/image_text.h"

#include "autograd/contrast.h"
#include "autograd/ops.h"
#include "ssl/losses/batch_contrastive.h"

namespace juxta::ssl {

Loss clip(const Var& image, const Var& text, const Var& logit_scale, const ClipParams& p) {
  check_embeddings("clip", {{"image", image}, {"text", text}});
  JX_CHECK(logit_scale.defined() && is_float(logit_scale.dtype()) && logit_scale.numel() == 1,
           "clip: logit_scale: expected one number, got ", logit_scale);
  check_finite("clip", {"logit_scale", logit_scale});
  ContrastOptions o;
  o.op = "clip";
  o.normalize = p.normalize;
  o.two_way = true;  // one matrix serves both directions
  o.positive = Tensor::arange(image.size(0));
  const Var i = at_least_f32(image), t = at_least_f32(text);
  const Var temperature = exp(neg(reshape(cast(logit_scale, i.dtype()), {1})));
  const ContrastResult s = contrast({&i, 1}, {&t, 1}, temperature, o);
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
  const Var i = l2_normalize(at_least_f32(image)), t = l2_normalize(at_least_f32(text));
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
  JX_CHECK(logit_scale.defined() && is_float(logit_scale.dtype()) && logit_scale.numel() == 1,
           "slip: logit_scale: expected one number, got ", logit_scale);
  check_finite("slip", {"logit_scale", logit_scale});
  const Var pairs = clip(image, text, logit_scale).loss;
  const Var views = nt_xent(aug1, aug2, {.temperature = p.ssl_temperature}).loss;
  return {add(pairs, affine(views, p.ssl_scale, 0.0)),
          {{"clip_loss", stop_gradient(pairs)}, {"ssl_loss", stop_gradient(views)}}};
}

}  // namespace juxta::ssl

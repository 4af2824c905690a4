#include "ssl/losses/scores.h"

#include <algorithm>
#include <cmath>

#include "autograd/contrast.h"
#include "autograd/ops.h"
#include "ssl/losses/supcon.h"

namespace juxta::ssl {

namespace {

void check_scores(const char* loss, const Scores& s) {
  JX_CHECK(s.pos.defined() && is_float(s.pos.dtype()) && s.pos.ndim() == 1 && s.pos.size(0) >= 1, loss,
           ": pos: expected a float [N], got ", s.pos);
  const int64_t n = s.pos.size(0);
  JX_CHECK(s.neg.defined() && is_float(s.neg.dtype()) &&
               acc_dtype(s.neg.dtype()) == acc_dtype(s.pos.dtype()) && s.neg.ndim() == 2 &&
               s.neg.size(0) == n && s.neg.size(1) >= 1,
           loss, ": neg: expected ", s.pos.dtype(), " [", n, ", K], got ", s.neg);
  check_finite(loss, {"pos", s.pos});
  check_finite(loss, {"neg", s.neg});
  JX_CHECK(!s.valid.defined() || (!is_float(s.valid.dtype()) && s.valid.dims() == s.neg.dims()), loss,
           ": neg_valid: expected i64 or bool like neg, got ", s.valid);
  JX_CHECK(s.pos_logpn.defined() == s.neg_logpn.defined(), loss,
           ": pos_logpn and neg_logpn: they go together; one of them is missing");
  if (!s.pos_logpn.defined()) return;
  JX_CHECK(s.pos_logpn.dims() == s.pos.dims() && s.neg_logpn.dims() == s.neg.dims(), loss,
           ": pos_logpn and neg_logpn: expected the shapes of pos and neg, got ", s.pos_logpn, " and ",
           s.neg_logpn);
  check_finite(loss, {"pos_logpn", s.pos_logpn});
  check_finite(loss, {"neg_logpn", s.neg_logpn});
}

// bool [N, K], all true when none is given.
Tensor valid_mask(const Scores& s) {
  Tensor mask = Tensor::empty(s.neg.dims(), DType::boolean);
  bool* out = mask.write<bool>("scores");
  if (!s.valid.defined()) {
    std::fill_n(out, mask.numel(), true);
    return mask;
  }
  const Tensor given = s.valid.to(DType::i64).contiguous();
  for (int64_t i = 0; i < mask.numel(); ++i) out[i] = given.data<int64_t>()[i] != 0;
  return mask;
}

Var zeros_like(const Var& x) { return Var(Tensor::zeros(x.dims(), x.dtype(), x.device())); }
Var kept(const Tensor& mask, const Var& x) { return where(mask, x, zeros_like(x)); }

// score - log p_N - shift, where p_N is given.
Var corrected(const Var& score, const Var& logpn, double shift) {
  const Var s = at_least_f32(score);
  return logpn.defined() ? affine(sub(s, stop_gradient(cast(logpn, s.dtype()))), 1.0, -shift) : s;
}

Loss mean_of(const Var& samples) { return {mean(samples), {}, stop_gradient(samples)}; }

}  // namespace

Loss nce_binary(const Scores& s, const NceBinaryParams& p) {
  check_scores("nce_binary", s);
  const double ratio = p.noise_ratio.value_or(static_cast<double>(s.neg.size(1)));
  JX_CHECK(ratio > 0 && std::isfinite(ratio), "nce_binary: noise_ratio: expected a positive number, got ",
           ratio);
  const Var pos = corrected(s.pos, s.pos_logpn, std::log(ratio)),
            neg_ = corrected(s.neg, s.neg_logpn, std::log(ratio));
  return mean_of(add(softplus(neg(pos)), sum(kept(valid_mask(s), softplus(neg_)), {1})));
}

Loss nce_ranking(const Scores& s, const NceRankingParams& p) {
  check_scores("nce_ranking", s);
  check_temperature("nce_ranking", p.temperature);
  const Var pos = corrected(affine(at_least_f32(s.pos), 1.0 / p.temperature, 0.0), s.pos_logpn, 0);
  const Var negatives = corrected(affine(at_least_f32(s.neg), 1.0 / p.temperature, 0.0), s.neg_logpn, 0);
  return mean_of(softplus(sub(logsumexp(negatives, valid_mask(s)), pos)));
}

Loss margin_ranking(const Scores& s, const MarginRankingParams& p) {
  check_scores("margin_ranking", s);
  JX_CHECK(std::isfinite(p.margin), "margin_ranking: margin: expected a number, got ", p.margin);
  const Tensor mask = valid_mask(s);
  const Var pos = unsqueeze(at_least_f32(s.pos), 1), negatives = at_least_f32(s.neg);
  const Var hinge = kept(mask, relu(affine(sub(negatives, pos), 1.0, p.margin)));
  if (p.reduction == MarginReduction::hardest) return mean_of(amax(hinge, {1}));
  const Var total = sum(hinge, {1});
  if (p.reduction == MarginReduction::sum) return mean_of(total);
  Tensor inverse = Tensor::empty({total.size(0)}, DType::f64);
  for (int64_t i = 0; i < total.size(0); ++i) {
    const bool* row = mask.data<bool>() + i * mask.size(1);
    inverse.write<double>("margin_ranking")[i] =
        1.0 / static_cast<double>(std::max<int64_t>(1, std::count(row, row + mask.size(1), true)));
  }
  return mean_of(mul(total, Var(inverse.to(total.dtype()))));
}

void SclFinetuneParams::fields(Params& f) {
  enum class Reduction { mean, sum };
  Reduction reduction = sum ? Reduction::sum : Reduction::mean;
  f("temperature", temperature), f("weight", weight);
  f("reduction", reduction, {"mean", "sum"});
  f("normalize", normalize);
  sum = reduction == Reduction::sum;
}

Loss scl_finetune(const Var& z, const Var& logits, const Tensor& labels, const SclFinetuneParams& p) {
  check_embeddings("scl_finetune", {{"z", z}});
  check_temperature("scl_finetune", p.temperature);
  JX_CHECK(p.weight >= 0 && p.weight <= 1, "scl_finetune: weight: expected 0 to 1, got ", p.weight);
  const int64_t n = z.size(0);
  JX_CHECK(logits.defined() && is_float(logits.dtype()) && logits.ndim() == 2 && logits.size(0) == n,
           "scl_finetune: logits: expected a float [", n, ", C], got ", logits);
  check_finite("scl_finetune", {"logits", logits});
  JX_CHECK(labels.defined() && labels.dtype() == DType::i64 && labels.dims() == Dims({n}),
           "scl_finetune: labels: expected i64 [", n, "], got ", labels);
  const Tensor flat = labels.contiguous();
  for (int64_t i = 0; i < n; ++i)
    JX_CHECK(flat.data<int64_t>()[i] >= 0 && flat.data<int64_t>()[i] < logits.size(1),
             "scl_finetune: labels: expected 0 to ", logits.size(1) - 1, ", got ", flat.data<int64_t>()[i],
             " in row ", i);
  const Var entropy = mean(cross_entropy(logits, labels));
  const SupConParams q{
      .temperature = p.temperature, .base_temperature = p.temperature, .normalize = p.normalize};
  const Var per_row = supcon(unsqueeze(z, 1), labels, q).loss;
  const Var contrastive = affine(per_row, p.sum ? static_cast<double>(n) : 1.0, 0.0);
  const Var loss =
      add(affine(cast(entropy, per_row.dtype()), 1 - p.weight, 0.0), affine(contrastive, p.weight, 0.0));
  return {loss, {{"cross_entropy", stop_gradient(entropy)}, {"contrastive", stop_gradient(contrastive)}}};
}

namespace {

// Labels of rows, `copies` times over.
Tensor repeated(const Tensor& label, int64_t copies) {
  const Tensor one = label.contiguous();
  Tensor all = Tensor::empty({copies * one.numel()}, DType::i64);
  for (int64_t c = 0; c < copies; ++c)
    std::copy_n(one.data<int64_t>(), one.numel(), all.write<int64_t>("mcl_infonce") + c * one.numel());
  return all;
}

}  // namespace

Loss mcl_infonce(const Var& z1, const Var& z2, const Tensor& label, const MclInfoNceParams& p) {
  check_embeddings("mcl_infonce", {{"z1", z1}, {"z2", z2}});
  check_temperature("mcl_infonce", p.temperature);
  const int64_t n = z1.size(0);
  JX_CHECK(label.defined() && label.dtype() == DType::i64 && label.dims() == Dims({n}),
           "mcl_infonce: label: expected i64 [", n, "], got ", label);
  const auto unit = [&](const Var& x) {
    return p.normalize ? l2_normalize(at_least_f32(x)) : at_least_f32(x);
  };
  const Var a = unit(z1), b = unit(z2);
  const Var own = affine(sum(mul(a, b), {1}), 1.0 / p.temperature, 0.0);  // s_ii
  // -log( e^own / (e^own + sum over the others of the cell) ) = softplus(lse of the others - own), which
  // keeps a loss near 0 exact: own and lse may be near 1 / temperature.
  ContrastOptions o;
  o.op = "mcl_infonce";
  o.over = LseOver::positives;
  const Var t = constant_temperature(p.temperature, a);
  if (p.two_sided) {
    o.row_ids = repeated(Tensor::arange(n), 2);  // leaves out both views of the sample
    o.row_groups = repeated(label, 2);
    const Var others = contrast_symmetric(std::vector{a, b}, t, o).lse;
    return mean_of(softplus(sub(others, cat(std::vector{own, own}, 0))));
  }
  o.row_ids = o.column_ids = Tensor::arange(n);
  o.row_groups = o.column_groups = repeated(label, 1);
  o.two_way = true;
  const ContrastResult s = contrast({&a, 1}, {&b, 1}, t, o);
  return mean_of(affine(add(softplus(sub(s.lse, own)), softplus(sub(s.column_lse, own))), 0.5, 0.0));
}

}  // namespace juxta::ssl

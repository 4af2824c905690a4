#include "ssl/losses/matching.h"

#include <algorithm>
#include <cmath>

#include "autograd/ops.h"

namespace juxta::ssl {

namespace {

Var zeros_like(const Var& x) { return Var(Tensor::zeros(x.dims(), x.dtype())); }

void check_alpha(const char* loss, double alpha) {
  JX_CHECK(alpha >= 0 && alpha <= 1, loss, ": alpha: expected a number from 0 to 1, got ", alpha);
}

}  // namespace

Loss albef_itm(const Var& cls, const Var& weight, const Var& bias, const AlbefItmParams& p) {
  constexpr const char* kLoss = "albef_itm";
  check_embeddings(kLoss, {{"cls", cls}});
  const int64_t rows = cls.size(0), width = cls.size(1);
  JX_CHECK(weight.defined() && is_float(weight.dtype()) && weight.dims() == Dims({2, width}), kLoss,
           ": weight: expected [2, ", width, "], got ", weight);
  JX_CHECK(bias.defined() && is_float(bias.dtype()) && bias.dims() == Dims({2}), kLoss,
           ": bias: expected [2], got ", bias);
  check_finite(kLoss, {"weight", weight});
  check_finite(kLoss, {"bias", bias});
  JX_CHECK(p.n_positive > 0 || rows % 3 == 0, kLoss,
           ": n_positive: give it where the rows are not 3N, got cls ", cls);
  const int64_t positives = p.n_positive > 0 ? p.n_positive : rows / 3;
  JX_CHECK(p.n_positive >= 0 && positives <= rows, kLoss, ": n_positive: expected 0 to ", rows, ", got ",
           p.n_positive);
  Tensor label = Tensor::zeros({rows}, DType::i64);
  std::fill_n(label.write<int64_t>(kLoss), positives, 1);
  const Var x = at_least_f32(cls);
  const Var logits = linear(x, cast(weight, x.dtype()), cast(bias, x.dtype()));
  const Var samples = cross_entropy(logits, label);
  return {mean(samples),
          {{"logits", stop_gradient(logits)},
           {"match_probability", select(softmax(stop_gradient(logits)), 1, 1)}},
          stop_gradient(samples)};
}

Loss albef_mlm(const Var& logits, const Tensor& teacher_logits, const Tensor& labels,
               const AlbefMlmParams& p) {
  constexpr const char* kLoss = "albef_mlm";
  check_alpha(kLoss, p.alpha);
  JX_CHECK(logits.defined() && is_float(logits.dtype()) && logits.ndim() == 3 && logits.numel() > 0, kLoss,
           ": logits: expected a float [N, L, V], got ", logits);
  JX_CHECK(teacher_logits.defined() && teacher_logits.dims() == logits.dims() &&
               teacher_logits.dtype() == logits.dtype(),
           kLoss, ": teacher_logits: expected ", logits, " like logits, got ", teacher_logits);
  check_finite(kLoss, {"logits", logits});
  check_finite(kLoss, {"teacher_logits", Var(teacher_logits)});
  const int64_t words = logits.size(2), places = logits.size(0) * logits.size(1);
  const std::vector<int64_t> label = integers_for(kLoss, "labels", labels, {logits.size(0), logits.size(1)});
  std::vector<int64_t> masked, word;
  for (int64_t i = 0; i < places; ++i) {
    const int64_t w = label[static_cast<size_t>(i)];
    if (w == p.ignore_index) continue;
    JX_CHECK(w >= 0 && w < words, kLoss, ": labels: expected a word below ", words, " or ", p.ignore_index,
             ", got ", w);
    masked.push_back(i);
    word.push_back(w);
  }
  const Var flat = reshape(at_least_f32(logits), {places, words});
  if (masked.empty()) {
    const Var none = affine(sum(flat), 0.0, 0.0);
    return {none, {{"loss_hard", stop_gradient(none)}, {"loss_soft", stop_gradient(none)}}};
  }
  const auto tensor_of = [](const std::vector<int64_t>& v) {
    return Tensor::from(std::span<const int64_t>(v), {static_cast<int64_t>(v.size())});
  };
  const Tensor at = tensor_of(masked);
  const Var x = index_select(flat, 0, at);
  const Var teacher = index_select(reshape(at_least_f32(Var(teacher_logits)), {places, words}), 0, at);
  const Var hard = cross_entropy(x, tensor_of(word));
  const Var soft = soft_cross_entropy(x, softmax(teacher).value());
  const Var samples = add(affine(hard, 1.0 - p.alpha, 0.0), affine(soft, p.alpha, 0.0));
  return {mean(samples),
          {{"loss_hard", stop_gradient(mean(hard))}, {"loss_soft", stop_gradient(mean(soft))}},
          stop_gradient(samples)};
}

namespace {

struct DcdWeights {
  std::vector<double> uncertainty, distill;  // u, r
};

// In double: where a teacher is nearly certain, the shares of tiny entropies count.
DcdWeights dcd_weights(const Tensor& teacher_score, bool dynamic) {
  const Tensor teacher = teacher_score.to(DType::f64).contiguous();
  const int64_t b = teacher.size(0), c = teacher.size(1);
  const double even = 1.0 / static_cast<double>(b);
  DcdWeights w{std::vector<double>(static_cast<size_t>(b), even),
               std::vector<double>(static_cast<size_t>(b), even)};
  if (!dynamic) return w;
  std::vector<double> entropy;
  double total = 0;
  for (int64_t i = 0; i < b; ++i) {
    const double* row = teacher.data<double>() + i * c;
    const double top = *std::max_element(row, row + c);
    double sum = 0, weighted = 0;  // of e^x and e^x x, x = t - top
    for (int64_t k = 0; k < c; ++k) {
      const double x = row[k] - top, e = std::exp(x);
      sum += e, weighted += e * x;
    }
    entropy.push_back(std::log(sum) - weighted / sum);
    total += entropy.back();
  }
  if (total > 0)
    for (size_t i = 0; i < entropy.size(); ++i) w.uncertainty[i] = entropy[i] / total;
  double sum = 0;
  for (size_t i = 0; i < entropy.size(); ++i) {
    w.distill[i] = std::exp((1 - w.uncertainty[i]) * (1 - w.uncertainty[i]));
    sum += w.distill[i];
  }
  for (double& r : w.distill) r /= sum;
  return w;
}

}  // namespace

Loss dcd_loss(const Var& student_score, const Tensor& teacher_score, const DcdParams& p) {
  constexpr const char* kLoss = "dcd_loss";
  check_embeddings(kLoss, {{"student_score", student_score}, {"teacher_score", Var(teacher_score)}});
  check_temperature(kLoss, p.temperature);
  check_alpha(kLoss, p.alpha);
  const int64_t b = student_score.size(0), c = student_score.size(1);
  const DcdWeights w = dcd_weights(teacher_score, p.dynamic);
  const Var s = at_least_f32(student_score), t = at_least_f32(Var(teacher_score));
  const auto constant = [&](const std::vector<double>& v) {
    return Var(Tensor::from(std::span<const double>(v), {b}).to(s.dtype()));
  };
  const Var u = constant(w.uncertainty), r = constant(w.distill);
  const Var squares = mean(square(sub(t, s)), {1});
  const Var distill = p.per_sample ? mul(r, squares) : affine(squares, 1.0 / static_cast<double>(b), 0.0);
  // BCE with logits: softplus(-s) for the true caption, softplus(s) for the others
  Tensor sign = Tensor::full({1, c}, 1.0, s.dtype());
  sign.slice(1, 0, 1).fill(-1.0, kLoss);
  const Var label = mul(u, mean(softplus(mul(s, Var(sign))), {1}));
  const Var samples = add(affine(distill, p.alpha, 0.0), affine(label, 1.0 - p.alpha, 0.0));
  return {sum(samples),
          {{"d_loss", stop_gradient(sum(distill))},
           {"nll_loss", stop_gradient(sum(label))},
           {"uncertainty", u},
           {"distill_weight", r}},
          stop_gradient(samples)};
}

namespace {

// bool [G, C]: the documents that exist.
Tensor documents(const Tensor& mask, int64_t groups, int64_t columns) {
  Tensor exists = Tensor::full({groups, columns}, 1.0, DType::boolean);
  if (!mask.defined()) return exists;
  const std::vector<int64_t> given = integers_for("rerank_loss", "mask", mask, {groups, columns});
  for (int64_t i = 0; i < groups * columns; ++i) {
    const bool there = given[static_cast<size_t>(i)] != 0;
    JX_CHECK(there || i % columns != 0,
             "rerank_loss: mask: document 0, the relevant one, is missing in group ", i / columns);
    exists.write<bool>("rerank_loss")[i] = there;
  }
  return exists;
}

void check_rerank(const Var& hidden, const Var& yes, const Var& no, const RerankParams& p) {
  constexpr const char* kLoss = "rerank_loss";
  JX_CHECK(hidden.defined() && is_float(hidden.dtype()) && hidden.ndim() == 3 && hidden.numel() > 0, kLoss,
           ": hidden: expected a float [G, C, D], got ", hidden);
  check_finite(kLoss, {"hidden", hidden});
  for (const auto& [name, x] : {Named{"token_yes", yes}, Named{"token_no", no}}) {
    JX_CHECK(x.defined() && is_float(x.dtype()) && x.dims() == Dims({hidden.size(2)}), kLoss, ": ", name,
             ": expected [", hidden.size(2), "], got ", x);
    check_finite(kLoss, {name, x});
  }
  check_temperature(kLoss, p.temperature);
  JX_CHECK(p.loss == RerankForm::cl || p.temperature == 1, kLoss,
           ": temperature: belongs to loss \"cl\", got ", p.temperature);
  JX_CHECK(p.tau >= 0 && p.tau < 1, kLoss, ": tau: expected 0 <= tau < 1, got ", p.tau);
  JX_CHECK(p.tau == 0 || (p.loss == RerankForm::url && p.weight == RerankWeight::base), kLoss,
           ": tau: belongs to loss \"url\" with weight \"base\", got ", p.tau);
}

// [G, C] +1 for the relevant document, -1 for the others.
Var answers(int64_t groups, int64_t columns, DType dtype) {
  Tensor sign = Tensor::full({groups, columns}, -1.0, dtype);
  sign.slice(1, 0, 1).fill(1.0, "rerank_loss");
  return Var(sign);
}

// W of the unified loss: constants, 0 where there is no document.
Var rerank_weight(const Var& z_yes, const Var& difference, const Tensor& exists, const RerankParams& p) {
  const int64_t c = z_yes.size(1);
  const Var zero = zeros_like(z_yes), sign = answers(z_yes.size(0), c, z_yes.dtype());
  const Var right = sigmoid(mul(sign, difference)), wrong = sigmoid(neg(mul(sign, difference)));
  if (p.weight == RerankWeight::sft) return where(exists, wrong, zero);
  if (p.weight == RerankWeight::cl) {
    const Var negatives = slice(softmax(z_yes, exists), 1, 1, c);
    return cat(std::vector{sum(negatives, {1}, true), negatives}, 1);
  }
  Tensor counts = exists.clone();
  const Tensor known = right.value().to(DType::f64).contiguous();
  for (int64_t i = 0; i < counts.numel(); ++i)
    if (known.data<double>()[i] > 1 - p.tau) counts.write<bool>("rerank_loss")[i] = false;
  return where(counts, affine(zero, 1.0, 1.0), zero);
}

}  // namespace

Loss rerank_loss(const Var& hidden, const Var& token_yes, const Var& token_no, const Tensor& mask,
                 const RerankParams& p) {
  check_rerank(hidden, token_yes, token_no, p);
  const int64_t groups = hidden.size(0), c = hidden.size(1);
  const Tensor exists = documents(mask, groups, c);
  const Var h = at_least_f32(hidden);
  const Var z = linear(h, stack(std::vector{cast(token_yes, h.dtype()), cast(token_no, h.dtype())}, 0), {});
  const Var z_yes = select(z, 2, 0), difference = sub(z_yes, select(z, 2, 1));
  const Var sign = answers(groups, c, h.dtype());
  const auto result = [](const Var& samples, const char* term, const Var& value) {
    return Loss{mean(samples), {{term, stop_gradient(value)}}, stop_gradient(samples)};
  };
  if (p.loss == RerankForm::cl) {
    const Var logits = affine(z_yes, 1.0 / p.temperature, 0.0);
    return result(sub(logsumexp(logits, exists), select(logits, 1, 0)), "score", z_yes);
  }
  if (p.loss == RerankForm::sft) {
    const Var each = where(exists, softplus(neg(mul(sign, difference))), zeros_like(z_yes));
    Var samples = sum(each, {1});
    if (p.reduction ==
        RerankReduction::document) {  // over all documents of the batch; samples average to that
      int64_t count = 0;
      for (int64_t i = 0; i < exists.numel(); ++i) count += exists.data<bool>()[i];
      samples = affine(samples, static_cast<double>(groups) / static_cast<double>(count), 0.0);
    }
    return result(samples, "score", sigmoid(difference));
  }
  const Var w = [&] {
    const NoGrad constant;
    return rerank_weight(z_yes, difference, exists, p);
  }();
  const Var& d = p.direction == RerankDirection::cl ? z_yes : difference;
  return result(neg(sum(mul(mul(sign, w), d), {1})), "weight", w);
}

}  // namespace juxta::ssl

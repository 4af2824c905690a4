#include "ssl/losses/continual.h"

#include <algorithm>
#include <cmath>

#include "autograd/contrast.h"
#include "autograd/ops.h"

namespace juxta::ssl {

namespace {

void check_per_row(const char* loss, const char* name, const Tensor& t, int64_t n) {
  JX_CHECK(t.defined() && t.dtype() == DType::i64 && t.dims() == Dims({n}), loss, ": ", name,
           ": expected i64 [", n, "], got ", t);
}

// Indices of the rows with a value other than 0.
Tensor rows_where(const Tensor& flags) {
  std::vector<int64_t> rows;
  for (int64_t i = 0; i < flags.numel(); ++i)
    if (flags.at({i}) != 0) rows.push_back(i);
  return Tensor::from(std::span<const int64_t>(rows), {static_cast<int64_t>(rows.size())});
}

Tensor pick(const Tensor& labels, const Tensor& rows) {
  Tensor out = Tensor::empty(rows.dims(), DType::i64);
  for (int64_t i = 0; i < rows.numel(); ++i)
    out.write<int64_t>("coconut")[i] = static_cast<int64_t>(labels.at({rows.data<int64_t>()[i]}));
  return out;
}

// 0 with a zero gradient to x.
Loss nothing(const Var& x) { return {affine(sum(x), 0.0, 0.0), {}}; }

// sum over positives / number of them; rows without any: 0.
struct Mean {
  Var value;   // [R]
  Tensor any;  // bool [R]
};
Mean mean_positive(const ContrastResult& s) {
  const Tensor count = s.count.to(DType::f64).contiguous();
  Tensor inverse = Tensor::empty(count.dims(), DType::f64), any = Tensor::empty(count.dims(), DType::boolean);
  for (int64_t i = 0; i < count.numel(); ++i) {
    const double c = count.data<double>()[i];
    any.write<bool>("coconut")[i] = c > 0;
    inverse.write<double>("coconut")[i] = 1 / std::max(c, 1.0);
  }
  return {mul(s.positive, Var(inverse.to(s.positive.dtype()))), any};
}

Loss reduced(const Var& samples, AnchorMean reduction) {
  return {reduction == AnchorMean::mean ? mean(samples) : sum(samples), {}, stop_gradient(samples)};
}

Var unit(const Var& x) { return l2_normalize(at_least_f32(x)); }

}  // namespace

Loss coconut_nspt(const Var& student, const Var& teacher, const Tensor& labels, const Tensor& rehearsal,
                  const CoconutNsptParams& p) {
  constexpr const char* kLoss = "coconut_nspt";
  check_embeddings(kLoss, {{"student", student}, {"teacher", teacher}});
  check_temperature(kLoss, p.temperature);
  const int64_t n = student.size(0);
  check_per_row(kLoss, "labels", labels, n);
  check_per_row(kLoss, "rehearsal", rehearsal, n);
  const Tensor anchors = rows_where(rehearsal);
  const Var s = unit(student), t = stop_gradient(unit(teacher));
  if (anchors.numel() == 0) return nothing(s);
  const Var rows = index_select(s, 0, anchors), temperature = constant_temperature(p.temperature, s);
  ContrastOptions positives;  // through the teacher
  positives.op = kLoss;
  positives.row_groups = pick(labels, anchors);
  positives.column_groups = labels;
  if (!p.include_self) positives.row_ids = anchors, positives.column_ids = Tensor::arange(n);
  const ContrastResult through_teacher = contrast({&rows, 1}, {&t, 1}, temperature, positives);
  ContrastOptions all;
  all.op = kLoss;
  if (p.skip_anchor) all.row_ids = anchors, all.column_ids = Tensor::arange(n);
  const Var& columns = p.negatives == NsptNegatives::student ? s : t;
  const ContrastResult denominator = contrast({&rows, 1}, {&columns, 1}, temperature, all);
  const Mean positive = mean_positive(through_teacher);
  const Tensor counted = rows_where(positive.any);
  if (counted.numel() == 0) return nothing(s);
  return reduced(index_select(sub(denominator.lse, positive.value), 0, counted), p.reduction);
}

Loss coconut_mm(const Var& audio, const Var& text, const Tensor& labels, const Tensor& is_new,
                const CoconutMmParams& p) {
  constexpr const char* kLoss = "coconut_mm";
  check_embeddings(kLoss, {{"audio", audio}, {"text", text}});
  check_temperature(kLoss, p.temperature);
  const int64_t n = audio.size(0);
  check_per_row(kLoss, "labels", labels, n);
  check_per_row(kLoss, "is_new", is_new, n);
  const Tensor anchors = p.anchors == MmAnchors::all ? Tensor::arange(n) : rows_where(is_new);
  const Var a = unit(audio), t = unit(text);
  if (anchors.numel() == 0) return nothing(add(a, t));
  ContrastOptions o;
  o.op = kLoss;
  o.row_groups = pick(labels, anchors);
  o.column_groups = labels;
  // an anchor's own pair is among its positives
  const auto one_way = [&](const Var& from, const Var& to) {
    const Var rows = index_select(from, 0, anchors);
    const ContrastResult s = contrast({&rows, 1}, {&to, 1}, constant_temperature(p.temperature, a), o);
    return sub(s.lse, mean_positive(s).value);
  };
  return reduced(add(one_way(a, t), one_way(t, a)), p.reduction);
}

namespace {

// mean_p log(1 + e^{lse - s_p}), per anchor of one class.
Var against_queues(const Var& q, const Var& own, const Var& other, const HpclParams& p) {
  ContrastOptions o;
  o.op = "hpcl";
  o.stop_columns = true;
  const Var temperature = constant_temperature(p.temperature, q);
  if (p.denominator == Denominator::all) {
    const std::vector<Var> both{own, other};
    o.row_groups = Tensor::zeros({q.size(0)}, DType::i64);
    o.column_groups = Tensor::zeros({own.size(0) + other.size(0)}, DType::i64);
    for (int64_t j = own.size(0); j < o.column_groups.numel(); ++j)
      o.column_groups.write<int64_t>("hpcl")[j] = 1;
    const ContrastResult s = contrast({&q, 1}, both, temperature, o);
    return sub(s.lse, mean_positive(s).value);
  }
  const Var lse = contrast({&q, 1}, {&other, 1}, temperature, o).lse;
  const Var s = affine(matmul(q, transpose(own, 0, 1)), 1 / p.temperature, 0.0);
  return mean(softplus(sub(unsqueeze(lse, 1), s)), {1});
}

void check_queue(const char* name, const Tensor& queue, const Var& q) {
  if (!queue.defined()) return;
  JX_CHECK(queue.dtype() == q.dtype() && queue.ndim() == 2 && queue.size(1) == q.size(1), "hpcl: ", name,
           ": expected ", q.dtype(), " [K, ", q.size(1), "] like q, got ", queue);
  if (queue.numel()) check_finite("hpcl", {name, Var(queue)});
}

}  // namespace

Loss hpcl(const Var& q, const Tensor& labels, const Tensor& queue0, const Tensor& queue1,
          const HpclParams& p) {
  check_embeddings("hpcl", {{"q", q}});
  check_temperature("hpcl", p.temperature);
  check_per_row("hpcl", "labels", labels, q.size(0));
  check_queue("queue0", queue0, q);
  check_queue("queue1", queue1, q);
  const Var x = unit(q);
  std::vector<int64_t> of_class[2];
  for (int64_t i = 0; i < labels.numel(); ++i) {
    const double y = labels.at({i});
    JX_CHECK(y >= -1 && y <= 1, "hpcl: labels: expected 0, 1 or -1 (skipped), got ", y, " in row ", i);
    if (y >= 0) of_class[static_cast<size_t>(y)].push_back(i);
  }
  const auto is_empty = [](const Tensor& queue) { return !queue.defined() || queue.size(0) == 0; };
  if (is_empty(queue0) || is_empty(queue1) || (of_class[0].empty() && of_class[1].empty())) return nothing(x);
  const Var queue[2] = {unit(Var(queue0)), unit(Var(queue1))};
  std::vector<Var> parts;
  for (size_t c = 0; c < 2; ++c) {
    const int64_t count = static_cast<int64_t>(of_class[c].size());
    if (count == 0) continue;
    const Var rows = index_select(x, 0, Tensor::from(std::span<const int64_t>(of_class[c]), {count}));
    parts.push_back(against_queues(rows, queue[c], queue[1 - c], p));
  }
  const Var anchors = cat(parts, 0);
  return {mean(anchors), {}, stop_gradient(anchors)};
}

Loss beclr(const Var& p, const Var& z_teacher, const Var& z_student, const BeclrParams& params) {
  check_embeddings("beclr", {{"p", p}, {"z_teacher", z_teacher}, {"z_student", z_student}});
  check_temperature("beclr", params.temperature);
  const int64_t rows = p.size(0), m = rows / 2;
  JX_CHECK(rows % 2 == 0 && m >= 2, "beclr: p: expected 2M rows of two views with M >= 2, got ", p);
  const Var x = unit(p), teacher = stop_gradient(unit(z_teacher)), student = unit(z_student);
  const auto half = [&](const Var& z, int view) { return slice(z, 0, view * m, (view + 1) * m); };
  const Var crossed = cat(std::vector{half(teacher, 1), half(teacher, 0)}, 0);
  const Var loss_pos = neg(mean(sum(mul(x, crossed), {1})));
  const std::vector<Var> u =
      params.uniformity == Uniformity::ss   ? std::vector{half(student, 0), half(student, 1)}
      : params.uniformity == Uniformity::st ? std::vector{half(student, 0), half(teacher, 1)}
                                            : std::vector{half(teacher, 0), half(teacher, 1)};
  ContrastOptions o;
  o.op = "beclr";
  o.row_ids = Tensor::empty({rows}, DType::i64);
  for (int64_t i = 0; i < rows; ++i) o.row_ids.write<int64_t>("beclr")[i] = i % m;
  const Var lse = contrast_symmetric(u, constant_temperature(params.temperature, x), o).lse;
  const double pairs = static_cast<double>(rows) * static_cast<double>(rows - 2);
  const Var loss_neg = affine(logsumexp(lse), 1.0, -std::log(pairs));
  const Var spread = mean(sqrt(variance(teacher, {0})));
  return {add(loss_pos, affine(loss_neg, params.lamb_neg, 0.0)),
          {{"loss_pos", stop_gradient(loss_pos)}, {"loss_neg", stop_gradient(loss_neg)}, {"std", spread}}};
}

}  // namespace juxta::ssl

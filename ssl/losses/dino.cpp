#include "ssl/losses/dino.h"

#include <algorithm>

#include "autograd/ops.h"
#include "ssl/losses/sinkhorn.h"

namespace juxta::ssl {

namespace {

// Error unless x is a finite float tensor of these dims (-1: any size of at least 1) beside `like`.
void check_logits(const char* loss, Named x, const Dims& dims, const Var& like) {
  bool fits = x.value.defined() && is_float(x.value.dtype()) && x.value.ndim() == dims.size() &&
              x.value.numel() > 0 && x.value.dtype() == like.dtype() && x.value.device() == like.device();
  for (int d = 0; fits && d < dims.size(); ++d) fits = dims[d] < 0 || dims[d] == x.value.size(d);
  JX_CHECK(fits, loss, ": ", x.name, ": expected ", like.dtype(), " ", dims, " (-1: any size), got ",
           x.value);
  check_finite(loss, x);
}

// The centre is kept in f32 beside bf16 logits.
void check_center(const char* loss, Named center, int64_t size) {
  JX_CHECK(center.value.defined() && is_float(center.value.dtype()) && center.value.dims() == Dims({size}),
           loss, ": ", center.name, ": expected a float [", size, "], got ", center.value);
  check_finite(loss, center);
}

void check_momentum(const char* loss, const char* name, double momentum) {
  JX_CHECK(momentum >= 0 && momentum <= 1, loss, ": ", name, ": expected 0 to 1, got ", momentum);
}

// softmax((logits - center) / temperature), a constant.
Tensor centred_softmax(const Var& logits, const Var& center, double temperature) {
  const NoGrad no_grad;
  const Var x = at_least_f32(logits), c(center.value().to(x.dtype()));
  return softmax(affine(sub(x, c), 1.0 / temperature, 0.0)).value();
}

Tensor balanced_over_rows(const char* loss, const Var& logits, double temperature, int64_t iterations) {
  const NoGrad no_grad;
  const Var x = at_least_f32(logits);
  const int64_t p = x.size(-1);
  const Var rows = affine(reshape(x, {x.numel() / p, p}), 1.0 / temperature, 0.0);
  return balance(loss, rows.value(), iterations).view(x.dims());
}

// Per image the sum over (t, s), s != t, of - sum q_t log softmax(student_s / temperature) over the number
// of pairs, [N]. Every local crop has one target, the mean over all teacher views.
Var across_views(const Var& student, const Tensor& q, double temperature) {
  const int64_t crops = student.size(0), views = q.size(0);
  const double weight = 1.0 / static_cast<double>(views * crops - views);
  const auto target = [&](int64_t without) {
    const NoGrad no_grad;
    Var total(Tensor::zeros({q.size(1), q.size(2)}, q.dtype(), q.device()));
    for (int64_t t = 0; t < views; ++t)
      if (t != without) total = add(total, Var(q.select(0, t)));
    return affine(total, weight, 0.0).value();
  };
  const Tensor local = crops > views ? target(-1) : Tensor();
  std::vector<Var> of_crop;
  for (int64_t s = 0; s < crops; ++s) {
    const Var logits = affine(at_least_f32(select(student, 0, s)), 1.0 / temperature, 0.0);
    of_crop.push_back(soft_cross_entropy(logits, s < views ? target(s) : local));
  }
  return sum(stack(of_crop, 0), {0});
}

void check_crops(const char* loss, Named student, Named teacher) {
  check_logits(loss, student, {-1, -1, -1}, student.value);
  const Var& s = student.value;
  check_logits(loss, teacher, {-1, s.size(1), s.size(2)}, s);
  JX_CHECK(s.size(0) >= 2 && teacher.value.size(0) <= s.size(0), loss, ": ", student.name,
           ": expected at least 2 crops, the teacher's ", teacher.value.size(0), " views first, got ", s);
}

// The rows of masked patches and the weight of each in the mean over views and images.
struct Masked {
  Tensor row, weight;  // i64 [R], [R]
};
Masked masked_rows(const Tensor& mask, DType dtype) {
  const Tensor m = mask.contiguous();
  const int64_t patches = m.size(-1), images = m.numel() / patches;
  std::vector<int64_t> row;
  std::vector<double> weight;
  for (int64_t i = 0; i < images; ++i) {
    const int64_t* of = m.data<int64_t>() + i * patches;
    const auto count = static_cast<double>(std::count_if(of, of + patches, [](int64_t v) { return v != 0; }));
    for (int64_t l = 0; l < patches; ++l) {
      if (of[l] == 0) continue;
      row.push_back(i * patches + l);
      weight.push_back(1 / (count * static_cast<double>(images)));
    }
  }
  const Dims dims{static_cast<int64_t>(row.size())};
  return {Tensor::from(std::span<const int64_t>(row), dims),
          Tensor::from(std::span<const double>(weight), dims).to(dtype)};
}

// Rows of x [.., Q] at these places of all but the last axis.
Var rows_of(const Var& x, const Tensor& row) {
  return index_select(reshape(x, {x.numel() / x.size(-1), x.size(-1)}), 0, row);
}

}  // namespace

Tensor moved_center(const Tensor& center, const Tensor& logits, double momentum) {
  check_momentum("moved_center", "momentum", momentum);
  const NoGrad no_grad;
  const int64_t p = logits.size(-1);
  const Var rows = at_least_f32(reshape(Var(logits), {logits.numel() / p, p}));
  const Var c(center.to(rows.dtype()));
  return add(affine(c, momentum, 0.0), affine(mean(rows, {0}), 1.0 - momentum, 0.0)).value();
}

Loss dino(const Var& student, const Var& teacher, const Var& center, const DinoParams& p) {
  check_crops("dino", {"student", student}, {"teacher", teacher});
  check_center("dino", {"center", center}, student.size(2));
  check_temperature("dino", p.student_temperature, "student_temperature");
  check_temperature("dino", p.teacher_temperature, "teacher_temperature");
  check_momentum("dino", "center_momentum", p.center_momentum);
  JX_CHECK(p.centering == Centering::mean || p.sinkhorn_iterations >= 1,
           "dino: sinkhorn_iterations: expected at least 1, got ", p.sinkhorn_iterations);
  const Tensor q = p.centering == Centering::mean
                       ? centred_softmax(teacher, center, p.teacher_temperature)
                       : balanced_over_rows("dino", teacher, p.teacher_temperature, p.sinkhorn_iterations);
  const Var samples = across_views(student, q, p.student_temperature);
  return {mean(samples),
          {{"teacher_prob", Var(q)},
           {"center", Var(moved_center(center.value(), teacher.value(), p.center_momentum))}},
          stop_gradient(samples)};
}

Loss ibot(const IbotTokens& t, const IbotParams& p) {
  constexpr const char* kLoss = "ibot";
  check_crops(kLoss, {"student_cls", t.student_cls}, {"teacher_cls", t.teacher_cls});
  const int64_t views = t.teacher_cls.size(0), n = t.teacher_cls.size(1);
  check_logits(kLoss, {"student_patch", t.student_patch}, {views, n, -1, -1}, t.student_cls);
  const int64_t patches = t.student_patch.size(2), width = t.student_patch.size(3);
  check_logits(kLoss, {"teacher_patch", t.teacher_patch}, {views, n, patches, width}, t.student_cls);
  JX_CHECK(t.mask.defined() && t.mask.dtype() == DType::i64 && t.mask.dims() == Dims({views, n, patches}),
           kLoss, ": mask: expected i64 [", views, ", ", n, ", ", patches, "], got ", t.mask);
  check_center(kLoss, {"center", t.center}, t.student_cls.size(2));
  check_center(kLoss, {"patch_center", t.patch_center}, width);
  check_temperature(kLoss, p.student_temperature, "student_temperature");
  check_temperature(kLoss, p.teacher_temperature, "teacher_temperature");
  check_temperature(kLoss, p.teacher_patch_temperature, "teacher_patch_temperature");
  check_momentum(kLoss, "center_momentum", p.center_momentum);
  check_momentum(kLoss, "patch_center_momentum", p.patch_center_momentum);

  const Tensor q = centred_softmax(t.teacher_cls, t.center, p.teacher_temperature);
  const Var cls = affine(mean(across_views(t.student_cls, q, p.student_temperature)), p.cls_weight, 0.0);

  // Only masked rows are computed: a fifth of all, and each as wide as the head.
  const Masked masked = masked_rows(t.mask, q.dtype());
  const Tensor target = centred_softmax(rows_of(stop_gradient(t.teacher_patch), masked.row), t.patch_center,
                                        p.teacher_patch_temperature);
  const Var logits =
      affine(at_least_f32(rows_of(t.student_patch, masked.row)), 1.0 / p.student_temperature, 0.0);
  const Var patch =
      affine(sum(mul(soft_cross_entropy(logits, target), Var(masked.weight))), p.patch_weight, 0.0);
  return {add(cls, patch),
          {{"cls_loss", stop_gradient(cls)},
           {"patch_loss", stop_gradient(patch)},
           {"center", Var(moved_center(t.center.value(), t.teacher_cls.value(), p.center_momentum))},
           {"patch_center",
            Var(moved_center(t.patch_center.value(), t.teacher_patch.value(), p.patch_center_momentum))}}};
}

}  // namespace juxta::ssl

#include "ssl/losses/supcon.h"

#include <algorithm>

#include "autograd/contrast.h"
#include "autograd/ops.h"

namespace juxta::ssl {

namespace {

void check_features(const char* loss, const Var& features, const Tensor& labels) {
  JX_CHECK(features.defined() && is_float(features.dtype()) && features.ndim() == 3 &&
               features.size(0) >= 1 && features.size(1) >= 1 && features.size(2) >= 1,
           loss, ": features: expected a float [N, V, D] with N, V, D >= 1, got ", features);
  check_finite(loss, {"features", features});
  JX_CHECK(!labels.defined() || (labels.dtype() == DType::i64 && labels.dims() == Dims({features.size(0)})),
           loss, ": labels: expected i64 [", features.size(0), "], got ", labels);
}

// labels of all rows: one copy per view.
Tensor per_view(const Tensor& labels, int64_t n, int64_t views) {
  const Tensor one = (labels.defined() ? labels : Tensor::arange(n)).contiguous();
  Tensor all = Tensor::empty({n * views}, DType::i64);
  for (int64_t a = 0; a < n * views; ++a) all.write<int64_t>("supcon")[a] = one.data<int64_t>()[a % n];
  return all;
}

// mask [N, N] between the rows of all views, as bool.
Tensor per_view_mask(const Tensor& mask, int64_t n, int64_t anchors, int64_t rows) {
  const Tensor m = mask.to(DType::i64).contiguous();
  Tensor all = Tensor::empty({anchors, rows}, DType::boolean);
  bool* out = all.write<bool>("supcon_mask");
  for (int64_t a = 0; a < anchors; ++a)
    for (int64_t b = 0; b < rows; ++b) out[a * rows + b] = m.data<int64_t>()[(a % n) * n + b % n] != 0;
  return all;
}

// 1 / max(count, 1), and whether there is any.
struct Counts {
  Var inverse;
  Tensor any;  // bool
};
Counts counts_of(const Tensor& count) {
  Tensor inverse = count.to(DType::f64).clone(), any = Tensor::empty(count.dims(), DType::boolean);
  double* p = inverse.write<double>("supcon");
  for (int64_t i = 0; i < count.numel(); ++i) {
    any.write<bool>("supcon")[i] = p[i] > 0;
    p[i] = 1 / std::max(p[i], 1.0);
  }
  return {Var(inverse.to(count.dtype())), any};
}

// Anchors against all rows.
struct Rows {
  Var z;        // [V N, D], view-major
  Var anchors;  // z, or its first N rows
  int64_t n, views;
};
Rows rows_of(const Var& features, ContrastMode mode) {
  const int64_t n = features.size(0), v = features.size(1), d = features.size(2);
  const Var z = reshape(transpose(features, 0, 1), {v * n, d});
  return {z, mode == ContrastMode::one ? slice(z, 0, 0, n) : z, n, v};
}

ContrastResult against_all(const Rows& r, const Tensor& labels, const Tensor& mask, const SupConParams& p,
                           LseOver over, const char* op) {
  const int64_t anchors = r.anchors.size(0), rows = r.z.size(0);
  ContrastOptions o;
  o.op = op;
  o.normalize = p.normalize;
  o.over = over;
  o.row_ids = Tensor::arange(anchors);  // an anchor is neither its own positive nor its own negative
  if (mask.defined())
    o.positive_mask = per_view_mask(mask, r.n, anchors, rows);
  else
    o.row_groups = per_view(labels, r.n, anchors / r.n);
  const Var temperature = constant_temperature(p.temperature, r.z);
  if (anchors == rows) return contrast_symmetric({&r.z, 1}, temperature, o);
  o.column_ids = Tensor::arange(rows);
  if (!mask.defined()) o.column_groups = per_view(labels, r.n, r.views);
  return contrast({&r.anchors, 1}, {&r.z, 1}, temperature, o);
}

// Anchors without positives give 0 and are counted in the mean.
Loss finish(const Var& samples, const Tensor& any, const SupConParams& p) {
  const Var kept = where(any, samples, Var(Tensor::zeros(samples.dims(), samples.dtype())));
  return {affine(mean(kept), p.temperature / p.base_temperature, 0.0), {}, stop_gradient(kept)};
}

void check_temperatures(const char* loss, const SupConParams& p) {
  check_temperature(loss, p.temperature);
  check_temperature(loss, p.base_temperature, "base_temperature");
}

// -1/|P| sum_P (s_ap - lse_a) = lse_a - (sum_P s_ap) / |P|
Loss outside(const Rows& r, const Tensor& labels, const Tensor& mask, const SupConParams& p, const char* op) {
  const ContrastResult s = against_all(r, labels, mask, p, LseOver::all, op);
  const Counts c = counts_of(s.count);
  return finish(sub(s.lse, mul(s.positive, c.inverse)), c.any, p);
}

// lse over all - lse over the positives + log |P|
Loss inside(const Rows& r, const Tensor& labels, const Tensor& mask, const SupConParams& p, const char* op) {
  const ContrastResult s = against_all(r, labels, mask, p, LseOver::all, op);
  const ContrastResult positives = against_all(r, labels, mask, p, LseOver::positives, op);
  const Counts c = counts_of(s.count);
  const Var zero(Tensor::zeros(s.lse.dims(), s.lse.dtype()));
  return finish(sub(sub(s.lse, where(c.any, positives.lse, zero)), log(c.inverse)), c.any, p);
}

}  // namespace

Loss supcon(const Var& features, const Tensor& labels, const SupConParams& p) {
  check_features("supcon", features, labels);
  check_temperatures("supcon", p);
  return outside(rows_of(features, p.contrast_mode), labels, {}, p, "supcon");
}

Loss supcon_mask(const Var& features, const Tensor& labels, const Tensor& mask, const SupConMaskParams& p) {
  check_features("supcon_mask", features, labels);
  check_temperatures("supcon_mask", p);
  const int64_t n = features.size(0);
  JX_CHECK(!mask.defined() || (!is_float(mask.dtype()) && mask.dims() == Dims({n, n})),
           "supcon_mask: mask: expected i64 or bool [", n, ", ", n, "], got ", mask);
  JX_CHECK(!mask.defined() || !labels.defined(),
           "supcon_mask: labels and mask: each says who is a positive; give one");
  const Rows rows = rows_of(features, p.contrast_mode);
  return (p.variant == SupConVariant::out ? outside : inside)(rows, labels, mask, p, "supcon_mask");
}

}  // namespace juxta::ssl

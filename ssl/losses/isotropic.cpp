#include "ssl/losses/isotropic.h"

#include <cmath>

#include "autograd/ops.h"

namespace juxta::ssl {

namespace {

void check_views(const char* loss, Named x, const Var& like) {
  JX_CHECK(x.value.defined() && is_float(x.value.dtype()) && x.value.ndim() == 3 && x.value.size(1) >= 1 &&
               x.value.size(2) >= 1,
           loss, ": ", x.name, ": expected a float tensor of three axes, got ", x.value);
  JX_CHECK(x.value.size(2) == like.size(2) && x.value.dtype() == like.dtype(), loss, ": ", x.name,
           ": expected embeddings like ", like, ", got ", x.value);
  check_finite(loss, x);
}

// Per view and direction the weighed squared distance of the rows' characteristic function from that of the
// normal distribution, [V, M]; x [V, N, M].
Var normality(const Var& x, const LeJepaParams& p) {
  const double step = p.t_max / static_cast<double>(p.knots - 1);
  Var total;
  for (int64_t k = 0; k < p.knots; ++k) {
    const double t = step * static_cast<double>(k), normal = std::exp(-t * t / 2);
    const double weight = (k == 0 || k == p.knots - 1 ? 1 : 2) * step * normal;
    const Var angle = affine(x, t, 0.0);
    const Var real = affine(mean(cos(angle), {1}), 1.0, -normal), imaginary = mean(sin(angle), {1});
    const Var term = affine(add(square(real), square(imaginary)), weight, 0.0);
    total = total.defined() ? add(total, term) : term;
  }
  return total;
}

}  // namespace

Loss lejepa(const Var& global_views, const Var& local_views, const Var& directions, const LeJepaParams& p) {
  check_views("lejepa", {"global_views", global_views}, global_views);
  if (local_views.defined()) check_views("lejepa", {"local_views", local_views}, global_views);
  const int64_t n = global_views.size(1), d = global_views.size(2);
  JX_CHECK(global_views.size(0) >= 1, "lejepa: global_views: expected at least one view, got ", global_views);
  JX_CHECK(!local_views.defined() || local_views.size(1) == n,
           "lejepa: local_views: expected views of the same ", n, " images, got ", local_views);
  JX_CHECK(directions.defined() && is_float(directions.dtype()) && directions.ndim() == 2 &&
               directions.size(0) == d && directions.size(1) >= 1,
           "lejepa: directions: expected a float [", d, ", M], got ", directions);
  check_finite("lejepa", {"directions", directions});
  JX_CHECK(p.knots >= 2, "lejepa: knots: expected at least 2, got ", p.knots);
  check_temperature("lejepa", p.t_max, "t_max");
  JX_CHECK(p.lambd >= 0 && p.lambd <= 1, "lejepa: lambd: expected 0 to 1, got ", p.lambd);
  const Var global = at_least_f32(global_views);
  const Var views = local_views.defined() ? cat(std::vector{global, at_least_f32(local_views)}, 0) : global;
  const Var invariance = mean(square(sub(views, mean(global, {0}, true))));
  const Var columns(directions.value().to(views.dtype()));
  const Var unit = stop_gradient(transpose(l2_normalize(transpose(columns, 0, 1)), 0, 1));
  const Var sigreg = affine(mean(normality(matmul(views, unit), p)), static_cast<double>(n), 0.0);
  return {add(affine(sigreg, p.lambd, 0.0), affine(invariance, 1.0 - p.lambd, 0.0)),
          {{"invariance", stop_gradient(invariance)}, {"sigreg", stop_gradient(sigreg)}}};
}

Loss mmcr(const Var& online, const Var& momentum, const MmcrParams& p) {
  check_views("mmcr", {"online", online}, online);
  check_views("mmcr", {"momentum", momentum}, online);
  JX_CHECK(momentum.dims() == online.dims(), "mmcr: momentum: expected ", online, " like online, got ",
           momentum);
  JX_CHECK(online.numel() >= 1, "mmcr: online: expected at least one image, got ", online);
  JX_CHECK(std::isfinite(p.lambd), "mmcr: lambd: expected a number, got ", p.lambd);
  const Var parts[] = {at_least_f32(online), at_least_f32(momentum)};
  const Var all = cat(parts, 1), views = p.normalize ? l2_normalize(all) : all;
  const Var centroid = sum(singular_values(mean(views, {1})));
  const Var local = mean(sum(singular_values(views), {1}));
  return {sub(affine(local, p.lambd, 0.0), centroid),
          {{"centroid_norm", stop_gradient(centroid)}, {"local_norm", stop_gradient(local)}}};
}

}  // namespace juxta::ssl

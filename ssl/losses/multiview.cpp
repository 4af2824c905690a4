#include "ssl/losses/multiview.h"

#include <cmath>

#include "autograd/contrast.h"
#include "autograd/ops.h"
#include "ssl/losses/batch_contrastive.h"

namespace juxta::ssl {

namespace {

void check_views(const char* loss, const Var& z, double temperature, int64_t smallest) {
  JX_CHECK(z.defined() && is_float(z.dtype()) && z.ndim() == 3 && z.size(0) >= 2 && z.size(1) >= smallest &&
               z.size(2) >= 1,
           loss, ": z: expected a float [V, N, D] with V >= 2 and N >= ", smallest, ", got ", z);
  check_finite(loss, {"z", z});
  check_temperature(loss, temperature);
}

// 0 .. N-1 once per view: the sample of each view-major row; or the view of each row.
Tensor sample_of_row(int64_t views, int64_t n, bool view) {
  Tensor t = Tensor::empty({views * n}, DType::i64);
  for (int64_t a = 0; a < views * n; ++a) t.write<int64_t>("multiview")[a] = view ? a / n : a % n;
  return t;
}

Var rows_of(const Var& z) { return reshape(z, {z.size(0) * z.size(1), z.size(2)}); }

// log sum over the views of e^row, [V N] -> [N].
Var over_views(const Var& rows, int64_t views, int64_t n) {
  return logsumexp(transpose(reshape(rows, {views, n}), 0, 1));
}

Loss mean_of(const Var& samples) { return {mean(samples), {}, stop_gradient(samples)}; }

ContrastOptions options(const char* op, bool normalize) {
  ContrastOptions o;
  o.op = op;
  o.normalize = normalize;
  return o;
}

// log sum_l sum_{m != l} e^s(l,i; m,i), [N].
Var positives(const char* op, const Var& z, double temperature, bool normalize) {
  const int64_t v = z.size(0), n = z.size(1);
  const Var rows = rows_of(z);
  ContrastOptions o = options(op, normalize);
  o.over = LseOver::positives;
  o.row_ids = Tensor::arange(v * n);
  o.row_groups = sample_of_row(v, n, false);
  return over_views(contrast_symmetric({&rows, 1}, constant_temperature(temperature, rows), o).lse, v, n);
}

// log sum_{j != i} e^{z_i . z_j / temperature} of one view, [N].
Var energy(const char* op, const Var& z, double temperature, bool normalize) {
  ContrastOptions o = options(op, normalize);
  o.row_ids = Tensor::arange(z.size(0));
  return contrast_symmetric({&z, 1}, constant_temperature(temperature, z), o).lse;
}

Var unit(const Var& x, bool normalize) { return normalize ? l2_normalize(at_least_f32(x)) : at_least_f32(x); }

// Row i's similarity to row i over the temperature, [N].
Var paired(const Var& a, const Var& b, double temperature) {
  return affine(sum(mul(a, b), {1}), 1.0 / temperature, 0.0);
}

}  // namespace

Loss mv_infonce(const Var& z, const MvInfoNceParams& p) {
  check_views("mv_infonce", z, p.temperature, 1);
  const int64_t v = z.size(0), n = z.size(1);
  const Var rows = rows_of(z);
  ContrastOptions o = options("mv_infonce", p.normalize);
  o.row_ids = p.include_same_view ? Tensor::arange(v * n) : sample_of_row(v, n, true);
  const Var all =
      over_views(contrast_symmetric({&rows, 1}, constant_temperature(p.temperature, rows), o).lse, v, n);
  return mean_of(sub(all, positives("mv_infonce", z, p.temperature, p.normalize)));
}

Loss mv_dhel(const Var& z, const MvDhelParams& p) {
  check_views("mv_dhel", z, p.temperature, 2);
  Var energies;
  for (int64_t l = 0; l < z.size(0); ++l) {
    const Var e = energy("mv_dhel", select(z, 0, l), p.temperature, p.normalize);
    energies = energies.defined() ? add(energies, e) : e;
  }
  // every unordered pair twice in the ordered sum
  const Var pairs = affine(positives("mv_dhel", z, p.temperature, p.normalize), 1.0, -std::log(2.0));
  return mean_of(sub(energies, pairs));
}

Loss dhel(const Var& z1, const Var& z2, const DhelParams& p) {
  check_embeddings("dhel", {{"z1", z1}, {"z2", z2}});
  check_temperature("dhel", p.temperature);
  JX_CHECK(z1.size(0) >= 2, "dhel: z1: expected N >= 2, since other samples are the negatives, got ", z1);
  Var samples = sub(energy("dhel", z1, p.temperature, p.normalize),
                    paired(unit(z1, p.normalize), unit(z2, p.normalize), p.temperature));
  if (p.include_augs) samples = add(samples, energy("dhel", z2, p.temperature, p.normalize));
  return mean_of(samples);
}

Loss multiview_aggregate(const Var& z, const MultiviewAggregateParams& p) {
  check_views("multiview_aggregate", z, p.temperature, p.base == AggregateBase::dhel ? 2 : 1);
  const int64_t v = z.size(0);
  const auto two_views = [&](const Var& a, const Var& b, bool normalize) {
    if (p.base == AggregateBase::dhel)
      return dhel(a, b, {.temperature = p.temperature, .normalize = normalize}).loss;
    return nt_xent(a, b, {.temperature = p.temperature, .normalize = normalize}).loss;
  };
  std::vector<Var> losses;
  if (p.mode == AggregateMode::pwe) {
    for (int64_t l = 0; l < v; ++l)
      for (int64_t m = l + 1; m < v; ++m) losses.push_back(two_views(select(z, 0, l), select(z, 0, m), true));
  } else {
    const Var u = l2_normalize(at_least_f32(z)), total = sum(u, {0});
    for (int64_t l = 0; l < v; ++l) {
      const Var own = select(u, 0, l),
                others = affine(sub(total, own), 1.0 / static_cast<double>(v - 1), 0.0);
      losses.push_back(two_views(own, p.renormalize ? l2_normalize(others) : others, false));
    }
  }
  return {mean(stack(losses, 0)), {}};
}

Loss poly_view(const Var& z, const PolyViewParams& p) {
  check_views("poly_view", z, p.temperature, 1);
  const int64_t v = z.size(0), n = z.size(1);
  const Var u = unit(z, p.normalize), rows = rows_of(u);
  ContrastOptions o = options("poly_view", false);
  o.row_ids = sample_of_row(v, n, false);  // leaves the rows of other samples, in every view
  const Var negatives =
      reshape(contrast_symmetric({&rows, 1}, constant_temperature(p.temperature, rows), o).lse, {v, n});
  Var total;
  for (int64_t l = 0; l < v; ++l) {
    for (int64_t m = l + 1; m < v; ++m) {
      // -log(e^s / (e^s + U)) = softplus(log U - s), from both sides
      const Var s = paired(select(u, 0, l), select(u, 0, m), p.temperature);
      const Var both =
          add(softplus(sub(select(negatives, 0, l), s)), softplus(sub(select(negatives, 0, m), s)));
      total = total.defined() ? add(total, both) : both;
    }
  }
  return mean_of(affine(total, 1.0 / static_cast<double>(v * (v - 1)), 0.0));
}

}  // namespace juxta::ssl

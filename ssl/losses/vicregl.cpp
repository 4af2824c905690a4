#include "ssl/losses/vicregl.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "autograd/ops.h"

namespace juxta::ssl {

namespace {

constexpr const char* kName = "vicregl";

// Rows of [N S, C]: the kept cells of a and their partners in b, rank-major [k N].
struct Matches {
  Tensor own, partner;
};

// places f64 [N, S, P].
Matches closest(const Tensor& a, const Tensor& b, int64_t k) {
  const int64_t n = a.size(0), s = a.size(1), dims = a.size(2);
  k = std::min(k, s);
  Matches m{Tensor::empty({k * n}, DType::i64), Tensor::empty({k * n}, DType::i64)};
  int64_t *own = m.own.write<int64_t>(kName), *partner = m.partner.write<int64_t>(kName);
  std::vector<double> nearest(static_cast<size_t>(s));
  std::vector<int64_t> at(nearest.size()), order(nearest.size());
  for (int64_t image = 0; image < n; ++image) {
    const double *p = a.data<double>() + image * s * dims, *q = b.data<double>() + image * s * dims;
    for (int64_t i = 0; i < s; ++i) {
      double best = std::numeric_limits<double>::infinity();
      for (int64_t j = 0; j < s; ++j) {
        double d = 0;
        for (int64_t c = 0; c < dims; ++c)
          d += (p[i * dims + c] - q[j * dims + c]) * (p[i * dims + c] - q[j * dims + c]);
        if (d < best) best = d, at[static_cast<size_t>(i)] = j;
      }
      nearest[static_cast<size_t>(i)] = best;
    }
    std::iota(order.begin(), order.end(), int64_t{0});
    std::stable_sort(order.begin(), order.end(), [&](int64_t i, int64_t j) {
      return nearest[static_cast<size_t>(i)] < nearest[static_cast<size_t>(j)];
    });
    for (int64_t rank = 0; rank < k; ++rank) {
      const int64_t cell = order[static_cast<size_t>(rank)];
      own[rank * n + image] = image * s + cell;
      partner[rank * n + image] = image * s + at[static_cast<size_t>(cell)];
    }
  }
  return m;
}

// VICReg with the covariance halved; x, y [R, N, D], statistics over N for every rank, averaged over R.
Var ranked_vicreg(const Var& x, const Var& y, const VicRegLParams& p) {
  const double n = static_cast<double>(x.size(1)), d = static_cast<double>(x.size(2));
  Var loss = affine(mean(square(sub(x, y))), p.sim_weight, 0.0);
  for (const Var& z : {x, y}) {
    const Var centred = sub(z, mean(z, {1}, true));
    const Var variance = affine(sum(square(centred), {1}), 1.0 / (n - 1), 0.0);             // [R, D]
    const Var cov = affine(matmul(transpose(centred, 1, 2), centred), 1.0 / (n - 1), 0.0);  // [R, D, D]
    const Var hinge = mean(relu(affine(sqrt(affine(variance, 1.0, p.eps)), -1.0, 1.0)));
    const Var off = sub(sum(square(cov)), sum(square(variance)));
    loss = add(loss, affine(hinge, 0.5 * p.var_weight, 0.0));
    loss = add(loss, affine(off, 0.5 * p.cov_weight / d / static_cast<double>(x.size(0)), 0.0));
  }
  return loss;
}

void check(const VicRegLInputs& x, const VicRegLParams& p) {
  check_embeddings(kName, {{"global1", x.global1}, {"global2", x.global2}});
  const int64_t n = x.global1.size(0);
  JX_CHECK(n >= 2, kName, ": global1: expected N >= 2, since variances divide by N - 1, got ", x.global1);
  const std::pair<const char*, const Var*> maps[] = {{"map1", &x.map1}, {"map2", &x.map2}};
  for (const auto& [name, m] : maps) {
    JX_CHECK(m->defined() && is_float(m->dtype()) && m->ndim() == 3 && m->size(0) == n && m->numel() > 0 &&
                 m->dims() == x.map1.dims() && m->dtype() == x.map1.dtype(),
             kName, ": ", name, ": expected a float [", n, ", S, C], both maps alike, got ", *m);
    check_finite(kName, {name, *m});
  }
  const std::pair<const char*, const Tensor*> grids[] = {{"grid1", &x.grid1}, {"grid2", &x.grid2}};
  for (const auto& [name, g] : grids) {
    JX_CHECK(g->defined() && is_float(g->dtype()) && g->dims() == Dims({n, x.map1.size(1), 2}), kName, ": ",
             name, ": expected a float [", n, ", ", x.map1.size(1), ", 2], got ", *g);
    check_finite(kName, {name, Var(*g)});
  }
  JX_CHECK(p.num_matches.size() == 2 && p.num_matches[0] >= 1 && p.num_matches[1] >= 1, kName,
           ": num_matches: expected two numbers of at least 1");
  JX_CHECK(p.alpha >= 0 && p.alpha <= 1, kName, ": alpha: expected 0 to 1, got ", p.alpha);
  JX_CHECK(p.eps > 0 && std::isfinite(p.eps), kName, ": eps: expected a positive number, got ", p.eps);
}

}  // namespace

Loss vicregl(const VicRegLInputs& x, const VicRegLParams& p) {
  check(x, p);
  const int64_t n = x.map1.size(0), s = x.map1.size(1), c = x.map1.size(2);
  const Var cells[] = {reshape(at_least_f32(x.map1), {n * s, c}), reshape(at_least_f32(x.map2), {n * s, c})};
  const auto wide = [](const Tensor& t) { return t.to(DType::f64).contiguous(); };
  const Tensor features[] = {wide(x.map1.value()), wide(x.map2.value())},
               places[] = {wide(x.grid1), wide(x.grid2)};
  Var local;
  for (const auto& by : {features, places})
    for (const int a : {0, 1})  // matches of view a in the other
      for (const int64_t k : p.num_matches) {
        const Matches m = closest(by[a], by[1 - a], k);
        const int64_t ranks = std::min(k, s);
        const Var own = reshape(index_select(cells[a], 0, m.own), {ranks, n, c});
        const Var partner = reshape(index_select(cells[1 - a], 0, m.partner), {ranks, n, c});
        const Var part = affine(ranked_vicreg(own, partner, p), 0.25, 0.0);
        local = local.defined() ? add(local, part) : part;
      }
  const Var global =
      ranked_vicreg(unsqueeze(at_least_f32(x.global1), 0), unsqueeze(at_least_f32(x.global2), 0), p);
  return {add(affine(global, p.alpha, 0.0), affine(local, 1.0 - p.alpha, 0.0)),
          {{"global", stop_gradient(global)}, {"local", stop_gradient(local)}}};
}

}  // namespace juxta::ssl

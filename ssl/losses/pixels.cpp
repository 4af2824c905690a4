#include "ssl/losses/pixels.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "autograd/ops.h"
#include "ssl/losses/batch_contrastive.h"

namespace juxta::ssl {

namespace {

void check_map(const char* loss, const char* name, const Var& x) {
  JX_CHECK(x.defined() && is_float(x.dtype()) && x.ndim() == 4 && x.numel() > 0, loss, ": ", name,
           ": expected a float map [N, H, W, C], got ", x);
  check_finite(loss, {name, x});
}

void check_views(const char* loss, const PixelViews& x) {
  const std::pair<const char*, const Var*> others[] = {
      {"proj2", &x.proj2}, {"key1", &x.key1}, {"key2", &x.key2}};
  check_map(loss, "proj1", x.proj1);
  for (const auto& [name, v] : others) {
    check_map(loss, name, *v);
    JX_CHECK(v->dims() == x.proj1.dims() && v->dtype() == x.proj1.dtype(), loss, ": ", name, ": expected ",
             x.proj1, " like proj1, got ", *v);
  }
}

// [N, H, W, C] as unit rows [N, H W, C].
Var cells(const Var& map) {
  const Var x = at_least_f32(map);
  return l2_normalize(reshape(x, {x.size(0), x.size(1) * x.size(2), x.size(3)}));
}

// Which pairs of cells are of one place, bool [N, S, S], and how many of them there are per image.
struct Pairs {
  Tensor mask, count;
};
Pairs near(const Tensor& distance, double limit, bool or_equal) {
  const int64_t n = distance.size(0), s = distance.size(1);
  Pairs r{Tensor::zeros({n, s, s}, DType::boolean), Tensor::zeros({n}, DType::f64)};
  const double* d = distance.data<double>();
  bool* mask = r.mask.write<bool>("pixels");
  double* count = r.count.write<double>("pixels");
  for (int64_t i = 0; i < n * s * s; ++i) {
    mask[i] = or_equal ? d[i] <= limit : d[i] < limit;
    count[i / (s * s)] += mask[i];
  }
  return r;
}

void check_ratio(const char* loss, double ratio) {
  JX_CHECK(ratio > 0 && std::isfinite(ratio), loss, ": pos_ratio: expected a positive number, got ", ratio);
}

Var masked_sum(const Var& x, const Tensor& mask, std::vector<int> dims) {
  return sum(where(mask, x, Var(Tensor::zeros({1}, x.dtype()))), std::move(dims));
}

// sum_n -2 / (pairs_n + 1e-6) / N sum_{pairs} y_i . x'_j
Var consistency(const Var& y, const Var& key, const Pairs& pairs) {
  const Var similarity = matmul(y, transpose(stop_gradient(key), 1, 2));
  const Var total = masked_sum(similarity, pairs.mask, {1, 2});
  const Var count = affine(Var(pairs.count.to(total.dtype())), 1.0, 1e-6);
  return affine(mean(div(total, count)), -2.0, 0.0);
}

// Mean over images of the mean over cells with a positive.
Var pixel_nce(const Var& q, const Var& key, const Tensor& positives, double temperature) {
  const Var logits = affine(matmul(q, transpose(stop_gradient(key), 1, 2)), 1.0 / temperature, 0.0);
  const int64_t n = q.size(0), s = q.size(1);
  // A cell without a positive has no term: all its columns count as positives here, and its weight is 0.
  Tensor mask = positives.clone(), weight = Tensor::zeros({n, s}, DType::f64);
  bool* m = mask.write<bool>("pixcontrast");
  double* w = weight.write<double>("pixcontrast");
  for (int64_t image = 0; image < n; ++image) {
    double with = 0;
    for (int64_t i = image * s; i < (image + 1) * s; ++i) {
      w[i] = std::any_of(m + i * s, m + (i + 1) * s, [](bool b) { return b; });
      with += w[i];
      if (w[i] == 0) std::fill(m + i * s, m + (i + 1) * s, true);
    }
    for (int64_t i = image * s; i < (image + 1) * s; ++i)
      w[i] /= std::max(with, 1.0) * static_cast<double>(n);
  }
  const Var each = sub(logsumexp(logits), logsumexp(logits, mask));
  return sum(mul(each, Var(weight.to(each.dtype()))));
}

}  // namespace

Tensor cell_distances(const char* loss, const Tensor& coord1, const Tensor& coord2, int64_t height,
                      int64_t width) {
  const std::pair<const char*, const Tensor*> both[] = {{"coord1", &coord1}, {"coord2", &coord2}};
  for (const auto& [name, c] : both) {
    JX_CHECK(c->defined() && is_float(c->dtype()) && c->ndim() == 2 && c->size(1) == 4 &&
                 c->size(0) == coord1.size(0),
             loss, ": ", name, ": expected a float [N, 4] of (x0, y0, x1, y1), got ", *c);
    check_finite(loss, {name, Var(*c)});
  }
  const int64_t n = coord1.size(0), s = height * width;
  const Tensor a = coord1.to(DType::f64).contiguous(), b = coord2.to(DType::f64).contiguous();
  Tensor out = Tensor::empty({n, s, s}, DType::f64);
  double* d = out.write<double>("cell_distances");
  const auto place = [&](const double* c, int64_t cell, double& x, double& y) {
    const int64_t row = cell / width, column = cell % width;
    x = c[0] + (static_cast<double>(column) + 0.5) * (c[2] - c[0]) / static_cast<double>(width);
    y = c[1] + (static_cast<double>(row) + 0.5) * (c[3] - c[1]) / static_cast<double>(height);
  };
  const auto diagonal = [&](const double* c) {
    return std::hypot((c[2] - c[0]) / static_cast<double>(width),
                      (c[3] - c[1]) / static_cast<double>(height));
  };
  for (int64_t image = 0; image < n; ++image) {
    const double *p = a.data<double>() + 4 * image, *q = b.data<double>() + 4 * image;
    const double unit = std::max(diagonal(p), diagonal(q));
    JX_CHECK(unit > 0, loss, ": coord1, coord2: the crops of image ", image, " have no extent");
    for (int64_t i = 0; i < s; ++i) {
      double x = 0, y = 0, u = 0, v = 0;
      place(p, i, x, y);
      for (int64_t j = 0; j < s; ++j) {
        place(q, j, u, v);
        *d++ = std::hypot(x - u, y - v) / unit;
      }
    }
  }
  return out;
}

Var pixel_propagation(const Var& feat, const Var& weight, const Var& bias, const PixelPropagationParams& p) {
  constexpr const char* kName = "pixel_propagation";
  check_map(kName, "feat", feat);
  check_finite(kName, {"weight", weight});
  check_finite(kName, {"bias", bias});
  JX_CHECK(p.gamma > 0 && std::isfinite(p.gamma), kName, ": gamma: expected a positive number, got ",
           p.gamma);
  JX_CHECK(p.clamp >= 0 && p.clamp <= 1, kName, ": clamp: expected 0 to 1, got ", p.clamp);
  JX_CHECK(p.transform_layers == 0 || p.transform_layers == 1, kName,
           ": transform_layers: expected 0 or 1 (one weight is given), got ", p.transform_layers,
           "; put deeper transforms in front as layers");
  const int64_t c = feat.size(3);
  JX_CHECK(p.transform_layers == 0 || (weight.defined() && weight.dims() == Dims({c, c})), kName,
           ": weight: expected [", c, ", ", c, "] (out, in), got ", weight);
  JX_CHECK(!bias.defined() || bias.dims() == Dims({c}), kName, ": bias: expected [", c, "], got ", bias);
  const Var flat = reshape(at_least_f32(feat), {feat.size(0), feat.size(1) * feat.size(2), c});
  const Var x = l2_normalize(flat);
  Var similarity = clamp(matmul(x, transpose(x, 1, 2)), p.clamp, std::numeric_limits<double>::infinity());
  if (p.gamma < 1) similarity = affine(similarity, 1.0, 1e-6);
  if (p.gamma != 1) similarity = p.gamma == 2 ? square(similarity) : pow(similarity, p.gamma);
  Var value = p.transform_layers == 1
                  ? linear(flat, at_least_f32(weight), bias.defined() ? at_least_f32(bias) : bias)
                  : flat;
  if (p.normalize_value) value = l2_normalize(value);
  return reshape(matmul(similarity, value), feat.dims());
}

Loss pixpro(const PixelViews& x, const Var& weight, const Var& bias, const PixProParams& p) {
  check_views("pixpro", x);
  check_finite("pixpro", {"weight", weight});
  check_finite("pixpro", {"bias", bias});
  check_ratio("pixpro", p.pos_ratio);
  const Tensor distance = cell_distances("pixpro", x.coord1, x.coord2, x.proj1.size(1), x.proj1.size(2));
  const Pairs there = near(distance, p.pos_ratio, false),
              back = near(distance.transpose(1, 2).contiguous(), p.pos_ratio, false);
  const PixelPropagationParams module{p.gamma, p.clamp, p.transform_layers, true};
  const Var y1 = cells(pixel_propagation(x.proj1, weight, bias, module)),
            y2 = cells(pixel_propagation(x.proj2, weight, bias, module));
  return {add(consistency(y1, cells(x.key2), there), consistency(y2, cells(x.key1), back)),
          {{"pairs", Var(there.count)}, {"pairs_reverse", Var(back.count)}}};
}

Loss pixcontrast(const PixelViews& x, const PixContrastParams& p) {
  check_views("pixcontrast", x);
  check_temperature("pixcontrast", p.temperature);
  check_ratio("pixcontrast", p.pos_ratio);
  const Tensor distance = cell_distances("pixcontrast", x.coord1, x.coord2, x.proj1.size(1), x.proj1.size(2));
  const Pairs there = near(distance, p.pos_ratio, true),
              back = near(distance.transpose(1, 2).contiguous(), p.pos_ratio, true);
  const Var l12 = pixel_nce(cells(x.proj1), cells(x.key2), there.mask, p.temperature);
  const Var l21 = pixel_nce(cells(x.proj2), cells(x.key1), back.mask, p.temperature);
  return {affine(add(l12, l21), 0.5, 0.0), {}};
}

Loss dense_cl(const DenseClInputs& x, const DenseClParams& p) {
  constexpr const char* kName = "dense_cl";
  JX_CHECK(p.dense_weight >= 0 && p.dense_weight <= 1, kName, ": dense_weight: expected 0 to 1, got ",
           p.dense_weight);
  check_temperature(kName, p.temperature);
  check_embeddings(kName, {{"query", x.query}, {"key", x.key}});
  for (const Named in : {Named{"query_grid", x.query_grid}, Named{"key_grid", x.key_grid},
                         Named{"queue", x.queue}, Named{"queue_dense", x.queue_dense}})
    check_finite(kName, in);
  JX_CHECK(x.query_grid.defined() && x.query_grid.ndim() == 3 && x.query_grid.numel() > 0, kName,
           ": query_grid: expected a float [N, S, D], got ", x.query_grid);
  JX_CHECK(x.key_grid.defined() && x.key_grid.dims() == x.query_grid.dims(), kName, ": key_grid: expected ",
           x.query_grid, " like query_grid, got ", x.key_grid);
  const int64_t n = x.query_grid.size(0), s = x.query_grid.size(1), d = x.query_grid.size(2);
  const std::pair<const char*, const Tensor*> both[] = {{"query_backbone", &x.query_backbone},
                                                        {"key_backbone", &x.key_backbone}};
  for (const auto& [name, b] : both) {
    JX_CHECK(b->defined() && is_float(b->dtype()) && b->ndim() == 3 && b->size(0) == n && b->size(1) == s &&
                 b->dims() == x.query_backbone.dims(),
             kName, ": ", name, ": expected a float [", n, ", ", s, ", C], got ", *b);
    check_finite(kName, {name, Var(*b)});
  }
  const auto unit = [](const Tensor& t) { return l2_normalize(at_least_f32(Var(t))); };
  const Tensor match =
      argmax(matmul(unit(x.query_backbone), transpose(unit(x.key_backbone), 1, 2)).value(), 2);
  Tensor cell = match.reshape({n * s}).clone();
  int64_t* c = cell.write<int64_t>(kName);
  for (int64_t i = 0; i < n * s; ++i) c[i] += i / s * s;
  const InfoNceParams nce{.temperature = p.temperature};
  const Var global = info_nce(x.query, x.key, x.queue, nce).loss;
  const Var dense =
      info_nce(reshape(x.query_grid, {n * s, d}),
               index_select(reshape(stop_gradient(x.key_grid), {n * s, d}), 0, cell), x.queue_dense, nce)
          .loss;
  return {add(affine(global, 1.0 - p.dense_weight, 0.0), affine(dense, p.dense_weight, 0.0)),
          {{"global", stop_gradient(global)}, {"dense", stop_gradient(dense)}, {"match", Var(match)}}};
}

}  // namespace juxta::ssl

#include "ssl/losses/prototypes.h"

#include <algorithm>

#include "autograd/contrast.h"
#include "autograd/ops.h"
#include "ssl/losses/batch_contrastive.h"

namespace juxta::ssl {

namespace {

// Error unless ids is i64 of one axis, each from `low` to `high` - 1.
void check_ids(const char* loss, const std::string& name, const Tensor& ids, int64_t low, int64_t high) {
  JX_CHECK(ids.defined() && ids.dtype() == DType::i64 && ids.ndim() == 1, loss, ": ", name,
           ": expected i64 of one axis, got ", ids);
  const Tensor id = ids.contiguous();
  for (int64_t i = 0; i < id.numel(); ++i)
    JX_CHECK(id.data<int64_t>()[i] >= low && id.data<int64_t>()[i] < high, loss, ": ", name, ": expected ",
             low, " to ", high - 1, ", got ", id.data<int64_t>()[i], " in row ", i);
}

// Error unless c is a finite [K, D] of constants beside z.
void check_centroids(const char* loss, const std::string& name, const Tensor& c, int64_t d, DType dtype) {
  JX_CHECK(c.defined() && c.dtype() == dtype && c.ndim() == 2 && c.size(0) >= 1 && c.size(1) == d, loss, ": ",
           name, ": expected ", dtype, " [K, ", d, "], got ", c);
  check_finite(loss, {name.c_str(), Var(c)});
}

Tensor wide(const Tensor& x) { return at_least_f32(Var(x)).value(); }

// Per row CE over all columns towards its positive column; rows whose positive is -1 give 0. q [N, D],
// columns [C, D].
Var towards(const char* loss, const Var& q, const Tensor& columns, const Tensor& positive,
            double temperature) {
  ContrastOptions o;
  o.op = loss;
  o.positive = positive;
  const Var c(columns);
  const ContrastResult s = contrast({&q, 1}, {&c, 1}, constant_temperature(temperature, q), o);
  Tensor counted = Tensor::empty(positive.dims(), DType::boolean);
  for (int64_t i = 0; i < positive.numel(); ++i)
    counted.write<bool>(loss)[i] = positive.data<int64_t>()[i] >= 0;
  return where(counted, sub(s.lse, s.positive), Var(Tensor::zeros({1}, s.lse.dtype(), s.lse.device())));
}

// The clusters of these places, i64 [N].
Tensor at(const Tensor& assign, const Tensor& index) {
  const Tensor a = assign.contiguous(), i = index.contiguous();
  Tensor out = Tensor::empty({i.numel()}, DType::i64);
  for (int64_t r = 0; r < i.numel(); ++r)
    out.write<int64_t>("proto_nce")[r] = a.data<int64_t>()[i.data<int64_t>()[r]];
  return out;
}

// The prototypical term of one clustering, per row [N]. q has unit rows.
Var proto_term(const Var& q, const Tensor& index, const Clustering& c, const std::string& m,
               ProtoNegatives negatives) {
  constexpr const char* kLoss = "proto_nce";
  const int64_t n = q.size(0), k = c.centroid.size(0);
  JX_CHECK(c.density.defined() && is_float(c.density.dtype()) && c.density.dims() == Dims({k}),
           "proto_nce: density", m, ": expected a float [", k, "] like centroid", m, ", got ", c.density);
  check_finite(kLoss, {("density" + m).c_str(), Var(c.density)});
  const Tensor density = c.density.to(q.dtype()).contiguous();
  const Tensor phi = density.to(DType::f64);
  for (int64_t i = 0; i < k; ++i)
    JX_CHECK(phi.data<double>()[i] > 0, "proto_nce: density", m, ": expected positive values, got ",
             phi.data<double>()[i], " for cluster ", i);
  check_ids(kLoss, "assign" + m, c.assign, 0, k);
  check_ids(kLoss, "index", index, 0, c.assign.numel());
  // q . c / phi_c: the density goes into the column, so that the fused product needs one temperature.
  const Var scaled = div(Var(wide(c.centroid)), unsqueeze(Var(density), 1));
  const Tensor own = at(c.assign, index);
  if (negatives == ProtoNegatives::all) return towards(kLoss, q, scaled.value(), own, 1.0);
  check_ids(kLoss, "negative" + m, c.negative, 0, k);
  const Var parts[] = {index_select(scaled, 0, own), index_select(scaled, 0, c.negative.contiguous())};
  return towards(kLoss, q, cat(parts, 0).value(), Tensor::arange(n), 1.0);
}

}  // namespace

Loss deepcluster_v2(const Var& z, const Tensor& assign, const std::vector<Tensor>& prototypes,
                    const DeepClusterParams& p) {
  constexpr const char* kLoss = "deepcluster_v2";
  JX_CHECK(z.defined() && is_float(z.dtype()) && z.ndim() == 3 && z.numel() > 0, kLoss,
           ": z: expected a float [V, N, D], got ", z);
  check_finite(kLoss, {"z", z});
  check_temperature(kLoss, p.temperature);
  const int64_t views = z.size(0), n = z.size(1), d = z.size(2);
  const auto sets = static_cast<int64_t>(prototypes.size());
  JX_CHECK(sets >= 1, kLoss, ": prototypes0: expected at least one set of prototypes");
  JX_CHECK(assign.defined() && assign.dtype() == DType::i64 && assign.dims() == Dims({sets, n}), kLoss,
           ": assign: expected i64 [", sets, ", ", n, "], a row per set of prototypes, got ", assign);
  const Var rows = reshape(l2_normalize(at_least_f32(z)), {views * n, d});
  std::vector<Var> losses;
  for (int64_t s = 0; s < sets; ++s) {
    const Tensor& c = prototypes[static_cast<size_t>(s)];
    check_centroids(kLoss, "prototypes" + std::to_string(s), c, d, z.dtype());
    const Tensor one = assign.select(0, s).contiguous();
    check_ids(kLoss, "assign", one, -1, c.size(0));
    Tensor of_views = Tensor::empty({views * n}, DType::i64);
    int64_t counted = 0;
    for (int64_t i = 0; i < views * n; ++i) {
      of_views.write<int64_t>(kLoss)[i] = one.data<int64_t>()[i % n];
      counted += one.data<int64_t>()[i % n] >= 0;
    }
    const Var each = towards(kLoss, rows, wide(c), of_views, p.temperature);
    losses.push_back(affine(sum(each), 1.0 / static_cast<double>(std::max<int64_t>(counted, 1)), 0.0));
  }
  return {mean(stack(losses, 0)), {}};
}

Loss proto_nce(const Var& query, const Var& key, const Tensor& queue, const Tensor& index,
               const std::vector<Clustering>& clusterings, const ProtoNceParams& p) {
  constexpr const char* kLoss = "proto_nce";
  check_embeddings(kLoss, {{"query", query}, {"key", key}});
  check_temperature(kLoss, p.temperature);
  JX_CHECK(queue.defined() && queue.dtype() == query.dtype() && queue.ndim() == 2 &&
               queue.size(1) == query.size(1),
           kLoss, ": queue: expected rows like ", query, ", got ", queue);
  check_finite(kLoss, {"queue", Var(queue)});
  JX_CHECK(index.defined() && index.dtype() == DType::i64 && index.dims() == Dims({query.size(0)}), kLoss,
           ": index: expected i64 [", query.size(0), "], got ", index);
  JX_CHECK(!clusterings.empty(), kLoss, ": centroid0: expected at least one clustering");
  InfoNceParams info;
  info.temperature = p.temperature;
  const Var instance = info_nce(at_least_f32(query), at_least_f32(key), Var(wide(queue)), info).loss;
  const Var q = l2_normalize(at_least_f32(query));
  std::vector<Var> terms;
  for (size_t m = 0; m < clusterings.size(); ++m) {
    const Clustering& c = clusterings[m];
    check_centroids(kLoss, "centroid" + std::to_string(m), c.centroid, query.size(1), query.dtype());
    terms.push_back(mean(proto_term(q, index, c, std::to_string(m), p.negatives)));
  }
  const Var proto = mean(stack(terms, 0));
  return {add(instance, affine(proto, p.proto_weight, 0.0)),
          {{"instance", stop_gradient(instance)}, {"proto", stop_gradient(proto)}}};
}

}  // namespace juxta::ssl

#include "ssl/losses/recommendation.h"

#include <algorithm>
#include <cmath>

#include "autograd/contrast.h"
#include "autograd/ops.h"
#include "tensor/parallel.h"

namespace juxta::ssl {

namespace {

void check_weight(const char* loss, const char* name, double v) {
  JX_CHECK(v >= 0 && std::isfinite(v), loss, ": ", name, ": expected a number >= 0, got ", v);
}

// mean_b -log( eps + sigmoid(u.p - u.n) ), per triple. Without eps: softplus(-x), which does not overflow.
Var bpr_rows(const Var& user, const Var& positive, const Var& negative, double eps) {
  const Var margin = sum(mul(user, sub(positive, negative)), {1});
  return eps == 0 ? softplus(neg(margin)) : neg(log(affine(sigmoid(margin), 1.0, eps)));
}

// ( |x_1|_F + |x_2|_F + .. ) / B
Var norms_per_row(std::initializer_list<Var> xs) {
  Var total;
  for (const Var& x : xs) total = total.defined() ? add(total, norm(x)) : norm(x);
  return affine(total, 1.0 / static_cast<double>(xs.begin()->size(0)), 0.0);
}

constexpr double kEps = 1e-5;  // of BPR in the three graph methods

struct Rows {
  Var user, positive, negative;  // [B, d]
};
// The batch's rows of a table [U + I, d].
Rows rows_of(const Var& table, const RecommendationBatch& batch, int64_t users) {
  const Var user = slice(table, 0, 0, users), item = slice(table, 0, users, table.size(0));
  return {index_select(user, 0, batch.user), index_select(item, 0, batch.positive),
          index_select(item, 0, batch.negative)};
}

void check_step(const char* loss, const RecommendationGraph& g, const RecommendationBatch& batch) {
  check_embeddings(loss, {{"user_emb", g.user}});
  check_embeddings(loss, {{"item_emb", g.item}});
  JX_CHECK(g.item.size(1) == g.user.size(1) && g.item.dtype() == g.user.dtype(), loss,
           ": item_emb: expected ", g.user.dtype(), " [I, ", g.user.size(1), "] like user_emb, got ", g.item);
  JX_CHECK(batch.user.defined() && batch.user.ndim() == 1 && batch.user.size(0) >= 1, loss,
           ": user_idx: expected i64 [B] with B >= 1, got ", batch.user);
  const Dims dims = batch.user.dims();
  check_indices(loss, "user_idx", batch.user, dims, g.user.size(0));
  check_indices(loss, "pos_idx", batch.positive, dims, g.item.size(0));
  check_indices(loss, "neg_idx", batch.negative, dims, g.item.size(0));
}

Var table_of(const RecommendationGraph& g) { return at_least_f32(cat(std::vector{g.user, g.item}, 0)); }

void check_noise(const char* loss, const char* name, const Tensor& noise, double eps, int64_t layers,
                 const Var& table) {
  if (eps == 0 && !noise.defined()) return;
  const Dims dims{layers, table.size(0), table.size(1)};
  JX_CHECK(noise.defined() && is_float(noise.dtype()) && noise.dims() == dims, loss, ": ", name,
           ": expected a float ", dims, " (layers, users + items, width), got ", noise);
  check_finite(loss, {name, Var(noise)});
}

// eps sign(x) . u / |u|, row by row.
Tensor perturbation(const Tensor& x, const Tensor& u, double eps) {
  const Tensor at = x.contiguous(), drawn = u.to(DType::f64).contiguous();
  Tensor out = Tensor::empty(x.dims(), x.dtype());
  const int64_t d = x.size(1);
  dispatch_float(x.dtype(), "xsimgcl", [&]<class T>() {
    const T* px = at.data<T>();
    const double* pu = drawn.data<double>();
    T* to = out.write<T>("xsimgcl");
    parallel_for(x.size(0), grain_for(d), [&](int64_t begin, int64_t end) {
      for (int64_t r = begin; r < end; ++r) {
        double squares = 0;
        for (int64_t k = 0; k < d; ++k) squares += pu[r * d + k] * pu[r * d + k];
        const double scale = eps / std::max(std::sqrt(squares), 1e-12);
        for (int64_t k = 0; k < d; ++k) {
          const auto v = static_cast<Acc<T>>(px[r * d + k]);
          const double sign = v > 0 ? 1 : v < 0 ? -1 : 0;
          to[r * d + k] = static_cast<T>(static_cast<Acc<T>>(scale * sign * pu[r * d + k]));
        }
      }
    });
  });
  return out;
}

// E_0, E_1, .. E_L. Noise goes on into the next layer.
std::vector<Var> propagate(const SparseMatrix& a, const Var& table, int64_t layers, const Tensor& noise = {},
                           double eps = 0) {
  std::vector<Var> all{table};
  for (int64_t l = 0; l < layers; ++l) {
    const Var x = spmm(a, all.back());
    all.push_back(eps == 0 ? x : add(x, Var(perturbation(x.value(), noise.select(0, l), eps))));
  }
  return all;
}

Var mean_of(std::span<const Var> layers) {
  Var total = layers[0];
  for (size_t l = 1; l < layers.size(); ++l) total = add(total, layers[l]);
  return affine(total, 1.0 / static_cast<double>(layers.size()), 0.0);
}

Tensor distinct(const Tensor& ids) {
  const Tensor c = ids.contiguous();
  std::vector<int64_t> all(c.data<int64_t>(), c.data<int64_t>() + c.numel());
  std::sort(all.begin(), all.end());
  all.erase(std::unique(all.begin(), all.end()), all.end());
  return Tensor::from(std::span<const int64_t>(all), {static_cast<int64_t>(all.size())});
}

// mean_n -log softmax_m( cos(a_n, b_m) / tau )[n] over these rows of both.
Var nce(const char* loss, const Var& a, const Var& b, const Tensor& ids, double tau) {
  const Var rows = index_select(a, 0, ids), columns = index_select(b, 0, ids);
  ContrastOptions o;
  o.op = loss;
  o.normalize = true;
  o.positive = Tensor::arange(ids.numel());
  const ContrastResult s = contrast({&rows, 1}, {&columns, 1}, constant_temperature(tau, rows), o);
  return mean(sub(s.lse, s.positive));
}

struct Contrasted {
  double tau, cl_rate, reg_lambda;
};
// rec + reg + cl_rate cl, with its terms.
Loss recommend(const char* loss, const Var& final, const Var& view1, const Var& view2,
               const RecommendationBatch& batch, int64_t users, const Contrasted& p) {
  const Rows f = rows_of(final, batch, users);
  const Var rec = mean(bpr_rows(f.user, f.positive, f.negative, kEps));
  const Var reg = affine(norms_per_row({f.user, f.positive}), p.reg_lambda, 0.0);
  const Tensor user = distinct(batch.user);
  Tensor item = distinct(batch.positive).clone();
  for (int64_t i = 0; i < item.numel(); ++i) item.write<int64_t>(loss)[i] += users;
  const Var cl = add(nce(loss, view1, view2, user, p.tau), nce(loss, view1, view2, item, p.tau));
  return {add(add(rec, reg), affine(cl, p.cl_rate, 0.0)),
          {{"rec", stop_gradient(rec)},
           {"reg", stop_gradient(reg)},
           {"cl", stop_gradient(cl)},
           {"final", stop_gradient(final)}}};
}

void check_contrasted(const char* loss, int64_t layers, double eps, const Contrasted& p) {
  JX_CHECK(layers >= 1, loss, ": layers: expected at least 1, got ", layers);
  check_weight(loss, "eps", eps);
  check_temperature(loss, p.tau, "tau");
  check_weight(loss, "cl_rate", p.cl_rate);
  check_weight(loss, "reg_lambda", p.reg_lambda);
}

}  // namespace

Loss bpr_loss(const Var& user, const Var& positive, const Var& negative, const BprParams& p) {
  check_embeddings("bpr_loss", {{"user", user}, {"pos", positive}, {"neg", negative}});
  check_weight("bpr_loss", "eps", p.eps);
  check_weight("bpr_loss", "reg", p.reg);
  const Var u = at_least_f32(user), a = at_least_f32(positive), b = at_least_f32(negative);
  const Var rows = bpr_rows(u, a, b, p.eps);
  const Var penalty = p.reg_negative ? norms_per_row({u, a, b}) : norms_per_row({u, a});
  return {add(mean(rows), affine(penalty, p.reg, 0.0)), {}, stop_gradient(rows)};
}

SparseMatrix bipartite_adjacency(const char* loss, const Tensor& edges, int64_t users, int64_t items) {
  JX_CHECK(edges.defined() && edges.dtype() == DType::i64 && edges.ndim() == 2 && edges.size(1) == 2, loss,
           ": edges: expected i64 [E, 2] of (user, item), got ", edges);
  const Tensor e = edges.contiguous();
  std::vector<std::pair<int64_t, int64_t>> pairs;
  for (int64_t i = 0; i < e.size(0); ++i) {
    const int64_t u = e.data<int64_t>()[2 * i], v = e.data<int64_t>()[2 * i + 1];
    JX_CHECK(u >= 0 && u < users && v >= 0 && v < items, loss, ": edges: expected (user, item) below (",
             users, ", ", items, "), got (", u, ", ", v, ") in row ", i);
    pairs.emplace_back(u, v);
  }
  std::sort(pairs.begin(), pairs.end());
  pairs.erase(std::unique(pairs.begin(), pairs.end()), pairs.end());
  std::vector<double> degree(static_cast<size_t>(users + items), 0.0);
  const auto place = [&](int64_t item) { return users + item; };
  for (const auto& p : pairs)
    ++degree[static_cast<size_t>(p.first)], ++degree[static_cast<size_t>(place(p.second))];
  std::vector<SparseEntry> entries;
  for (const auto& p : pairs) {
    const int64_t u = p.first, v = place(p.second);
    const double w = 1 / std::sqrt(degree[static_cast<size_t>(u)] * degree[static_cast<size_t>(v)]);
    entries.push_back({u, v, w});
    entries.push_back({v, u, w});
  }
  return SparseMatrix(users + items, users + items, std::move(entries));
}

Loss lightgcn_bpr(const RecommendationGraph& g, const RecommendationBatch& batch, const LightgcnParams& p) {
  constexpr const char* kLoss = "lightgcn_bpr";
  check_step(kLoss, g, batch);
  JX_CHECK(p.layers >= 0, kLoss, ": layers: expected at least 0, got ", p.layers);
  JX_CHECK(p.batch_size >= 1, kLoss, ": batch_size: expected at least 1, got ", p.batch_size);
  check_weight(kLoss, "reg_lambda", p.reg_lambda);
  const int64_t users = g.user.size(0);
  const Var table = table_of(g);
  const Var final =
      mean_of(propagate(bipartite_adjacency(kLoss, g.edges, users, g.item.size(0)), table, p.layers));
  const Rows f = rows_of(final, batch, users), ego = rows_of(table, batch, users);
  const Var rec = mean(bpr_rows(f.user, f.positive, f.negative, kEps));
  const Var reg = affine(norms_per_row({ego.user, ego.positive, ego.negative}),
                         p.reg_lambda / static_cast<double>(p.batch_size), 0.0);
  return {add(rec, reg),
          {{"rec", stop_gradient(rec)}, {"reg", stop_gradient(reg)}, {"final", stop_gradient(final)}}};
}

Loss simgcl(const RecommendationGraph& g, const Tensor& noise1, const Tensor& noise2,
            const RecommendationBatch& batch, const SimgclParams& p) {
  constexpr const char* kLoss = "simgcl";
  check_step(kLoss, g, batch);
  const Contrasted how{p.tau, p.cl_rate, p.reg_lambda};
  check_contrasted(kLoss, p.layers, p.eps, how);
  const Var table = table_of(g);
  check_noise(kLoss, "noise1", noise1, p.eps, p.layers, table);
  check_noise(kLoss, "noise2", noise2, p.eps, p.layers, table);
  const int64_t users = g.user.size(0);
  const SparseMatrix a = bipartite_adjacency(kLoss, g.edges, users, g.item.size(0));
  const auto without_ego = [&](const Tensor& noise, double eps) {
    const std::vector<Var> layers = propagate(a, table, p.layers, noise, eps);
    return mean_of(std::span(layers).subspan(1));
  };
  return recommend(kLoss, without_ego({}, 0), without_ego(noise1, p.eps), without_ego(noise2, p.eps), batch,
                   users, how);
}

Loss xsimgcl(const RecommendationGraph& g, const Tensor& noise, const RecommendationBatch& batch,
             const XsimgclParams& p) {
  constexpr const char* kLoss = "xsimgcl";
  check_step(kLoss, g, batch);
  const Contrasted how{p.tau, p.cl_rate, p.reg_lambda};
  check_contrasted(kLoss, p.layers, p.eps, how);
  JX_CHECK(p.l_star >= 0 && p.l_star <= p.layers, kLoss, ": l_star: expected 0 to ", p.layers,
           " (layers), got ", p.l_star);
  const Var table = table_of(g);
  check_noise(kLoss, "noise", noise, p.eps, p.layers, table);
  const int64_t users = g.user.size(0);
  const SparseMatrix a = bipartite_adjacency(kLoss, g.edges, users, g.item.size(0));
  const std::vector<Var> layers = propagate(a, table, p.layers, noise, p.eps);
  const Var final = mean_of(std::span(layers).subspan(1));
  const Var& view2 = layers[static_cast<size_t>(p.l_star)];
  Loss loss = recommend(kLoss, final, final, view2, batch, users, how);
  loss.terms.emplace_back("view2", stop_gradient(view2));
  return loss;
}

}  // namespace juxta::ssl

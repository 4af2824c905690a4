#include "nn/graph.h"

namespace juxta::nn {

namespace {

Var dropped(const Var& x, const GraphDropout& d) {
  return d.rng && d.p > 0 ? dropout(x, d.p, *d.rng, true) : x;
}

void check_weight(const char* op, const char* name, const Var& w, const Dims& dims) {
  JX_CHECK(w.defined() && is_float(w.dtype()) && w.dims() == dims, op, ": ", name, ": expected a float ",
           dims, ", got ", w);
}

// Rows of 0 and 1 divided by their sum; empty rows stay empty.
SparseMatrix mean_over(const Tensor& incidence, int64_t n, int64_t m) {
  constexpr const char* kOp = "add_metapath_context";
  JX_CHECK(incidence.defined() && incidence.dims() == Dims({n, m}), kOp, ": incidence: expected [", n, ", ",
           m, "], got ", incidence);
  const Tensor x = incidence.to(DType::f64).contiguous();
  std::vector<SparseEntry> entries;
  for (int64_t i = 0; i < n; ++i) {
    const size_t first = entries.size();
    for (int64_t j = 0; j < m; ++j) {
      const double v = x.data<double>()[i * m + j];
      JX_CHECK(v == 0 || v == 1, kOp, ": incidence: expected 0 or 1, got ", v, " at (", i, ", ", j, ")");
      if (v == 1) entries.push_back({i, j, 1});
    }
    for (size_t e = first; e < entries.size(); ++e)
      entries[e].value = 1 / static_cast<double>(entries.size() - first);
  }
  return SparseMatrix(n, m, std::move(entries));
}

}  // namespace

Var add_metapath_context(const Var& h, std::span<const MetapathContext> contexts, GraphDropout dropout) {
  constexpr const char* kOp = "add_metapath_context";
  JX_CHECK(h.defined() && is_float(h.dtype()) && h.ndim() == 2, kOp, ": h: expected a float [N, F], got ", h);
  Var sum = h;
  for (const MetapathContext& c : contexts) {
    JX_CHECK(c.features.defined() && c.features.ndim() == 2 && c.features.size(1) == h.size(1) &&
                 c.features.dtype() == h.dtype(),
             kOp, ": features: expected ", h.dtype(), " [M, ", h.size(1), "], got ", c.features);
    check_weight(kOp, "w_agg", c.w_agg, {h.size(1), h.size(1)});
    const SparseMatrix mean = mean_over(c.incidence, h.size(0), c.features.size(0));
    sum = add(sum, dropped(linear(spmm(mean, c.features), c.w_agg, {}), dropout));
  }
  return elu(sum);
}

Var meow_encode(const Var& h, const SparseMatrix& adjacency, const MeowEncoder& w, double eps) {
  constexpr const char* kOp = "meow_encode";
  JX_CHECK(h.defined() && is_float(h.dtype()) && h.ndim() == 2 && h.size(0) >= 1, kOp,
           ": h: expected a float [N, F], got ", h);
  JX_CHECK(adjacency.rows() == h.size(0) && adjacency.columns() == h.size(0), kOp, ": adjacency: expected ",
           h.size(0), " x ", h.size(0), ", got ", adjacency.rows(), " x ", adjacency.columns());
  JX_CHECK(w.w1.defined() && w.w2.defined() && w.w1.ndim() == 2 && w.w2.ndim() == 2 &&
               w.w1.size(0) == h.size(1) && w.w2.size(0) == w.w1.size(1),
           kOp, ": w1, w2: expected [", h.size(1), ", d] and [d, e], got ", w.w1, " and ", w.w2);
  check_weight(kOp, "slope", w.slope, {1});
  const Var first = spmm(adjacency, matmul(h, w.w1));
  const Var hidden = sub(relu(first), mul(w.slope, relu(neg(first))));
  const Var out = spmm(adjacency, matmul(hidden, w.w2));
  return reshape(layer_norm(reshape(out, {1, out.numel()}), {}, {}, eps), out.dims());
}

SemanticAttention semantic_attention(const Var& views, const Var& w, const Var& b, const Var& a) {
  constexpr const char* kOp = "semantic_attention";
  JX_CHECK(views.defined() && is_float(views.dtype()) && views.ndim() == 3 && views.numel() >= 1, kOp,
           ": views: expected a float [V, N, D], got ", views);
  JX_CHECK(w.defined() && w.ndim() == 2 && w.size(1) == views.size(2), kOp, ": w: expected [H, ",
           views.size(2), "], got ", w);
  check_weight(kOp, "b", b, {w.size(0)});
  check_weight(kOp, "a", a, {w.size(0)});
  const Var scores = sum(mul(mean(tanh(linear(views, w, b)), {1}), a), {1});  // [V]
  const Var beta = softmax(scores);
  return {sum(mul(reshape(beta, {views.size(0), 1, 1}), views), {0}), beta};
}

Var temporal_graph(const Var& x, std::span<const TemporalGraphLayer> layers, GraphDropout dropout) {
  constexpr const char* kOp = "temporal_graph";
  JX_CHECK(x.defined() && is_float(x.dtype()) && x.ndim() == 3 && x.size(1) >= 1, kOp,
           ": x: expected a float [B, K, d] with K >= 1 clips, got ", x);
  JX_CHECK(!layers.empty(), kOp, ": layers: expected at least one");
  Var h = x;
  for (size_t l = 0; l < layers.size(); ++l) {
    const TemporalGraphLayer& layer = layers[l];
    const int64_t d = h.size(2);
    JX_CHECK(layer.w.defined() && layer.w.ndim() == 2 && layer.w.size(0) == d, kOp, ": w: expected [", d,
             ", e] in layer ", l, ", got ", layer.w);
    check_weight(kOp, "b", layer.b, {layer.w.size(1)});
    check_weight(kOp, "p", layer.p, {d, d});
    check_weight(kOp, "q", layer.q, {d, d});
    // row j of the softmax of S^T is column j of A
    const Var from = linear(h, layer.p, {}), to = linear(h, layer.q, {});
    const Var a = transpose(softmax(matmul(to, transpose(from, 1, 2))), 1, 2);
    h = add(matmul(a, matmul(h, layer.w)), layer.b);
    if (l + 1 < layers.size()) h = dropped(relu(h), dropout);
  }
  return mean(h, {1});
}

}  // namespace juxta::nn

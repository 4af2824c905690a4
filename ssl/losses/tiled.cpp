#include "ssl/losses/tiled.h"

#include "autograd/contrast.h"
#include "autograd/ops.h"

namespace juxta::ssl {

namespace {

// log(e^a + e^b) = a - log sigma(a - b)
Var merge(const Var& a, const Var& b) { return sub(a, log_sigmoid(sub(a, b))); }

struct Direction {
  Var lse, own;  // [rows]; own: s of the row's label, from the tile that holds it, to the same bits
  std::vector<Var> partial;  // after each tile
};

// Log-sum-exp of every row over the columns, tile after tile; label: the row's own column.
Direction over_tiles(const Var& rows, const Var& columns, const Tensor& label, const Var& temperature,
                     int64_t tile) {
  const int64_t n = columns.size(0), step = tile == 0 ? n : tile;
  ContrastOptions o;
  o.op = "tiled_contrastive";
  o.positive = Tensor::empty(label.dims(), DType::i64);
  const int64_t* own = label.data<int64_t>();
  Direction d;
  for (int64_t begin = 0; begin < n; begin += step) {
    const int64_t end = std::min(begin + step, n);
    const Var part = slice(columns, 0, begin, end);
    for (int64_t i = 0; i < label.numel(); ++i)
      o.positive.write<int64_t>(o.op)[i] = own[i] >= begin && own[i] < end ? own[i] - begin : -1;
    const ContrastResult s = contrast({&rows, 1}, {&part, 1}, temperature, o);
    d.lse = d.lse.defined() ? merge(d.lse, s.lse) : s.lse;
    d.own = d.own.defined() ? add(d.own, s.positive) : s.positive;
    d.partial.push_back(stop_gradient(d.lse));
  }
  return d;
}

// For every key the query that has it as its label.
Tensor inverse_of(const Tensor& labels) {
  Tensor query = Tensor::empty(labels.dims(), DType::i64);
  for (int64_t i = 0; i < labels.numel(); ++i)
    query.write<int64_t>("tiled_contrastive")[labels.data<int64_t>()[i]] = i;
  return query;
}

void check_labels(const Tensor& labels, int64_t n, int64_t m, bool permutation) {
  JX_CHECK(labels.defined() && labels.dtype() == DType::i64 && labels.dims() == Dims({n}),
           "tiled_contrastive: labels: expected i64 [", n, "], got ", labels);
  std::vector<bool> seen(static_cast<size_t>(m), false);
  const Tensor flat = labels.contiguous();
  for (int64_t i = 0; i < n; ++i) {
    const int64_t y = flat.data<int64_t>()[i];
    JX_CHECK(y >= 0 && y < m, "tiled_contrastive: labels: expected 0 to ", m - 1, ", got ", y, " for query ",
             i);
    JX_CHECK(!permutation || !seen[static_cast<size_t>(y)],
             "tiled_contrastive: labels: symmetric needs one query per key; key ", y, " has two");
    seen[static_cast<size_t>(y)] = true;
  }
}

}  // namespace

Loss tiled_contrastive(const Var& q, const Var& k, const Tensor& labels, const Var& logit_scale,
                       const TiledContrastiveParams& p) {
  check_embeddings("tiled_contrastive", {{"q", q}});
  check_embeddings("tiled_contrastive", {{"k", k}});
  JX_CHECK(q.size(1) == k.size(1) && q.dtype() == k.dtype(), "tiled_contrastive: k: expected ", q.dtype(),
           " [M, ", q.size(1), "] like q, got ", k);
  JX_CHECK(!p.symmetric || q.size(0) == k.size(0),
           "tiled_contrastive: k: symmetric needs as many keys as queries, got ", k, " beside q ", q);
  JX_CHECK(p.row_tile >= 0 && p.col_tile >= 0,
           "tiled_contrastive: row_tile and col_tile: expected 0 (all) or more, got ", p.row_tile, " and ",
           p.col_tile);
  JX_CHECK(logit_scale.defined() && is_float(logit_scale.dtype()) && logit_scale.numel() == 1,
           "tiled_contrastive: logit_scale: expected one number, got ", logit_scale);
  check_finite("tiled_contrastive", {"logit_scale", logit_scale});
  check_labels(labels, q.size(0), k.size(0), p.symmetric);
  const Var rows = at_least_f32(q), columns = at_least_f32(k);
  const Var temperature = reshape(exp(neg(cast(logit_scale, rows.dtype()))), {1});
  const Tensor label = labels.contiguous();
  const Direction across = over_tiles(rows, columns, label, temperature, p.col_tile);
  const Var samples = sub(across.lse, across.own);
  Loss out{mean(samples),
           {{"lse", stop_gradient(across.lse)}, {"running_lse", stack(across.partial, 0)}},
           stop_gradient(samples)};
  if (!p.symmetric) return out;
  const Direction down = over_tiles(columns, rows, inverse_of(label), temperature, p.row_tile);
  const Var mirrored = mean(sub(down.lse, down.own));
  out.loss = affine(add(out.loss, mirrored), 0.5, 0.0);
  out.terms.emplace_back("lse_columns", stop_gradient(down.lse));
  out.terms.emplace_back("running_lse_columns", stack(down.partial, 0));
  return out;
}

}  // namespace juxta::ssl

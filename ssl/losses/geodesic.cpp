// Geodesic similarity of G2L: nearest neighbours and Dijkstra's shortest paths, in double.
#include <algorithm>
#include <cmath>
#include <numeric>
#include <queue>

#include "ssl/losses/grounding.h"
#include "tensor/parallel.h"

namespace juxta::ssl {

namespace {

constexpr const char* kRule = "g2l_geodesic";

double dot(const double* a, const double* b, int64_t d) {
  double sum = 0;
  for (int64_t k = 0; k < d; ++k) sum += a[k] * b[k];
  return sum;
}

double sq_distance(const double* a, const double* b, int64_t d) {
  double sum = 0;
  for (int64_t k = 0; k < d; ++k) sum += (a[k] - b[k]) * (a[k] - b[k]);
  return sum;
}

// The k edges that leave every moment.
struct Graph {
  int64_t n, k;
  std::vector<int64_t> to;
  std::vector<double> cost;
};

Graph nearest_neighbours(const double* x, int64_t n, int64_t d, int64_t k) {
  Graph g{n, k, std::vector<int64_t>(static_cast<size_t>(n * k)),
          std::vector<double>(static_cast<size_t>(n * k))};
  std::vector<double> length(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i)
    length[static_cast<size_t>(i)] = std::max(std::sqrt(dot(x + i * d, x + i * d, d)), 1e-12);
  parallel_for(n, grain_for(n * d), [&](int64_t begin, int64_t end) {
    std::vector<double> distance(static_cast<size_t>(n));
    std::vector<int64_t> order;
    for (int64_t i = begin; i < end; ++i) {
      order.clear();
      for (int64_t j = 0; j < n; ++j) {
        distance[static_cast<size_t>(j)] = sq_distance(x + i * d, x + j * d, d);
        if (j != i) order.push_back(j);
      }
      std::partial_sort(order.begin(), order.begin() + k, order.end(), [&](int64_t a, int64_t b) {
        const double p = distance[static_cast<size_t>(a)], q = distance[static_cast<size_t>(b)];
        return p != q ? p < q : a < b;
      });
      for (int64_t r = 0; r < k; ++r) {
        const int64_t j = order[static_cast<size_t>(r)];
        const double cosine =
            dot(x + i * d, x + j * d, d) / (length[static_cast<size_t>(i)] * length[static_cast<size_t>(j)]);
        g.to[static_cast<size_t>(i * k + r)] = j;
        g.cost[static_cast<size_t>(i * k + r)] = std::max(1 - cosine, 0.0);
      }
    }
  });
  return g;
}

// 1 - length of the shortest path from `start`; 0 beyond the limit.
void similarities(const Graph& g, int64_t start, double limit, double* out) {
  std::vector<double> distance(static_cast<size_t>(g.n), INFINITY);
  using Reached = std::pair<double, int64_t>;
  std::priority_queue<Reached, std::vector<Reached>, std::greater<Reached>> open;
  distance[static_cast<size_t>(start)] = 0;
  open.emplace(0.0, start);
  while (!open.empty()) {
    const double d = open.top().first;
    const int64_t i = open.top().second;
    open.pop();
    if (d > distance[static_cast<size_t>(i)]) continue;
    for (int64_t e = i * g.k; e < (i + 1) * g.k; ++e) {
      const int64_t j = g.to[static_cast<size_t>(e)];
      const double longer = d + g.cost[static_cast<size_t>(e)];
      if (longer > limit || longer >= distance[static_cast<size_t>(j)]) continue;
      distance[static_cast<size_t>(j)] = longer;
      open.emplace(longer, j);
    }
  }
  for (int64_t j = 0; j < g.n; ++j) {
    const double d = distance[static_cast<size_t>(j)];
    out[j] = std::isfinite(d) ? 1 - d : 0;
  }
}

}  // namespace

Tensor g2l_geodesic(const Tensor& feats, const Tensor& anchors, int64_t k, double limit) {
  check_embeddings(kRule, {{"feats", Var(feats)}});
  JX_CHECK(k >= 1, kRule, ": k: expected at least 1, got ", k);
  JX_CHECK(limit > 0 && std::isfinite(limit), kRule, ": limit: expected a positive number, got ", limit);
  JX_CHECK(anchors.defined() && anchors.ndim() == 1, kRule, ": anchors: expected i64 [Q], got ", anchors);
  const int64_t n = feats.size(0);
  check_indices(kRule, "anchors", anchors, anchors.dims(), n);
  const Tensor x = feats.to(DType::f64).contiguous(), start = anchors.contiguous();
  const Graph g = nearest_neighbours(x.data<double>(), n, feats.size(1), std::min(k, n - 1));
  Tensor out = Tensor::empty({anchors.size(0), n}, DType::f64);
  double* to = out.write<double>(kRule);
  for (int64_t q = 0; q < anchors.size(0); ++q) similarities(g, start.data<int64_t>()[q], limit, to + q * n);
  return out;
}

}  // namespace juxta::ssl

#include "ssl/clusters/kmeans.h"

#include <algorithm>
#include <utility>

#include "autograd/ops.h"
#include "ssl/losses/loss.h"

namespace juxta::ssl {

namespace {

constexpr int64_t kBlock = 256;  // rows whose distances to all centroids are held at a time

struct Assignment {
  Tensor label;        // i64 [n]
  double inertia = 0;  // sum of the distances to the chosen centroids
};

// Distances of a block of rows to all centroids, [block, K]; smaller is nearer.
using Distance = Var (*)(const Var& rows, const Var& centroids);
Var euclidean(const Var& rows, const Var& centroids) { return pairwise_sq_distance(rows, centroids); }
Var angular(const Var& rows, const Var& centroids) {
  return affine(matmul(rows, transpose(centroids, 0, 1)), -1.0, 1.0);
}

Assignment assign(const Tensor& x, const Tensor& centroids, Distance distance) {
  const int64_t n = x.size(0), k = centroids.size(0);
  Assignment a{Tensor::empty({n}, DType::i64)};
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t end = std::min(begin + kBlock, n);
    const Var d = distance(Var(x.slice(0, begin, end)), Var(centroids));
    const Tensor best = argmax(neg(d).value(), -1), wide = d.value().to(DType::f64);
    for (int64_t i = 0; i < end - begin; ++i) {
      const int64_t label = best.data<int64_t>()[i];
      a.label.write<int64_t>("kmeans")[begin + i] = label;
      a.inertia += wide.data<double>()[i * k + label];
    }
  }
  return a;
}

void check(const char* who, const char* name, const Tensor& x, const Tensor& centroids, int64_t rounds) {
  check_embeddings(who, {{name, Var(x)}});
  check_embeddings(who, {{"centroids", Var(centroids)}});
  JX_CHECK(centroids.size(1) == x.size(1) && centroids.dtype() == x.dtype(), who,
           ": centroids: expected rows like ", x, ", got ", centroids);
  JX_CHECK(rounds >= 0, who, ": rounds: expected 0 or more, got ", rounds);
}

KMeans lloyd(const Tensor& x, const Tensor& start, int64_t rounds, Distance distance, bool unit) {
  const NoGrad no_grad;
  KMeans result;
  result.centroids = start.clone();
  for (int64_t r = 0; r < rounds; ++r) {
    const Assignment a = assign(x, result.centroids, distance);
    result.inertia_before.push_back(a.inertia);
    const Tensor means = label_means(x, a.label, result.centroids);
    result.centroids = unit ? l2_normalize(Var(means)).value() : means;
  }
  const Assignment last = assign(x, result.centroids, distance);
  result.label = last.label;
  result.inertia = last.inertia;
  return result;
}

// k distinct row ids below n, i64 [k]: those with the smallest random words.
Tensor distinct_ids(int64_t n, int64_t k, Rng& rng) {
  const Draw draw = rng.next();
  std::vector<std::pair<uint32_t, int64_t>> order;
  for (int64_t i = 0; i < n; ++i) order.emplace_back(draw.bits(static_cast<uint64_t>(i)), i);
  std::partial_sort(order.begin(), order.begin() + k, order.end());
  Tensor ids = Tensor::empty({k}, DType::i64);
  for (int64_t i = 0; i < k; ++i) ids.write<int64_t>("kmeans")[i] = order[static_cast<size_t>(i)].second;
  return ids;
}

}  // namespace

Tensor label_means(const Tensor& x, const Tensor& labels, const Tensor& before) {
  const int64_t n = x.size(0), d = x.size(1), k = before.size(0);
  const Tensor rows = x.to(DType::f64).contiguous(), label = labels.contiguous();
  std::vector<double> sum(static_cast<size_t>(k * d), 0.0);
  std::vector<int64_t> count(static_cast<size_t>(k), 0);
  for (int64_t i = 0; i < n; ++i) {
    const int64_t c = label.data<int64_t>()[i];
    if (c < 0) continue;
    JX_CHECK(c < k, "label_means: labels: expected -1 to ", k - 1, ", got ", c, " in row ", i);
    ++count[static_cast<size_t>(c)];
    for (int64_t j = 0; j < d; ++j) sum[static_cast<size_t>(c * d + j)] += rows.data<double>()[i * d + j];
  }
  Tensor means = before.to(DType::f64).clone();
  auto* to = means.write<double>("label_means");
  for (int64_t c = 0; c < k; ++c) {
    const int64_t rows_of_c = count[static_cast<size_t>(c)];
    if (rows_of_c == 0) continue;
    for (int64_t j = 0; j < d; ++j)
      to[c * d + j] = sum[static_cast<size_t>(c * d + j)] / static_cast<double>(rows_of_c);
  }
  return means.to(before.dtype());
}

KMeans kmeans(const Tensor& x, const Tensor& centroids, int64_t rounds) {
  check("kmeans", "x", x, centroids, rounds);
  return lloyd(x, centroids, rounds, euclidean, false);
}

KMeans spherical_kmeans(const Tensor& features, const Tensor& centroids, int64_t rounds) {
  check("spherical_kmeans", "features", features, centroids, rounds);
  return lloyd(features, centroids, rounds, angular, true);
}

KMeans best_kmeans(const Tensor& x, int64_t k, int64_t rounds, int64_t restarts, Rng& rng) {
  check_embeddings("kmeans", {{"x", Var(x)}});
  const int64_t n = x.size(0);
  JX_CHECK(k >= 1 && k <= n, "kmeans: k: expected 1 to ", n, ", the rows of x, got ", k);
  JX_CHECK(restarts >= 1, "kmeans: restarts: expected at least 1, got ", restarts);
  KMeans best;
  for (int64_t r = 0; r < restarts; ++r) {
    KMeans run = kmeans(x, rows_at("kmeans", x, distinct_ids(n, k, rng)), rounds);
    if (r == 0 || run.inertia < best.inertia) best = std::move(run);
  }
  return best;
}

Tensor rows_at(const char* who, const Tensor& x, const Tensor& ids) {
  JX_CHECK(ids.defined() && ids.dtype() == DType::i64 && ids.ndim() == 1 && ids.numel() >= 1, who,
           ": start: expected i64 [K] row ids, got ", ids);
  const Tensor id = ids.contiguous();
  for (int64_t i = 0; i < id.numel(); ++i)
    JX_CHECK(id.data<int64_t>()[i] >= 0 && id.data<int64_t>()[i] < x.size(0), who,
             ": start: expected row ids from 0 to ", x.size(0) - 1, ", got ", id.data<int64_t>()[i]);
  const NoGrad no_grad;
  return index_select(Var(x), 0, id).value();
}

}  // namespace juxta::ssl

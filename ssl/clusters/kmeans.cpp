#include "ssl/clusters/kmeans.h"

#include <algorithm>
#include <limits>
#include <utility>

#include "autograd/ops.h"
#include "ssl/losses/loss.h"
#include "tensor/parallel.h"

namespace juxta::ssl {

namespace {

constexpr int64_t kBlock = 1024;  // rows whose distances to all centroids are held at a time

struct Assignment {
  Tensor label;        // i64 [n]
  double inertia = 0;  // sum of the distances to the chosen centroids
};

// Smaller is nearer: |c|^2 / 2 - x . c, half the squared distance less |x|^2 / 2; unit rows: - x . c.
struct Centres {
  Var transposed;      // [D, K]
  Var half_square{};   // [K]; undefined for unit rows
  double largest = 0;  // |c|
};
Centres centres_of(const Tensor& centroids, bool unit) {
  const Var c(centroids);
  const Tensor length = norm(c, {1}).value().to(DType::f64);
  Centres of{transpose(c, 0, 1)};
  of.largest = *std::max_element(length.data<double>(), length.data<double>() + length.numel());
  if (!unit) of.half_square = affine(sum(square(c), {1}), 0.5, 0.0);
  return of;
}

// What the row and a centroid are apart, in double: |x - c|^2, or 1 - x . c for unit rows.
template <class T>
double apart(const T* x, const T* c, int64_t d, bool unit) {
  double total = unit ? 1 : 0;
  for (int64_t j = 0; j < d; ++j) {
    const auto a = static_cast<double>(x[j]), b = static_cast<double>(c[j]);
    total += unit ? -a * b : (a - b) * (a - b);
  }
  return total;
}

// The matrix product finds the centroids that could be nearest, to within its rounding; exact distances
// choose among them, so that neither cancellation nor the order of a product's sums decides.
template <class T>
void assign_block(const Tensor& rows, const Tensor& centroids, const Centres& of, int64_t* label,
                  double* distance) {
  const int64_t n = rows.size(0), d = rows.size(1), k = centroids.size(0);
  const bool unit = !of.half_square.defined();
  const Var products = neg(matmul(Var(rows), of.transposed));
  const Tensor cost = (unit ? products : add(products, of.half_square)).value();
  const Tensor length = norm(Var(rows), {1}).value().to(DType::f64);
  const double rounding = static_cast<double>(std::numeric_limits<T>::epsilon()) * static_cast<double>(d + 4);
  parallel_for(n, grain_for(k), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const T* row = cost.data<T>() + i * k;
      const double least = static_cast<double>(*std::min_element(row, row + k));
      const double margin = 2 * rounding * of.largest * (length.data<double>()[i] + of.largest);
      distance[i] = std::numeric_limits<double>::infinity();
      for (int64_t c = 0; c < k; ++c) {
        if (static_cast<double>(row[c]) > least + margin) continue;
        const double exact = apart(rows.data<T>() + i * d, centroids.data<T>() + c * d, d, unit);
        if (exact < distance[i]) distance[i] = exact, label[i] = c;
      }
    }
  });
}

// Rows to centroids in their dtype, f32 or f64.
Assignment assign(const Tensor& x, const Tensor& centroids, bool unit) {
  const int64_t n = x.size(0);
  const Centres of = centres_of(centroids, unit);
  Assignment a{Tensor::zeros({n}, DType::i64)};
  std::vector<double> distance(static_cast<size_t>(std::min(n, kBlock)));
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t end = std::min(begin + kBlock, n);
    int64_t* label = a.label.write<int64_t>("kmeans") + begin;
    const Tensor rows = x.slice(0, begin, end);
    if (x.dtype() == DType::f64)
      assign_block<double>(rows, centroids, of, label, distance.data());
    else
      assign_block<float>(rows, centroids, of, label, distance.data());
    for (int64_t i = 0; i < end - begin; ++i) a.inertia += distance[static_cast<size_t>(i)];
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

// Means at unit length; a cluster without rows keeps its centre to the last bit.
Tensor unit_means(const Tensor& means, const Tensor& label, const Tensor& before) {
  Tensor has_rows = Tensor::zeros({means.size(0), 1}, DType::boolean);
  for (int64_t i = 0; i < label.numel(); ++i) has_rows.write<bool>("kmeans")[label.data<int64_t>()[i]] = true;
  return where(has_rows, l2_normalize(Var(means)), Var(before)).value();
}

KMeans lloyd(const Tensor& given, const Tensor& start, int64_t rounds, bool unit) {
  const NoGrad no_grad;
  const Tensor x = at_least_f32(Var(given)).value().contiguous();
  KMeans result;
  result.centroids = at_least_f32(Var(start)).value().clone();
  for (int64_t r = 0; r < rounds; ++r) {
    const Assignment a = assign(x, result.centroids, unit);
    result.inertia_before.push_back(a.inertia);
    const Tensor means = label_means(x, a.label, result.centroids);
    result.centroids = unit ? unit_means(means, a.label, result.centroids) : means;
  }
  const Assignment last = assign(x, result.centroids, unit);
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
  return lloyd(x, centroids, rounds, false);
}

KMeans spherical_kmeans(const Tensor& features, const Tensor& centroids, int64_t rounds) {
  check("spherical_kmeans", "features", features, centroids, rounds);
  return lloyd(features, centroids, rounds, true);
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

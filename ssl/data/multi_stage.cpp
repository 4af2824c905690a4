#include "ssl/data/multi_stage.h"

#include <algorithm>
#include <limits>
#include <numeric>
#include <unordered_map>
#include <vector>

#include "autograd/ops.h"

namespace juxta::ssl {

PseudoLabels mcl_pseudo_labels(const Tensor& clusters, int64_t k) {
  constexpr const char* kName = "mcl_pseudo_labels";
  JX_CHECK(
      clusters.defined() && clusters.dtype() == DType::i64 && clusters.ndim() == 2 && clusters.numel() > 0,
      kName, ": clusters: expected an i64 [S, n], got ", clusters);
  JX_CHECK(k >= 1, kName, ": k: expected at least 1, got ", k);
  const int64_t stages = clusters.size(0), n = clusters.size(1);
  const Tensor all = clusters.contiguous();
  const int64_t* c = all.data<int64_t>();
  PseudoLabels r{Tensor::empty({stages, n}, DType::i64), Tensor::empty({stages, n}, DType::i64),
                 Tensor::empty({stages}, DType::i64)};
  int64_t *pseudo = r.pseudo.write<int64_t>(kName), *group = r.group.write<int64_t>(kName);
  for (int64_t t = 0; t < stages; ++t) {
    std::unordered_map<int64_t, int64_t> seen;
    for (int64_t i = 0; i < n; ++i) {
      const int64_t own = c[t * n + i], before = t == 0 ? 0 : pseudo[(t - 1) * n + i];
      JX_CHECK(own >= 0 && own < k, kName, ": clusters: stage ", t, ", sample ", i, ": expected 0 to ", k - 1,
               ", got ", own);
      JX_CHECK(before <= (std::numeric_limits<int64_t>::max() - own) / k, kName, ": clusters: ", stages,
               " stages of k = ", k, " have more cells than an i64 can number");
      pseudo[t * n + i] = before * k + own;
      group[t * n + i] = seen.emplace(pseudo[t * n + i], static_cast<int64_t>(seen.size())).first->second;
    }
    r.groups.write<int64_t>(kName)[t] = static_cast<int64_t>(seen.size());
  }
  return r;
}

CellBatches mcl_batches(const Tensor& labels, const Tensor& key, int64_t batch) {
  constexpr const char* kName = "mcl_batches";
  JX_CHECK(labels.defined() && labels.dtype() == DType::i64 && labels.ndim() == 1 && labels.numel() > 0,
           kName, ": labels: expected an i64 [n], got ", labels);
  const int64_t n = labels.numel();
  JX_CHECK(key.defined() && is_float(key.dtype()) && key.dims() == Dims({n}), kName,
           ": key: expected a float [", n, "], got ", key);
  JX_CHECK(batch >= 1, kName, ": batch: expected at least 1, got ", batch);
  const Tensor of = labels.contiguous(), keys = key.to(DType::f64).contiguous();
  const int64_t* label = of.data<int64_t>();
  const double* k = keys.data<double>();
  for (int64_t i = 0; i < n; ++i)
    JX_CHECK(label[i] >= 0, kName, ": labels: row ", i, ": expected 0 or more, got ", label[i]);
  std::vector<std::vector<int64_t>> cells(static_cast<size_t>(*std::max_element(label, label + n)) + 1);
  std::vector<int64_t> order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), int64_t{0});
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) { return k[a] < k[b]; });
  for (const int64_t i : order) cells[static_cast<size_t>(label[i])].push_back(i);

  const size_t size = static_cast<size_t>(batch);
  std::vector<int64_t> rows, cell_of, dropped;
  size_t rounds = 0;
  for (auto& cell : cells) {
    dropped.push_back(static_cast<int64_t>(cell.size() % size));
    rounds = std::max(rounds, cell.size() / size);
    cell.resize(cell.size() / size * size);
    std::reverse(cell.begin(), cell.end());
  }
  for (size_t round = 0; round < rounds; ++round)
    for (size_t g = 0; g < cells.size(); ++g)
      if (round < cells[g].size() / size) {
        const auto begin = cells[g].begin() + static_cast<std::ptrdiff_t>(round * size);
        rows.insert(rows.end(), begin, begin + static_cast<std::ptrdiff_t>(size));
        cell_of.push_back(static_cast<int64_t>(g));
      }
  const int64_t count = static_cast<int64_t>(cell_of.size());
  const auto tensor = [](const std::vector<int64_t>& v, const Dims& dims) {
    return Tensor::from(std::span<const int64_t>(v), dims);
  };
  return {tensor(rows, {count, batch}), tensor(cell_of, {count}),
          tensor(dropped, {static_cast<int64_t>(dropped.size())})};
}

JoinedStages mcl_integrate(const Tensor& features, const Tensor& other, bool normalize_stages) {
  constexpr const char* kName = "mcl_integrate";
  JX_CHECK(features.defined() && is_float(features.dtype()) && features.ndim() == 3 && features.numel() > 0,
           kName, ": features: expected a float [S, n, D], got ", features);
  JX_CHECK(other.defined() && other.dtype() == features.dtype() && other.ndim() == 3 && other.numel() > 0 &&
               other.size(0) == features.size(0) && other.size(2) == features.size(2),
           kName, ": other: expected [S, m, D] beside ", features, ", got ", other);
  const auto join = [&](const Tensor& t) {
    const Var x = normalize_stages ? l2_normalize(Var(t)) : Var(t);
    return l2_normalize(reshape(transpose(x, 0, 1), {t.size(1), t.size(0) * t.size(2)}));
  };
  const NoGrad constant;
  const Var joined = join(features);
  return {joined.value(), matmul(joined, transpose(join(other), 0, 1)).value()};
}

}  // namespace juxta::ssl

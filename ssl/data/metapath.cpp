#include "ssl/data/metapath.h"

#include <algorithm>
#include <cmath>
#include <numeric>
#include <vector>

namespace juxta::ssl {

MetapathGraph metapath_pathsim(const Tensor& commuting, int64_t k) {
  constexpr const char* kRule = "metapath_pathsim";
  JX_CHECK(commuting.defined() && commuting.dtype() == DType::i64 && commuting.ndim() == 2 &&
               commuting.size(0) == commuting.size(1),
           kRule, ": commuting: expected i64 [N, N], got ", commuting);
  JX_CHECK(k >= 1, kRule, ": k: expected at least 1, got ", k);
  const int64_t n = commuting.size(0), kept = std::min(k, n);
  const Tensor counts = commuting.contiguous();
  const int64_t* c = counts.data<int64_t>();
  for (int64_t i = 0; i < n * n; ++i)
    JX_CHECK(c[i] >= 0, kRule, ": commuting: expected counts >= 0, got ", c[i], " at (", i / n, ", ", i % n,
             ")");
  MetapathGraph g{Tensor::empty({n, n}, DType::f64), Tensor::zeros({n, n}, DType::i64),
                  Tensor::zeros({n, n}, DType::f64)};
  double *score = g.score.write<double>(kRule), *normalized = g.normalized.write<double>(kRule);
  int64_t* top = g.top.write<int64_t>(kRule);
  std::vector<double> scale(static_cast<size_t>(n), 0.0);
  std::vector<int64_t> order(static_cast<size_t>(n));
  for (int64_t i = 0; i < n; ++i) {
    double* row = score + i * n;
    for (int64_t j = 0; j < n; ++j) {
      const int64_t both = c[i * n + i] + c[j * n + j];
      row[j] = both ? 2 * static_cast<double>(c[i * n + j]) / static_cast<double>(both) : 0;
    }
    std::iota(order.begin(), order.end(), int64_t{0});
    std::partial_sort(order.begin(), order.begin() + kept, order.end(),
                      [&](int64_t a, int64_t b) { return row[a] != row[b] ? row[a] > row[b] : a < b; });
    int64_t degree = 0;
    for (int64_t r = 0; r < kept; ++r) {
      const int64_t j = order[static_cast<size_t>(r)];
      top[i * n + j] = c[i * n + j];
      degree += c[i * n + j];
    }
    if (degree) scale[static_cast<size_t>(i)] = 1 / std::sqrt(static_cast<double>(degree));
  }
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j)
      normalized[i * n + j] =
          static_cast<double>(top[j * n + i]) * scale[static_cast<size_t>(i)] * scale[static_cast<size_t>(j)];
  return g;
}

}  // namespace juxta::ssl

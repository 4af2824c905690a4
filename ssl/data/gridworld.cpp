#include "ssl/data/gridworld.h"

#include <cmath>
#include <utility>

namespace juxta::ssl {

namespace {

constexpr const char* kName = "gridworld_features";

Tensor checked(const char* name, const Tensor& index, int64_t columns, int64_t below) {
  JX_CHECK(index.defined() && index.dtype() == DType::i64 && index.ndim() == 2 && index.size(1) == columns,
           kName, ": ", name, ": expected i64 [Q, ", columns, "], got ", index);
  Tensor flat = index.contiguous();
  for (int64_t i = 0; i < flat.numel(); ++i)
    JX_CHECK(flat.data<int64_t>()[i] >= 0 && flat.data<int64_t>()[i] < below, kName, ": ", name,
             ": expected 0 to ", below - 1, ", got ", flat.data<int64_t>()[i], " in row ", i / columns);
  return flat;
}

Tensor per_feature(const char* name, const Tensor& t, int64_t features) {
  JX_CHECK(t.defined() && is_float(t.dtype()) && t.dims() == Dims({features}), kName, ": ", name,
           ": expected a float [", features, "], one per object and two, got ", t);
  return t.to(DType::f64).contiguous();
}

}  // namespace

Tensor gridworld_features(const GridWorld& world, const Tensor& cells) {
  JX_CHECK(world.n >= 2, kName, ": n: expected at least 2, got ", world.n);
  JX_CHECK(cells.defined() && cells.dtype() == DType::i64 && cells.ndim() == 3 && cells.size(1) >= 1 &&
               cells.size(2) == 2,
           kName, ": cells: expected i64 [P, T, 2], got ", cells);
  const Tensor objects = checked("objects", world.objects, 2, world.n);
  const int64_t paths = cells.size(0), steps = cells.size(1), count = objects.size(0), width = count + 2;
  const Tensor scale = per_feature("scale", world.scale, width);
  const Tensor path = checked("cells", cells.reshape({paths * steps, 2}), 2, world.n);
  const double side = static_cast<double>(world.n - 1), diagonal = side * std::sqrt(2.0);
  Tensor out = Tensor::zeros({paths, width}, DType::f64);
  double* f = out.write<double>(kName);
  for (int64_t p = 0; p < paths; ++p, f += width) {
    for (int64_t t = 0; t < steps; ++t) {
      const int64_t* cell = path.data<int64_t>() + 2 * (p * steps + t);
      const double x = static_cast<double>(cell[0]), y = static_cast<double>(cell[1]);
      for (int64_t o = 0; o < count; ++o)
        f[o] += std::hypot(x - static_cast<double>(objects.data<int64_t>()[2 * o]),
                           y - static_cast<double>(objects.data<int64_t>()[2 * o + 1])) /
                diagonal;
      f[count] += x / side;
      f[count + 1] += std::abs(x - y) / side;
    }
    for (int64_t k = 0; k < width; ++k) f[k] *= scale.data<double>()[k] / static_cast<double>(steps);
  }
  return out;
}

Tensor similarity_answers(const Tensor& features, const Tensor& queries) {
  const Tensor q = checked("queries", queries, 3, features.size(0)), f = features.to(DType::f64).contiguous();
  const int64_t width = f.size(1);
  const auto distance = [&](int64_t a, int64_t b) {
    double d = 0;
    for (int64_t k = 0; k < width; ++k) {
      const double e = f.data<double>()[a * width + k] - f.data<double>()[b * width + k];
      d += e * e;
    }
    return d;
  };
  Tensor out = Tensor::empty(q.dims(), DType::i64);
  for (int64_t i = 0; i < q.size(0); ++i) {
    const int64_t* of = q.data<int64_t>() + 3 * i;
    constexpr std::pair<int, int> kPairs[] = {{0, 1}, {0, 2}, {1, 2}};
    auto best = kPairs[0];
    for (const auto& pair : kPairs)
      if (distance(of[pair.first], of[pair.second]) < distance(of[best.first], of[best.second])) best = pair;
    int64_t* to = out.write<int64_t>(kName) + 3 * i;
    to[0] = of[best.first], to[1] = of[best.second], to[2] = of[3 - best.first - best.second];
  }
  return out;
}

Tensor preference_labels(const GridWorld& world, const Tensor& features, const Tensor& pairs) {
  const Tensor q = checked("pairs", pairs, 2, features.size(0)), f = features.to(DType::f64).contiguous();
  const Tensor w = per_feature("weights", world.weights, f.size(1));
  const auto reward = [&](int64_t path) {
    double r = 0;
    for (int64_t k = 0; k < w.numel(); ++k) r += w.data<double>()[k] * f.data<double>()[path * w.numel() + k];
    return r;
  };
  Tensor out = Tensor::empty({q.size(0)}, DType::f64);
  for (int64_t i = 0; i < q.size(0); ++i)
    out.write<double>(kName)[i] =
        reward(q.data<int64_t>()[2 * i]) > reward(q.data<int64_t>()[2 * i + 1]) ? 1 : 0;
  return out;
}

}  // namespace juxta::ssl

#include "ssl/losses/experts.h"

#include <cmath>
#include <vector>

#include "autograd/contrast.h"
#include "autograd/ops.h"

namespace juxta::ssl {

namespace {

constexpr const char* kName = "astrea_prealign";

// s_e / sum s, [E, 1], f64.
Tensor shares(const Tensor& stage_weight, int64_t experts) {
  JX_CHECK(stage_weight.defined() && is_float(stage_weight.dtype()) && stage_weight.dims() == Dims({experts}),
           kName, ": stage_weight: expected a float [", experts, "], got ", stage_weight);
  check_finite(kName, {"stage_weight", Var(stage_weight)});
  Tensor s = stage_weight.to(DType::f64).clone();
  double total = 0;
  for (int64_t e = 0; e < experts; ++e) {
    const double w = s.data<double>()[e];
    JX_CHECK(w >= 0, kName, ": stage_weight: expected 0 or more, got ", w, " for expert ", e);
    total += w;
  }
  JX_CHECK(total > 0, kName, ": stage_weight: all are 0, so no expert is trained");
  for (int64_t e = 0; e < experts; ++e) s.write<double>(kName)[e] /= total;
  return s.view({experts, 1});
}

}  // namespace

Loss astrea_prealign(const Var& expert, const Var& anchor_m, const Tensor& stage_weight, const Var& queue,
                     const AstreaPrealignParams& p) {
  JX_CHECK(expert.defined() && is_float(expert.dtype()) && expert.ndim() == 3 && expert.numel() > 0, kName,
           ": expert: expected a float [E, N, D], got ", expert);
  check_finite(kName, {"expert", expert});
  check_embeddings(kName, {{"anchor_m", anchor_m}});
  const int64_t experts = expert.size(0), n = expert.size(1), d = expert.size(2);
  JX_CHECK(anchor_m.dims() == Dims({n, d}), kName, ": anchor_m: expected [", n, ", ", d,
           "] like expert, got ", anchor_m);
  JX_CHECK(!queue.defined() || (is_float(queue.dtype()) && queue.ndim() == 2 && queue.size(1) == d), kName,
           ": queue: expected a float [Q, ", d, "], got ", queue);
  check_finite(kName, {"queue", queue});
  check_temperature(kName, p.temperature);
  const Tensor weight = shares(stage_weight, experts);
  const Var z = l2_normalize(at_least_f32(expert));
  std::vector<Var> columns{stop_gradient(cast(anchor_m, z.dtype()))};
  if (queue.defined() && queue.size(0) > 0) columns.push_back(stop_gradient(cast(queue, z.dtype())));
  ContrastOptions o;
  o.op = kName;
  o.positive = Tensor::arange(n);
  o.stop_columns = true;
  std::vector<Var> each;
  for (int64_t e = 0; e < experts; ++e) {
    const Var rows = select(z, 0, e);
    const ContrastResult s = contrast({&rows, 1}, columns, constant_temperature(p.temperature, rows), o);
    each.push_back(sub(s.lse, s.positive));
  }
  const Var entropies = stack(each, 0);  // [E, N]
  const Var samples = sum(mul(entropies, Var(weight.to(entropies.dtype()))), {0});
  return {mean(samples), {{"expert_loss", stop_gradient(mean(entropies, {1}))}}, stop_gradient(samples)};
}

}  // namespace juxta::ssl

#include "nn/expert_fusion.h"

#include <cmath>

namespace juxta::nn {

namespace {

constexpr const char* kName = "expert_fusion";

void check(const Var& x, const Var& base, const Var& gate_w, const Var& gate_b,
           const ExpertFusionOptions& o) {
  JX_CHECK(x.defined() && is_float(x.dtype()) && x.ndim() == 4 && x.numel() > 0, kName,
           ": x: expected a float [E, N, L, D], got ", x);
  const auto expect = [&](const char* name, const Var& v, const Dims& dims) {
    JX_CHECK(v.defined() && v.dims() == dims && v.dtype() == x.dtype(), kName, ": ", name, ": expected ",
             x.dtype(), " ", dims, ", got ", v);
  };
  expect("base", base, {x.size(1), x.size(2), x.size(3)});
  expect("gate_w", gate_w, {x.size(0), x.size(3)});
  expect("gate_b", gate_b, {x.size(0)});
  JX_CHECK(o.probability >= 0 && o.probability <= 1, kName, ": probability: expected 0 to 1, got ",
           o.probability);
  JX_CHECK(o.temperature > 0 && std::isfinite(o.temperature), kName,
           ": temperature: expected a positive number, got ", o.temperature);
}

// keep as [N, 1, 1] beside x.
Var draws(const Tensor& keep, int64_t n, DType dtype) {
  JX_CHECK(keep.defined() && keep.dtype() == DType::i64 && keep.dims() == Dims({n}), kName,
           ": keep: training needs one draw per sample, i64 [", n, "], got ", keep);
  const Tensor drawn = keep.contiguous();
  for (int64_t i = 0; i < n; ++i) {
    const int64_t k = drawn.data<int64_t>()[i];
    JX_CHECK(k == 0 || k == 1, kName, ": keep: expected 0 or 1, got ", k, " for sample ", i);
  }
  return Var(drawn.to(dtype).view({n, 1, 1}));
}

}  // namespace

ExpertFusion expert_fusion(const Var& x, const Var& base, const Var& gate_w, const Var& gate_b,
                           const Tensor& keep, const ExpertFusionOptions& o, bool training) {
  check(x, base, gate_w, gate_b, o);
  const int64_t experts = x.size(0), n = x.size(1);
  const Var h = mean(x, {0, 2});  // [N, D]
  const Var w = softmax(affine(linear(h, gate_w, gate_b), 1 / o.temperature, 0.0));
  const Var fused = sum(mul(x, reshape(transpose(w, 0, 1), {experts, n, 1, 1})), {0});
  const Var kept = training ? mul(base, draws(keep, n, base.dtype())) : affine(base, o.probability, 0.0);

  const Tensor winner = argmax(w.value(), -1).contiguous();
  Tensor share = Tensor::zeros({experts}, DType::f64);
  for (int64_t i = 0; i < n; ++i)
    share.write<double>(kName)[winner.data<int64_t>()[i]] += 1 / static_cast<double>(n);
  const Var balance =
      affine(sum(mul(mean(w, {0}), Var(share.to(w.dtype())))), static_cast<double>(experts), 0.0);
  return {add(fused, kept), w, balance};
}

}  // namespace juxta::nn

#include "ssl/losses/grad_cache.h"

#include "autograd/contrast.h"
#include "autograd/ops.h"

namespace juxta::ssl {

Loss grad_cache(const Var& rep_x, const Var& rep_y, const Var& logit_scale, const GradCacheParams& p) {
  constexpr const char* kLoss = "grad_cache";
  check_embeddings(kLoss, {{"rep_x", rep_x}});
  check_embeddings(kLoss, {{"rep_y", rep_y}});
  const int64_t n = rep_x.size(0), k = p.targets_per_query;
  JX_CHECK(k >= 1, kLoss, ": targets_per_query: expected at least 1, got ", k);
  JX_CHECK(rep_y.dims() == Dims({n * k, rep_x.size(1)}), kLoss, ": rep_y: expected [", n * k, ", ",
           rep_x.size(1), "], ", k, " targets per query, got ", rep_y);
  JX_CHECK(!p.symmetric || k == 1, kLoss,
           ": symmetric: targets have no query of their own when targets_per_query is ", k);
  JX_CHECK(logit_scale.defined() && is_float(logit_scale.dtype()) && logit_scale.numel() == 1, kLoss,
           ": logit_scale: expected one number, got ", logit_scale);
  check_finite(kLoss, {"logit_scale", logit_scale});
  const Var x = at_least_f32(rep_x), y = at_least_f32(rep_y);
  ContrastOptions o;
  o.op = kLoss;
  o.normalize = p.normalize;
  o.two_way = p.symmetric;
  o.positive = Tensor::empty({n}, DType::i64);
  for (int64_t i = 0; i < n; ++i) o.positive.write<int64_t>(kLoss)[i] = i * k;
  const Var temperature = reshape(exp(neg(cast(logit_scale, x.dtype()))), {1});
  const ContrastResult s = contrast({&x, 1}, {&y, 1}, temperature, o);
  Var samples = sub(s.lse, s.positive);
  if (p.symmetric) samples = affine(add(samples, sub(s.column_lse, s.column_positive)), 0.5, 0.0);
  return {mean(samples), {}, stop_gradient(samples)};
}

}  // namespace juxta::ssl

#include "ssl/losses/whitening.h"

#include "autograd/ops.h"

namespace juxta::ssl {

namespace {

// eps on the diagonal of [d, d].
Var scaled_identity(int64_t d, double eps, DType dtype) {
  Tensor t = Tensor::zeros({d, d}, DType::f64);
  for (int64_t i = 0; i < d; ++i) t.write<double>("w_mse")[i * d + i] = eps;
  return Var(t.to(dtype));
}

void check_w_mse(const Var& z, const Tensor& perm, const WMseParams& p) {
  JX_CHECK(z.defined() && is_float(z.dtype()) && z.ndim() == 3 && z.size(0) >= 2 && z.numel() > 0,
           "w_mse: z: expected a float [V, N, D] of at least two views, got ", z);
  check_finite("w_mse", {"z", z});
  const int64_t n = z.size(1);
  JX_CHECK(perm.defined() && perm.dtype() == DType::i64 && perm.ndim() == 2 && perm.size(0) >= 1 &&
               perm.size(1) == n,
           "w_mse: perm: expected i64 [I, ", n, "], got ", perm);
  JX_CHECK(p.w_size >= 2 && n % p.w_size == 0, "w_mse: w_size: expected at least 2 and a divisor of N = ", n,
           ", got ", p.w_size);
  JX_CHECK(p.eps >= 0 && p.eps <= 1, "w_mse: eps: expected 0 to 1, got ", p.eps);
  const Tensor rows = perm.contiguous();
  for (int64_t i = 0; i < perm.size(0); ++i) {
    std::vector<bool> seen(static_cast<size_t>(n), false);
    for (int64_t r = 0; r < n; ++r) {
      const int64_t at = rows.data<int64_t>()[i * n + r];
      JX_CHECK(at >= 0 && at < n && !seen[static_cast<size_t>(at)],
               "w_mse: perm: expected permutations of 0 to ", n - 1, ", got ", at, " at place ", r,
               " of row ", i);
      seen[static_cast<size_t>(at)] = true;
    }
  }
}

}  // namespace

Var whiten(const Var& x, double eps) {
  JX_CHECK(x.defined() && x.ndim() == 2 && x.size(0) >= 2, "whiten: x: expected [n, D] with n >= 2, got ", x);
  const Var centred = sub(x, mean(x, {0}, true));
  const double weight = (1 - eps) / static_cast<double>(x.size(0) - 1);
  const Var covariance = affine(matmul(transpose(centred, 0, 1), centred), weight, 0.0);
  const Var factor = cholesky(add(covariance, scaled_identity(x.size(1), eps, x.dtype())));
  return transpose(triangular_solve(factor, transpose(centred, 0, 1)), 0, 1);
}

Loss w_mse(const Var& z, const Tensor& perm, const WMseParams& p) {
  check_w_mse(z, perm, p);
  const Var x = at_least_f32(z);
  const int64_t views = x.size(0), n = x.size(1);
  std::vector<Var> losses;  // of every sub-batch and pair of views; all have w_size rows
  for (int64_t i = 0; i < perm.size(0); ++i)
    for (int64_t begin = 0; begin < n; begin += p.w_size) {
      const Tensor rows = perm.select(0, i).slice(0, begin, begin + p.w_size).contiguous();
      std::vector<Var> w;
      for (int64_t v = 0; v < views; ++v) {
        const Var white = whiten(index_select(select(x, 0, v), 0, rows), p.eps);
        w.push_back(p.normalize ? l2_normalize(white) : white);
      }
      for (size_t a = 0; a < w.size(); ++a)
        for (size_t b = a + 1; b < w.size(); ++b)
          losses.push_back(p.normalize ? affine(mean(sum(mul(w[a], w[b]), {1})), -2.0, 2.0)
                                       : mean(square(sub(w[a], w[b]))));
    }
  return {mean(stack(losses, 0)), {}};
}

}  // namespace juxta::ssl

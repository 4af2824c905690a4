#include "ssl/losses/sepclr.h"

#include <cmath>

#include "autograd/ops.h"

namespace juxta::ssl {

namespace {

// -|x_i - x_j|^2 / (2 tau), [N, N].
Var log_kernel(const Var& x, double tau) { return affine(pairwise_sq_distance(x, x), -0.5 / tau, 0.0); }

Tensor off_diagonal(int64_t n) {
  Tensor mask = Tensor::full({n, n}, 1.0, DType::boolean);
  for (int64_t i = 0; i < n; ++i) mask.write<bool>("sepclr")[i * n + i] = false;
  return mask;
}

// [N, 1] of 0 and 1: the rows with that target.
Tensor rows_with(const Tensor& target, int64_t value, DType dtype) {
  Tensor rows = Tensor::empty({target.size(0), 1}, DType::f64);
  for (int64_t i = 0; i < target.size(0); ++i)
    rows.write<double>("sepclr")[i] = static_cast<int64_t>(target.at({i})) == value;
  return rows.to(dtype);
}

}  // namespace

Var align_term(const Var& a, const Var& b, const Tensor& kept, double tau) {
  double count = 0;
  for (int64_t i = 0; i < kept.size(0); ++i) count += kept.at({i, 0});
  const Var squared = sum(mul(square(sub(a, b)), Var(kept)));
  return affine(squared, count > 0 ? 0.5 / (tau * count) : 0.0, 0.0);
}

Var gaussian_uniformity(const Var& a, double tau) {
  const int64_t n = a.size(0);
  const Var pairs = logsumexp(log_kernel(a, tau), off_diagonal(n));
  return affine(logsumexp(pairs), 1.0, -std::log(static_cast<double>(n) * static_cast<double>(n - 1)));
}

Var kernel_joint_entropy(const Var& a, const Var& b, double tau) {
  const Var joint = log_kernel(cat(std::vector{a, b}, 1), tau);  // the product of two kernels
  return affine(mean(logsumexp(joint)), 1.0, -std::log(static_cast<double>(a.size(0))));
}

Loss sepclr(const Var& c1, const Var& c2, const Var& s1, const Var& s2, const Tensor& target,
            const SepClrParams& p) {
  constexpr const char* kLoss = "sepclr";
  check_embeddings(kLoss, {{"c1", c1}, {"c2", c2}});
  check_embeddings(kLoss, {{"s1", s1}, {"s2", s2}});
  check_temperature(kLoss, p.tau, "tau");
  const int64_t n = c1.size(0);
  JX_CHECK(n >= 2, kLoss, ": c1: expected N >= 2, since uniformity is a mean over pairs, got ", c1);
  JX_CHECK(s1.size(0) == n && s1.dtype() == c1.dtype(), kLoss, ": s1: expected ", c1.dtype(), " [", n,
           ", S] beside c1, got ", s1);
  JX_CHECK(target.defined() && target.dtype() == DType::i64 && target.dims() == Dims({n}), kLoss,
           ": target: expected i64 [", n, "], got ", target);
  for (int64_t i = 0; i < n; ++i)
    JX_CHECK(target.at({i}) == 0 || target.at({i}) == 1, kLoss,
             ": target: expected 0 (background) or 1 (target), got ", target.at({i}), " in row ", i);
  const Var c[2] = {l2_normalize(at_least_f32(c1)), l2_normalize(at_least_f32(c2))};
  const Var s[2] = {at_least_f32(s1), at_least_f32(s2)};
  const DType dtype = s[0].dtype();
  const Tensor targets = rows_with(target, 1, dtype), background = rows_with(target, 0, dtype),
               all = Tensor::full({n, 1}, 1.0, dtype);
  const Var salient_codes[2] = {mul(s[0], Var(targets)), mul(s[1], Var(targets))};
  const Var null(Tensor::zeros(s[0].dims(), dtype));
  const auto halves = [](const Var& x, const Var& y, double weight) {
    return affine(add(x, y), 0.5 * weight, 0.0);
  };
  const Var common =
      add(align_term(c[0], c[1], all, p.tau),
          halves(gaussian_uniformity(c[0], p.tau), gaussian_uniformity(c[1], p.tau), p.w_uniform));
  const Var salient = add(align_term(s[0], s[1], targets, p.tau),
                          halves(gaussian_uniformity(salient_codes[0], p.tau),
                                 gaussian_uniformity(salient_codes[1], p.tau), p.w_uniform));
  const Var infoless =
      halves(align_term(null, s[0], background, p.tau), align_term(null, s[1], background, p.tau), 1);
  const Var jem = halves(kernel_joint_entropy(c[0], salient_codes[0], p.tau),
                         kernel_joint_entropy(c[1], salient_codes[1], p.tau), 1);
  const Var loss = add(add(common, affine(salient, p.w_salient, 0.0)),
                       add(affine(infoless, p.w_infoless, 0.0), affine(jem, p.w_jem, 0.0)));
  return {loss,
          {{"common", stop_gradient(common)},
           {"salient", stop_gradient(salient)},
           {"infoless", stop_gradient(infoless)},
           {"jem", stop_gradient(jem)}}};
}

}  // namespace juxta::ssl

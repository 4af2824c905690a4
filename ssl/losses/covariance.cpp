#include "ssl/losses/covariance.h"

#include <algorithm>
#include <cmath>

#include "autograd/ops.h"

namespace juxta::ssl {

namespace {

// bool [n, n]: true on the diagonal.
Tensor diagonal(int64_t n) {
  Tensor t = Tensor::zeros({n, n}, DType::boolean);
  for (int64_t i = 0; i < n; ++i) t.write<bool>("covariance")[i * n + i] = true;
  return t;
}

Var zeros_like(const Var& x) { return Var(Tensor::zeros(x.dims(), x.dtype(), x.device())); }

// Sum of the squares of a [D, D] beside its diagonal.
Var off_diagonal_squares(const Var& c) { return sum(square(where(diagonal(c.size(0)), zeros_like(c), c))); }

// sum_i (C_ii - 1)^2
Var diagonal_distance(const Var& c) {
  return sum(square(where(diagonal(c.size(0)), affine(c, 1.0, -1.0), zeros_like(c))));
}

// a^T b / N, [D, D].
Var correlation(const Var& a, const Var& b) {
  return affine(matmul(transpose(a, 0, 1), b), 1.0 / static_cast<double>(a.size(0)), 0.0);
}

void check_number(const char* loss, const char* name, double value) {
  JX_CHECK(std::isfinite(value), loss, ": ", name, ": expected a number, got ", value);
}

}  // namespace

Loss barlow_twins(const Var& z1, const Var& z2, const BarlowTwinsParams& p) {
  check_embeddings("barlow_twins", {{"z1", z1}, {"z2", z2}});
  JX_CHECK(p.eps >= 0 && std::isfinite(p.eps), "barlow_twins: eps: expected 0 or more, got ", p.eps);
  check_number("barlow_twins", "lambd", p.lambd);
  check_number("barlow_twins", "scale", p.scale);
  const auto standardized = [&](const Var& z) {
    const Var x = at_least_f32(z), centred = sub(x, mean(x, {0}, true));
    return mul(centred, rsqrt(affine(mean(square(centred), {0}, true), 1.0, p.eps)));
  };
  const Var c = correlation(standardized(z1), standardized(z2));
  const Var on = diagonal_distance(c), off = off_diagonal_squares(c);
  return {affine(add(on, affine(off, p.lambd, 0.0)), p.scale, 0.0),
          {{"on_diagonal", stop_gradient(on)}, {"off_diagonal", stop_gradient(off)}}};
}

Loss barlip(const Var& v_image, const Var& v_text, const Var& v_image_local, const Var& v_text_local,
            const BarLipParams& p) {
  check_embeddings("barlip", {{"v_image", v_image}, {"v_text", v_text}});
  check_number("barlip", "lambd", p.lambd);
  check_number("barlip", "scale", p.scale);
  JX_CHECK(v_image_local.defined() == v_text_local.defined(),
           "barlip: v_image_local and v_text_local: they go together; one of them is missing");
  const auto pair = [&](const Var& i, const Var& t) {
    const Var c = correlation(at_least_f32(i), at_least_f32(t));
    return add(diagonal_distance(c), affine(off_diagonal_squares(c), p.lambd, 0.0));
  };
  std::vector<Var> losses{pair(v_image, v_text)};
  if (v_image_local.defined()) {
    JX_CHECK(v_image_local.ndim() == 3 && v_image_local.dims() == v_text_local.dims(),
             "barlip: v_text_local: expected [A, N, D] like v_image_local, got ", v_text_local, " beside ",
             v_image_local);
    check_finite("barlip", {"v_image_local", v_image_local});
    check_finite("barlip", {"v_text_local", v_text_local});
    const int64_t views = v_image_local.size(0);
    for (int64_t a = 0; a < views; ++a)
      for (int64_t b = 0; b < views; ++b)
        losses.push_back(pair(select(v_image_local, 0, a), select(v_text_local, 0, b)));
  }
  return {affine(mean(stack(losses, 0)), p.scale, 0.0), {}};
}

Loss vicreg(const Var& z1, const Var& z2, const VicRegParams& p) {
  check_embeddings("vicreg", {{"z1", z1}, {"z2", z2}});
  JX_CHECK(z1.size(0) >= 2, "vicreg: z1: expected N >= 2, since variances divide by N - 1, got ", z1);
  JX_CHECK(p.eps > 0 && std::isfinite(p.eps), "vicreg: eps: expected a positive number, got ", p.eps);
  const Var x = at_least_f32(z1), y = at_least_f32(z2);
  const double n = static_cast<double>(x.size(0)), d = static_cast<double>(x.size(1));
  const Var invariance = mean(square(sub(x, y)));
  Var hinge, off;
  for (const Var& z : {x, y}) {
    const Var centred = sub(z, mean(z, {0}, true));
    const Var cov = affine(matmul(transpose(centred, 0, 1), centred), 1.0 / (n - 1), 0.0);
    const Var deviation = sqrt(affine(sum(square(centred), {0}), 1.0 / (n - 1), p.eps));
    const Var h = mean(relu(affine(deviation, -1.0, p.gamma)));
    const Var o = affine(off_diagonal_squares(cov), 1.0 / d, 0.0);
    hinge = hinge.defined() ? add(hinge, h) : h;
    off = off.defined() ? add(off, o) : o;
  }
  const Var variance = affine(hinge, 0.5, 0.0);
  const Var loss = add(add(affine(invariance, p.sim_weight, 0.0), affine(variance, p.var_weight, 0.0)),
                       affine(off, p.cov_weight, 0.0));
  return {loss,
          {{"invariance", stop_gradient(invariance)},
           {"variance", stop_gradient(variance)},
           {"covariance", stop_gradient(off)}}};
}

Loss tico(const Var& z1, const Var& z2, const Tensor& covariance, const TicoParams& p) {
  JX_CHECK(z1.defined() && is_float(z1.dtype()) && z1.ndim() == 3 && z1.numel() > 0,
           "tico: z1: expected a float [T, N, D], got ", z1);
  JX_CHECK(z2.defined() && z2.dims() == z1.dims() && z2.dtype() == z1.dtype(), "tico: z2: expected ", z1,
           " like z1, got ", z2);
  check_finite("tico", {"z1", z1});
  check_finite("tico", {"z2", z2});
  const int64_t d = z1.size(2);
  JX_CHECK(covariance.defined() && is_float(covariance.dtype()) && covariance.dims() == Dims({d, d}),
           "tico: covariance: expected a float [", d, ", ", d, "], got ", covariance);
  check_finite("tico", {"covariance", Var(covariance)});
  JX_CHECK(p.beta >= 0 && p.beta <= 1, "tico: beta: expected 0 to 1, got ", p.beta);
  const Var u1 = l2_normalize(at_least_f32(z1)), u2 = l2_normalize(at_least_f32(z2));
  Var c(covariance.to(u1.dtype()));
  std::vector<Var> losses;
  for (int64_t t = 0; t < z1.size(0); ++t) {
    const Var a = select(u1, 0, t), b = select(u2, 0, t), constant = stop_gradient(a);
    c = add(affine(c, p.beta, 0.0), affine(correlation(constant, constant), 1.0 - p.beta, 0.0));
    const Var cosine = mean(sum(mul(a, b), {1})), quadratic = mean(sum(mul(matmul(a, c), a), {1}));
    losses.push_back(add(affine(cosine, -1.0, 1.0), affine(quadratic, p.rho, 0.0)));
  }
  const Var each = stack(losses, 0);
  return {sum(each), {{"losses", stop_gradient(each)}, {"covariance", c}}};
}

Loss koleo(const Var& x, const KoLeoParams& p) {
  check_embeddings("koleo", {{"x", x}});
  JX_CHECK(x.size(0) >= 2, "koleo: x: expected N >= 2, since a row's neighbour is another row, got ", x);
  JX_CHECK(p.eps > 0 && std::isfinite(p.eps), "koleo: eps: expected a positive number, got ", p.eps);
  const Var u = l2_normalize(at_least_f32(x), p.eps);
  const int64_t n = u.size(0);
  constexpr int64_t kBlock = 64;  // rows of the matrix of products at a time
  Tensor neighbour = Tensor::empty({n}, DType::i64);
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const NoGrad no_grad;
    const int64_t end = std::min(begin + kBlock, n);
    const Var products = matmul(slice(u, 0, begin, end), transpose(u, 0, 1));
    Tensor own = Tensor::zeros({end - begin, n}, DType::boolean);
    for (int64_t r = begin; r < end; ++r) own.write<bool>("koleo")[(r - begin) * n + r] = true;
    const Var lowest(Tensor::full({1}, -2.0, u.dtype(), u.device()));
    const Tensor best = argmax(where(own, lowest, products).value(), -1);
    std::copy_n(best.data<int64_t>(), end - begin, neighbour.write<int64_t>("koleo") + begin);
  }
  const Var distance = norm(affine(sub(u, index_select(u, 0, neighbour)), 1.0, p.eps), {1});
  const Var samples = neg(log(affine(distance, 1.0, p.eps)));
  return {mean(samples), {{"neighbour", Var(neighbour)}}, stop_gradient(samples)};
}

}  // namespace juxta::ssl

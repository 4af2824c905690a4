#include "ssl/eval/attack.h"

#include <algorithm>
#include <cmath>

#include "autograd/ops.h"

namespace juxta::ssl {

namespace {

constexpr const char* kName = "mi_fgsm";

void check(const Tensor& x, const Tensor& y, const MiFgsmOptions& o) {
  JX_CHECK(x.defined() && is_float(x.dtype()) && x.ndim() >= 2 && x.numel() > 0, kName,
           ": x: expected a float [N, ..], got ", x);
  JX_CHECK(y.defined() && y.dtype() == DType::i64 && y.dims() == Dims({x.size(0)}), kName,
           ": y: expected i64 [", x.size(0), "], got ", y);
  JX_CHECK(o.eps >= 0 && std::isfinite(o.eps), kName, ": eps: expected 0 or more, got ", o.eps);
  JX_CHECK(o.steps >= 1, kName, ": steps: expected 1 or more, got ", o.steps);
  JX_CHECK(std::isfinite(o.mu), kName, ": mu: expected a number, got ", o.mu);
  JX_CHECK(!o.alpha || (*o.alpha >= 0 && std::isfinite(*o.alpha)), kName, ": alpha: expected 0 or more, got ",
           o.alpha.value_or(0));
  JX_CHECK(!o.centre.defined() || o.centre.dims() == x.dims(), kName, ": centre: expected ", x.dims(),
           " like x, got ", o.centre);
  JX_CHECK(o.low <= o.high, kName, ": low, high: expected low <= high, got ", o.low, " and ", o.high);
}

Tensor logits_of(const std::function<Var(const Var&)>& model, const Tensor& x, const Tensor& y) {
  const NoGrad no_grad;
  Tensor logits = model(Var(x)).value();
  JX_CHECK(logits.ndim() == 2 && logits.size(0) == x.size(0), kName, ": model: expected logits [", x.size(0),
           ", K], got ", logits);
  const Tensor labels = y.contiguous();
  for (int64_t i = 0; i < labels.numel(); ++i)
    JX_CHECK(labels.data<int64_t>()[i] >= 0 && labels.data<int64_t>()[i] < logits.size(1), kName,
             ": y: expected labels in [0, ", logits.size(1), "), got ", labels.data<int64_t>()[i], " at ", i);
  return logits;
}

// d mean CE / dx, f64.
Tensor gradient(const std::function<Var(const Var&)>& model, const Tensor& x, const Tensor& y) {
  const Var input = Var::leaf(x);
  const Var loss = mean(cross_entropy(model(input), y));
  const Tensor g = grad({&loss, 1}, {&input, 1})[0];
  return (g.defined() ? g : Tensor::zeros(x.dims(), x.dtype())).to(DType::f64).contiguous();
}

// g <- mu g + gradient / |gradient|_1, the gradient of -CE when targeted
void accumulate(Tensor& g, const Tensor& gradient, const MiFgsmOptions& o) {
  const int64_t rows = o.norm == GradientNorm::sample ? gradient.size(0) : 1, width = gradient.numel() / rows;
  double* m = g.write<double>(kName);
  const double sign = o.targeted ? -1 : 1;
  for (int64_t r = 0; r < rows; ++r) {
    const double* d = gradient.data<double>() + r * width;
    double norm = 1e-10;
    for (int64_t i = 0; i < width; ++i) norm += std::abs(d[i]);
    for (int64_t i = 0; i < width; ++i) m[r * width + i] = o.mu * m[r * width + i] + sign * d[i] / norm;
  }
}

}  // namespace

Attack mi_fgsm(const std::function<Var(const Var&)>& model, const Tensor& x, const Tensor& y,
               const MiFgsmOptions& o) {
  check(x, y, o);
  Attack a;
  a.clean_logits = logits_of(model, x, y);
  const Tensor start = (o.centre.defined() ? o.centre : x).to(DType::f64).contiguous();
  Tensor now = x.to(DType::f64).clone(), g = Tensor::zeros(x.dims(), DType::f64);
  const double size = o.alpha.value_or(o.eps / static_cast<double>(o.steps));
  for (int64_t t = 0; t < o.steps; ++t) {
    accumulate(g, gradient(model, now.to(x.dtype()).clone(), y), o);
    double* p = now.write<double>(kName);
    for (int64_t i = 0; i < now.numel(); ++i) {
      const double m = g.data<double>()[i], x0 = start.data<double>()[i];
      const double moved = p[i] + size * static_cast<double>((m > 0) - (m < 0));
      p[i] = std::clamp(std::clamp(moved, x0 - o.eps, x0 + o.eps), o.low, o.high);
    }
    a.x.push_back(now.to(x.dtype()).clone());
    a.momentum.push_back(g.to(x.dtype()).clone());
  }
  a.logits = logits_of(model, a.x.back(), y);
  const Tensor answer = argmax(a.logits, -1).contiguous(), labels = y.contiguous();
  a.fooled = Tensor::empty({x.size(0)}, DType::i64);
  for (int64_t i = 0; i < x.size(0); ++i)
    a.fooled.write<int64_t>(kName)[i] = answer.data<int64_t>()[i] != labels.data<int64_t>()[i];
  return a;
}

}  // namespace juxta::ssl

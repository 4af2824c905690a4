// Gradient norms and clipping over all parameters together.
#include <algorithm>

#include "ssl/optim/multi_tensor.h"
#include "ssl/optim/optimizer.h"

namespace juxta::ssl {

namespace {

template <class T>
MultiTensor<T> gradients_of(std::span<const nn::NamedParameter> parameters) {
  MultiTensor<T> w;
  for (const auto& p : parameters) {
    if (!p.var->grad().defined()) continue;
    if (!p.var->grad().is_contiguous()) p.var->set_grad(p.var->grad().contiguous());  // scaled in place below
    Tensor g = p.var->grad();
    w.rows.push_back({.p = g.write<T>("clip_grad_norm"), .n = g.numel()});
  }
  w.finish();
  return w;
}

template <class T>
double norm_of(MultiTensor<T>& gradients, double norm_type) {
  double total = 0;
  if (norm_type == 2.0) {
    for (const auto& n : gradients.norms()) total += n[0] * n[0];
    return std::sqrt(total);
  }
  const bool largest = std::isinf(norm_type);
  for (const auto& r : gradients.rows)
    for (int64_t i = 0; i < r.n; ++i) {
      const double a = std::abs(static_cast<double>(r.p[i]));
      if (!largest)
        total += std::pow(a, norm_type);
      else if (a > total || std::isnan(a))
        total = a;  // NaN stays
    }
  return largest ? total : std::pow(total, 1.0 / norm_type);
}

template <class T>
void scale_all(MultiTensor<T>& gradients, double factor) {
  gradients.args.scale = factor;
  gradients.run_entry(optim_tables<T>().on(kCpu).scale);
}

template <class F>
double in_dtype_of(std::span<const nn::NamedParameter> parameters, F f) {
  return optimizer_dtype(parameters) == DType::f32 ? f.template operator()<float>()
                                                   : f.template operator()<double>();
}

}  // namespace

DType optimizer_dtype(std::span<const nn::NamedParameter> parameters) {
  JX_CHECK(!parameters.empty(), "optimizer: no parameters");
  const DType d = parameters[0].var->dtype();
  JX_CHECK(d == DType::f32 || d == DType::f64, "optimizer: parameters must be f32 or f64, got ", d);
  for (const auto& p : parameters)
    JX_CHECK(p.var->dtype() == d, "optimizer: ", p.name, " is ", p.var->dtype(), ", the others are ", d);
  return d;
}

double grad_norm(std::span<const nn::NamedParameter> parameters) {
  return in_dtype_of(parameters, [&]<class T>() {
    MultiTensor<T> w = gradients_of<T>(parameters);
    return norm_of(w, 2.0);
  });
}

void scale_grads(std::span<const nn::NamedParameter> parameters, double factor) {
  in_dtype_of(parameters, [&]<class T>() {
    MultiTensor<T> w = gradients_of<T>(parameters);
    scale_all(w, factor);
    return factor;
  });
}

double clip_grad_norm(std::span<const nn::NamedParameter> parameters, double max_norm, double norm_type) {
  JX_CHECK(max_norm > 0, "clip_grad_norm: max_norm: expected a positive number, got ", max_norm);
  JX_CHECK(norm_type > 0, "clip_grad_norm: norm_type: expected a positive number or inf, got ", norm_type);
  return in_dtype_of(parameters, [&]<class T>() {
    MultiTensor<T> w = gradients_of<T>(parameters);
    const double norm = norm_of(w, norm_type), factor = max_norm / (norm + 1e-6);
    if (factor < 1.0) scale_all(w, factor);
    return norm;
  });
}

}  // namespace juxta::ssl

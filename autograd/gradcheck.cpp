#include "autograd/gradcheck.h"

#include <algorithm>
#include <cmath>

#include "tensor/rng.h"

namespace juxta {

namespace {

std::vector<Var> run_plain(const OpFn& op, std::span<const Tensor> inputs) {
  const NoGrad no_grad;
  std::vector<Var> in(inputs.begin(), inputs.end());
  return op(in);
}

// sum over outputs of <output, cotangent>, in f64.
double weigh(const std::vector<Var>& outputs, const std::vector<Tensor>& cotangents) {
  double sum = 0;
  for (size_t k = 0; k < outputs.size(); ++k) {
    if (!cotangents[k].defined()) continue;
    const Tensor y = outputs[k].value().contiguous();
    for (int64_t i = 0; i < y.numel(); ++i) sum += y.data<double>()[i] * cotangents[k].data<double>()[i];
  }
  return sum;
}

}  // namespace

GradCheckResult gradcheck(const OpFn& op, std::span<const Tensor> inputs, const GradCheck& options) {
  const Draw noise{mix_key(options.seed, stream_id("gradcheck")), 0};
  uint64_t drawn = 0;
  std::vector<Var> leaves;
  std::vector<Tensor> values;
  for (const Tensor& t : inputs) {
    values.push_back(t.dtype() == DType::f64 ? t.clone() : t);
    leaves.push_back(t.dtype() == DType::f64 ? Var::leaf(values.back()) : Var(t));
  }
  const std::vector<Var> outputs = op(leaves);
  std::vector<Var> roots;
  std::vector<Tensor> cotangents, root_cotangents;
  for (const Var& y : outputs) {
    cotangents.emplace_back();
    if (y.dtype() != DType::f64) continue;
    Tensor c = Tensor::empty(y.dims(), DType::f64);
    auto* p = c.write<double>("gradcheck");
    for (int64_t i = 0; i < c.numel(); ++i) p[i] = noise.normal(drawn++);
    cotangents.back() = c;
    if (!y.requires_grad()) continue;
    roots.push_back(y);
    root_cotangents.push_back(c);
  }
  JX_CHECK(!roots.empty(), "gradcheck: no output depends on a differentiable input");
  backward(roots, root_cotangents);

  GradCheckResult result;
  for (size_t i = 0; i < inputs.size(); ++i) {
    if (inputs[i].dtype() != DType::f64) continue;
    const int64_t n = values[i].numel(), checks = std::min(n, options.max_elements);
    const Tensor analytic =
        leaves[i].grad().defined() ? leaves[i].grad() : Tensor::zeros(inputs[i].dims(), DType::f64);
    std::vector<std::pair<int64_t, double>> numeric;
    double scale = 1e-2;
    for (int64_t k = 0; k < checks; ++k) {
      const int64_t e =
          checks == n ? k : static_cast<int64_t>(noise.bits(drawn++) % static_cast<uint64_t>(n));
      auto* p = values[i].write<double>("gradcheck") + e;
      const double x = *p, h = options.step * std::max(1.0, std::abs(x));
      *p = x + h;
      const double up = weigh(run_plain(op, values), cotangents);
      *p = x - h;
      const double down = weigh(run_plain(op, values), cotangents);
      *p = x;
      numeric.emplace_back(e, (up - down) / (2 * h));
      scale = std::max(scale, std::abs(numeric.back().second));
    }
    for (const auto& [e, slope] : numeric) {
      const double got = analytic.contiguous().data<double>()[e];
      const double error = std::abs(got - slope) / (options.tolerance * scale);
      if (!(error > result.worst) && !std::isnan(error)) continue;
      result.worst = error;
      if (error <= 1) continue;
      result.ok = false;
      result.message = concat("input ", i, " element ", e, " of ", inputs[i].dims(), ": analytic ", got,
                              ", numeric ", slope);
    }
  }
  return result;
}

}  // namespace juxta

#pragma once
// Gradient checking by central differences in f64 with a random cotangent. A plain sum as the cotangent would
// let wrong gradients pass: the outputs of softmax and of a normalisation sum to a constant.
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "autograd/var.h"

namespace juxta {

using OpFn = std::function<std::vector<Var>(std::span<const Var>)>;

struct GradCheck {
  double step = 1e-6;          // of the central difference, relative to max(1, |x|)
  double tolerance = 1e-6;     // on |analytic - numeric|, relative to the largest |numeric| (at least 1e-2)
  uint64_t seed = 1;           // of the cotangent, and of the elements checked
  int64_t max_elements = 200;  // per input; larger inputs are checked at this many random elements
};

struct GradCheckResult {
  bool ok = true;
  double worst = 0;     // largest error divided by its tolerance
  std::string message;  // which input and element, analytic and numeric value; empty when ok
};

// Checks d(op)/d(input i) for every f64 input; inputs of other dtypes are constants. The op must be
// deterministic.
GradCheckResult gradcheck(const OpFn& op, std::span<const Tensor> inputs, const GradCheck& options = {});

}  // namespace juxta

#pragma once
// L-BFGS (Liu & Nocedal 1989) for smooth convex objectives of moderate size, in double.
#include <cstdint>
#include <functional>
#include <vector>

namespace juxta::ssl {

// Overwrites v by B^-1 v, where the symmetric positive definite B resembles the Hessian near the optimum.
using Preconditioner = std::function<void(std::vector<double>& v)>;
struct LbfgsOptions {
  int64_t max_iterations = 300, history = 20;
  double tolerance = 1e-5;  // on the largest absolute entry of the gradient
  // Relative rounding of f. Near the optimum f no longer tells steps apart, its gradient still does: a step
  // that raises f by less than this is judged by its slope alone.
  double rounding = 0;
  Preconditioner precondition = nullptr;  // none: the identity
};
struct LbfgsResult {
  double value = 0, gradient = 0;
  int64_t iterations = 0;
};
// Returns f(x) and writes its gradient (same length as x).
using SmoothFunction = std::function<double(const std::vector<double>& x, std::vector<double>& gradient)>;

// Minimises from x, in place. Steps satisfy the strong Wolfe conditions (Nocedal & Wright, algorithms 3.5
// and 3.6). Stops early when rounding leaves no step to accept.
LbfgsResult minimize_lbfgs(const SmoothFunction& f, std::vector<double>& x, const LbfgsOptions& options = {});

}  // namespace juxta::ssl

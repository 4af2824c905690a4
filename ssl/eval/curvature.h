#pragma once
// The curvature of softmax regression, as a preconditioner of minimize_lbfgs.
#include <cstdint>

#include "ssl/eval/lbfgs.h"
#include "tensor/tensor.h"

namespace juxta::ssl {

// The Hessian of mean_i CE(W x_i + b, y_i) + l2/2 |W|^2 has, for the weights and bias of class c, the block
// mean_i p_ic (1 - p_ic) [x_i 1] [x_i 1]' + l2 I (bounds: Boehning 1992, Multinomial logistic regression
// algorithm). This solves with these blocks, from rows at equal distances where there are many. x [n, D] f32
// or f64; p [n, C], the probabilities where the Hessian is wanted, or [n, 1]: one block for all classes. What
// it is given to solve: weights [C, D], then biases [C]. Nothing (nullptr) where there are fewer rows than
// columns, or where the factors would cost more than they save.
Preconditioner softmax_curvature(const Tensor& x, const Tensor& p, int64_t classes, double l2);

}  // namespace juxta::ssl

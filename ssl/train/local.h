#pragma once
// Training a network as modules with local losses: gradients never cross from one module to the one before,
// and only one module's activations are alive at a time.
#include <functional>
#include <span>
#include <vector>

#include "autograd/var.h"

namespace juxta::ssl {

// One module E_b and what helps it.
struct LocalModule {
  using Function = std::function<Var(const Var&)>;
  Function forward;  // E_b; of the last module with the classifier
  // LB_b, trained by the local loss, and EMA_b, a copy of the next module's first layer that follows it and
  // lets the gradient through. Either may be empty; without both the loss sees E_b's output itself.
  Function bias, follower;
  Function loss;                        // scalar, of LB_b(x_b) + EMA_b(x_b), or of x_b
  std::vector<Tensor> follows, leader;  // EMA_b's parameters, and those they follow, in the same order
};

struct LocalStep {
  std::vector<double> losses;  // one per module
  Var output;                  // of the last module, constant
};

// One iteration of MAN (Su et al. 2024, arXiv 2407.05623) up to the optimiser's step: for every module in
// turn forward on the detached output of the one before, backward of its loss (gradients add to the
// parameters'), then EMA_b <- m EMA_b + (1 - m) leader, with the weights that this iteration's step has not
// yet changed.
LocalStep local_step(std::span<const LocalModule> modules, const Var& x, double momentum);

// Weight of the local loss of module b of K (both from 0): linear in b from `first` to `last` over the
// modules before the last one; `first` when there is only one such module.
double local_weight(double first, double last, int64_t b, int64_t modules);

// The local loss of InfoPro (Wang et al. 2021, arXiv 2101.10832):
//   w_rec mean BCE(sigmoid(reconstruction), image) + w_ce mean CE(logits, y)
// reconstruction: logits of the image's shape; image in [0, 1].
Var infopro_loss(const Var& reconstruction, const Tensor& image, const Var& logits, const Tensor& y,
                 double w_rec, double w_ce);

}  // namespace juxta::ssl

#pragma once
// The optim section of a recipe: optimiser, learning rate and weight decay over the run.
#include <string>
#include <vector>

#include "ssl/optim/optimizer.h"
#include "ssl/optim/schedules.h"
#include "ssl/train/fields.h"

namespace juxta::ssl {

struct OptimConfig {
  std::string name = "adamw";
  double lr = 2e-3;                   // peak, for this batch size (scale_lr: for a batch of 256)
  bool scale_lr = false;              // lr x batch / 256
  std::string scale_rule = "linear";  // or sqrt
  double weight_decay = 1e-4;
  double end_weight_decay = -1;          // >= 0: cosine from weight_decay to this (DINO)
  double momentum = 0.9, dampening = 0;  // sgd, lars, larc
  bool nesterov = false;
  double beta1 = -1, beta2 = -1, eps = -1;  // -1: the optimiser's own (default_options)
  bool amsgrad = false;                     // adam, adamw
  double trust = 1e-3;                      // lars, larc
  std::string lars_denominator = "joint";
  bool lars_exclude_1d = true;
  bool trust_clip = false;                            // lars "sum" and larc: at most lr; lamb: at most 1
  bool always_adapt = false, bias_correction = true;  // lamb
  double max_grad_norm = 0;                           // lamb
  double model_lambda = 0.1, beta_max = 0.9;          // am_sgd; model_lambda also am_adamw
  std::string beta_scope = "global";                  // am_sgd
  std::string schedule = "cosine";                    // after the warm-up
  int64_t warmup_steps = 0;
  double warmup_epochs = 0;           // used when warmup_steps is 0
  std::string warmup = "skip_first";  // the first step already moves
  double warmup_lr = 0;
  double end_lr = 0;
  bool endpoint = false;
  double ramp_epochs = 0;            // linear_then_constant; 0: to the end of the run
  double gamma = 0.1;                // multistep, step
  std::vector<double> milestones{};  // multistep, in epochs
  double step_epochs = 1;            // step
  void fields(Fields& f);

  OptimizerOptions options() const;
  // Learning rate and weight decay of every step of a run of `steps` steps.
  Schedule lr_schedule(int64_t batch, int64_t steps_per_epoch, int64_t steps) const;
  Schedule weight_decay_schedule(int64_t steps) const;
};

}  // namespace juxta::ssl

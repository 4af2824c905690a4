#include "ssl/train/optim_config.h"

#include <algorithm>
#include <cmath>

#include "tensor/error.h"

namespace juxta::ssl {

namespace {
constexpr Range own_or(double below) { return {.low = -1, .high = below, .below_high = true}; }
}  // namespace

void OptimConfig::fields(Fields& f) {
  std::vector<std::string> names;
  for (const OptimizerRow& r : optimizers()) names.emplace_back(r.name);
  f("name", name, "optimiser", names);
  f("lr", lr, "peak learning rate", kNotNegative);
  f("scale_lr", scale_lr, "multiply lr by batch / 256");
  f("scale_rule", scale_rule, "with scale_lr: by that ratio, or its square root (a habit with lamb)",
    {"linear", "sqrt"});
  f("weight_decay", weight_decay, "not on biases, norm gains and tokens (larc: on all)", kNotNegative);
  f("end_weight_decay", end_weight_decay, "cosine from weight_decay to this, as DINO; -1: constant",
    Range{.low = -1});
  f("momentum", momentum, "sgd, lars, larc", kBelowOne);
  f("dampening", dampening, "sgd", kFraction);
  f("nesterov", nesterov, "sgd, lars");
  f("beta1", beta1, "adam family, lion; am_adamw: the cap of its momentum; -1: the optimiser's own",
    own_or(1));
  f("beta2", beta2, "adam family, lion; -1: the optimiser's own", own_or(1));
  f("eps", eps, "adam family, lars sum, larc; -1: the optimiser's own", Range{.low = -1});
  f("amsgrad", amsgrad, "adam, adamw: running maximum of the second moment");
  f("trust", trust, "trust coefficient of lars and larc", kNotNegative);
  f("lars_denominator", lars_denominator, "trust |p| / |g + w p|, or / (|g| + w |p|)", {"joint", "sum"});
  f("lars_exclude_1d", lars_exclude_1d, "lars: biases and gains take the plain gradient");
  f("trust_clip", trust_clip, "lars sum, larc: ratio at most lr; lamb: at most 1");
  f("always_adapt", always_adapt, "lamb: trust ratio also without weight decay");
  f("bias_correction", bias_correction, "lamb");
  f("max_grad_norm", max_grad_norm, "lamb's own global clipping; 0: none", kNotNegative);
  f("model_lambda", model_lambda, "am_sgd, am_adamw: weight of staying near the heavy-ball step",
    kNotNegative);
  f("beta_max", beta_max, "am_sgd: cap of its momentum", kFraction);
  f("beta_scope", beta_scope, "am_sgd: one momentum for all tensors, or one per tensor",
    {"global", "tensor"});
  f("schedule", schedule, "after the warm-up: ema_byol and freeze_then_constant are for momenta, not here",
    {"cosine", "constant", "linear_then_constant", "multistep", "step"});
  f("warmup_steps", warmup_steps, "steps of linear warm-up", kNotNegative);
  f("warmup_epochs", warmup_epochs, "the same in epochs, used when warmup_steps is 0", Range{0, 1e9});
  f("warmup", warmup, "the peak is reached at its last step (skip_first), twice (linspace), or after it",
    {"skip_first", "reach_after", "linspace"});
  f("warmup_lr", warmup_lr, "learning rate the warm-up starts from", kNotNegative);
  f("end_lr", end_lr, "learning rate that cosine and linear_then_constant end at", kNotNegative);
  f("endpoint", endpoint, "cosine: the last step reaches end_lr; else the step after it would");
  f("ramp_epochs", ramp_epochs, "linear_then_constant: epochs of the ramp; 0: to the end", Range{0, 1e9});
  f("gamma", gamma, "multistep, step: factor of the learning rate", kNotNegative);
  f("milestones", milestones, "multistep: epochs at which gamma is applied", Range{0, 1e9});
  f("step_epochs", step_epochs, "step: epochs between applications of gamma",
    Range{.low = 0, .high = 1e9, .above_low = true});
}

OptimizerOptions OptimConfig::options() const {
  OptimizerOptions o = default_options(name);
  if (beta1 >= 0) o.beta1 = beta1;
  if (beta2 >= 0) o.beta2 = beta2;
  if (eps >= 0) o.eps = eps;
  o.momentum = momentum, o.dampening = dampening, o.nesterov = nesterov, o.amsgrad = amsgrad;
  o.trust_coefficient = trust, o.exclude_1d = lars_exclude_1d, o.denominator = lars_denominator;
  o.clip_lr = trust_clip, o.trust_clip = trust_clip, o.always_adapt = always_adapt;
  o.bias_correction = bias_correction, o.max_grad_norm = max_grad_norm;
  o.model_lambda = model_lambda, o.beta_max = beta_max, o.scope = beta_scope;
  return o;
}

namespace {

ScheduleKind kind_of(const std::string& name) {
  if (name == "constant") return ScheduleKind::constant;
  if (name == "linear_then_constant") return ScheduleKind::linear_then_constant;
  if (name == "multistep") return ScheduleKind::multistep;
  if (name == "step") return ScheduleKind::step;
  return ScheduleKind::cosine;
}

}  // namespace

Schedule OptimConfig::lr_schedule(int64_t batch, int64_t steps_per_epoch, int64_t total) const {
  const auto steps_of = [&](double epochs) {
    return static_cast<int64_t>(epochs * static_cast<double>(steps_per_epoch));
  };
  Schedule s;
  s.kind = kind_of(schedule);
  s.base = scale_lr ? scaled_lr(lr, batch, scale_rule == "sqrt") : lr;
  s.end = end_lr;
  s.steps = std::max<int64_t>(total, 1);
  s.warmup = std::min(warmup_steps ? warmup_steps : steps_of(warmup_epochs), s.steps - 1);
  s.warmup_start = warmup_lr;
  s.index = warmup == "reach_after" ? Warmup::reach_after
            : warmup == "linspace"  ? Warmup::linspace
                                    : Warmup::skip_first;
  s.endpoint = endpoint;
  s.over = ramp_epochs > 0 ? steps_of(ramp_epochs) : s.steps - s.warmup;
  s.gamma = gamma;
  for (const double epoch : milestones) s.milestones.push_back(steps_of(epoch));
  s.every = std::max<int64_t>(1, steps_of(step_epochs));
  JX_CHECK(schedule != "multistep" || !milestones.empty(),
           "optim.milestones: the schedule multistep needs at least one epoch, as [120, 160]");
  s.check();
  return s;
}

Schedule OptimConfig::weight_decay_schedule(int64_t total) const {
  Schedule s;
  s.kind = end_weight_decay >= 0 ? ScheduleKind::cosine : ScheduleKind::constant;
  s.base = weight_decay;
  s.end = std::max(end_weight_decay, 0.0);
  s.steps = std::max<int64_t>(total, 1);
  s.check();
  return s;
}

}  // namespace juxta::ssl

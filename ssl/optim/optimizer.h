#pragma once
// Optimisers over named parameters. The recurrences stand in kernels/optim.h (card 23a); learning rate and
// weight decay of each step come from outside, so a checkpoint holds parameters, per-tensor state and step
// counts, and a resumed run repeats bit for bit.
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "nn/module.h"

namespace juxta::ssl {

struct OptimizerOptions {
  double momentum = 0.9, dampening = 0;  // sgd, lars
  bool nesterov = false;
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;  // adam, adamw, lamb; lion: beta1 0.9, beta2 0.99
  bool amsgrad = false;                           // adam, adamw
  double trust_coefficient = 1e-3;                // lars
  bool exclude_1d = true;                         // lars: tensors of one dimension take the plain gradient
  // lars: "joint" |p| / |g + w p| (BYOL, MoCo v3, Barlow Twins), "sum" |p| / (|g| + w |p| + eps) (You et al.)
  std::string denominator = "joint";
  bool clip_lr = false;                           // lars "sum": ratio at most 1 after division by lr
  bool bias_correction = true;                    // lamb
  double max_grad_norm = 0;                       // lamb: global clip before the step, 0: none
  bool trust_clip = false, always_adapt = false;  // lamb
};

// Is weight decay left out for this parameter? One-dimensional tensors (biases, norm gains), scalars, class,
// register and mask tokens and position embeddings.
bool excluded_from_decay(const std::string& name, const Tensor& value);

class Optimizer {
 public:
  Optimizer(std::string name, std::vector<nn::NamedParameter> parameters, const OptimizerOptions& options);

  // One step with the gradients that the parameters hold. Parameters without a gradient are skipped entirely:
  // values, state and step count stay. `weight_decay` applies where decays(i) is true.
  void step(double lr, double weight_decay);
  void zero_grad();
  bool decays(size_t i) const { return decay_[i]; }
  void set_decay(size_t i, bool on) { decay_[i] = on; }
  const std::vector<nn::NamedParameter>& parameters() const { return parameters_; }
  const std::string& name() const { return name_; }

  // State by name ("exp_avg.encoder.conv1.weight", "step.…"); tensors appear after the first step that
  // touched them. load_state replaces everything; Error on names or shapes that do not belong to these
  // parameters.
  nn::StateDict state() const;
  void load_state(const nn::StateDict& state);

 private:
  struct Slot {
    Tensor m, v, vmax, u;
    int64_t steps = 0;
  };
  template <class T>
  void step_typed(double lr, double weight_decay);

  std::string name_;
  std::vector<nn::NamedParameter> parameters_;
  OptimizerOptions options_;
  std::vector<bool> decay_;
  std::vector<Slot> slots_;
};

struct OptimizerRow {
  const char* name;
  const char* paper;
  double lr;  // customary peak learning rate
  const char* about;
};
std::span<const OptimizerRow> optimizers();

// L2 norm of all gradients together (those that exist).
double grad_norm(std::span<const nn::NamedParameter> parameters);
// Scales all gradients by min(1, max_norm / (norm + 1e-6)); returns the norm before clipping. norm_type 2, or
// infinity.
double clip_grad_norm(std::span<const nn::NamedParameter> parameters, double max_norm,
                      double norm_type = 2.0);

}  // namespace juxta::ssl

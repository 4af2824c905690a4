#pragma once
// Optimisers over named parameters. The recurrences stand in kernels/optim.h; learning rate and
// weight decay of each step come from outside, so a checkpoint holds parameters, per-tensor state and step
// counts, and a resumed run repeats bit for bit.
#include <cstdint>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "nn/module.h"

namespace juxta {
template <class T>
struct OptimTensor;
}

namespace juxta::ssl {

struct OptimizerOptions {
  double momentum = 0.9, dampening = 0;  // sgd, lars, larc; dampening: sgd
  bool nesterov = false;                 // sgd, lars
  double beta1 = 0.9, beta2 = 0.999,
         eps = 1e-8;                // adam, adamw, lamb, lion; am_adamw: beta1 is the cap of beta
  bool amsgrad = false;             // adam, adamw
  double trust_coefficient = 1e-3;  // lars, larc
  bool exclude_1d = true;           // lars: tensors of one dimension take the plain gradient
  // lars: "joint" |p| / |g + w p| (BYOL, MoCo v3, Barlow Twins), "sum" |p| / (|g| + w |p| + eps) (You et al.)
  std::string denominator = "joint";
  bool clip_lr = false;                           // lars "sum", larc: ratio at most 1 after division by lr
  bool bias_correction = true;                    // lamb
  double max_grad_norm = 0;                       // lamb: global clip before the step, 0: none
  bool trust_clip = false, always_adapt = false;  // lamb
  double model_lambda = 0.1;                      // am: weight of the second proximal term, >= 0
  double beta_max = 0.9;                          // am_sgd: cap of beta
  std::string scope = "global";                   // am_sgd: one beta for all tensors, or one per "tensor"
};

// The customary options of an optimiser: those above but lion beta2 0.99, lamb eps 1e-6, am_adamw beta1 0.89.
OptimizerOptions default_options(const std::string& optimizer);

// Is weight decay left out for this parameter? One-dimensional tensors (biases, norm gains), scalars, class,
// register and mask tokens and position embeddings.
bool excluded_from_decay(const std::string& name, const Tensor& value);

template <class T>
struct MultiTensor;

class Optimizer {
 public:
  // larc applies to every tensor: decay is on for all of them, and so is its ratio (SwAV).
  Optimizer(std::string name, std::vector<nn::NamedParameter> parameters, const OptimizerOptions& options);

  // One step with the gradients that the parameters hold. Parameters without a gradient are skipped entirely:
  // values, state and step count stay. `weight_decay` applies where decays(i) is true.
  void step(double lr, double weight_decay);
  void zero_grad();
  bool decays(size_t i) const { return decay_[i]; }
  void set_decay(size_t i, bool on) { decay_[i] = on; }
  const std::vector<nn::NamedParameter>& parameters() const { return parameters_; }
  const std::string& name() const { return name_; }
  // Adaptive momentum: the coefficients of the last step, one for all tensors or one per parameter (NaN where
  // it was skipped). Empty for other optimisers and before the first step.
  const std::vector<double>& last_beta() const { return last_beta_; }

  // State by name ("exp_avg.encoder.conv1.weight", "step.…"); tensors appear after the first step that
  // touched them. load_state replaces everything; Error on names or shapes that do not belong to these
  // parameters.
  nn::StateDict state() const;
  void load_state(const nn::StateDict& state);

 private:
  struct Slot {
    Tensor m, v, vmax, u;
    int64_t steps = 0;
    double beta_product = 1, previous_lr = 0;  // am_adamw
  };
  // Which tensors of a slot this optimiser keeps.
  struct Kinds {
    bool m, v, vmax, u;
  };
  Kinds kinds() const;
  template <class T>
  void step_typed(double lr, double weight_decay);
  // The rows of the parameters with a gradient; their numbers in `which`.
  template <class T>
  MultiTensor<T> rows_of_step(double lr, double weight_decay, std::vector<size_t>& which);
  template <class T>
  OptimTensor<T> row_of(size_t i, double weight_decay);
  template <class T>
  void lars_step(MultiTensor<T>& w, const std::vector<size_t>& which);
  template <class T>
  void lamb_step(MultiTensor<T>& w);
  template <class T>
  void am_sgd_step(MultiTensor<T>& w, const std::vector<size_t>& which);
  template <class T>
  void am_adamw_step(MultiTensor<T>& w, const std::vector<size_t>& which);

  std::string name_;
  std::vector<nn::NamedParameter> parameters_;
  OptimizerOptions options_;
  std::vector<bool> decay_;
  std::vector<Slot> slots_;
  std::vector<double> last_beta_;
};

struct OptimizerRow {
  const char* name;
  const char* paper;
  double lr;  // customary peak learning rate
  const char* about;
};
std::span<const OptimizerRow> optimizers();

// The dtype that all parameters have; Error unless it is one of f32 and f64.
DType optimizer_dtype(std::span<const nn::NamedParameter> parameters);

// L2 norm of all gradients together (those that exist).
double grad_norm(std::span<const nn::NamedParameter> parameters);
// Multiplies all gradients that exist by `factor`.
void scale_grads(std::span<const nn::NamedParameter> parameters, double factor);
// Scales all gradients by min(1, max_norm / (norm + 1e-6)); returns the norm before clipping. The norm is
// (sum |g|^norm_type)^(1 / norm_type), infinity: the largest |g|.
double clip_grad_norm(std::span<const nn::NamedParameter> parameters, double max_norm,
                      double norm_type = 2.0);

}  // namespace juxta::ssl

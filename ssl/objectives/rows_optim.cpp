// Optimisers, schedules and clipping: rows that run the classes that the trainer runs.
#include <deque>
#include <limits>
#include <memory>

#include "ssl/objectives/rows.h"
#include "ssl/optim/optimizer.h"
#include "ssl/optim/schedules.h"

namespace juxta::ssl {

namespace {

// One run of T steps from given gradients.
struct Run {
  std::vector<double> lr;  // [T]
  double weight_decay = 0;
  std::vector<bool> decay;  // per tensor; empty: all
};

using StateName = std::pair<const char*, const char*>;  // of Optimizer::state() and of the output

// Values of every step, stacked: [T, ..].
Tensor history_of(const std::vector<Tensor>& steps) {
  Dims dims{static_cast<int64_t>(steps.size())};
  for (int d = 0; d < steps[0].ndim(); ++d) dims.push_back(steps[0].size(d));
  Tensor out = Tensor::empty(dims, steps[0].dtype());
  for (size_t s = 0; s < steps.size(); ++s) {
    Tensor slot = out.select(0, static_cast<int64_t>(s));
    slot.copy_from(steps[s], "history");
  }
  return out;
}

class Steps {
 public:
  Steps(const Inputs& in, const char* optimizer, const OptimizerOptions& options, const Run& run)
      : in_(in), run_(run) {
    const std::vector<Tensor> start = in.numbered_tensors("p");
    const size_t n = start.size();
    JX_CHECK(n > 0, optimizer, ": p0: this input is missing");
    JX_CHECK(!run.lr.empty(), optimizer, ": lr: expected one learning rate per step, got none");
    JX_CHECK(run.decay.empty() || run.decay.size() == n, optimizer, ": decay: expected ", n,
             " values, one per tensor, got ", run.decay.size());
    std::vector<nn::NamedParameter> named;
    for (size_t i = 0; i < n; ++i) {
      values_.push_back(Var::leaf(start[i].clone()));
      named.push_back({concat("p", i), &values_.back()});
    }
    optimizer_ = std::make_unique<Optimizer>(optimizer, named, options);
    for (size_t i = 0; i < n; ++i) optimizer_->set_decay(i, run.decay.empty() || run.decay[i]);
    for (size_t i = 0; i < n; ++i) gradients_.push_back(gradient_of(i, optimizer));
    history_.resize(n);
    for (const double lr : run.lr) step(lr);
  }

  Terms outputs(std::initializer_list<StateName> states) const {
    Terms out;
    const nn::StateDict state = optimizer_->state();
    for (size_t i = 0; i < values_.size(); ++i) {
      out.emplace_back(concat("p", i, "_steps"), history_of(history_[i]));
      for (const auto& [key, value] : state)
        for (const auto& [kind, name] : states)
          if (key == concat(kind, ".p", i)) out.emplace_back(concat(name, i), value);
    }
    return out;
  }
  // The coefficients of every step: [T], or [T, tensors].
  Tensor betas(bool per_tensor) const {
    const auto T = static_cast<int64_t>(run_.lr.size()), each = static_cast<int64_t>(betas_.size()) / T;
    return Tensor::from(std::span<const double>(betas_), per_tensor ? Dims{T, each} : Dims{T});
  }

 private:
  // [T, ..] of tensor i, or undefined: this tensor then never has a gradient.
  Tensor gradient_of(size_t i, const char* optimizer) const {
    const std::string name = concat("grad", i);
    Tensor g = in_.optional_tensor(name);
    if (!g.defined()) return g;
    const Tensor& p = values_[i].value();
    JX_CHECK(g.ndim() == p.ndim() + 1 && g.size(0) == static_cast<int64_t>(run_.lr.size()) &&
                 g.select(0, 0).dims() == p.dims() && g.dtype() == p.dtype(),
             optimizer, ": ", name, ": expected ", p.dtype(), " [", run_.lr.size(), ", ..] over ", p.dims(),
             ", got ", g);
    return g;
  }

  void step(double lr) {
    const auto t = static_cast<int64_t>(history_[0].size());
    for (size_t i = 0; i < values_.size(); ++i)
      if (gradients_[i].defined()) values_[i].set_grad(gradients_[i].select(0, t).clone());
    optimizer_->step(lr, run_.weight_decay);
    optimizer_->zero_grad();
    for (size_t i = 0; i < values_.size(); ++i) history_[i].push_back(values_[i].value().clone());
    const std::vector<double>& beta = optimizer_->last_beta();
    betas_.insert(betas_.end(), beta.begin(), beta.end());
  }

  const Inputs& in_;
  const Run& run_;
  std::deque<Var> values_;  // the optimiser holds their addresses
  std::unique_ptr<Optimizer> optimizer_;
  std::vector<Tensor> gradients_;
  std::vector<std::vector<Tensor>> history_;
  std::vector<double> betas_;
};

// What every optimiser's row declares.
struct RunParams {
  Run run;
  OptimizerOptions options;
  std::vector<double> betas;
  void fields(Params& f) {
    f("lr", run.lr);
    f("weight_decay", run.weight_decay);
  }
  void decay(Params& f) { f("decay", run.decay); }
  void beta_pair(Params& f, const char* optimizer) {
    options = default_options(optimizer);
    betas = {options.beta1, options.beta2};
    f("betas", betas);
    JX_CHECK(betas.size() == 2, optimizer, ": betas: expected two numbers, got ", betas.size());
    options.beta1 = betas[0], options.beta2 = betas[1];
  }
};

struct SgdParams : RunParams {
  void fields(Params& f) {
    RunParams::fields(f), decay(f);
    f("momentum", options.momentum), f("dampening", options.dampening), f("nesterov", options.nesterov);
  }
};
struct AdamParams : RunParams {
  void fields(Params& f) {
    RunParams::fields(f), decay(f), beta_pair(f, "adam");
    f("eps", options.eps), f("amsgrad", options.amsgrad);
  }
};
struct LionParams : RunParams {
  void fields(Params& f) { RunParams::fields(f), decay(f), beta_pair(f, "lion"); }
};
struct LarsParams : RunParams {
  void fields(Params& f) {
    RunParams::fields(f);
    f("momentum", options.momentum), f("trust_coefficient", options.trust_coefficient);
    f("exclude_1d", options.exclude_1d), f("denominator", options.denominator), f("eps", options.eps);
    f("clip_lr", options.clip_lr), f("nesterov", options.nesterov);
  }
};
struct LambParams : RunParams {
  void fields(Params& f) {
    RunParams::fields(f), decay(f), beta_pair(f, "lamb");
    f("eps", options.eps), f("bias_correction", options.bias_correction);
    std::optional<double> most;
    f("max_grad_norm", most);
    JX_CHECK(!most || *most > 0, "lamb: max_grad_norm: expected a positive number or null, got ", *most);
    options.max_grad_norm = most.value_or(0.0);
    f("trust_clip", options.trust_clip), f("always_adapt", options.always_adapt);
  }
};
struct AmSgdParams : RunParams {
  void fields(Params& f) {
    RunParams::fields(f), decay(f);
    f("model_lambda", options.model_lambda), f("beta_max", options.beta_max), f("scope", options.scope);
  }
};
struct AmAdamwParams : RunParams {
  void fields(Params& f) {
    RunParams::fields(f), decay(f), beta_pair(f, "am_adamw");
    f("eps", options.eps), f("model_lambda", options.model_lambda);
  }
};

Outcome run_sgd(const Inputs& in, Params& f) {
  const auto p = f.read<SgdParams>();
  return {{}, Steps(in, "sgd", p.options, p.run).outputs({{"exp_avg", "buf"}})};
}
template <bool Decoupled>
Outcome run_adam(const Inputs& in, Params& f) {
  const auto p = f.read<AdamParams>();
  return {{},
          Steps(in, Decoupled ? "adamw" : "adam", p.options, p.run)
              .outputs({{"exp_avg", "m"}, {"exp_avg_sq", "v"}})};
}
Outcome run_lion(const Inputs& in, Params& f) {
  const auto p = f.read<LionParams>();
  return {{}, Steps(in, "lion", p.options, p.run).outputs({{"exp_avg", "m"}})};
}
Outcome run_lars(const Inputs& in, Params& f) {
  const auto p = f.read<LarsParams>();
  return {{}, Steps(in, "lars", p.options, p.run).outputs({{"exp_avg", "mu"}})};
}
Outcome run_lamb(const Inputs& in, Params& f) {
  const auto p = f.read<LambParams>();
  return {{}, Steps(in, "lamb", p.options, p.run).outputs({{"exp_avg", "m"}, {"exp_avg_sq", "v"}})};
}
Outcome run_am_sgd(const Inputs& in, Params& f) {
  const auto p = f.read<AmSgdParams>();
  const Steps steps(in, "am_sgd", p.options, p.run);
  Terms out = steps.outputs({{"exp_avg", "d"}});
  out.emplace_back("beta", Var(steps.betas(p.options.scope == "tensor")));
  return {{}, out};
}
Outcome run_am_adamw(const Inputs& in, Params& f) {
  const auto p = f.read<AmAdamwParams>();
  const Steps steps(in, "am_adamw", p.options, p.run);
  Terms out = steps.outputs({{"exp_avg", "d"}, {"exp_avg_sq", "v"}});
  out.emplace_back("beta", Var(steps.betas(true)));
  return {{}, out};
}

// SwAV's file names its one tensor w and its gradients grads.
struct LarcParams {
  std::vector<double> lr;
  double momentum = 0.9, weight_decay = 1e-6, trust = 1e-3, eps = 1e-8;
  bool clip = false;
  void fields(Params& f) {
    f("lr", lr), f("momentum", momentum), f("weight_decay", weight_decay), f("trust", trust), f("eps", eps);
    f("clip", clip);
  }
};

Outcome run_larc(const Inputs& in, Params& f) {
  const auto p = f.read<LarcParams>();
  Inputs renamed("larc");
  renamed.add("p0", in["w"]);
  renamed.add("grad0", in["grads"]);
  OptimizerOptions o = default_options("larc");
  o.momentum = p.momentum, o.trust_coefficient = p.trust, o.eps = p.eps, o.clip_lr = p.clip;
  const Run run{p.lr, p.weight_decay, {}};
  return {{}, {{"w", Steps(renamed, "larc", o, run).outputs({})[0].second}}};
}

struct ClipParams {
  double max_norm = 1;
  std::string norm_type = "2";
  void fields(Params& f) { f("max_norm", max_norm), f("norm_type", norm_type); }
};

Outcome run_clip_grad_norm(const Inputs& in, Params& f) {
  const auto p = f.read<ClipParams>();
  double type = std::numeric_limits<double>::infinity();
  if (p.norm_type != "inf") {
    char* end = nullptr;
    type = std::strtod(p.norm_type.c_str(), &end);
    JX_CHECK(end != p.norm_type.c_str() && *end == '\0',
             "clip_grad_norm: norm_type: expected a number or inf, "
             "got ",
             p.norm_type);
  }
  std::deque<Var> values;
  std::vector<nn::NamedParameter> named;
  for (const Tensor& g : in.numbered_tensors("g")) {
    values.push_back(Var::leaf(Tensor::zeros(g.dims(), g.dtype())));
    values.back().set_grad(g.clone());
    named.push_back({concat("g", named.size()), &values.back()});
  }
  const double norm = clip_grad_norm(named, p.max_norm, type);
  Terms out{{"norm", figure(norm)}};
  for (size_t i = 0; i < values.size(); ++i) out.emplace_back(concat("clipped", i), values[i].grad());
  return {{}, out};
}

struct ScheduleParams {
  Schedule s;
  std::optional<double> base, start;  // the same value: cosine and linear ramps call it start
  std::optional<double> batch;        // base x batch / 256
  int64_t warmup_steps = 0;
  void fields(Params& f) {
    f("kind", s.kind,
      {"constant", "cosine", "linear_then_constant", "ema_byol", "multistep", "step",
       "freeze_then_constant"});
    f("steps", s.steps), f("base", base), f("start", start), f("end", s.end), f("batch", batch);
    f("warmup", s.index, {"reach_after", "linspace", "skip_first"});
    f("warmup_steps", warmup_steps), f("warmup_start", s.warmup_start), f("endpoint", s.endpoint);
    f("gamma", s.gamma), f("milestones", s.milestones), f("step_size", s.every);
    f("freeze_steps", s.frozen);
  }
  Schedule schedule() const {
    JX_CHECK(!base || !start, "schedules: base and start are one value; give one of them");
    Schedule out = s;
    out.base = base ? *base : start.value_or(1.0);
    if (batch) {
      JX_CHECK(*batch >= 1, "schedules: batch: expected at least 1, got ", *batch);
      out.base = scaled_lr(out.base, static_cast<int64_t>(*batch));
    }
    // The ramp of linear_then_constant is its warm-up.
    (out.kind == ScheduleKind::linear_then_constant ? out.over : out.warmup) = warmup_steps;
    return out;
  }
};

Outcome run_schedules(const Inputs&, Params& f) {
  const Schedule s = f.read<ScheduleParams>().schedule();
  s.check();
  Tensor values = Tensor::empty({s.steps}, DType::f64);
  auto* v = values.write<double>("schedules");
  for (int64_t t = 0; t < s.steps; ++t) v[t] = s.at(t);
  return {{}, {{"values", Var(values)}}};
}

constexpr InputRow kStepInputs[] = {{"p#", "[..]"}, {"grad#", "[T, ..]", true}};
constexpr InputRow kLarcInputs[] = {{"w", "[..]"}, {"grads", "[T, ..]"}};
constexpr InputRow kGradients[] = {{"g#", "[..]"}};

constexpr Objective kRows[] = {
    {"sgd", "all", "torch.optim.SGD",
     "g += w p; buf = g (first step) | mu buf + (1 - damp) g; u = nesterov ? g + mu buf : buf; p -= lr u",
     Kind::state, Across::local, kStepInputs, list_params<SgdParams>, run_sgd},
    {"adam", "all", "Kingma & Ba 2015, arXiv 1412.6980",
     "g += w p; m = b1 m + (1 - b1) g; v = b2 v + (1 - b2) g^2; p -= lr / (1 - b1^t) m / (sqrt(v) / sqrt(1 - "
     "b2^t) + eps)",
     Kind::state, Across::local, kStepInputs, list_params<AdamParams>, run_adam<false>},
    {"adamw", "all", "Loshchilov & Hutter 2019, arXiv 1711.05101",
     "p *= 1 - lr w, then adam with the raw gradient", Kind::state, Across::local, kStepInputs,
     list_params<AdamParams>, run_adam<true>},
    {"lion", "all", "Chen et al. 2023, arXiv 2302.06675",
     "p *= 1 - lr w; p -= lr sign(b1 m + (1 - b1) g); m = b2 m + (1 - b2) g", Kind::state, Across::local,
     kStepInputs, list_params<LionParams>, run_lion},
    {"lars", "MoCo v3, BYOL, Barlow Twins", "You et al. 2017, arXiv 1708.03888",
     "joint: d = (g + w p) eta |p| / |g + w p|; sum: d = (g + w p) eta |p| / (|g| + w |p| + eps); mu = m mu "
     "+ "
     "d; p -= lr mu",
     Kind::state, Across::local, kStepInputs, list_params<LarsParams>, run_lars},
    {"lamb", "large batches", "You et al. 2020, arXiv 1904.00962",
     "u = m / (sqrt(v) + eps) + w p (m, v corrected as adam); p -= lr u |p| / |u|", Kind::state,
     Across::local, kStepInputs, list_params<LambParams>, run_lamb},
    {"larc", "SwAV", "You et al. 2017, arXiv 1708.03888; Caron et al. 2020, arXiv 2006.09882",
     "g = eta |w| / (|g| + lambda |w| + eps) (g + lambda w) on every tensor, then SGD with momentum",
     Kind::state, Across::local, kLarcInputs, list_params<LarcParams>, run_larc},
    {"am_sgd", "adaptive memory momentum", "Topollai & Choromanska 2025, arXiv 2510.04988",
     "beta = clip((<g, g> + 2 lambda <g, d> - lambda <d, d>) / |d - g|^2, 0, beta_max); d = ((beta + lambda) "
     "d + "
     "(1 - beta) g) / (1 + lambda); p -= lr d",
     Kind::state, Across::local, kStepInputs, list_params<AmSgdParams>, run_am_sgd},
    {"am_adamw", "adaptive memory momentum", "Topollai & Choromanska 2025, arXiv 2510.04988",
     "P = (1 - b1 prod beta)(sqrt(v / (1 - b2^n)) + eps); d = ((1 - beta) g + (lambda P + beta) d) / (1 + "
     "lambda "
     "P); p = (1 - lr w) p - lr d / P",
     Kind::state, Across::local, kStepInputs, list_params<AmAdamwParams>, run_am_adamw},
    {"clip_grad_norm", "all", "Pascanu et al. 2013, arXiv 1211.5063",
     "g *= min(1, max_norm / (norm of all g + 1e-6))", Kind::state, Across::local, kGradients,
     list_params<ClipParams>, run_clip_grad_norm},
    {"schedules",
     "all",
     "Loshchilov & Hutter 2017, arXiv 1608.03983; Grill et al. 2020, arXiv 2006.07733",
     "cosine: end + (base - end)(1 + cos(pi (t - W) / D)) / 2 after W steps of linear warm-up",
     Kind::state,
     Across::local,
     {},
     list_params<ScheduleParams>,
     run_schedules},
};

}  // namespace

std::span<const Objective> optim_rows() { return kRows; }

}  // namespace juxta::ssl

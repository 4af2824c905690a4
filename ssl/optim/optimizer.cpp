#include "ssl/optim/optimizer.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "ssl/optim/multi_tensor.h"
#include "tensor/file.h"

namespace juxta::ssl {

namespace {

constexpr OptimizerRow kOptimizers[] = {
    {"sgd", "torch.optim.SGD", 0.03, "momentum, dampening, Nesterov, coupled decay"},
    {"adam", "arXiv 1412.6980", 1e-3, "coupled decay"},
    {"adamw", "arXiv 1711.05101", 1e-3, "decoupled decay times the learning rate"},
    {"lars", "arXiv 1708.03888", 0.3, "layer-wise trust ratio; large batches"},
    {"larc", "arXiv 2006.09882", 0.6, "layer-wise trust ratio on every tensor, as SwAV"},
    {"lamb", "arXiv 1904.00962", 2e-3, "layer-wise trust ratio on Adam's direction"},
    {"lion", "arXiv 2302.06675", 1e-4, "sign of an interpolated momentum"},
    {"am_sgd", "arXiv 2510.04988", 0.3, "SGD whose momentum is solved for at every step"},
    {"am_adamw", "arXiv 2510.04988", 1e-3, "AdamW whose momentum is solved for at every step, per tensor"},
};

bool contains(const std::string& s, const char* part) { return s.find(part) != std::string::npos; }

void check_options(const std::string& name, const OptimizerOptions& o) {
  JX_CHECK(o.denominator == "joint" || o.denominator == "sum",
           "lars: denominator: expected 'joint' or 'sum', got '", o.denominator, "'");
  JX_CHECK(o.scope == "global" || o.scope == "tensor", "am_sgd: scope: expected 'global' or 'tensor', got '",
           o.scope, "'");
  const auto check = [&](const char* option, double value, double low, double high) {
    JX_CHECK(value >= low && value <= high, name, ": ", option, ": expected a number from ", low, " to ",
             high, ", got ", value);
  };
  constexpr double kMost = std::numeric_limits<double>::max();
  check("momentum", o.momentum, 0, kMost);
  check("beta1", o.beta1, 0, 1 - 1e-12);
  check("beta2", o.beta2, 0, 1 - 1e-12);
  check("eps", o.eps, name == "am_adamw" ? 1e-30 : 0, kMost);  // its sums divide by eps where gradients are 0
  check("model_lambda", o.model_lambda, 0, kMost);
  check("beta_max", o.beta_max, 0, 1);
}

// Trust ratio of LARS (kernels/optim.h applies it to g + w p); plain: the tensor takes g itself.
double lars_ratio(const OptimizerOptions& o, double lr, double w, double p_norm, double g_norm, double d_norm,
                  bool& plain) {
  if (o.denominator == "joint") return p_norm > 0 && d_norm > 0 ? o.trust_coefficient * p_norm / d_norm : 1.0;
  if (p_norm == 0 || g_norm == 0) {
    plain = true;
    return 1.0;
  }
  const double q = o.trust_coefficient * p_norm / (g_norm + w * p_norm + o.eps);
  return o.clip_lr ? std::min(q / lr, 1.0) : q;
}

}  // namespace

std::span<const OptimizerRow> optimizers() { return kOptimizers; }

OptimizerOptions default_options(const std::string& optimizer) {
  OptimizerOptions o;
  if (optimizer == "lion") o.beta2 = 0.99;
  if (optimizer == "lamb") o.eps = 1e-6;
  if (optimizer == "am_adamw") o.beta1 = 0.89;  // 0.9 - lambda / 10
  return o;
}

bool excluded_from_decay(const std::string& name, const Tensor& value) {
  return value.ndim() <= 1 || contains(name, "cls_token") || contains(name, "reg_token") ||
         contains(name, "mask_token") || contains(name, "pos_embed") ||
         contains(name, "position_embeddings") || contains(name, "logit_scale") ||
         contains(name, "temperature");
}

Optimizer::Optimizer(std::string name, std::vector<nn::NamedParameter> parameters,
                     const OptimizerOptions& options)
    : name_(std::move(name)),
      parameters_(std::move(parameters)),
      options_(options),
      slots_(parameters_.size()) {
  std::vector<std::string> names;
  for (const OptimizerRow& r : kOptimizers) names.emplace_back(r.name);
  const std::string near = nearest_name(name_, names);
  JX_CHECK(std::find(names.begin(), names.end(), name_) != names.end(), "optim.name: '", name_,
           "' is unknown", near.empty() ? "" : "; did you mean '" + near + "'?");
  check_options(name_, options_);
  const bool larc = name_ == "larc";
  if (larc) options_.denominator = "sum", options_.exclude_1d = false;
  optimizer_dtype(parameters_);
  for (const auto& p : parameters_) decay_.push_back(larc || !excluded_from_decay(p.name, p.var->value()));
}

void Optimizer::zero_grad() {
  for (const auto& p : parameters_) p.var->clear_grad();
}

void Optimizer::step(double lr, double weight_decay) {
  optimizer_dtype(parameters_) == DType::f32 ? step_typed<float>(lr, weight_decay)
                                             : step_typed<double>(lr, weight_decay);
}

template <class T>
void Optimizer::step_typed(double lr, double weight_decay) {
  if (name_ == "lamb" && options_.max_grad_norm > 0) {
    const double norm = grad_norm(parameters_);
    if (norm > options_.max_grad_norm) scale_grads(parameters_, options_.max_grad_norm / norm);
  }
  std::vector<size_t> which;
  MultiTensor<T> w = rows_of_step<T>(lr, weight_decay, which);
  const OptimTable<T>& table = optim_tables<T>().on(kCpu);
  if (name_ == "adam" || name_ == "adamw") return w.run_entry(table.adam);
  if (name_ == "lion") return w.run_entry(table.lion);
  if (name_ == "lars" || name_ == "larc") return lars_step(w, which);
  if (name_ == "lamb") return lamb_step(w);
  if (name_ == "am_sgd") return am_sgd_step(w, which);
  if (name_ == "am_adamw") return am_adamw_step(w, which);
  w.run_entry(table.sgd);
}

Optimizer::Kinds Optimizer::kinds() const {
  const bool adam = name_ == "adam" || name_ == "adamw", lamb = name_ == "lamb";
  const bool has_v = adam || lamb || name_ == "am_adamw";
  // The joint form of LARS keeps mu at any momentum; at 0 it is the last direction.
  const bool joint = name_ == "lars" && options_.denominator == "joint";
  const bool has_m = has_v || joint || name_ == "lion" || name_ == "am_sgd" || options_.momentum != 0;
  return {has_m, has_v, adam && options_.amsgrad, lamb};
}

template <class T>
OptimTensor<T> Optimizer::row_of(size_t i, double weight_decay) {
  const bool adam = name_ == "adam" || name_ == "adamw", lamb = name_ == "lamb", am = name_ == "am_adamw";
  Var& var = *parameters_[i].var;
  Slot& s = slots_[i];
  const auto zeros = [&](bool want, Tensor& t) {
    if (want && !t.defined()) t = Tensor::zeros(var.dims(), var.dtype());
  };
  const Kinds kept = kinds();
  zeros(kept.m, s.m), zeros(kept.v, s.v), zeros(kept.vmax, s.vmax), zeros(kept.u, s.u);
  ++s.steps;
  Tensor value = var.value();
  JX_CHECK(value.is_contiguous(), "optimizer: ", parameters_[i].name, " is not contiguous");
  if (!var.grad().is_contiguous()) var.set_grad(var.grad().contiguous());  // keeps the copy alive
  OptimTensor<T> row;
  row.p = value.write<T>("optimizer.step");
  row.g = var.grad().template data<T>();
  const auto pointer = [](Tensor& t) { return t.defined() ? t.write<T>("optimizer.step") : nullptr; };
  row.m = pointer(s.m), row.v = pointer(s.v), row.vmax = pointer(s.vmax), row.u = pointer(s.u);
  row.n = value.numel();
  row.weight_decay = decay_[i] ? weight_decay : 0.0;
  row.first = s.steps == 1;
  const auto steps = static_cast<double>(s.steps);
  if (am || adam || (lamb && options_.bias_correction)) {
    row.correction1 = 1.0 - (am ? options_.beta1 * s.beta_product : std::pow(options_.beta1, steps));
    row.correction2 = 1.0 - std::pow(options_.beta2, steps);
  }
  return row;
}

template <class T>
MultiTensor<T> Optimizer::rows_of_step(double lr, double weight_decay, std::vector<size_t>& which) {
  MultiTensor<T> w;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    if (!parameters_[i].var->grad().defined()) continue;
    w.rows.push_back(row_of<T>(i, weight_decay));
    which.push_back(i);
  }
  w.finish();
  OptimArgs<T>& a = w.args;
  a.lr = lr, a.momentum = options_.momentum, a.dampening = options_.dampening, a.nesterov = options_.nesterov;
  a.beta1 = options_.beta1, a.beta2 = options_.beta2, a.eps = options_.eps;
  a.decoupled = name_ == "adamw";
  a.model_lambda = options_.model_lambda;
  return w;
}

template <class T>
void Optimizer::lars_step(MultiTensor<T>& w, const std::vector<size_t>& which) {
  std::vector<Tensor> decayed;  // joint: |g + w p| needs the sum itself
  MultiTensor<T> d;
  for (const OptimTensor<T>& r : w.rows) {
    if (options_.denominator != "joint") break;
    decayed.push_back(Tensor::empty({r.n}, dtype_of<T>));
    T* out = decayed.back().template write<T>("lars");
    for (int64_t i = 0; i < r.n; ++i) out[i] = r.g[i] + static_cast<T>(r.weight_decay) * r.p[i];
    d.rows.push_back({.p = out, .n = r.n});
  }
  d.finish();
  const auto norms = w.norms(), decayed_norms = d.norms();
  for (size_t i = 0; i < w.rows.size(); ++i) {
    OptimTensor<T>& r = w.rows[i];
    bool plain = options_.exclude_1d && parameters_[which[i]].var->value().ndim() <= 1;
    if (!plain)
      r.ratio = lars_ratio(options_, w.args.lr, r.weight_decay, norms[i][0], norms[i][1],
                           decayed.empty() ? 0.0 : decayed_norms[i][0], plain);
    if (plain) r.ratio = 1.0, r.weight_decay = 0.0;
  }
  w.run_entry(optim_tables<T>().on(kCpu).lars);
}

template <class T>
void Optimizer::lamb_step(MultiTensor<T>& w) {
  w.run_entry(optim_tables<T>().on(kCpu).lamb_direction);
  const auto norms = w.norms();
  for (size_t i = 0; i < w.rows.size(); ++i) {
    OptimTensor<T>& r = w.rows[i];
    if (r.weight_decay == 0 && !options_.always_adapt) continue;
    r.ratio = norms[i][0] > 0 && norms[i][2] > 0 ? norms[i][0] / norms[i][2] : 1.0;
    if (options_.trust_clip) r.ratio = std::min(r.ratio, 1.0);
  }
  w.run_entry(optim_tables<T>().on(kCpu).lamb_apply);
}

namespace {

// num / den within [0, cap]. den = 0: d is g already, whatever beta is.
double momentum_of(const std::array<double, 2>& sums, double cap) {
  return sums[1] > 0 ? std::clamp(sums[0] / sums[1], 0.0, cap) : 0.0;
}

}  // namespace

// Adaptive memory momentum. The next point minimises the larger of two planes through x_t, of the gradient g
// and of the stored direction d, plus |x - x_t|^2 / (2 lr) + lambda |x - (x_t - lr d)|^2 / (2 lr); beta is
// the multiplier of the second plane in the dual of that problem, solved in closed form.
template <class T>
void Optimizer::am_sgd_step(MultiTensor<T>& w, const std::vector<size_t>& which) {
  const bool global = options_.scope == "global";
  auto sums = w.template sums<2>(optim_tables<T>().on(kCpu).am_sgd_sums);
  std::array<double, 2> all{};
  for (const auto& s : sums) all[0] += s[0], all[1] += s[1];
  last_beta_.assign(global ? 1 : parameters_.size(), std::numeric_limits<double>::quiet_NaN());
  for (size_t i = 0; i < w.rows.size(); ++i) {
    w.rows[i].beta = momentum_of(global ? all : sums[i], options_.beta_max);
    last_beta_[global ? 0 : which[i]] = w.rows[i].beta;
  }
  w.run_entry(optim_tables<T>().on(kCpu).am_sgd);
}

// The same problem in the metric of Adam's preconditioner, with decoupled decay, per tensor. The function gap
// uses the displacement of the tensor's previous step, lr_{t-1} (d / P + w p); at lr = 0 nothing moves and
// the gap is left out.
template <class T>
void Optimizer::am_adamw_step(MultiTensor<T>& w, const std::vector<size_t>& which) {
  const double lr = w.args.lr;
  for (size_t i = 0; i < w.rows.size(); ++i)
    w.rows[i].gap = lr > 0 ? (1.0 + w.rows[i].weight_decay * lr) * slots_[which[i]].previous_lr / lr : 0.0;
  const auto sums = w.template sums<2>(optim_tables<T>().on(kCpu).am_adamw_sums);
  last_beta_.assign(parameters_.size(), std::numeric_limits<double>::quiet_NaN());
  for (size_t i = 0; i < w.rows.size(); ++i) {
    OptimTensor<T>& r = w.rows[i];
    Slot& s = slots_[which[i]];
    r.beta = r.first ? options_.beta1 : momentum_of(sums[i], options_.beta1);
    s.beta_product *= r.beta;
    s.previous_lr = lr;
    last_beta_[which[i]] = r.beta;
  }
  w.run_entry(optim_tables<T>().on(kCpu).am_adamw);
}

nn::StateDict Optimizer::state() const {
  nn::StateDict out;
  for (size_t i = 0; i < slots_.size(); ++i) {
    const Slot& s = slots_[i];
    const std::string& name = parameters_[i].name;
    if (s.steps == 0) continue;
    out.emplace_back("step." + name, Tensor::full({}, static_cast<double>(s.steps), DType::i64));
    if (s.m.defined()) out.emplace_back("exp_avg." + name, s.m);
    if (s.v.defined()) out.emplace_back("exp_avg_sq." + name, s.v);
    if (s.vmax.defined()) out.emplace_back("max_exp_avg_sq." + name, s.vmax);
    if (name_ != "am_adamw") continue;
    out.emplace_back("beta_product." + name, Tensor::scalar(s.beta_product, DType::f64));
    out.emplace_back("previous_lr." + name, Tensor::scalar(s.previous_lr, DType::f64));
  }
  return out;
}

void Optimizer::load_state(const nn::StateDict& state) {
  std::vector<Slot> slots(parameters_.size());
  std::map<std::string, size_t> index;
  for (size_t i = 0; i < parameters_.size(); ++i) index[parameters_[i].name] = i;
  for (const auto& [key, value] : state) {
    const size_t dot = key.find('.');
    const std::string kind = key.substr(0, dot), name = dot == std::string::npos ? "" : key.substr(dot + 1);
    const auto at = index.find(name);
    JX_CHECK(at != index.end(), "optimizer state '", key, "' belongs to no parameter of this model");
    Slot& s = slots[at->second];
    const Var& parameter = *parameters_[at->second].var;
    if (kind == "step") {
      s.steps = static_cast<int64_t>(value.item());
    } else if (kind == "beta_product" || kind == "previous_lr") {
      (kind == "previous_lr" ? s.previous_lr : s.beta_product) = value.item();
    } else {
      JX_CHECK(kind == "exp_avg" || kind == "exp_avg_sq" || kind == "max_exp_avg_sq", "optimizer state '",
               key, "' is of no kind that ", name_, " knows");
      JX_CHECK(value.dims() == parameter.dims(), "optimizer state '", key, "': expected ", parameter.dims(),
               ", got ", value);
      Tensor& to = kind == "exp_avg" ? s.m : kind == "exp_avg_sq" ? s.v : s.vmax;
      to = value.to(parameter.dtype()).clone();
    }
  }
  const Kinds kept = kinds();
  for (size_t i = 0; i < slots.size(); ++i) {
    const Slot& s = slots[i];
    const bool any = s.steps > 0;
    JX_CHECK(s.m.defined() == (any && kept.m) && s.v.defined() == (any && kept.v) &&
                 s.vmax.defined() == (any && kept.vmax),
             "optimizer state of '", parameters_[i].name, "' is not that of ", name_,
             " with these options; was it saved by another optimiser?");
  }
  slots_ = std::move(slots);
  last_beta_.clear();
}

}  // namespace juxta::ssl

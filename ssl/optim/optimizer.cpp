#include "ssl/optim/optimizer.h"

#include <algorithm>
#include <cmath>

#include "kernels/optim.h"
#include "tensor/file.h"

namespace juxta::ssl {

namespace {

constexpr OptimizerRow kOptimizers[] = {
    {"sgd", "torch.optim.SGD", 0.03, "momentum, dampening, Nesterov, coupled decay"},
    {"adam", "arXiv 1412.6980", 1e-3, "coupled decay"},
    {"adamw", "arXiv 1711.05101", 1e-3, "decoupled decay times the learning rate"},
    {"lars", "arXiv 1708.03888", 0.3, "layer-wise trust ratio; large batches"},
    {"lamb", "arXiv 1904.00962", 2e-3, "layer-wise trust ratio on Adam's direction"},
    {"lion", "arXiv 2302.06675", 1e-4, "sign of an interpolated momentum"},
};

bool contains(const std::string& s, const char* part) { return s.find(part) != std::string::npos; }

// Rows and chunks of one multi-tensor call, kept together because the rows are referenced by address.
template <class T>
struct Work {
  std::vector<OptimTensor<T>> rows;
  std::vector<OptimChunk> chunks;
  OptimArgs<T> args{};

  void finish() {
    std::vector<int64_t> sizes;
    for (const auto& r : rows) sizes.push_back(r.n);
    chunks = optim_chunks(sizes);
    args.tensors = rows.data();
    args.chunks = chunks.data();
  }
  void run_entry(typename OptimTable<T>::Entry entry) {
    run(kCpu, entry, args, static_cast<int64_t>(chunks.size()), 1);
  }
  // Per row {|p|, |g|, |u|}, summed over its chunks in order.
  std::vector<std::array<double, 3>> norms() {
    std::vector<double> sums(chunks.size() * 3);
    args.sums = sums.data();
    run_entry(optim_tables<T>().on(kCpu).sum_squares);
    std::vector<std::array<double, 3>> out(rows.size(), {0, 0, 0});
    for (size_t k = 0; k < chunks.size(); ++k)
      for (size_t j = 0; j < 3; ++j) out[static_cast<size_t>(chunks[k].tensor)][j] += sums[3 * k + j];
    for (auto& n : out)
      for (double& x : n) x = std::sqrt(x);
    return out;
  }
};

template <class T>
Work<T> gradients_of(std::span<const nn::NamedParameter> parameters) {
  Work<T> w;
  for (const auto& p : parameters) {
    if (!p.var->grad().defined()) continue;
    Tensor g = p.var->grad();
    w.rows.push_back({.p = g.write<T>("clip_grad_norm"), .n = g.numel()});
  }
  w.finish();
  return w;
}

DType common_dtype(std::span<const nn::NamedParameter> parameters) {
  JX_CHECK(!parameters.empty(), "optimizer: no parameters");
  const DType d = parameters[0].var->dtype();
  JX_CHECK(d == DType::f32 || d == DType::f64, "optimizer: parameters must be f32 or f64, got ", d);
  for (const auto& p : parameters)
    JX_CHECK(p.var->dtype() == d, "optimizer: ", p.name, " is ", p.var->dtype(), ", the others are ", d);
  return d;
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
  JX_CHECK(options_.denominator == "joint" || options_.denominator == "sum",
           "lars: denominator: expected 'joint' or 'sum', got '", options_.denominator, "'");
  common_dtype(parameters_);
  for (const auto& p : parameters_) decay_.push_back(!excluded_from_decay(p.name, p.var->value()));
}

void Optimizer::zero_grad() {
  for (const auto& p : parameters_) p.var->clear_grad();
}

void Optimizer::step(double lr, double weight_decay) {
  common_dtype(parameters_) == DType::f32 ? step_typed<float>(lr, weight_decay)
                                          : step_typed<double>(lr, weight_decay);
}

template <class T>
void Optimizer::step_typed(double lr, double weight_decay) {
  const bool adam = name_ == "adam" || name_ == "adamw", lamb = name_ == "lamb", lars = name_ == "lars",
             lion = name_ == "lion";
  const bool has_m = adam || lamb || lion || options_.momentum != 0, has_v = adam || lamb;
  if (lamb && options_.max_grad_norm > 0) {
    const double norm = grad_norm(parameters_);
    if (norm > options_.max_grad_norm) clip_grad_norm(parameters_, options_.max_grad_norm);
  }
  Work<T> w;
  std::vector<bool> one_dimensional;
  for (size_t i = 0; i < parameters_.size(); ++i) {
    Var& var = *parameters_[i].var;
    if (!var.grad().defined()) continue;
    Slot& s = slots_[i];
    const auto zeros = [&](bool want, Tensor& t) {
      if (want && !t.defined()) t = Tensor::zeros(var.dims(), var.dtype());
    };
    zeros(has_m, s.m), zeros(has_v, s.v), zeros(adam && options_.amsgrad, s.vmax), zeros(lamb, s.u);
    ++s.steps;
    Tensor value = var.value();
    JX_CHECK(value.is_contiguous(), "optimizer: ", parameters_[i].name, " is not contiguous");
    const Tensor g = var.grad().contiguous();
    if (g.storage().get() != var.grad().storage().get()) var.set_grad(g);  // keeps the copy alive
    OptimTensor<T> row;
    row.p = value.write<T>("optimizer.step");
    row.g = g.template data<T>();
    const auto pointer = [](Tensor& t) { return t.defined() ? t.write<T>("optimizer.step") : nullptr; };
    row.m = pointer(s.m), row.v = pointer(s.v), row.vmax = pointer(s.vmax), row.u = pointer(s.u);
    row.n = value.numel();
    row.weight_decay = decay_[i] ? weight_decay : 0.0;
    row.first = s.steps == 1;
    if (has_v && (adam || options_.bias_correction)) {
      row.correction1 = 1.0 - std::pow(options_.beta1, static_cast<double>(s.steps));
      row.correction2 = 1.0 - std::pow(options_.beta2, static_cast<double>(s.steps));
    }
    w.rows.push_back(row);
    one_dimensional.push_back(value.ndim() <= 1);
  }
  w.finish();
  w.args.lr = lr, w.args.momentum = options_.momentum, w.args.dampening = options_.dampening;
  w.args.nesterov = options_.nesterov, w.args.beta1 = options_.beta1, w.args.beta2 = options_.beta2,
  w.args.eps = options_.eps;
  w.args.decoupled = name_ == "adamw";
  const OptimTable<T>& table = optim_tables<T>().on(kCpu);
  if (adam) return w.run_entry(table.adam);
  if (lion) return w.run_entry(table.lion);
  if (lars) {
    std::vector<double> joint(w.rows.size(), 0.0);
    std::vector<Tensor> decayed;  // joint: |g + w p| needs the sum itself
    Work<T> d;
    for (const OptimTensor<T>& r : w.rows) {
      decayed.push_back(Tensor::empty({r.n}, dtype_of<T>));
      T* out = decayed.back().template write<T>("lars");
      for (int64_t i = 0; i < r.n; ++i) out[i] = r.g[i] + static_cast<T>(r.weight_decay) * r.p[i];
      d.rows.push_back({.p = out, .n = r.n});
    }
    d.finish();
    const auto norms = w.norms(), decayed_norms = d.norms();
    for (size_t i = 0; i < w.rows.size(); ++i) {
      bool plain = options_.exclude_1d && one_dimensional[i];
      if (!plain)
        w.rows[i].ratio = lars_ratio(options_, lr, w.rows[i].weight_decay, norms[i][0], norms[i][1],
                                     decayed_norms[i][0], plain);
      if (plain) w.rows[i].ratio = 1.0, w.rows[i].weight_decay = 0.0;
    }
    return w.run_entry(table.lars);
  }
  if (!lamb) return w.run_entry(table.sgd);
  w.run_entry(table.lamb_direction);
  const auto norms = w.norms();
  for (size_t i = 0; i < w.rows.size(); ++i) {
    OptimTensor<T>& r = w.rows[i];
    if (r.weight_decay == 0 && !options_.always_adapt) continue;
    r.ratio = norms[i][0] > 0 && norms[i][2] > 0 ? norms[i][0] / norms[i][2] : 1.0;
    if (options_.trust_clip) r.ratio = std::min(r.ratio, 1.0);
  }
  w.run_entry(table.lamb_apply);
}

nn::StateDict Optimizer::state() const {
  nn::StateDict out;
  for (size_t i = 0; i < slots_.size(); ++i) {
    const Slot& s = slots_[i];
    if (s.steps == 0) continue;
    out.emplace_back("step." + parameters_[i].name,
                     Tensor::full({}, static_cast<double>(s.steps), DType::i64));
    if (s.m.defined()) out.emplace_back("exp_avg." + parameters_[i].name, s.m);
    if (s.v.defined()) out.emplace_back("exp_avg_sq." + parameters_[i].name, s.v);
    if (s.vmax.defined()) out.emplace_back("max_exp_avg_sq." + parameters_[i].name, s.vmax);
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
    if (kind == "step") {
      s.steps = static_cast<int64_t>(value.item());
      continue;
    }
    JX_CHECK(value.dims() == parameters_[at->second].var->dims(), "optimizer state '", key, "': expected ",
             parameters_[at->second].var->dims(), ", got ", value);
    Tensor& to = kind == "exp_avg" ? s.m : kind == "exp_avg_sq" ? s.v : s.vmax;
    to = value.to(parameters_[at->second].var->dtype()).clone();
  }
  slots_ = std::move(slots);
}

double grad_norm(std::span<const nn::NamedParameter> parameters) {
  const auto total = [&]<class T>() {
    double sum = 0;
    for (const auto& n : gradients_of<T>(parameters).norms()) sum += n[0] * n[0];
    return std::sqrt(sum);
  };
  return common_dtype(parameters) == DType::f32 ? total.operator()<float>() : total.operator()<double>();
}

double clip_grad_norm(std::span<const nn::NamedParameter> parameters, double max_norm, double norm_type) {
  JX_CHECK(norm_type == 2.0 || std::isinf(norm_type), "clip_grad_norm: norm_type: expected 2 or inf, got ",
           norm_type);
  const auto clip = [&]<class T>() {
    Work<T> w = gradients_of<T>(parameters);
    double norm = 0;
    if (norm_type == 2.0) {
      for (const auto& n : w.norms()) norm += n[0] * n[0];
      norm = std::sqrt(norm);
    } else {
      for (const auto& r : w.rows)
        for (int64_t i = 0; i < r.n; ++i) norm = std::max(norm, std::abs(static_cast<double>(r.p[i])));
    }
    w.args.scale = std::min(1.0, max_norm / (norm + 1e-6));
    if (w.args.scale < 1.0) w.run_entry(optim_tables<T>().on(kCpu).scale);
    return norm;
  };
  return common_dtype(parameters) == DType::f32 ? clip.operator()<float>() : clip.operator()<double>();
}

}  // namespace juxta::ssl

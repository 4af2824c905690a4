#pragma once
// Modules are values: plain structs of parameters and other modules with one `visit`. Everything that walks a
// model (parameters, state_dict, EMA pairing, dtype moves, optimiser groups) goes through it.
//
//   struct Linear {
//     Parameter weight, bias;
//     void visit(Visitor& v) { v("weight", weight); v("bias", bias); }
//   };
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "autograd/var.h"
#include "tensor/rng.h"
#include "tensor/safetensors.h"

namespace juxta::nn {

// A trainable tensor. Move-only: copying a module by accident would share its parameters.
class Parameter {
 public:
  Parameter() = default;  // absent (a layer without bias)
  explicit Parameter(Tensor value) : var_(Var::leaf(std::move(value))) {}
  Parameter(Parameter&&) noexcept = default;
  Parameter& operator=(Parameter&&) noexcept = default;
  Parameter(const Parameter&) = delete;
  Parameter& operator=(const Parameter&) = delete;
  operator const Var&() const { return var_; }
  Var& var() { return var_; }
  const Var& var() const { return var_; }
  const Tensor& value() const { return var_.value(); }
  bool defined() const { return var_.defined(); }

 private:
  Var var_;
};

class Visitor;
template <class M>
concept Module = requires(M& m, Visitor& v) {
  m.visit(v);
};

// Receives every parameter and buffer with its full dotted name.
class Visitor {
 public:
  virtual ~Visitor() = default;
  virtual void parameter(const std::string& name, Var& p) = 0;
  virtual void buffer(const std::string& name, Tensor& b) = 0;

  // What modules call in visit(). Absent parameters and buffers are skipped.
  void operator()(const std::string& name, Parameter& p) {
    if (p.defined()) parameter(prefix_ + name, p.var());
  }
  void operator()(const std::string& name, Tensor& b) {
    if (b.defined()) buffer(prefix_ + name, b);
  }
  template <Module M>
  void operator()(const std::string& name, M& m) {
    const size_t outer = prefix_.size();
    if (!name.empty()) prefix_ += name + ".";
    m.visit(*this);
    prefix_.resize(outer);
  }
  template <class M>
  void operator()(const std::string& name, std::vector<M>& list) {
    for (size_t i = 0; i < list.size(); ++i) (*this)(name + "." + std::to_string(i), list[i]);
  }
  template <class M>
  void operator()(const std::string& name, std::optional<M>& m) {
    if (m) (*this)(name, *m);
  }
  template <class M>
  void operator()(const std::string& name, std::unique_ptr<M>& m) {
    if (m) (*this)(name, *m);
  }

 private:
  std::string prefix_;
};

struct NamedParameter {
  std::string name;
  Var* var;
};
struct NamedBuffer {
  std::string name;
  Tensor* tensor;
};
struct NamedState {
  std::vector<NamedParameter> parameters;
  std::vector<NamedBuffer> buffers;
};

// All parameters and buffers of a module in visiting order, names prefixed with `prefix`.
template <Module M>
NamedState named_state(M& m, const std::string& prefix = "") {
  struct Collect : Visitor {
    NamedState out;
    std::string prefix;
    void parameter(const std::string& name, Var& p) override {
      out.parameters.push_back({prefix + name, &p});
    }
    void buffer(const std::string& name, Tensor& b) override { out.buffers.push_back({prefix + name, &b}); }
  } collect;
  collect.prefix = prefix;
  m.visit(collect);
  return std::move(collect.out);
}
template <Module M>
std::vector<NamedParameter> parameters(M& m, const std::string& prefix = "") {
  return named_state(m, prefix).parameters;
}

using StateDict = std::vector<std::pair<std::string, Tensor>>;
StateDict state_dict(const NamedState& state);  // references, not copies
template <Module M>
StateDict state_dict(M& m, const std::string& prefix = "") {
  return state_dict(named_state(m, prefix));
}

struct LoadReport {
  std::vector<std::string> missing;     // of the module, not in the file
  std::vector<std::string> unexpected;  // in the file, not of the module
  int64_t loaded = 0;
};
// Copies tensors by name into parameters and buffers, converting the dtype. Error on a shape that differs,
// before anything is changed; missing and unexpected names are the caller's to judge.
LoadReport load_state(const NamedState& state, const StateDict& from);
template <Module M>
LoadReport load_state_dict(M& m, const StateDict& from) {
  return load_state(named_state(m), from);
}
// The same, and Error listing the names when any is missing or unexpected.
void load_state_strict(const NamedState& state, const StateDict& from, const std::string& what);

// Copies every parameter and buffer of `from` to the module of the same structure `to` (a teacher starts as a
// copy).
void copy_state(const NamedState& from, const NamedState& to);
// Converts parameters and float buffers to another dtype (f64 for parity checks).
void convert(const NamedState& state, DType dtype);
int64_t count_parameters(const NamedState& state);

// What a forward pass needs to know besides its inputs.
struct Ctx {
  bool training = false;
  Rng* rng = nullptr;     // dropout and drop path; required by those layers when training
  int64_t bn_groups = 1;  // batch norm sees this many equal parts of the batch by themselves (ghost batches)
};

}  // namespace juxta::nn

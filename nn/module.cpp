#include "nn/module.h"

#include <algorithm>
#include <unordered_map>

#include "tensor/file.h"

namespace juxta::nn {

StateDict state_dict(const NamedState& state) {
  StateDict out;
  for (const auto& p : state.parameters) out.emplace_back(p.name, p.var->value());
  for (const auto& b : state.buffers) out.emplace_back(b.name, *b.tensor);
  return out;
}

LoadReport load_state(const NamedState& state, const StateDict& from) {
  std::unordered_map<std::string, const Tensor*> by_name;
  for (const auto& [name, t] : from) by_name[name] = &t;
  LoadReport report;
  std::vector<std::pair<Tensor, const Tensor*>> copies;  // all checks come before the first write
  const auto match = [&](const std::string& name, const Tensor& to) {
    const auto it = by_name.find(name);
    if (it == by_name.end()) {
      report.missing.push_back(name);
      return;
    }
    JX_CHECK(it->second->dims() == to.dims(), "load: '", name, "': expected ", to.dims(), ", the file has ",
             it->second->dims(), "; is it another model's?");
    JX_CHECK(is_float(it->second->dtype()) == is_float(to.dtype()), "load: '", name, "': expected ",
             to.dtype(), ", the file has ", it->second->dtype());
    copies.emplace_back(to, it->second);
    by_name.erase(it);
  };
  for (const auto& p : state.parameters) match(p.name, p.var->value());
  for (const auto& b : state.buffers) match(b.name, *b.tensor);
  for (const auto& [name, t] : from)
    if (by_name.count(name)) report.unexpected.push_back(name);
  for (auto& [to, source] : copies) to.copy_from(*source, "load_state_dict");
  report.loaded = static_cast<int64_t>(copies.size());
  return report;
}

void load_state_strict(const NamedState& state, const StateDict& from, const std::string& what) {
  const LoadReport r = load_state(state, from);
  if (r.missing.empty() && r.unexpected.empty()) return;
  const auto list = [](const std::vector<std::string>& names) {
    std::string s;
    for (size_t i = 0; i < std::min<size_t>(names.size(), 3); ++i) s += (i ? ", " : "") + names[i];
    return names.size() > 3 ? s + concat(", ... (", names.size(), " in all)") : s;
  };
  std::string hint;
  if (!r.missing.empty()) {
    const std::string near = nearest_name(r.missing[0], r.unexpected);
    if (!near.empty()) hint = concat("; '", r.missing[0], "' may be '", near, "' there");
  }
  JX_FAIL(what, ": not the state of this model", r.missing.empty() ? "" : "; missing: " + list(r.missing),
          r.unexpected.empty() ? "" : "; unexpected: " + list(r.unexpected), hint);
}

void copy_state(const NamedState& from, const NamedState& to) {
  JX_CHECK(from.parameters.size() == to.parameters.size() && from.buffers.size() == to.buffers.size(),
           "copy_state: the modules differ: ", from.parameters.size(), " and ", to.parameters.size(),
           " parameters");
  for (size_t i = 0; i < from.parameters.size(); ++i) {
    Tensor t = to.parameters[i].var->value();
    t.copy_from(from.parameters[i].var->value(), "copy_state");
  }
  for (size_t i = 0; i < from.buffers.size(); ++i)
    to.buffers[i].tensor->copy_from(*from.buffers[i].tensor, "copy_state");
}

void convert(const NamedState& state, DType dtype) {
  for (const auto& p : state.parameters) p.var->set_value(p.var->value().to(dtype));
  for (const auto& b : state.buffers)
    if (is_float(b.tensor->dtype())) *b.tensor = b.tensor->to(dtype);
}

int64_t count_parameters(const NamedState& state) {
  int64_t n = 0;
  for (const auto& p : state.parameters) n += p.var->numel();
  return n;
}

}  // namespace juxta::nn

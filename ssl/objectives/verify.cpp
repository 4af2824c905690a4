#include "ssl/objectives/verify.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <nlohmann/json.hpp>

#include "ssl/objectives/registry.h"

namespace juxta::ssl {

namespace {

using Json = nlohmann::json;

// The parameters of a case, each as JSON text.
ParamTexts params_of(const SafeTensors& file, const std::string& case_name) {
  const auto found = file.metadata.find(case_name);
  JX_CHECK(found != file.metadata.end(), "verify: case ", case_name, " has no parameters in the metadata");
  const Json json = Json::parse(found->second, nullptr, false);
  JX_CHECK(json.is_object(), "verify: case ", case_name, ": its parameters are not a JSON object");
  ParamTexts params;
  for (const auto& [key, value] : json.items()) params.emplace_back(key, value.dump());
  return params;
}

bool starts_with(const std::string& s, const std::string& prefix) { return s.rfind(prefix, 0) == 0; }
bool ends_with(const std::string& s, const std::string& suffix) {
  return s.size() >= suffix.size() && s.compare(s.size() - suffix.size(), suffix.size(), suffix) == 0;
}

// (name without the prefix, tensor) of every tensor whose name starts with the prefix.
std::vector<std::pair<std::string, Tensor>> under(const SafeTensors& file, const std::string& prefix) {
  std::vector<std::pair<std::string, Tensor>> found;
  for (const auto& [name, tensor] : file.tensors)
    if (starts_with(name, prefix)) found.emplace_back(name.substr(prefix.size()), tensor);
  return found;
}

bool has_golden_gradient(const SafeTensors& file, const std::string& case_name, const std::string& name) {
  return file.find(case_name + "/out/grad." + name) != nullptr;
}

bool is_image_input(const Objective& objective, const std::string& name) {
  const InputRow* row = find_input(objective, name);
  return row && row->image;
}

// The rules at the top of verify.h.
double tolerance_of(const std::string& objective, const std::string& output, const Tensor& reference,
                    double largest, DType dtype, bool is_saturated) {
  if (!is_float(reference.dtype())) return 0;
  if (dtype == DType::f64)
    return (objective == "opta" || objective == "linear_probe" ? 1e-6 : 1e-8) * largest + 1e-12;
  if (reference.numel() == 1 && (output == "loss" || ends_with(output, "_loss")))
    return 1e-5 * std::max(1.0, largest);
  return (is_saturated ? 2e-3 : 2e-4) * largest + 2e-6;
}

// Largest |got - reference| and largest finite |reference|; inf where shapes differ or one is NaN or infinite
// alone.
struct Comparison {
  double error = 0, largest = 0;
};
Comparison compare(const Tensor& got, const Tensor& reference) {
  const Tensor x = got.to(DType::f64).contiguous(), y = reference.to(DType::f64).contiguous();
  constexpr double kInf = std::numeric_limits<double>::infinity();
  Comparison c;
  for (int64_t i = 0; i < y.numel(); ++i)
    if (const double r = y.data<double>()[i]; std::isfinite(r)) c.largest = std::max(c.largest, std::abs(r));
  if (!(x.dims() == y.dims()) || is_float(got.dtype()) != is_float(reference.dtype()))
    return {kInf, c.largest};
  for (int64_t i = 0; i < x.numel(); ++i) {
    const double p = x.data<double>()[i], q = y.data<double>()[i];
    if (p == q || (std::isnan(p) && std::isnan(q))) continue;
    c.error = std::isnan(p - q) ? kInf : std::max(c.error, std::abs(p - q));
  }
  return c;
}

VerifyFailure compare_output(const Objective& objective, const std::string& case_name,
                             const std::string& name,
                             const std::vector<std::pair<std::string, Tensor>>& outputs,
                             const Tensor& reference, DType dtype, bool is_saturated) {
  VerifyFailure f{objective.name, case_name, name, 0, 0, {}};
  const auto got =
      std::find_if(outputs.begin(), outputs.end(), [&](const auto& o) { return o.first == name; });
  if (got == outputs.end()) {
    f.error = std::numeric_limits<double>::infinity();
    f.what = "not computed";
    return f;
  }
  const Comparison c = compare(got->second, reference);
  f.error = c.error;
  f.tolerance = tolerance_of(objective.name, name, reference, c.largest, dtype, is_saturated);
  if (!(got->second.dims() == reference.dims()))
    f.what = concat("expected ", to_text(reference.dims()), ", got ", to_text(got->second.dims()));
  else if (is_float(got->second.dtype()) != is_float(reference.dtype()))
    f.what = concat("expected ", reference.dtype(), ", got ", got->second.dtype());
  return f;
}

}  // namespace

std::string to_text(const VerifyFailure& f) {
  return f.what.empty() ? concat(f.objective, "/", f.case_name, "/", f.output, ": error ", f.error,
                                 ", tolerance ", f.tolerance)
                        : concat(f.objective, "/", f.case_name, "/", f.output, ": ", f.what);
}

bool saturated(const ParamTexts& params) {
  for (const auto& [name, text] : params) {
    const bool temperature = name == "temperature" || ends_with(name, "_temperature") ||
                             starts_with(name, "temp_") || name == "tau" ||
                             (starts_with(name, "tau_") && name != "tau_plus");
    const Json value = Json::parse(text, nullptr, false);
    if (temperature && value.is_number() && value.get<double>() <= 0.005) return true;
  }
  return false;
}

bool is_image_output(const Objective& objective, const std::string& name) {
  if (starts_with(name, "grad.")) return is_image_input(objective, name.substr(5));
  return std::any_of(objective.image_outputs.begin(), objective.image_outputs.end(),
                     [&](const char* output) { return name == output; });
}

Tensor channels_last(const Tensor& x) {
  JX_CHECK(x.ndim() >= 3, "image map: expected [.., C, H, W], got ", x);
  return x.transpose(-3, -2).transpose(-2, -1).contiguous();
}

Tensor channels_first(const Tensor& x) {
  JX_CHECK(x.ndim() >= 3, "image map: expected [.., H, W, C], got ", x);
  return x.transpose(-2, -1).transpose(-3, -2).contiguous();
}

std::vector<std::string> golden_cases(const SafeTensors& file) {
  std::vector<std::string> names;
  for (const auto& [name, params] : file.metadata)
    if (name != "crc32") names.push_back(name);  // written by save_safetensors
  return names;
}

CaseInputs case_inputs(const SafeTensors& file, const std::string& case_name, const Objective& objective,
                       DType dtype,
                       bool (*wants_grad)(const SafeTensors&, const std::string&, const std::string&)) {
  CaseInputs c{Inputs(objective.name), {}};
  for (const auto& [name, tensor] : under(file, case_name.empty() ? "" : case_name + "/in/")) {
    Tensor value = is_float(tensor.dtype()) ? tensor.to(dtype).clone() : tensor;
    if (is_image_input(objective, name)) value = channels_last(value);
    const bool wanted = is_float(tensor.dtype()) && wants_grad(file, case_name, name);
    c.inputs.add(name, wanted ? Var::leaf(value) : Var(value));
    if (wanted) c.leaves.emplace_back(name, c.inputs.all().back().second);
  }
  return c;
}

std::vector<std::pair<std::string, Tensor>> golden_outputs(const SafeTensors& file,
                                                           const std::string& case_name,
                                                           const Objective& objective, DType dtype) {
  const CaseInputs c = case_inputs(file, case_name, objective, dtype, has_golden_gradient);
  const Outcome result = run_objective(objective, c.inputs, params_of(file, case_name));
  std::vector<std::pair<std::string, Tensor>> outputs;
  if (result.loss.defined()) outputs.emplace_back("loss", result.loss.value());
  for (const auto& [name, value] : result.terms) outputs.emplace_back(name, value.value());
  if (result.loss.defined() && result.loss.requires_grad()) backward(result.loss);
  for (const auto& [name, leaf] : c.leaves) {
    const bool given =
        std::any_of(outputs.begin(), outputs.end(), [gradient = "grad." + name](const auto& o) {
          return o.first == gradient;  // a row whose steps are its own, man_step, gives them itself
        });
    if (given) continue;
    outputs.emplace_back("grad." + name,
                         leaf.grad().defined() ? leaf.grad() : Tensor::zeros(leaf.dims(), leaf.dtype()));
  }
  for (auto& [name, value] : outputs)
    if (is_image_output(objective, name)) value = channels_first(value);
  return outputs;
}

VerifyReport verify(const SafeTensors& file, const Objective& objective, DType dtype, SafeTensors* computed) {
  VerifyReport report;
  for (const std::string& case_name : golden_cases(file)) {
    const size_t before = report.failures.size();
    ++report.cases;
    try {
      const auto outputs = golden_outputs(file, case_name, objective, dtype);
      const auto expected = under(file, case_name + "/out/");
      JX_CHECK(!expected.empty(), "the file has no outputs for it");
      const bool is_saturated = saturated(params_of(file, case_name));
      for (const auto& [name, reference] : expected) {
        const VerifyFailure f =
            compare_output(objective, case_name, name, outputs, reference, dtype, is_saturated);
        if (f.tolerance > 0) report.worst = std::max(report.worst, f.error / f.tolerance);
        if (!f.what.empty() || !(f.error <= f.tolerance)) report.failures.push_back(f);
      }
      if (computed) {
        computed->metadata[case_name] = file.metadata.at(case_name);
        for (const auto& [name, value] : outputs)
          computed->tensors.emplace_back(case_name + "/out/" + name, value);
      }
    } catch (const Error& e) {
      report.failures.push_back(
          {objective.name, case_name, "", std::numeric_limits<double>::infinity(), 0, e.what()});
    }
    if (report.failures.size() == before) ++report.passed;
  }
  return report;
}

}  // namespace juxta::ssl

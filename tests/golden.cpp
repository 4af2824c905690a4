#include "tests/golden.h"

#include <cmath>
#include <nlohmann/json.hpp>

#include "ssl/losses/registry.h"
#include "tests/harness.h"

namespace juxta::test {

namespace {

using Json = nlohmann::json;

// The parameters of a case, each as JSON text.
ssl::ParamTexts params_of(const SafeTensors& file, const std::string& case_name) {
  const auto found = file.metadata.find(case_name);
  JX_CHECK(found != file.metadata.end(), "golden: case ", case_name, " has no parameters in the metadata");
  const Json json = Json::parse(found->second, nullptr, false);
  JX_CHECK(json.is_object(), "golden: case ", case_name, ": its parameters are not a JSON object");
  ssl::ParamTexts params;
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

// The rules at the top of golden.h.
double tolerance_of(const std::string& objective, const std::string& output, const Tensor& reference,
                    DType dtype, bool is_saturated) {
  if (!is_float(reference.dtype())) return 0;
  const double largest = max_abs(reference);
  if (dtype == DType::f64)
    return (objective == "opta" || objective == "linear_probe" ? 1e-6 : 1e-8) * largest + 1e-12;
  if (reference.numel() == 1 && (output == "loss" || ends_with(output, "_loss")))
    return 1e-5 * std::max(1.0, largest);
  return (is_saturated ? 2e-3 : 2e-4) * largest + 2e-6;
}

}  // namespace

std::string to_text(const GoldenFailure& f) {
  return f.what.empty() ? concat(f.objective, "/", f.case_name, "/", f.output, ": error ", f.error,
                                 ", tolerance ", f.tolerance)
                        : concat(f.objective, "/", f.case_name, "/", f.output, ": ", f.what);
}

bool saturated(const ssl::ParamTexts& params) {
  for (const auto& [name, text] : params) {
    const bool temperature = name == "temperature" || ends_with(name, "_temperature") ||
                             starts_with(name, "temp_") || name == "tau" ||
                             (starts_with(name, "tau_") && name != "tau_plus");
    const Json value = Json::parse(text, nullptr, false);
    if (temperature && value.is_number() && value.get<double>() <= 0.005) return true;
  }
  return false;
}

std::vector<std::string> golden_cases(const SafeTensors& file) {
  std::vector<std::string> names;
  for (const auto& [name, params] : file.metadata)
    if (name != "crc32") names.push_back(name);  // written by save_safetensors
  return names;
}

std::vector<std::pair<std::string, Tensor>> golden_outputs(const SafeTensors& file,
                                                           const std::string& case_name,
                                                           const ssl::Objective& objective, DType dtype) {
  ssl::Inputs inputs(objective.name);
  std::vector<std::pair<std::string, Var>> leaves;
  for (const auto& [name, tensor] : under(file, case_name + "/in/")) {
    const Tensor value = is_float(tensor.dtype()) ? tensor.to(dtype).clone() : tensor;
    const bool wanted = file.find(case_name + "/out/grad." + name) != nullptr;
    inputs.add(name, wanted ? Var::leaf(value) : Var(value));
    if (wanted) leaves.emplace_back(name, inputs.all().back().second);
  }
  const ssl::Loss result = ssl::run_objective(objective, inputs, params_of(file, case_name));
  std::vector<std::pair<std::string, Tensor>> outputs;
  if (result.loss.defined()) outputs.emplace_back("loss", result.loss.value());
  for (const auto& [name, value] : result.terms) outputs.emplace_back(name, value.value());
  if (result.loss.requires_grad()) backward(result.loss);
  for (const auto& [name, leaf] : leaves)
    outputs.emplace_back("grad." + name,
                         leaf.grad().defined() ? leaf.grad() : Tensor::zeros(leaf.dims(), leaf.dtype()));
  return outputs;
}

GoldenReport run_golden(const SafeTensors& file, const ssl::Objective& objective, DType dtype) {
  GoldenReport report;
  for (const std::string& case_name : golden_cases(file)) {
    const size_t before = report.failures.size();
    ++report.cases;
    try {
      const auto outputs = golden_outputs(file, case_name, objective, dtype);
      const auto expected = under(file, case_name + "/out/");
      JX_CHECK(!expected.empty(), "the file has no outputs for it");
      for (const auto& [name, reference] : expected) {
        const Tensor* got = nullptr;
        for (const auto& [key, value] : outputs)
          if (key == name) got = &value;
        GoldenFailure f{objective.name, case_name, name, 0, 0, {}};
        f.tolerance =
            tolerance_of(objective.name, name, reference, dtype, saturated(params_of(file, case_name)));
        if (!got) f.what = "not computed";
        if (got) f.error = max_abs_diff(*got, reference);
        if (got && f.tolerance > 0) report.worst = std::max(report.worst, f.error / f.tolerance);
        if (!got || !(f.error <= f.tolerance)) report.failures.push_back(f);
      }
    } catch (const Error& e) {
      report.failures.push_back({objective.name, case_name, "", 0, 0, e.what()});
    }
    if (report.failures.size() == before) ++report.passed;
  }
  return report;
}

}  // namespace juxta::test

// juxta loss: one objective on tensors of a file: value, terms, gradients, and what happens to each sample.
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <memory>
#include <nlohmann/json.hpp>

#include "autograd/ops.h"
#include "ssl/objectives/registry.h"
#include "ssl/objectives/verify.h"
#include "tools/commands.h"

namespace juxta::tools {

namespace {

using Json = nlohmann::ordered_json;

struct Options {
  std::string name, input, out, dtype = "f64";
  std::vector<std::string> set;
  bool json = false;
  int64_t rows = 10;
};

ssl::ParamTexts parse_set(const std::vector<std::string>& set) {
  ssl::ParamTexts params;
  for (const std::string& text : set) {
    const size_t at = text.find('=');
    JX_CHECK(at != std::string::npos && at > 0, "loss: --set: expected name=value, got '", text, "'");
    params.emplace_back(text.substr(0, at), text.substr(at + 1));
  }
  return params;
}

double value_at(const Tensor& t, int64_t i) { return t.to(DType::f64).contiguous().data<double>()[i]; }

// A parameter's value as text: given, or its default; empty when there is no such parameter.
std::string param_text(const ssl::Objective& row, const ssl::ParamTexts& given, const std::string& name) {
  for (const auto& [key, value] : given)
    if (key == name) return value;
  ssl::Params listing(row.name);
  row.list(listing);
  for (const ssl::ParamInfo& p : listing.infos())
    if (p.name == name) return p.value;
  return {};
}

// One temperature for all, one per row, or nothing (NaN): the parameter, 1/scale, or the input that holds it.
struct Temperatures {
  Tensor each;  // [N] or one
  double of(int64_t row) const {
    if (!each.defined() || (each.numel() != 1 && row >= each.numel())) return std::nan("");
    return value_at(each, each.numel() == 1 ? 0 : row);
  }
};

Temperatures temperatures(const ssl::Objective& row, const ssl::Inputs& in, const ssl::ParamTexts& given) {
  for (const char* name : {"tau", "temperature"})
    if (in.has(name)) return {in.tensor(name)};
  if (in.has("logit_scale")) return {exp(neg(stop_gradient(in["logit_scale"]))).value()};
  for (const char* name : {"temperature", "tau", "scale"}) {
    const std::string text = param_text(row, given, name);
    char* end = nullptr;
    const double value = std::strtod(text.c_str(), &end);
    if (text.empty() || *end != '\0') continue;
    return {Tensor::scalar(name == std::string("scale") ? 1.0 / value : value, DType::f64)};
  }
  return {};
}

bool normalizes(const ssl::Objective& row, const ssl::ParamTexts& given) {
  return param_text(row, given, "normalize") != "false";
}

struct Sample {
  double loss, gradient, positive, hardest, temperature;
  int64_t hardest_row, rank;
};

double row_norm(const Tensor& x, int64_t row) {
  double sum = 0;
  for (int64_t c = 0; c < x.size(1); ++c)
    sum += x.data<double>()[row * x.size(1) + c] * x.data<double>()[row * x.size(1) + c];
  return std::sqrt(sum);
}

// Row i of the first [N, D] input against all rows of the second: its positive is row i.
std::vector<Sample> samples_of(const ssl::Objective& row, const ssl::CaseInputs& c,
                               const ssl::Outcome& result, const ssl::ParamTexts& params) {
  std::vector<std::pair<std::string, Var>> pair;
  for (const auto& [name, value] : c.inputs.all())
    if (is_float(value.dtype()) && value.ndim() == 2 &&
        (pair.empty() || pair[0].second.dims() == value.dims()))
      pair.emplace_back(name, value);
  if (pair.size() < 2) return {};
  const Tensor a = pair[0].second.value().to(DType::f64).contiguous(),
               b = pair[1].second.value().to(DType::f64).contiguous();
  const Tensor cosines =
      matmul(l2_normalize(Var(a)), Var(l2_normalize(Var(b)).value().transpose(0, 1))).value().contiguous();
  const Tensor grad =
      pair[0].second.grad().defined() ? pair[0].second.grad().to(DType::f64).contiguous() : Tensor();
  const Temperatures temperature = temperatures(row, c.inputs, params);
  const bool unit = normalizes(row, params);
  const int64_t n = a.size(0);
  double mean_length = 0;
  for (int64_t j = 0; j < n; ++j) mean_length += row_norm(b, j) / static_cast<double>(n);
  std::vector<Sample> samples;
  for (int64_t i = 0; i < n; ++i) {
    const double* s = cosines.data<double>() + i * n;
    Sample x{std::nan(""),
             grad.defined() ? row_norm(grad, i) : std::nan(""),
             s[i],
             std::nan(""),
             std::nan(""),
             -1,
             1};
    if (result.samples.defined() && i < result.samples.value().numel())
      x.loss = value_at(result.samples.value(), i);
    for (int64_t j = 0; j < n; ++j) {
      if (j == i) continue;
      if (s[j] > s[i]) ++x.rank;
      if (x.hardest_row < 0 || s[j] > x.hardest) x.hardest = s[j], x.hardest_row = j;
    }
    x.temperature = unit ? temperature.of(i) : temperature.of(i) / (row_norm(a, i) * mean_length);
    samples.push_back(x);
  }
  return samples;
}

Json number(double x) { return std::isfinite(x) ? Json(x) : Json(nullptr); }

Json tensor_json(const Tensor& t) {
  if (t.numel() == 1) return number(value_at(t, 0));
  Json values = Json::array();
  const Tensor all = t.to(DType::f64).contiguous();
  for (int64_t i = 0; i < t.numel(); ++i) values.push_back(number(all.data<double>()[i]));
  return values;
}

void print_json(const ssl::Outcome& r, const ssl::CaseInputs& c, const std::vector<Sample>& samples) {
  // rows of a state have one loss per step
  Json j{{"loss", r.loss.defined() ? tensor_json(r.loss.value()) : Json(nullptr)},
         {"terms", Json::object()},
         {"gradient_norms", Json::object()},
         {"samples", Json::array()}};
  for (const auto& [name, value] : r.terms) j["terms"][name] = tensor_json(value.value());
  for (const auto& [name, leaf] : c.leaves)
    if (leaf.grad().defined())
      j["gradient_norms"][name] = number(norm(Var(leaf.grad().to(DType::f64))).item());
  for (const Sample& s : samples)
    j["samples"].push_back({{"loss", number(s.loss)},
                            {"gradient_norm", number(s.gradient)},
                            {"positive", number(s.positive)},
                            {"rank_of_positive", s.rank},
                            {"hardest_negative", number(s.hardest)},
                            {"hardest_negative_row", s.hardest_row},
                            {"effective_temperature", number(s.temperature)}});
  std::printf("%s\n", j.dump().c_str());
}

void print_term(const std::string& name, const Tensor& value) {
  if (value.numel() == 1)
    std::printf("  %-20s %.9g\n", name.c_str(), value_at(value, 0));
  else
    std::printf("  %-20s %s\n", name.c_str(), to_text(value.dims()).c_str());
}

void print_text(const Options& o, const ssl::Outcome& r, const ssl::CaseInputs& c,
                const std::vector<Sample>& samples) {
  if (r.loss.defined() && r.loss.numel() == 1) std::printf("%s = %.9g\n", o.name.c_str(), r.loss.item());
  if (r.loss.defined() && r.loss.numel() != 1) print_term("loss", r.loss.value());
  for (const auto& [name, value] : r.terms) print_term(name, value.value());
  for (const auto& [name, leaf] : c.leaves)
    if (leaf.grad().defined())
      std::printf("  |grad %s|%*s %.6g\n", name.c_str(), std::max(1, 13 - static_cast<int>(name.size())), "",
                  norm(Var(leaf.grad().to(DType::f64))).item());
  if (samples.empty()) return;
  std::printf("\n  row       loss      |grad|  positive  rank  hardest negative    effective temperature\n");
  for (size_t i = 0; i < samples.size() && static_cast<int64_t>(i) < o.rows; ++i) {
    const Sample& s = samples[i];
    std::printf("  %4zu %10.4g  %10.4g  %8.4f  %4lld  %8.4f (row %lld)  %10.4g\n", i, s.loss, s.gradient,
                s.positive, static_cast<long long>(s.rank), s.hardest, static_cast<long long>(s.hardest_row),
                s.temperature);
  }
  if (static_cast<int64_t>(samples.size()) > o.rows)
    std::printf("  (%lld more rows: --rows)\n",
                static_cast<long long>(samples.size()) - static_cast<long long>(o.rows));
}

// Loss, terms and the gradients of all inputs (zero where the loss does not depend on one), image maps as in
// the input.
void write_outputs(const std::string& path, const ssl::Objective& row, const ssl::CaseInputs& c,
                   const ssl::Outcome& result) {
  SafeTensors out;
  const auto put = [&](const std::string& name, const Tensor& value) {
    out.tensors.emplace_back(name, ssl::is_image_output(row, name) ? ssl::channels_first(value) : value);
  };
  if (result.loss.defined()) put("loss", result.loss.value());
  for (const auto& [name, value] : result.terms) put(name, value.value());
  if (result.loss.defined() && result.loss.requires_grad())
    for (const auto& [name, leaf] : c.leaves)
      put("grad." + name, leaf.grad().defined() ? leaf.grad() : Tensor::zeros(leaf.dims(), leaf.dtype()));
  save_safetensors(path, out);
}

int run_loss(const Options& o) {
  const ssl::Objective& row = ssl::objective(o.name);
  JX_CHECK(o.dtype == "f32" || o.dtype == "f64", "loss: --dtype: expected f32 or f64, got '", o.dtype, "'");
  const SafeTensors file = load_safetensors(o.input);
  const ssl::ParamTexts params = parse_set(o.set);
  const ssl::CaseInputs c =
      ssl::case_inputs(file, "", row, o.dtype == "f32" ? DType::f32 : DType::f64,
                       [](const SafeTensors&, const std::string&, const std::string&) { return true; });
  const ssl::Outcome result = ssl::run_objective(row, c.inputs, params);
  if (result.loss.defined() && result.loss.requires_grad()) backward(result.loss);
  const std::vector<Sample> samples = samples_of(row, c, result, params);
  if (!o.out.empty()) write_outputs(o.out, row, c, result);
  if (o.json)
    print_json(result, c, samples);
  else
    print_text(o, result, c, samples);
  return kOk;
}

}  // namespace

Command add_loss(CLI::App& app) {
  Subcommand c(app, "loss", "one objective on tensors of a file: value, terms, gradients, samples");
  auto o = std::make_shared<Options>();
  c.text("NAME", o->name, "objective (juxta objectives lists them)", Need::required);
  c.text("--input", o->input, "safetensors with the inputs under their names; image maps [.., C, H, W]",
         Need::required);
  c.texts("--set", o->set, "parameter: name=value (repeatable)");
  c.text("-o", o->out, "write loss, terms and grad.NAME to this safetensors file");
  c.text("--dtype", o->dtype, "f32 or f64 (default f64)");
  c.rows(o->rows, "samples to print (default 10)");
  c.flag("--json", o->json, "print one JSON object");
  c.footer(
      "Samples: row i of the first [N, D] input against all rows of the second, by cosine. rank: 1 + rows "
      "closer than "
      "the own one. effective temperature: what divides the cosines: the temperature, over the lengths of "
      "the vectors "
      "where the loss does not normalise.");
  return [o] { return run_loss(*o); };
}

}  // namespace juxta::tools

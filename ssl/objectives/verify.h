#pragma once
// Golden cases: files of inputs and float64 results per objective, run through the shipped functions.
//
// A file is OBJECTIVE.safetensors. Tensors are named CASE/in/NAME and CASE/out/NAME, a gradient is
// CASE/out/grad.NAME; the header's metadata maps each CASE to the JSON of its parameters. Inputs are f32 or
// i64, results f64 or i64. Only inputs with a gradient among the results receive one. Image maps are [.., C,
// H, W] there.
//
// Tolerance of an output: in f64 |error| <= 1e-8 max|reference| + 1e-12 (1e-6 for opta and linear_probe,
// whose iterations stop on a threshold). In f32 a scalar loss within 1e-5 max(1, |loss|), any other floating
// tensor within 2e-4 max|reference| + 2e-6, or 2e-3 in place of 2e-4 where a temperature is at most 0.005
// (the softmax is saturated and its gradient nearly cancels). Integers are equal.
#include <string>
#include <utility>
#include <vector>

#include "ssl/objectives/objective.h"
#include "tensor/safetensors.h"

namespace juxta::ssl {

struct VerifyFailure {
  std::string objective, case_name, output;
  double error = 0, tolerance = 0;
  std::string what;  // an exception, a missing output; empty when a number is off
};
std::string to_text(const VerifyFailure& f);

struct VerifyReport {
  int cases = 0, passed = 0;
  double worst = 0;  // largest error divided by its tolerance
  std::vector<VerifyFailure> failures;
};

// Named inputs of one case of a file, or of a file of plain NAMEs (case_name empty): floats in `dtype`, image
// maps as
// [.., H, W, C]. Those for which `wants_grad` is true are leaves.
struct CaseInputs {
  Inputs inputs;
  std::vector<std::pair<std::string, Var>> leaves;
};
CaseInputs case_inputs(const SafeTensors& file, const std::string& case_name, const Objective& objective,
                       DType dtype,
                       bool (*wants_grad)(const SafeTensors&, const std::string& case_name,
                                          const std::string& name));

// Names of the cases, as in the metadata.
std::vector<std::string> golden_cases(const SafeTensors& file);
// What the shipped function computes for one case, under the names in files ("loss", "grad.z1").
std::vector<std::pair<std::string, Tensor>> golden_outputs(const SafeTensors& file,
                                                           const std::string& case_name,
                                                           const Objective& objective, DType dtype);
// Runs and compares every case; `computed`, when given, receives the outputs as CASE/out/NAME.
VerifyReport verify(const SafeTensors& file, const Objective& objective, DType dtype,
                    SafeTensors* computed = nullptr);
// Is a parameter named temperature, *_temperature, temp_*, tau or tau_* (not tau_plus) at most 0.005?
bool saturated(const ParamTexts& params);
// Is the output, or the input of a "grad.NAME", an image map?
bool is_image_output(const Objective& objective, const std::string& name);
// [.., H, W, C] of a file's [.., C, H, W], and back. Errors below three axes.
Tensor channels_last(const Tensor& x);
Tensor channels_first(const Tensor& x);

}  // namespace juxta::ssl

#pragma once
// Properties of losses by table: one row per loss and setting, one table per family (properties_FAMILY.cpp).
// tests/losses_test.cpp tries every row. Exact values are the business of golden_test.cpp.
#include <string>
#include <utility>
#include <vector>

#include "ssl/objectives/objective.h"

namespace juxta::test {

// What holds for one loss with one setting. Inputs are random, of the shapes in its registry row: equal
// letters are equal sizes, N varies, the others are in `sizes` or small defaults (tests/losses_test.cpp); i64
// inputs are labels in [0, 4) unless `integers` says otherwise; the rows of `unit` inputs have length 1.
struct Property {
  const char* loss;
  ssl::ParamTexts params{};
  std::vector<const char*> batch{};  // permuting axis N of these together changes nothing
  std::vector<std::pair<const char*, const char*>> swaps{};  // exchanging all these pairs changes nothing
  std::vector<const char*> scale_free{};  // scaling vectors along the last axis changes nothing
  std::vector<const char*> constants{};   // never receive a gradient
  std::vector<const char*> absent{};      // optional inputs that this setting does without
  std::vector<const char*> unit{"queue"};
  std::vector<const char*> positive{};                   // inputs with values between 0.1 and 1
  std::vector<std::pair<const char*, int64_t>> sizes{};  // of letters: {"K", 5}
  std::vector<std::pair<const char*, int64_t>>
      integers{};  // i64 input: values in [0, n); -n: 0, 1, .. along the last axis
  std::vector<const char*> temperatures{"temperature"};  // parameters tried from 0.002 to 10; {} for none
  double (*equal_rows)(double n, double k) = nullptr;    // the loss when all vectors of every input are equal
  bool finite_differences =
      true;              // false: the gradient is not the derivative (stop-gradients inside); say why
  int64_t smallest = 1;  // N below it is an error or undefined
  const ssl::Objective* row = nullptr;  // of a loss that the registry does not list
};

std::vector<Property> batch_contrastive_properties();
std::vector<Property> in_batch_properties();
std::vector<Property> multiview_properties();
std::vector<Property> pairs_properties();
std::vector<Property> metric_losses_properties();
std::vector<Property> scores_properties();
std::vector<Property> attention_rules_properties();
std::vector<Property> clusters_properties();
std::vector<Property> continual_properties();
std::vector<Property> decoding_properties();
std::vector<Property> dense_properties();
std::vector<Property> distillation_properties();
std::vector<Property> graphs_properties();
std::vector<Property> masks_properties();
std::vector<Property> policy_properties();
std::vector<Property> sentences_properties();
std::vector<Property> signals_properties();
std::vector<Property> temperatures_properties();
std::vector<Property> video_properties();
std::vector<Property> vision_language_properties();
std::vector<Property> without_negatives_properties();
std::vector<Property> your_loss_properties();

}  // namespace juxta::test

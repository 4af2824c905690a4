#include "ssl/objectives/registry.h"

#include <algorithm>
#include <cctype>

#include "ssl/objectives/rows.h"
#include "tensor/file.h"

namespace juxta::ssl {

namespace {

constexpr std::span<const Objective> (*kFamilies[])() = {
    batch_contrastive_rows,
    in_batch_rows,
    multiview_rows,
    metric_losses_rows,
    multi_stage_rows,
    pairs_rows,
    scores_rows,
    without_negatives_rows,
    metrics_rows,
    momentum_rows,
    optim_rows,
    ranking_rows,
    text_metrics_rows,
    attention_rules_rows,
    clusters_rows,
    continual_rows,
    decoding_rows,
    dense_rows,
    distillation_rows,
    graphs_rows,
    masks_rows,
    policy_rows,
    sentences_rows,
    signals_rows,
    temperatures_rows,
    video_rows,
    vision_language_rows,
};

// Does the name of a row, where '#' stands for digits, match?
bool matches(const char* pattern, const char* name) {
  for (; *pattern; ++pattern) {
    if (*pattern != '#') {
      if (*pattern != *name++) return false;
      continue;
    }
    if (!std::isdigit(static_cast<unsigned char>(*name))) return false;
    while (std::isdigit(static_cast<unsigned char>(*name))) ++name;
  }
  return *name == '\0';
}

}  // namespace

std::span<const Objective* const> objectives() {
  static const std::vector<const Objective*> all = [] {
    std::vector<const Objective*> rows;
    for (const auto family : kFamilies)
      for (const Objective& row : family()) rows.push_back(&row);
    return rows;
  }();
  return all;
}

const Objective* find_objective(const std::string& name) {
  for (const Objective* row : objectives())
    if (name == row->name) return row;
  return nullptr;
}

const Objective& objective(const std::string& name) {
  if (const Objective* row = find_objective(name)) return *row;
  std::vector<std::string> names;
  for (const Objective* row : objectives()) names.emplace_back(row->name);
  const std::string near = nearest_name(name, names);
  JX_FAIL("objectives: no objective named ", name,
          near.empty() ? "; juxta objectives lists them" : "; did you mean " + near + "?");
}

const char* to_text(Kind kind) {
  constexpr const char* kNames[] = {"loss", "layer", "state", "rule", "metric"};
  return kNames[static_cast<int>(kind)];
}

const Var* Inputs::find(const std::string& name) const {
  for (const auto& [key, value] : values_)
    if (key == name) return &value;
  return nullptr;
}

const Var& Inputs::operator[](const std::string& name) const {
  if (const Var* found = find(name)) return *found;
  JX_FAIL(objective_, ": ", name, ": this input is missing");
}

Var Inputs::optional(const std::string& name) const {
  const Var* found = find(name);
  return found ? *found : Var();
}

Tensor Inputs::optional_tensor(const std::string& name) const {
  const Var* found = find(name);
  return found ? found->value() : Tensor();
}

std::vector<Var> Inputs::numbered(const std::string& prefix) const {
  std::vector<Var> found;
  while (const Var* next = find(prefix + std::to_string(found.size()))) found.push_back(*next);
  return found;
}

std::vector<Tensor> Inputs::numbered_tensors(const std::string& prefix) const {
  std::vector<Tensor> found;
  for (const Var& v : numbered(prefix)) found.push_back(v.value());
  return found;
}

const InputRow* find_input(const Objective& row, const std::string& name) {
  for (const InputRow& input : row.inputs)
    if (matches(input.name, name.c_str())) return &input;
  return nullptr;
}

void check_inputs(const Objective& row, const Inputs& inputs) {
  std::vector<std::string> names;
  for (const InputRow& i : row.inputs) names.emplace_back(i.name);
  for (const auto& [key, value] : inputs.all()) {
    if (find_input(row, key)) continue;
    const std::string near = nearest_name(key, names);
    JX_FAIL(row.name, ": ", key, ": no such input", near.empty() ? "" : "; did you mean " + near + "?");
  }
}

Outcome run_objective(const Objective& row, const Inputs& inputs, const ParamTexts& params) {
  check_inputs(row, inputs);
  Params given(row.name, params);
  return row.run(inputs, given);
}

}  // namespace juxta::ssl

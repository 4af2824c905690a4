#include "ssl/losses/registry.h"

#include <algorithm>
#include <array>

#include "ssl/losses/batch_contrastive.h"
#include "ssl/losses/without_negatives.h"
#include "tensor/file.h"

namespace juxta::ssl {

namespace {

// A row: how named inputs and parameters become a call, then what people read about it.

// ---- batch-contrastive

Loss run_nt_xent(const Inputs& in, Params& f) { return nt_xent(in["z1"], in["z2"], f.read<NtXentParams>()); }
constexpr InputRow kNtXentInputs[] = {{"z1", "[N, D]"}, {"z2", "[N, D]"}};
constexpr Objective kNtXent{
    "nt_xent",
    "SimCLR",
    "Chen et al. 2020, arXiv 2002.05709",
    "z = [z1; z2], S = z z^T / temperature, S_aa = -inf, L = mean_a CE(S_a, (a + N) mod 2N)",
    kNtXentInputs,
    Across::negatives,
    list_params<NtXentParams>,
    run_nt_xent};

Loss run_info_nce(const Inputs& in, Params& f) {
  return info_nce(in["query"], in["key"], in.optional("queue"), f.read<InfoNceParams>());
}
constexpr InputRow kInfoNceInputs[] = {{"query", "[N, D]"}, {"key", "[N, D]"}, {"queue", "[K, D]", true}};
constexpr Objective kInfoNce{"info_nce",
                             "MoCo",
                             "He et al. 2020, arXiv 1911.05722",
                             "L = mean_i CE([q_i . k_i ; q_i Q^T] / temperature, 0); in_batch: CE(q_i K^T / "
                             "temperature, i); both: batch columns, then queue columns",
                             kInfoNceInputs,
                             Across::negatives,
                             list_params<InfoNceParams>,
                             run_info_nce};

// ---- without negatives

Loss run_negative_cosine(const Inputs& in, Params& f) {
  return negative_cosine(in["p1"], in["p2"], in["z1"], in["z2"], f.read<NegativeCosineParams>());
}
constexpr InputRow kNegativeCosineInputs[] = {
    {"p1", "[N, D]"}, {"p2", "[N, D]"}, {"z1", "[N, D]"}, {"z2", "[N, D]"}};
constexpr Objective kNegativeCosine{"negative_cosine",
                                    "SimSiam, BYOL",
                                    "Chen & He 2021, arXiv 2011.10566; Grill et al. 2020, arXiv 2006.07733",
                                    "simsiam: L = -1/2 (mean cos(p1, sg z2) + mean cos(p2, sg z1)); byol: "
                                    "(2 - 2 mean cos(p1, z2)) + (2 - 2 mean cos(p2, z1))",
                                    kNegativeCosineInputs,
                                    Across::local,
                                    list_params<NegativeCosineParams>,
                                    run_negative_cosine};

constexpr std::array kLosses{&kNtXent, &kInfoNce, &kNegativeCosine};

}  // namespace

std::span<const Objective* const> loss_objectives() { return kLosses; }

const Objective* find_loss(const std::string& name) {
  for (const Objective* row : kLosses)
    if (name == row->name) return row;
  return nullptr;
}

const Objective& loss_objective(const std::string& name) {
  if (const Objective* row = find_loss(name)) return *row;
  std::vector<std::string> names;
  for (const Objective* row : kLosses) names.emplace_back(row->name);
  const std::string near = nearest_name(name, names);
  JX_FAIL("losses: no loss named ", name, near.empty() ? "" : "; did you mean " + near + "?");
}

const Var& Inputs::operator[](const std::string& name) const {
  for (const auto& [key, value] : values_)
    if (key == name) return value;
  JX_FAIL(objective_, ": ", name, ": this input is missing");
}

Var Inputs::optional(const std::string& name) const {
  for (const auto& [key, value] : values_)
    if (key == name) return value;
  return {};
}

void check_inputs(const Objective& row, const Inputs& inputs) {
  std::vector<std::string> names;
  for (const InputRow& i : row.inputs) names.emplace_back(i.name);
  for (const auto& [key, value] : inputs.all()) {
    if (std::find(names.begin(), names.end(), key) != names.end()) continue;
    const std::string near = nearest_name(key, names);
    JX_FAIL(row.name, ": ", key, ": no such input", near.empty() ? "" : "; did you mean " + near + "?");
  }
}

Loss run_objective(const Objective& row, const Inputs& inputs, const ParamTexts& params) {
  check_inputs(row, inputs);
  Params given(row.name, params);
  return row.run(inputs, given);
}

}  // namespace juxta::ssl

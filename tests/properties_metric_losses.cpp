#include <cmath>

#include "tests/loss_properties.h"

namespace juxta::test {

std::vector<Property> metric_losses_properties() {
  std::vector<Property> rows;
  rows.push_back({.loss = "multi_similarity",
                  .batch = {"embeddings", "labels"},
                  .scale_free = {"embeddings"},
                  .temperatures = {}});
  rows.push_back({.loss = "cosent",
                  .batch = {"z1", "z2", "gold"},
                  .swaps = {{"z1", "z2"}},
                  .scale_free = {"z1", "z2"},
                  .constants = {"gold"},
                  .temperatures = {}});
  using Names = std::vector<const char*>;
  const Names labelled{"embeddings", "labels"}, x{"embeddings"};
  for (const char* mining : {"semihard", "all", "hard", "easy", "batch_hard"})
    for (const char* distance : {"l2", "sq_l2", "cosine"})
      rows.push_back({.loss = "triplet_margin",
                      .params = {{"mining", mining}, {"distance", distance}, {"margin", "0.5"}},
                      .batch = labelled,
                      .scale_free = x,
                      .absent = {"triplets"},
                      .temperatures = {}});
  rows.push_back({.loss = "triplet_margin",
                  .params = {{"mining", "all"}, {"swap", "true"}, {"soft", "true"}, {"normalize", "false"}},
                  .batch = labelled,
                  .absent = {"triplets"},
                  .temperatures = {}});
  // triplets name rows: a permutation would have to renumber them
  rows.push_back({.loss = "triplet_margin",
                  .params = {{"mining", "given"}, {"reduction", "mean"}},
                  .scale_free = x,
                  .sizes = {{"T", 4}},
                  .integers = {{"triplets", 3}},
                  .temperatures = {},
                  .smallest = 3});
  for (const char* squared : {"false", "true"})
    rows.push_back({.loss = "contrastive_margin",
                    .params = {{"squared", squared}, {"neg_margin", "1.3"}},
                    .batch = labelled,
                    .scale_free = x,
                    .temperatures = {}});
  rows.push_back({.loss = "sirl_triplet", .integers = {{"queries", 3}}, .temperatures = {}, .smallest = 3});
  rows.push_back({.loss = "preference_bt",
                  .constants = {"label"},
                  .positive = {"label"},
                  .sizes = {{"T", 4}, {"Q", 5}},
                  .integers = {{"pairs", 2}},
                  .temperatures = {},
                  .smallest = 2});
  rows.push_back({.loss = "rnc",
                  .batch = {"features", "labels"},
                  .constants = {"labels"},
                  .equal_rows = [](double n, double) { return std::log(2 * n - 1); }});
  // lam has two rows and columns per sample: a permutation would have to move them as well
  for (const char* weighting : {"l1", "l2", "none"})
    rows.push_back({.loss = "supremix",
                    .params = {{"weighting", weighting}},
                    .scale_free = {"features"},
                    .constants = {"labels", "lam"},
                    .sizes = {{"V", 2}},
                    // The mixtures are constants of the loss: its gradient is no derivative of its value.
                    .finite_differences = false});
  return rows;
}

}  // namespace juxta::test

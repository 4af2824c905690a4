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
  return rows;
}

}  // namespace juxta::test

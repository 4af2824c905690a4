#include "tests/loss_properties.h"

namespace juxta::test {

std::vector<Property> without_negatives_properties() {
  std::vector<Property> rows;
  for (const char* form : {"simsiam", "byol"})
    rows.push_back({.loss = "negative_cosine",
                    .params = {{"form", form}},
                    .batch = {"p1", "p2", "z1", "z2"},
                    .swaps = {{"p1", "p2"}, {"z1", "z2"}},
                    .scale_free = {"p1", "p2", "z1", "z2"},
                    .constants = {"z1", "z2"},
                    .temperatures = {},
                    .equal_rows = form[0] == 's' ? [](double, double) { return -1.0; }
                                                 : [](double, double) { return 0.0; }});
  return rows;
}

}  // namespace juxta::test

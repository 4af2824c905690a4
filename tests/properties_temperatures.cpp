#include <cmath>

#include "tests/loss_properties.h"

namespace juxta::test {

std::vector<Property> temperatures_properties() {
  const std::vector<const char*> views{"z1", "z2"};
  const std::vector<std::pair<const char*, const char*>> exchange{{"z1", "z2"}};
  std::vector<Property> rows;
  rows.push_back({.loss = "temperature_free_nce",
                  .batch = views,
                  .swaps = exchange,
                  .scale_free = views,
                  .temperatures = {},
                  .equal_rows = [](double n, double) { return std::log(2 * n - 1); }});
  rows.push_back({.loss = "temperature_free_nce",
                  .params = {{"form", "in_batch"}},
                  .batch = views,
                  .scale_free = views,
                  .temperatures = {},
                  .equal_rows = [](double n, double) { return std::log(n); }});
  rows.push_back({.loss = "rgcl",
                  .batch = {"z1", "z2", "tau"},
                  .swaps = exchange,
                  .scale_free = views,
                  .absent = {"tau2"},
                  .positive = {"tau"},
                  .temperatures = {},
                  .smallest = 2});
  rows.push_back({.loss = "rgcl",
                  .params = {{"bimodal", "true"}, {"rho", "6"}},
                  .batch = {"z1", "z2", "tau", "tau2"},
                  .swaps = {{"z1", "z2"}, {"tau", "tau2"}},
                  .scale_free = views,
                  .positive = {"tau", "tau2"},
                  .temperatures = {},
                  .smallest = 2});
  return rows;
}

}  // namespace juxta::test

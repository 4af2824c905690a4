#include <cmath>

#include "tests/loss_properties.h"

namespace juxta::test {

std::vector<Property> batch_contrastive_properties() {
  std::vector<Property> rows;
  rows.push_back({.loss = "nt_xent",
                  .batch = {"z1", "z2"},
                  .swaps = {{"z1", "z2"}},
                  .scale_free = {"z1", "z2"},
                  .equal_rows = [](double n, double) { return std::log(2 * n - 1); }});
  for (const char* symmetric : {"false", "true"}) {
    const bool both_ways = symmetric[0] == 't';
    const std::vector<std::pair<const char*, const char*>> swap{{"query", "key"}};
    const auto swaps = both_ways ? swap : decltype(swap){};
    rows.push_back({.loss = "info_nce",
                    .params = {{"negatives", "queue"}, {"symmetric", symmetric}},
                    .batch = {"query", "key"},
                    .swaps = swaps,
                    .scale_free = {"query", "key"},
                    .constants = {"key", "queue"},
                    .equal_rows = [](double, double k) { return std::log(1 + k); }});
    rows.push_back({.loss = "info_nce",
                    .params = {{"negatives", "both"}, {"symmetric", symmetric}},
                    .batch = {"query", "key"},
                    .swaps = swaps,
                    .scale_free = {"query", "key"},
                    .constants = {"key", "queue"},
                    .equal_rows = [](double n, double k) { return std::log(n + k); }});
    rows.push_back({.loss = "info_nce",
                    .params = {{"negatives", "in_batch"}, {"symmetric", symmetric}},
                    .batch = {"query", "key"},
                    .swaps = swaps,
                    .scale_free = {"query", "key"},
                    .absent = {"queue"},
                    .equal_rows = [](double n, double) { return std::log(n); }});
  }
  return rows;
}

}  // namespace juxta::test

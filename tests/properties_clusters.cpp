#include <cmath>

#include "tests/loss_properties.h"

namespace juxta::test {

std::vector<Property> clusters_properties() {
  using Names = std::vector<const char*>;
  std::vector<Property> rows;
  const auto log_k = [](double, double k) { return std::log(k); };
  const auto log_n = [](double n, double) { return std::log(n); };
  // Codes are constants that depend on the inputs: the gradient is not the derivative.
  for (const Names& absent : {Names{"queue"}, Names{}})
    for (const char* assigning : {"2", "1"}) {
      if (absent.empty() && assigning[0] == '1') continue;  // the queue has two views
      rows.push_back({.loss = "swav",
                      .params = {{"n_assign", assigning}},
                      .batch = {"z"},
                      .scale_free = {"z"},
                      .constants = {"queue"},
                      .absent = absent,
                      .unit = {"queue", "prototypes"},
                      .sizes = {{"A", 2}, {"L", 8}},
                      .temperatures = {"temperature", "epsilon"},
                      .equal_rows = log_k,
                      .finite_differences = false});
    }
  const Names of_views{"h_image", "h_text"}, scores{"p_image", "p_text", "p_image_m", "p_text_m"};
  rows.push_back({.loss = "swalip",
                  .batch = of_views,
                  .swaps = {{"h_image", "h_text"}},
                  .scale_free = of_views,
                  .absent = {"p_image", "p_text", "p_image_m", "p_text_m", "logit_scale"},
                  .temperatures = {"epsilon"},
                  .equal_rows = log_n,
                  .finite_differences = false});
  rows.push_back({.loss = "swalip",
                  .params = {{"kind", "prototypes"}},
                  .batch = {"p_image", "p_text"},
                  .swaps = {{"p_image", "p_text"}},
                  .absent = {"h_image", "h_text", "h_logit_scale", "p_image_m", "p_text_m"},
                  .temperatures = {},
                  .finite_differences = false});
  rows.push_back({.loss = "swalip",
                  .params = {{"kind", "prototypes"}},
                  .batch = scores,
                  .swaps = {{"p_image", "p_text"}, {"p_image_m", "p_text_m"}},
                  .constants = {"p_image_m", "p_text_m"},
                  .absent = {"h_image", "h_text", "h_logit_scale"},
                  .temperatures = {}});
  rows.push_back({.loss = "deepcluster_v2",
                  .batch = {"z", "assign"},
                  .scale_free = {"z"},
                  .constants = {"prototypes0"},
                  .unit = {"prototypes#"},
                  .sizes = {{"P", 1}},
                  .integers = {{"assign", 5}},
                  .equal_rows = log_k});
  for (const char* negatives : {"sampled", "all"})
    rows.push_back({.loss = "proto_nce",
                    .params = {{"negatives", negatives}},
                    .batch = {"query", "key", "index"},
                    .scale_free = {"query", "key"},
                    .constants = {"key", "queue", "centroid0", "density0"},
                    .unit = {"queue", "centroid#"},
                    .positive = {"density#"},
                    .sizes = {{"T", 4}, {"R", 3}}});
  return rows;
}

}  // namespace juxta::test

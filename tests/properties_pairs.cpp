#include <cmath>

#include "tests/loss_properties.h"

namespace juxta::test {

std::vector<Property> pairs_properties() {
  std::vector<Property> rows;
  for (const char* mode : {"\"all\"", "\"one\""}) {
    // labels in order: every sample its own class, so that a closed form exists
    const bool all = mode[1] == 'a';
    rows.push_back({.loss = "supcon",
                    .params = {{"contrast_mode", mode}},
                    .batch = {"features", "labels"},
                    .scale_free = {"features"},
                    .equal_rows = [](double n, double) { return std::log(3 * n - 1); }});
    for (const char* variant : {"\"out\"", "\"in\""})
      rows.push_back(
          {.loss = "supcon_mask",
           .params = {{"contrast_mode", mode}, {"variant", variant}},
           .batch = {"features", "labels"},
           .scale_free = {"features"},
           .absent = {"mask"},
           .temperatures = all ? std::vector<const char*>{"temperature"} : std::vector<const char*>{}});
  }
  rows.push_back({.loss = "supcon_mask",
                  .batch = {"features", "mask"},
                  .scale_free = {"features"},
                  .absent = {"labels"},
                  .integers = {{"mask", 2}}});
  rows.push_back({.loss = "siglip",
                  .batch = {"image", "text"},
                  .swaps = {{"image", "text"}},
                  .scale_free = {"image", "text"},
                  .temperatures = {}});
  rows.push_back({.loss = "siglip",
                  .params = {{"chunk", "2"}},
                  .swaps = {{"image", "text"}},
                  .scale_free = {"image", "text"},
                  .temperatures = {}});
  rows.push_back({.loss = "align_uniform",
                  .batch = {"z1", "z2"},
                  .swaps = {{"z1", "z2"}},
                  .scale_free = {"z1", "z2"},
                  .temperatures = {},
                  .equal_rows = [](double, double) { return 0.0; },
                  .smallest = 2});
  rows.push_back({.loss = "align_uniform",
                  .params = {{"normalize", "false"}, {"alpha", "3"}, {"t", "0.5"}, {"uniform_weight", "0.7"}},
                  .batch = {"z1", "z2"},
                  .swaps = {{"z1", "z2"}},
                  .temperatures = {},
                  .equal_rows = [](double, double) { return 0.0; },
                  .smallest = 2});
  for (const char* tile : {"0", "2"})
    rows.push_back({.loss = "tiled_contrastive",
                    .params = {{"row_tile", tile}, {"col_tile", tile}, {"symmetric", "false"}},
                    .batch = {"q", "labels"},
                    .sizes = {{"M", 5}},
                    .temperatures = {}});
  rows.push_back({.loss = "sepclr",
                  .batch = {"c1", "c2", "s1", "s2", "target"},
                  .swaps = {{"c1", "c2"}, {"s1", "s2"}},
                  .scale_free = {"c1", "c2"},
                  .sizes = {{"S", 4}},
                  .integers = {{"target", 2}},
                  .temperatures = {"tau"},
                  .smallest = 2});
  return rows;
}

}  // namespace juxta::test

#include "tests/loss_properties.h"

namespace juxta::test {

// Cells of random crops are scale-free but no closed form is common to all crops; a scale of cell vectors
// along C changes nothing before the propagation's linear map.
std::vector<Property> dense_properties() {
  const std::vector<const char*> maps{"proj1", "proj2", "key1", "key2", "coord1", "coord2"};
  const std::vector<const char*> constants{"key1", "key2", "coord1", "coord2"};
  return {
      {.loss = "pixcontrast",
       .batch = maps,
       .swaps = {{"proj1", "proj2"}, {"key1", "key2"}, {"coord1", "coord2"}},
       .scale_free = {"proj1", "proj2", "key1", "key2"},
       .constants = constants,
       .sizes = {{"H", 2}, {"W", 3}, {"C", 4}}},
      {.loss = "pixpro",
       .params = {{"transform_layers", "0"}},
       .batch = maps,
       .swaps = {{"proj1", "proj2"}, {"key1", "key2"}, {"coord1", "coord2"}},
       .scale_free = {"proj1", "proj2", "key1", "key2"},
       .constants = constants,
       .absent = {"weight", "bias"},
       .sizes = {{"H", 2}, {"W", 3}, {"C", 4}},
       .temperatures = {}},
      {.loss = "pixpro",
       .batch = maps,
       .swaps = {{"proj1", "proj2"}, {"key1", "key2"}, {"coord1", "coord2"}},
       .scale_free = {"key1", "key2"},
       .constants = constants,
       .sizes = {{"H", 2}, {"W", 3}, {"C", 4}},
       .temperatures = {}},
      {.loss = "dense_cl",
       .batch = {"query", "key", "query_grid", "key_grid", "query_backbone", "key_backbone"},
       .scale_free = {"query", "key", "query_grid", "key_grid", "query_backbone", "key_backbone"},
       .constants = {"key", "key_grid", "query_backbone", "key_backbone", "queue", "queue_dense"},
       .unit = {"queue", "queue_dense"},
       .sizes = {{"S", 3}, {"K", 5}}},
      // S = 4 cells with 3 and 2 kept: ties in distance do not happen with random places
      {.loss = "vicregl",
       .params = {{"num_matches", "[3, 2]"}},
       .batch = {"global1", "global2", "map1", "map2", "grid1", "grid2"},
       .swaps = {{"global1", "global2"}, {"map1", "map2"}, {"grid1", "grid2"}},
       .constants = {"grid1", "grid2"},
       .sizes = {{"S", 4}, {"C", 3}},
       .temperatures = {},
       .equal_rows = [](double, double) { return 25 * (1 - 0.01) * (0.75 + 0.25 * 2); },
       .smallest = 2},
  };
}

}  // namespace juxta::test

#include <cmath>

#include "tests/loss_properties.h"

namespace juxta::test {

std::vector<Property> signals_properties() {
  using Names = std::vector<const char*>;
  const Names views{"student1", "student2", "teacher1", "teacher2"};
  std::vector<Property> rows;
  rows.push_back({.loss = "biosignal_nce_koleo",
                  .params = {{"tau", "0.1"}},
                  .batch = {"student1", "student2", "teacher1", "teacher2", "pid"},
                  .swaps = {{"student1", "student2"}, {"teacher1", "teacher2"}},
                  .scale_free = views,
                  .constants = {"teacher1", "teacher2"},
                  .temperatures = {"tau"},
                  .smallest = 2});
  // every row its own participant; the spread of equal rows is -log of 1e-8 to within rounding, so without it
  rows.push_back({.loss = "biosignal_nce_koleo",
                  .params = {{"tau", "0.1"}, {"gamma_koleo", "0"}},
                  .scale_free = views,
                  .constants = {"teacher1", "teacher2"},
                  .integers = {{"pid", -1}},
                  .temperatures = {"tau"},
                  .equal_rows = [](double n, double) { return std::log(2 * n - 1); },
                  .smallest = 2});
  for (const bool queue : {true, false})
    rows.push_back({.loss = "astrea_prealign",
                    .batch = {"expert", "anchor_m"},
                    .scale_free = {"expert"},
                    .constants = {"anchor_m", "stage_weight", "queue"},
                    .absent = queue ? Names{} : Names{"queue"},
                    .unit = {"anchor_m", "queue"},
                    .positive = {"stage_weight"},
                    .sizes = {{"Q", 5}},
                    .equal_rows = queue ? [](double n, double) { return std::log(n + 5); }
                                        : [](double n, double) { return std::log(n); }});
  for (const char* reduction : {"pairs", "anchor"}) {
    // the gate alone may be of any length in a cosine, not where it stands for itself
    rows.push_back({.loss = "hydra",
                    .params = {{"form", "filter"}, {"reduction", reduction}},
                    .batch = {"z2", "yc"},
                    .scale_free = {"z1", "z2", "gate"},
                    .positive = {"gate"},
                    .sizes = {{"B", 4}},
                    .integers = {{"y1", 3}, {"y2", 3}, {"yc", 3}}});
    rows.push_back({.loss = "hydra",
                    .params = {{"form", "square"}, {"reduction", reduction}},
                    .batch = {"z2", "yc"},
                    .scale_free = {"z1", "z2"},
                    .positive = {"gate"},
                    .sizes = {{"B", 4}},
                    .integers = {{"y1", 3}, {"y2", 3}, {"yc", 3}}});
    rows.push_back({.loss = "hydra",
                    .params = {{"reduction", reduction}, {"gate_penalty", "0.3"}},
                    .batch = {"z2", "yc"},
                    .scale_free = {"z1", "z2"},
                    .positive = {"gate"},
                    .sizes = {{"B", 4}},
                    .integers = {{"y1", 3}, {"y2", 3}, {"yc", 3}}});
    // one class: every candidate is a positive and nobody a negative
    rows.push_back({.loss = "hydra",
                    .params = {{"reduction", reduction}},
                    .positive = {"gate"},
                    .integers = {{"y1", 1}, {"y2", 1}, {"yc", 1}},
                    .equal_rows = [](double, double) { return 0.0; }});
  }
  return rows;
}

}  // namespace juxta::test

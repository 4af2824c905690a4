#include <cmath>

#include "tests/loss_properties.h"

namespace juxta::test {

std::vector<Property> continual_properties() {
  using Names = std::vector<const char*>;
  std::vector<Property> rows;
  const Names of_image{"query", "key", "bank_index"}, vectors{"query", "key"};
  for (const char* top_k : {"0", "2"}) {
    rows.push_back({.loss = "hard_contrastive",
                    .params = {{"top_k", top_k}},
                    .batch = of_image,
                    .scale_free = vectors,
                    .constants = {"bank"},
                    .unit = {"bank"},
                    .sizes = {{"M", 6}},
                    .integers = {{"bank_index", 6}}});
    rows.push_back({.loss = "simple_contrastive",
                    .params = {{"top_k", top_k}},
                    .batch = of_image,
                    .scale_free = vectors,
                    .constants = {"bank"},
                    .unit = {"bank"},
                    .sizes = {{"M", 6}},
                    .integers = {{"bank_index", 6}},
                    .temperatures = {},
                    // all five others are the hardest; their weight 1/5 is a number in single precision
                    .equal_rows = [](double, double) { return 5 * static_cast<double>(0.2f) - 1; }});
  }
  const Names nspt{"student", "teacher", "labels", "rehearsal"};
  for (const char* negatives : {"student", "teacher"})
    for (const char* self : {"true", "false"})
      rows.push_back({.loss = "coconut_nspt",
                      .params = {{"negatives", negatives}, {"include_self", self}},
                      .batch = nspt,
                      .scale_free = {"student", "teacher"},
                      .constants = {"teacher"}});
  rows.push_back({.loss = "coconut_mm",
                  .params = {{"anchors", "all"}},
                  .batch = {"audio", "text", "labels", "is_new"},
                  .swaps = {{"audio", "text"}},
                  .scale_free = {"audio", "text"},
                  .equal_rows = [](double n, double) { return 2 * std::log(n); }});
  for (const bool all : {false, true})
    rows.push_back({.loss = "hpcl",
                    .params = {{"denominator", all ? "all" : "negatives"}},
                    .batch = {"q", "labels"},
                    .scale_free = {"q", "queue0", "queue1"},
                    .constants = {"queue0", "queue1"},
                    .sizes = {{"K", 5}, {"L", 5}},
                    .integers = {{"labels", 2}},
                    .equal_rows = all ? [](double, double k) { return std::log(2 * k); }
                                      : [](double, double k) { return std::log(1 + k); }});
  for (const char* uniformity : {"SS", "ST", "TT"})
    rows.push_back({.loss = "beclr",
                    .params = {{"uniformity", uniformity}},
                    .scale_free = {"p", "z_teacher", "z_student"},
                    .constants = {"z_teacher"},
                    .sizes = {{"M", 4}}});
  return rows;
}

}  // namespace juxta::test

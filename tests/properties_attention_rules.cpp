#include "tests/loss_properties.h"

namespace juxta::test {

std::vector<Property> attention_rules_properties() {
  std::vector<Property> rows;
  // Rows are two views of N images, one after the other, so no axis of length N can be permuted alone.
  for (const char* masked_only : {"false", "true"})
    for (const char* two_tau : {"true", "false"})
      rows.push_back({.loss = "mmc",
                      .params = {{"masked_only", masked_only}, {"two_tau", two_tau}},
                      .scale_free = {"q", "k"},
                      .constants = {"target", "t_patch", "center", "k"},
                      .integers = {{"mask", 2}},
                      .temperatures = {"temp_student", "temp_teacher", "temperature"}});
  return rows;
}

}  // namespace juxta::test

#include <cmath>

#include "tests/loss_properties.h"

namespace juxta::test {

std::vector<Property> distillation_properties() {
  using Names = std::vector<const char*>;
  std::vector<Property> rows;
  for (const char* centering : {"mean", "sinkhorn"})
    for (const int64_t views : {1, 2})
      rows.push_back({.loss = "dino",
                      .params = {{"centering", centering}},
                      .batch = {"student", "teacher"},
                      .constants = {"teacher", "center"},
                      .sizes = {{"S", 4}, {"T", views}, {"P", 5}},
                      .temperatures = {"student_temperature", "teacher_temperature"}});
  rows.push_back(
      {.loss = "ibot",
       .batch = {"student_cls", "teacher_cls", "student_patch", "teacher_patch", "mask"},
       .constants = {"teacher_cls", "teacher_patch", "center", "patch_center"},
       .sizes = {{"G", 2}, {"P", 5}, {"Q", 7}, {"L", 4}},
       .integers = {{"mask", 2}},
       .temperatures = {"student_temperature", "teacher_temperature", "teacher_patch_temperature"}});
  // The targets are constants that depend on the prototypes: the gradient is not the derivative. Anchors are
  // view-major, so that permuting images permutes them by another rule than axis N.
  for (const char* entropy : {"0", "0.5"})
    rows.push_back({.loss = "msn",
                    .params = {{"entropy_weight", entropy}},
                    .scale_free = {"anchors", "targets", "prototypes"},
                    .constants = {"targets"},
                    .temperatures = {"temperature", "target_sharpen"},
                    .equal_rows = entropy[0] == '0' && entropy[1] == '\0'
                                      ? [](double, double k) { return std::log(k); }
                                      : [](double, double k) { return 1.5 * std::log(k); },
                    .finite_differences = false});
  rows.push_back({.loss = "lejepa",
                  .batch = {"global_views", "local_views"},
                  .constants = {"directions"},
                  .sizes = {{"G", 2}, {"M", 4}},
                  .temperatures = {"t_max"}});
  const Names networks{"online", "momentum"};
  rows.push_back({.loss = "mmcr",
                  .batch = networks,
                  .swaps = {{"online", "momentum"}},
                  .scale_free = networks,
                  .temperatures = {},
                  .equal_rows = [](double n, double) { return 0.005 * std::sqrt(6.0) - std::sqrt(n); }});
  // Rows are whitened together: neither a row's length nor equal rows mean anything.
  for (const char* normalize : {"true", "false"})
    rows.push_back({.loss = "w_mse",
                    .params = {{"w_size", "4"}, {"normalize", normalize}},
                    .sizes = {{"B", 8}, {"D", 2}},
                    .integers = {{"perm", -8}},
                    .temperatures = {}});
  const Names patches{"student", "teacher"};
  for (const char* negatives : {"keep", "drop", "drop_teacher"})
    rows.push_back({.loss = "gram_anchor",
                    .params = {{"negatives", negatives}},
                    .batch = patches,
                    .scale_free = patches,
                    .constants = {"teacher"},
                    .temperatures = {},
                    .equal_rows = [](double, double) { return 0.0; }});
  rows.push_back({.loss = "gram_anchor",
                  .params = {{"normalize", "false"}, {"image_level", "false"}},
                  .batch = patches,
                  .constants = {"teacher"},
                  .temperatures = {},
                  .equal_rows = [](double, double) { return 0.0; }});
  return rows;
}

}  // namespace juxta::test

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
  for (const char* views : {"0", "2"}) {
    const bool local = views[0] == '2';
    rows.push_back({.loss = "siamlip",
                    .params = {{"views", views}},
                    .swaps = local ? std::vector<std::pair<const char*, const char*>>{}
                                   : std::vector<std::pair<const char*, const char*>>{{"p_image", "p_text"},
                                                                                      {"v_image", "v_text"}},
                    .scale_free = {"p_image", "p_text", "v_image", "v_text"},
                    .constants = {"v_image", "v_text", "v_image_local", "v_text_local"},
                    .absent = local ? std::vector<const char*>{}
                                    : std::vector<const char*>{"p_image_local", "p_text_local",
                                                               "v_image_local", "v_text_local"},
                    .sizes = {{"A", 2}},
                    .temperatures = {},
                    .equal_rows = [](double, double) { return 0.0; }});
  }
  // Standardised columns make a scale of whole columns vanish, not one of rows.
  rows.push_back({.loss = "barlow_twins",
                  .batch = {"z1", "z2"},
                  .swaps = {{"z1", "z2"}},
                  .temperatures = {},
                  .smallest = 2});
  rows.push_back({.loss = "barlip",
                  .batch = {"v_image", "v_text", "v_image_local", "v_text_local"},
                  .swaps = {{"v_image", "v_text"}, {"v_image_local", "v_text_local"}},
                  .temperatures = {}});
  rows.push_back(
      {.loss = "vicreg", .batch = {"z1", "z2"}, .swaps = {{"z1", "z2"}}, .temperatures = {}, .smallest = 2});
  rows.push_back({.loss = "tico",
                  .batch = {"z1", "z2"},
                  .scale_free = {"z1", "z2"},
                  .constants = {"covariance"},
                  .temperatures = {},
                  .finite_differences = false});  // the moving covariance is a constant
  rows.push_back({.loss = "koleo", .batch = {"x"}, .scale_free = {"x"}, .temperatures = {}, .smallest = 2});
  return rows;
}

}  // namespace juxta::test

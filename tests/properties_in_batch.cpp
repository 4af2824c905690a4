#include <cmath>

#include "tests/loss_properties.h"

namespace juxta::test {

std::vector<Property> in_batch_properties() {
  using Names = std::vector<const char*>;
  using Pairs = std::vector<std::pair<const char*, const char*>>;
  const Names views{"z1", "z2"}, pair{"image", "text"};
  const Pairs exchange{{"z1", "z2"}};
  std::vector<Property> rows;
  rows.push_back({.loss = "dcl",
                  .batch = views,
                  .swaps = exchange,
                  .scale_free = views,
                  .equal_rows = [](double n, double) { return std::log(2 * n - 2); },
                  .smallest = 2});
  rows.push_back({.loss = "dcl",
                  .params = {{"symmetric", "false"}},
                  .batch = views,
                  .scale_free = views,
                  .equal_rows = [](double n, double) { return std::log(2 * n - 2); },
                  .smallest = 2});
  rows.push_back({.loss = "dclw",
                  .batch = views,
                  .swaps = exchange,
                  .scale_free = views,
                  .equal_rows = [](double n, double) { return std::log(2 * n - 2); },
                  .smallest = 2});
  rows.push_back({.loss = "dclw",  // detached weights: the gradient is no derivative
                  .params = {{"detach_weight", "true"}, {"symmetric", "false"}},
                  .batch = views,
                  .scale_free = views,
                  .finite_differences = false,
                  .smallest = 2});
  for (const char* sigma : {"null", "0.5"})
    rows.push_back({.loss = "dcl_queue",
                    .params = {{"sigma", sigma}},
                    .batch = {"query", "key"},
                    .scale_free = {"query", "key"},
                    .constants = {"key", "queue"},
                    .sizes = {{"M", 5}},
                    .equal_rows = [](double, double k) { return std::log(k); }});
  for (const char* loss : {"debiased_contrastive", "hard_negative_contrastive"}) {
    const bool hard = loss[0] == 'h';
    // tau_plus small enough for g to be above its floor, where the loss has no derivative
    rows.push_back({.loss = loss,
                    .params = {{"tau_plus", "0.01"}},
                    .batch = views,
                    .swaps = exchange,
                    .scale_free = views,
                    .temperatures = {},
                    .equal_rows = [](double n, double) { return std::log(2 * n - 1); },
                    .smallest = hard ? 2 : 1});
  }
  rows.push_back({.loss = "moco_v3",
                  .batch = {"q1", "q2", "k1", "k2"},
                  .swaps = {{"q1", "q2"}, {"k1", "k2"}},
                  .scale_free = {"q1", "q2", "k1", "k2"},
                  .constants = {"k1", "k2"},
                  .equal_rows = [](double n, double) { return 4 * 0.2 * std::log(n); }});
  rows.push_back({.loss = "n_pair",
                  .params = {{"l2_reg", "0.02"}},
                  .batch = {"anchors", "positives"},
                  .temperatures = {},
                  .equal_rows = [](double n, double) { return std::log(n) + 0.01; }});
  rows.push_back({.loss = "simcse",
                  .batch = views,
                  .scale_free = views,
                  .absent = {"z3"},
                  .equal_rows = [](double n, double) { return std::log(n); }});
  rows.push_back({.loss = "simcse",
                  .params = {{"hard_negative_weight", "0.7"}},
                  .batch = {"z1", "z2", "z3"},
                  .scale_free = {"z1", "z2", "z3"},
                  .equal_rows = [](double n, double) { return std::log(2 * n - 1 + std::exp(0.7)); }});
  rows.push_back({.loss = "nnclr",
                  .batch = {"z1", "z2", "p1", "p2"},
                  .swaps = {{"z1", "z2"}, {"p1", "p2"}},
                  .scale_free = {"z1", "z2", "p1", "p2"},
                  .constants = {"z1", "z2", "queue"},
                  .equal_rows = [](double n, double) { return std::log(n); }});
  rows.push_back({.loss = "ressl",
                  .batch = {"query", "key"},
                  .scale_free = {"query", "key"},
                  .constants = {"key", "queue"},
                  .temperatures = {"student_temperature", "teacher_temperature"},
                  .equal_rows = [](double, double k) { return std::log(k); }});
  rows.push_back({.loss = "clip",
                  .batch = pair,
                  .swaps = {{"image", "text"}},
                  .scale_free = pair,
                  .temperatures = {},
                  .equal_rows = [](double n, double) { return std::log(n); }});
  rows.push_back({.loss = "info_loob",
                  .batch = views,
                  .swaps = exchange,
                  .scale_free = views,
                  .equal_rows = [](double n, double) { return 2 / 14.3 * std::log(n - 1); },
                  .smallest = 2});
  rows.push_back({.loss = "cloob",
                  .batch = pair,
                  .swaps = {{"image", "text"}},
                  .scale_free = pair,
                  .equal_rows = [](double n, double) { return 2 / 14.3 * std::log(n - 1); },
                  .smallest = 2});
  rows.push_back({.loss = "cloob",
                  .params = {{"normalize", "false"}},
                  .batch = pair,
                  .swaps = {{"image", "text"}},
                  .smallest = 2});
  rows.push_back({.loss = "slip",
                  .batch = {"image", "text", "aug1", "aug2"},
                  .swaps = {{"image", "text"}, {"aug1", "aug2"}},
                  .scale_free = {"image", "text", "aug1", "aug2"},
                  .sizes = {{"E", 4}},
                  .temperatures = {"ssl_temperature"},
                  .equal_rows = [](double n, double) { return std::log(n) + std::log(2 * n - 1); }});
  rows.push_back({.loss = "esimcse",
                  .batch = {"anchor", "positive"},
                  .scale_free = {"anchor", "positive", "queue"},
                  .constants = {"queue"},
                  .sizes = {{"M", 5}},
                  .equal_rows = [](double n, double k) { return std::log(n + k); }});
  for (const char* negatives : {"batch", "all"})
    rows.push_back({.loss = "cpc",
                    .params = {{"negatives", negatives}},
                    .batch = {"context", "latent"},
                    .sizes = {{"T", 4}, {"S", 2}, {"C", 3}},
                    .temperatures = {}});
  return rows;
}

std::vector<Property> multiview_properties() {
  std::vector<Property> rows;
  for (const char* same : {"true", "false"})
    rows.push_back(
        {.loss = "mv_infonce", .params = {{"include_same_view", same}}, .batch = {"z"}, .scale_free = {"z"}});
  rows.push_back(
      {.loss = "mv_dhel",
       .batch = {"z"},
       .scale_free = {"z"},
       .equal_rows = [](double n, double) { return 3 * (std::log(n - 1) + 2) - std::log(3.0) - 2; },
       .smallest = 2});
  rows.push_back({.loss = "dhel",
                  .batch = {"z1", "z2"},
                  .swaps = {{"z1", "z2"}},
                  .scale_free = {"z1", "z2"},
                  .equal_rows = [](double n, double) { return 2 * std::log(n - 1) + 1 / 0.3; },
                  .smallest = 2});
  for (const char* base : {"nt_xent", "dhel"})
    for (const char* mode : {"pwe", "avg"})
      rows.push_back({.loss = "multiview_aggregate",
                      .params = {{"base", base}, {"mode", mode}},
                      .batch = {"z"},
                      .scale_free = {"z"},
                      .smallest = 2});
  rows.push_back(
      {.loss = "poly_view", .batch = {"z"}, .scale_free = {"z"}, .equal_rows = [](double n, double) {
         return std::log(3 * n - 2);
       }});
  return rows;
}

}  // namespace juxta::test

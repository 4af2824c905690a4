#include <cmath>

#include "tests/loss_properties.h"

namespace juxta::test {

namespace {

using Names = std::vector<const char*>;

void retrieval(std::vector<Property>& rows) {
  const std::string forward = "[\"query_to_doc\"]", both = "[\"query_to_doc\", \"doc_to_query\"]",
                    four = "[\"query_to_doc\", \"query_to_query\", \"doc_to_query\", \"doc_to_doc\"]";
  const Names all{"anchors", "positives", "hard_negatives"}, pairs{"anchors", "positives"};
  for (const std::string& directions : {forward, four})
    rows.push_back({.loss = "multiple_negatives_ranking",
                    .params = {{"directions", directions}},
                    .batch = all,
                    .scale_free = all,
                    .sizes = {{"H", 2}},
                    .temperatures = {"scale"}});
  rows.push_back({.loss = "multiple_negatives_ranking",
                  .batch = pairs,
                  .scale_free = pairs,
                  .absent = {"hard_negatives"},
                  .temperatures = {"scale"},
                  .equal_rows = [](double n, double) { return std::log(n); }});
  rows.push_back({.loss = "multiple_negatives_ranking",
                  .params = {{"directions", four}},
                  .batch = pairs,
                  .swaps = {{"anchors", "positives"}},
                  .scale_free = pairs,
                  .absent = {"hard_negatives"},
                  .temperatures = {"scale"},
                  .equal_rows = [](double n, double) { return std::log(4 * n - 2); }});
  rows.push_back({.loss = "multiple_negatives_ranking",
                  .params = {{"directions", both}, {"partition", "per_direction"}},
                  .batch = pairs,
                  .swaps = {{"anchors", "positives"}},
                  .scale_free = pairs,
                  .absent = {"hard_negatives"},
                  .temperatures = {"scale"},
                  .equal_rows = [](double n, double) { return std::log(n); }});
}

void code_search(std::vector<Property>& rows) {
  const Names queues{"code_queue", "masked_code_queue", "nl_queue", "masked_nl_queue"};
  Names constants = queues;
  constants.insert(constants.end(), {"code_k", "nl_k"});
  for (const auto& [inter, intra] : {std::pair{"true", "true"}, {"true", "false"}, {"false", "true"}})
    rows.push_back({.loss = "cocosoda",
                    .params = {{"inter", inter}, {"intra", intra}},
                    .batch = {"code_q", "nl_q", "code_k", "nl_k"},
                    .swaps = {{"code_q", "nl_q"},
                              {"code_k", "nl_k"},
                              {"code_queue", "nl_queue"},
                              {"masked_code_queue", "masked_nl_queue"}},
                    .scale_free = {"code_q", "nl_q", "code_k", "nl_k"},
                    .constants = constants,
                    .unit = queues,
                    .temperatures = {"temperature", "logit_scale"},
                    .equal_rows = [](double n, double k) { return std::log(n + k); }});
}

void labels(std::vector<Property>& rows) {
  for (const char* activation : {"relu", "tanh"})
    for (const char* reduction : {"pairs", "texts"})
      for (const bool concat : {false, true})
        rows.push_back({.loss = "input_label_nce",
                        .params = {{"matcher", concat ? "concat" : "product"},
                                   {"activation", activation},
                                   {"reduction", reduction}},
                        .batch = {"text", "label_ids", "target", "valid"},
                        .absent = concat ? Names{"v", "c"} : Names{},
                        .sizes = {{"L", 5}, {"E", 4}, {"U", concat ? 10 : 6}},
                        .integers = {{"label_ids", 5}, {"target", 2}, {"valid", 2}},
                        .temperatures = {}});
}

void spread(std::vector<Property>& rows) {
  for (const char* reduction : {"micro", "macro"})
    for (const char* prefix : {"0", "2"})
      rows.push_back({.loss = "simctg",
                      .params = {{"margin", "0.9"}, {"prefix_len", prefix}, {"reduction", reduction}},
                      .batch = {"hidden", "lengths"},
                      .scale_free = {"hidden"},
                      .sizes = {{"T", 5}},
                      .integers = {{"lengths", 6}},
                      .temperatures = {}});
}

}  // namespace

std::vector<Property> sentences_properties() {
  std::vector<Property> rows;
  retrieval(rows);
  code_search(rows);
  labels(rows);
  spread(rows);
  return rows;
}

}  // namespace juxta::test

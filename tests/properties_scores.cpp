#include "tests/loss_properties.h"

namespace juxta::test {

std::vector<Property> scores_properties() {
  using Names = std::vector<const char*>;
  const Names plain{"neg_valid", "pos_logpn", "neg_logpn"};
  std::vector<Property> rows;
  for (const char* loss : {"nce_binary", "nce_ranking"}) {
    const Names temperatures = loss[4] == 'r' ? Names{"temperature"} : Names{};
    rows.push_back({.loss = loss, .batch = {"pos", "neg"}, .absent = plain, .temperatures = temperatures});
    rows.push_back({.loss = loss,
                    .batch = {"pos", "neg", "neg_valid", "pos_logpn", "neg_logpn"},
                    .constants = {"pos_logpn", "neg_logpn"},
                    .integers = {{"neg_valid", 2}},
                    .temperatures = temperatures});
  }
  for (const char* reduction : {"sum", "mean", "hardest"})
    rows.push_back({.loss = "margin_ranking",
                    .params = {{"reduction", reduction}},
                    .batch = {"pos", "neg", "neg_valid"},
                    .integers = {{"neg_valid", 2}},
                    .temperatures = {}});
  for (const char* reduction : {"mean", "sum"})
    rows.push_back({.loss = "scl_finetune",
                    .params = {{"reduction", reduction}},
                    .batch = {"z", "logits", "labels"},
                    .scale_free = {"z"},
                    .sizes = {{"C", 4}},
                    .temperatures = {"temperature"}});
  for (const char* two_sided : {"true", "false"})
    rows.push_back({.loss = "mcl_infonce",
                    .params = {{"two_sided", two_sided}},
                    .batch = {"z1", "z2", "label"},
                    .swaps = {{"z1", "z2"}},
                    .scale_free = {"z1", "z2"}});
  return rows;
}

}  // namespace juxta::test

#include "tests/loss_properties.h"

namespace juxta::test {

std::vector<Property> policy_properties() {
  std::vector<Property> rows;
  // every sequence whole, and some of their tokens; with a reference and without
  for (const char* aggregate : {"token_mean", "sequence_mean_token_sum", "sequence_mean_token_mean"}) {
    rows.push_back({.loss = "grpo_loss",
                    .params = {{"aggregate", aggregate}},
                    .batch = {"log_prob", "old_log_prob", "advantage"},
                    .constants = {"old_log_prob", "advantage"},
                    .absent = {"mask", "ref_log_prob"},
                    .temperatures = {}});
    rows.push_back({.loss = "grpo_loss",
                    .params = {{"aggregate", aggregate}, {"kl_coef", "0.1"}},
                    .batch = {"log_prob", "old_log_prob", "mask", "advantage", "ref_log_prob"},
                    .constants = {"old_log_prob", "advantage", "ref_log_prob"},
                    .integers = {{"mask", 2}},
                    .temperatures = {}});
  }
  return rows;
}

}  // namespace juxta::test

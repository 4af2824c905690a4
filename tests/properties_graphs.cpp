#include <cmath>

#include "tests/loss_properties.h"

namespace juxta::test {

std::vector<Property> graphs_properties() {
  using Names = std::vector<const char*>;
  using Sizes = std::vector<std::pair<const char*, int64_t>>;
  std::vector<Property> rows;
  // One clustering of random classes: equal rows have no closed form, the classes decide what is parted.
  rows.push_back({.loss = "meow_contrast",
                  .batch = {"anchor", "other", "assign"},
                  .scale_free = {"anchor", "other", "proto0"},
                  .constants = {"proto0", "density0"},
                  .positive = {"density#"},
                  .sizes = {{"R", 1}, {"K", 4}},
                  .integers = {{"assign", 4}},
                  .temperatures = {"tau"}});
  rows.push_back({.loss = "adameow_contrast",
                  .batch = {"anchor", "other"},
                  .scale_free = {"anchor", "other"},
                  .sizes = {{"H", 4}},
                  .temperatures = {"tau"}});
  for (const char* eps : {"1e-5", "0"})
    for (const char* negatives : {"true", "false"})
      rows.push_back({.loss = "bpr_loss",
                      .params = {{"eps", eps}, {"reg", "0.1"}, {"reg_negative", negatives}},
                      .batch = {"user", "pos", "neg"},
                      .temperatures = {}});
  rows.push_back(
      {.loss = "bpr_loss", .params = {{"eps", "0"}}, .temperatures = {}, .equal_rows = [](double, double) {
         return std::log(2.0);
       }});
  const Names triples{"user_idx", "pos_idx", "neg_idx"};
  const Sizes sizes{{"U", 4}, {"I", 5}, {"E", 9}, {"L", 2}, {"U+I", 9}};
  const Sizes ids{{"edges", 4}, {"user_idx", 4}, {"pos_idx", 5}, {"neg_idx", 5}};
  for (const char* layers : {"0", "2"})
    rows.push_back({.loss = "lightgcn_bpr",
                    .params = {{"layers", layers}, {"reg_lambda", "0.1"}, {"batch_size", "7"}},
                    .batch = triples,
                    .sizes = sizes,
                    .integers = ids,
                    .temperatures = {}});
  // no exchange of the two passes: nce is a softmax over one side alone
  rows.push_back({.loss = "simgcl",
                  .params = {{"layers", "2"}, {"reg_lambda", "0.1"}},
                  .batch = triples,
                  .scale_free = {"noise1", "noise2"},
                  .constants = {"noise1", "noise2"},
                  .sizes = sizes,
                  .integers = ids,
                  .temperatures = {"tau"}});
  for (const char* l_star : {"0", "1", "2"})
    rows.push_back({.loss = "xsimgcl",
                    .params = {{"layers", "2"}, {"l_star", l_star}, {"reg_lambda", "0.1"}},
                    .batch = triples,
                    .scale_free = {"noise"},
                    .constants = {"noise"},
                    .sizes = sizes,
                    .integers = ids,
                    .temperatures = {"tau"}});
  rows.push_back({.loss = "xsimgcl",
                  .params = {{"layers", "2"}, {"eps", "0"}},
                  .batch = triples,
                  .absent = {"noise"},
                  .sizes = sizes,
                  .integers = ids,
                  .temperatures = {"tau"}});
  return rows;
}

}  // namespace juxta::test

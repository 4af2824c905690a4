#include <cmath>

#include "tests/loss_properties.h"

namespace juxta::test {

namespace {

// Contrast against momentum keys: one setting without soft targets, whose gradient is the derivative, and one
// with them.
void albef_rows(std::vector<Property>& rows) {
  const std::vector<const char*> pair{"image_feat", "text_feat", "image_feat_m", "text_feat_m"};
  for (const bool soft : {false, true}) {
    Property p{.loss = "albef_itc",
               .params = {{"alpha", soft ? "0.4" : "0"}, {"temp_max", "2"}},
               .batch = pair,
               .swaps = {{"image_feat", "text_feat"},
                         {"image_feat_m", "text_feat_m"},
                         {"image_queue", "text_queue"}},
               .constants = {"image_feat_m", "text_feat_m", "image_queue", "text_queue"},
               .absent = {"ids", "queue_ids"},
               .unit = {"image_queue", "text_queue"},
               .positive = {"temp"},
               .temperatures = {"temp_max"},
               .equal_rows = [](double n, double k) { return std::log(n + k); },
               .finite_differences = !soft};  // the targets, constants, have the learned temperature too
    rows.push_back(p);
    p.params.emplace_back("normalize", "true");
    p.scale_free = pair;
    rows.push_back(p);
  }
  for (const char* target : {"cross", "intra"})
    rows.push_back({.loss = "msd_loss",
                    .params = {{"target", target}, {"micro_batch", "2"}, {"temperature_target", "0.5"}},
                    .batch = {"image", "text", "image_m", "text_m"},
                    .swaps = {{"image", "text"}, {"image_m", "text_m"}, {"image_queue", "text_queue"}},
                    .constants = {"image_m", "text_m", "image_queue", "text_queue"},
                    .unit = {"image_queue", "text_queue"},
                    .positive = {"log_temperature"},
                    .temperatures = {},  // of the targets alone; vectors of any length drown f32 at 0.002
                    .equal_rows = [](double n, double k) { return std::log(n + k); }});
  rows.push_back({.loss = "albef_itm", .temperatures = {}});
  rows.push_back({.loss = "albef_mlm",
                  .params = {{"alpha", "1"}},
                  .batch = {"logits", "teacher_logits", "labels"},
                  .constants = {"teacher_logits"},
                  .absent = {"input_ids", "random_words", "u_select", "u_mask_token", "u_random_token"},
                  .integers = {{"labels", 3}},
                  .temperatures = {},
                  // the entropy of softmax(0, 1, 0)
                  .equal_rows = [](double, double) {
                    return std::log(std::exp(1) + 2) - std::exp(1) / (std::exp(1) + 2);
                  }});
}

void rerank_rows(std::vector<Property>& rows) {
  const std::vector<const char*> batch{"hidden"};
  rows.push_back({.loss = "rerank_loss",
                  .params = {{"loss", "cl"}},
                  .batch = batch,
                  .constants = {"token_no"},  // the raw logit of "yes" alone
                  .absent = {"mask"},
                  .equal_rows = [](double, double k) { return std::log(k); }});
  for (const char* reduction : {"group", "document"})
    rows.push_back({.loss = "rerank_loss",
                    .params = {{"loss", "sft"}, {"reduction", reduction}},
                    .batch = batch,
                    .absent = {"mask"},
                    .temperatures = {}});
  for (const std::string weight : {"cl", "sft", "base"})
    for (const char* direction : {"cl", "sft"})
      rows.push_back({.loss = "rerank_loss",
                      .params = {{"weight", weight}, {"direction", direction}},
                      .batch = batch,
                      .absent = {"mask"},
                      .temperatures = {},
                      .finite_differences = weight == "base"});  // the other weights depend on hidden
}

}  // namespace

std::vector<Property> vision_language_properties() {
  std::vector<Property> rows;
  albef_rows(rows);
  rerank_rows(rows);
  for (const char* smoothing : {"0", "0.1"})
    rows.push_back({.loss = "cl2l",
                    .params = {{"label_smoothing", smoothing}},
                    .batch = {"z_image", "z_text", "h_image", "h_text"},
                    .swaps = {{"z_image", "z_text"}, {"h_image", "h_text"}},
                    .scale_free = {"z_image", "z_text", "h_image", "h_text"},
                    .sizes = {{"A", 2}},
                    .temperatures = {},
                    .equal_rows = [](double n, double) { return std::log(n); }});
  for (const char* per_sample : {"true", "false"})
    for (const char* dynamic : {"true", "false"})
      rows.push_back({.loss = "dcd_loss",
                      .params = {{"per_sample", per_sample}, {"dynamic", dynamic}},
                      .batch = {"student_score", "teacher_score"},
                      .constants = {"teacher_score"},
                      // equal scores 0, 1, 0, ..: the label part alone
                      .equal_rows = [](double, double k) {
                        return 0.8 * ((k - 1) * std::log(2.0) + std::log1p(std::exp(1.0))) / k;
                      }});
  return rows;
}

}  // namespace juxta::test

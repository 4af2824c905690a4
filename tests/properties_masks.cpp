#include "tests/loss_properties.h"

namespace juxta::test {

std::vector<Property> masks_properties() {
  std::vector<Property> rows;
  for (const char* norm_pix : {"true", "false"})
    rows.push_back({.loss = "mae_loss",
                    .params = {{"patch_size", "2"}, {"norm_pix", norm_pix}},
                    .batch = {"images", "pred", "mask"},
                    .constants = {"images"},
                    .sizes = {{"H", 4}, {"W", 4}, {"L", 4}, {"P", 12}},
                    .integers = {{"mask", 2}},
                    .temperatures = {}});
  rows.push_back({.loss = "simmim",
                  .params = {{"mask_patch_size", "4"}, {"model_patch_size", "2"}},
                  .batch = {"images", "recon", "order"},
                  .swaps = {{"images", "recon"}},  // |x - y|
                  .constants = {"images"},
                  .sizes = {{"S", 8}, {"G", 4}},
                  .integers = {{"order", -4}},
                  .temperatures = {}});
  return rows;
}

}  // namespace juxta::test

#include <cmath>

#include "tests/loss_properties.h"

namespace juxta::test {

std::vector<Property> video_properties() {
  std::vector<Property> rows;
  // threshold 0: every target video is kept; 0.99: usually none
  for (const char* threshold : {"0", "0.99"})
    rows.push_back({.loss = "comix",
                    .params = {{"threshold", threshold}},
                    .batch = {"src_fast", "src_slow", "src_mix_fast", "src_mix_slow", "tgt_fast", "tgt_slow",
                              "tgt_mix_fast", "tgt_mix_slow", "labels"},
                    .swaps = {{"src_slow", "src_mix_slow"}, {"tgt_mix_fast", "tgt_mix_slow"}},
                    .sizes = {{"C", 4}},
                    .temperatures = {"tau"}});
  // moments of every video in another order; vectors of one length are not assumed
  for (const char* videos : {"1", "2"})
    rows.push_back({.loss = "g2l_losses",
                    .params = {{"geo_topk", "1"}},
                    .batch = {"feats", "feats_iou", "iou", "geo"},
                    .scale_free = {"feats", "feats_iou", "sents", "sents_iou"},
                    .constants = {"iou", "sent_iou", "geo"},
                    .positive = {"iou", "sent_iou", "geo"},
                    .sizes = {{"B", videos[0] - '0'}, {"S", 4}, {"C", 5}},
                    .integers = {{"video", videos[0] - '0'}},
                    .temperatures = {"tau_v", "tau_s"}});
  // The target is a constant made from the same vectors: the gradient is not the loss's derivative.
  for (const char* mode : {"full", "exact"})
    rows.push_back({.loss = "g2l_shapley",
                    .params = {{"mode", mode}},
                    .batch = {"sents"},
                    .scale_free = {"moments", "sents"},
                    .temperatures = {"tau", "tau_i"},
                    .finite_differences = false});
  // all alike: every interaction is the same, and softmax over three moments is uniform
  rows.push_back({.loss = "g2l_shapley",
                  .temperatures = {},
                  .equal_rows = [](double, double) { return std::log(3.0); },
                  .finite_differences = false});
  return rows;
}

}  // namespace juxta::test

#pragma once
// Health of a run: is the representation alive? RankMe, feature std, alignment and uniformity of the
// embeddings, a quick kNN of the features, and an alarm on collapse that says what to try.
#include <string>

#include "ssl/methods/method.h"
#include "ssl/train/metrics.h"
#include "ssl/views/views.h"

namespace juxta::ssl {

struct HealthReport {
  Figures figures;    // rankme, feature_std, alignment, uniformity, knn_top1
  std::string line;   // the same for people
  std::string alarm;  // empty when healthy
};

// Monitors on the embeddings of the last step, and kNN (k = 20) of `bank` training images, spread over the
// set, against up to 2,000 of the test split, or of every fifth training image when there is none. Data of
// one class has no kNN: neither a figure nor a word in the line.
HealthReport check_health(Method& method, const StepResult& last, const ImageData& data,
                          const ViewConfig& view, const PixelStats* stats, int64_t bank);

}  // namespace juxta::ssl

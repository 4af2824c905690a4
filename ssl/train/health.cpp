#include "ssl/train/health.h"

#include <algorithm>
#include <cmath>
#include <cstdio>
#include <optional>

#include "ssl/data/sample.h"
#include "ssl/eval/monitors.h"
#include "ssl/eval/protocol.h"

namespace juxta::ssl {

namespace {

constexpr int64_t kAsked = 2000;  // images whose classes the monitor guesses

// Accuracy of kNN on the method's features; nothing where it would mean nothing, with one class (as in data
// without labels) or no image to ask about.
std::optional<double> quick_knn(Method& method, const ImageData& data, const ViewConfig& view,
                                const PixelStats* stats, int64_t bank) {
  const auto classes = static_cast<int64_t>(data.train.classes.size());
  const bool has_test = data.test.size() > 0;
  const ImageSet& source = has_test ? data.test : data.train;
  std::vector<int64_t> known, asked;
  bank = std::max<int64_t>(0, bank);
  if (has_test) {
    known = spread_sample(data.train.size(), bank);
    asked = spread_sample(data.test.size(), kAsked);
  } else {
    const HeldOut split = every_fifth(data.train.size());
    known = spread_sample(split.keep, bank);
    asked = spread_sample(split.held, kAsked);
  }
  if (classes < 2 || known.empty() || asked.empty()) return std::nullopt;
  return knn_accuracy(
      extract_features(method.encoder(), data.train, known, view, stats), take_labels(data.train, known),
      extract_features(method.encoder(), source, asked, view, stats), take_labels(source, asked), classes);
}

// What collapse looks like, and what helped others: the embeddings' spread is gone, or they fill hardly any
// dimension.
std::string alarm_of(double std_times_root_d, double rank, int64_t dim) {
  if (std_times_root_d < 0.05)
    return "the representation has collapsed to a point (feature std near 0). Try: a predictor and "
           "stop-gradient (BYOL), an EMA momentum "
           "closer to 1, a lower optim.lr, or more warm-up";
  if (rank < std::min(2.0, 0.05 * static_cast<double>(dim)))
    return "the embeddings fill hardly more than one dimension (RankMe near 1). Try: a lower "
           "method.temperature, stronger views "
           "(view.min_crop, view.jitter), a larger batch or queue, batch norm in the head";
  return {};
}

}  // namespace

HealthReport check_health(Method& method, const StepResult& last, const ImageData& data,
                          const ViewConfig& view, const PixelStats* stats, int64_t bank) {
  HealthReport r;
  const auto add = [&](const char* name, double value) { r.figures.emplace_back(name, value); };
  double spread = 1, rank = 0;
  int64_t dim = 0;
  if (last.embeddings1.defined() && last.embeddings1.size(0) > 1) {
    const Tensor a = last.embeddings1.to(DType::f32), b = last.embeddings2.to(DType::f32);
    dim = a.size(1);
    rank = rankme(a);
    spread = feature_std(a) * std::sqrt(static_cast<double>(dim));  // 1 for directions spread evenly
    add("rankme", rank), add("feature_std", feature_std(a)), add("alignment", alignment(a, b)),
        add("uniformity", uniformity(a));
    r.alarm = alarm_of(spread, rank, std::min(dim, a.size(0)));
  }
  const std::optional<double> knn = quick_knn(method, data, view, stats, bank);
  if (knn) add("knn_top1", *knn);
  char text[160];
  std::snprintf(text, sizeof text, "loss %.4f", last.loss);
  r.line = text;
  if (knn) {
    std::snprintf(text, sizeof text, "  kNN %.1f %%", 100 * *knn);
    r.line += text;
  }
  std::snprintf(text, sizeof text, "  RankMe %.1f of %lld  std %.2f", rank, static_cast<long long>(dim),
                spread);
  r.line += text;
  return r;
}

}  // namespace juxta::ssl

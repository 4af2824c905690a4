#include "ssl/train/health.h"

#include <algorithm>
#include <cmath>
#include <cstdio>

#include "ssl/eval/monitors.h"
#include "ssl/eval/protocol.h"

namespace juxta::ssl {

namespace {

// The first n images of a set, sharing its memory.
ImageSet head_of(const ImageSet& set, int64_t begin, int64_t end) {
  ImageSet s;
  s.images = set.images.slice(0, begin, end);
  s.labels = set.labels.slice(0, begin, end);
  s.classes = set.classes;
  s.source = set.source;
  return s;
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
  double knn = 0;
  if (data.train.classes.size() > 1) {
    const bool has_test = data.test.size() > 0;
    const int64_t n = std::min(bank, has_test ? data.train.size() : data.train.size() * 4 / 5);
    const ImageSet known = head_of(data.train, 0, n);
    const ImageSet asked = has_test ? head_of(data.test, 0, std::min<int64_t>(data.test.size(), 2000))
                                    : head_of(data.train, n, std::min(data.train.size(), n + 2000));
    knn = knn_accuracy(extract_features(method.encoder(), known, view, stats), known.labels,
                       extract_features(method.encoder(), asked, view, stats), asked.labels,
                       static_cast<int64_t>(data.train.classes.size()));
    add("knn_top1", knn);
  }
  char text[160];
  std::snprintf(text, sizeof text, "loss %.4f  kNN %.1f %%  RankMe %.1f of %lld  std %.2f", last.loss,
                100 * knn, rank, static_cast<long long>(dim), spread);
  r.line = text;
  return r;
}

}  // namespace juxta::ssl

#include "ssl/eval/grounding.h"

#include <algorithm>
#include <cmath>
#include <numeric>

namespace juxta::ssl {

namespace {

constexpr const char* kMetric = "grounding_metrics";

Tensor checked(const char* name, const Tensor& t, const Dims& dims) {
  JX_CHECK(t.defined() && t.dims() == dims, kMetric, ": ", name, ": expected ", dims, ", got ", t);
  Tensor x = t.to(DType::f64).contiguous();
  for (int64_t i = 0; i < x.numel(); ++i)
    JX_CHECK(std::isfinite(x.data<double>()[i]), kMetric, ": ", name, ": expected finite values, got ",
             x.data<double>()[i], " at ", i);
  return x;
}

void check_params(const GroundingMetricsParams& p) {
  JX_CHECK(p.duration > 0 && std::isfinite(p.duration), kMetric,
           ": duration: expected a positive number, got ", p.duration);
  JX_CHECK(std::isfinite(p.power), kMetric, ": power: expected a number, got ", p.power);
  JX_CHECK(p.nms_thresh >= 0, kMetric, ": nms_thresh: expected a number >= 0, got ", p.nms_thresh);
  for (const int64_t n : p.ns) JX_CHECK(n >= 1, kMetric, ": ns: expected at least 1 each, got ", n);
}

}  // namespace

double interval_iou(const Moment& a, const Moment& b) {
  const double both = std::max(0.0, std::min(a.end, b.end) - std::max(a.begin, b.begin));
  const double either = std::max(a.end, b.end) - std::min(a.begin, b.begin);
  return either > 0 ? both / either : 0;
}

std::vector<int64_t> suppress_moments(const std::vector<Moment>& moments, const std::vector<double>& scores,
                                      double threshold) {
  JX_CHECK(moments.size() == scores.size(), "suppress_moments: scores: expected ", moments.size(), ", got ",
           scores.size());
  std::vector<int64_t> order(moments.size()), kept;
  std::iota(order.begin(), order.end(), int64_t{0});
  std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
    return scores[static_cast<size_t>(a)] > scores[static_cast<size_t>(b)];
  });
  for (const int64_t i : order) {
    const bool overlaps = std::any_of(kept.begin(), kept.end(), [&](int64_t k) {
      return interval_iou(moments[static_cast<size_t>(k)], moments[static_cast<size_t>(i)]) > threshold;
    });
    if (!overlaps) kept.push_back(i);
  }
  return kept;
}

GroundingMetrics grounding_metrics(const Tensor& contrastive, const Tensor& iou_score, const Tensor& mask,
                                   const Tensor& gt, const GroundingMetricsParams& p) {
  check_params(p);
  JX_CHECK(contrastive.defined() && contrastive.ndim() == 3 && contrastive.size(0) >= 1, kMetric,
           ": contrastive: expected [S, T, T] with S >= 1, got ", contrastive);
  const int64_t s = contrastive.size(0), t = contrastive.size(1);
  const Tensor c = checked("contrastive", contrastive, {s, t, t}),
               o = checked("iou_score", iou_score, {s, t, t}), m = checked("mask", mask, {t, t}),
               truth = checked("gt", gt, {s, 2});
  std::vector<Moment> moments;
  std::vector<int64_t> cells;
  const double clip = p.duration / static_cast<double>(t);
  for (int64_t cell = 0; cell < t * t; ++cell) {
    if (m.data<double>()[cell] == 0) continue;
    const int64_t begin = cell / t, last = cell % t;
    JX_CHECK(last >= begin, kMetric, ": mask: expected moments that end after they begin, got (", begin, ", ",
             last, ")");
    moments.push_back({static_cast<double>(begin) * clip, static_cast<double>(last + 1) * clip});
    cells.push_back(cell);
  }
  JX_CHECK(!cells.empty(), kMetric, ": mask: expected at least one valid cell");
  const int64_t ns = static_cast<int64_t>(p.ns.size()), ms = static_cast<int64_t>(p.ms.size());
  GroundingMetrics out{Tensor::empty({s, 2}, DType::f64), Tensor::zeros({ns, ms}, DType::f64)};
  double *best = out.best.write<double>(kMetric), *recall = out.recall.write<double>(kMetric);
  for (int64_t i = 0; i < s; ++i) {
    std::vector<double> scores;
    for (const int64_t cell : cells) {
      const double cosine = c.data<double>()[i * t * t + cell], overlap = o.data<double>()[i * t * t + cell];
      scores.push_back(std::pow(std::max(0.0, 0.5 * cosine + 0.5), p.power) * overlap);
    }
    const std::vector<int64_t> kept = suppress_moments(moments, scores, p.nms_thresh);
    const Moment first = moments[static_cast<size_t>(kept[0])];
    best[2 * i] = first.begin, best[2 * i + 1] = first.end;
    const Moment wanted{truth.data<double>()[2 * i], truth.data<double>()[2 * i + 1]};
    for (int64_t a = 0; a < ns; ++a) {
      double largest = 0;
      const size_t n = std::min(kept.size(), static_cast<size_t>(p.ns[static_cast<size_t>(a)]));
      for (size_t r = 0; r < n; ++r)
        largest = std::max(largest, interval_iou(moments[static_cast<size_t>(kept[r])], wanted));
      for (int64_t b = 0; b < ms; ++b)
        if (largest > p.ms[static_cast<size_t>(b)]) recall[a * ms + b] += 1 / static_cast<double>(s);
    }
  }
  return out;
}

}  // namespace juxta::ssl

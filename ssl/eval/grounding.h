#pragma once
// Metrics of video grounding: which moment of a video a sentence describes (2D-TAN, MMN, G2L).
#include <vector>

#include "ssl/params.h"
#include "tensor/tensor.h"

namespace juxta::ssl {

struct Moment {
  double begin, end;
};
// |a and b| / |a or b| of two intervals; 0 where both are empty.
double interval_iou(const Moment& a, const Moment& b);
// Non-maximum suppression: indices by falling score (ties: the lower index), without those whose IoU with an
// earlier one that stayed exceeds the threshold.
std::vector<int64_t> suppress_moments(const std::vector<Moment>& moments, const std::vector<double>& scores,
                                      double threshold);

struct GroundingMetricsParams {
  double power = 0.5, nms_thresh = 0.5, duration = 30;
  std::vector<int64_t> ns{1, 5};
  std::vector<double> ms{0.3, 0.5, 0.7};
  void fields(Params& f) {
    f("power", power), f("nms_thresh", nms_thresh), f("duration", duration), f("ns", ns), f("ms", ms);
  }
};
struct GroundingMetrics {
  Tensor best;    // f64 [S, 2]: the first moment, in seconds
  Tensor recall;  // f64 [ns, ms]: share of sentences with IoU > m among the first n moments
};
// contrastive (cosines), iou_score (in [0, 1]) [S, T, T]; mask i64 [T, T]: valid cells; gt [S, 2] in seconds.
// Cell (i, j) is the moment [i, j + 1) duration / T, its score (c/2 + 1/2)^power iou_score.
GroundingMetrics grounding_metrics(const Tensor& contrastive, const Tensor& iou_score, const Tensor& mask,
                                   const Tensor& gt, const GroundingMetricsParams& p = {});

}  // namespace juxta::ssl

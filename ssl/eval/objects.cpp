#include "ssl/eval/objects.h"

#include <algorithm>
#include <cmath>
#include <map>

#include "autograd/ops.h"
#include "ssl/eval/matrix.h"

namespace juxta::ssl {

namespace {

// [M, h, w] to [M, H, W].
Tensor resized(const Tensor& map, int64_t height, int64_t width, MapResize how) {
  const int64_t m = map.size(0), h = map.size(1), w = map.size(2);
  if (how == MapResize::bilinear)
    return resize_bilinear(Var(map.view({m, h, w, 1})), height, width)
        .value()
        .contiguous()
        .view({m, height, width});
  Tensor out = Tensor::empty({m, height, width}, DType::f64);
  double* o = out.write<double>("prompt_patch_segmentation");
  for (int64_t i = 0; i < m; ++i)
    for (int64_t y = 0; y < height; ++y)
      for (int64_t x = 0; x < width; ++x)
        *o++ = map.data<double>()[(i * h + y * h / height) * w + x * w / width];
  return out;
}

double intersection_over_union(const double* similarity, const int64_t* object, int64_t n, double threshold) {
  int64_t both = 0, either = 0;
  for (int64_t i = 0; i < n; ++i) {
    const bool predicted = similarity[i] > threshold, is_object = object[i] != 0;
    both += predicted && is_object;
    either += predicted || is_object;
  }
  return either == 0 ? 1.0 : static_cast<double>(both) / static_cast<double>(either);
}

// The cosine of every patch with the prompted one, f64 [M, h, w].
Tensor prompt_similarity(const Tensor& features, const Tensor& prompt, const PromptPatchParams& p) {
  constexpr const char* kMetric = "prompt_patch_segmentation";
  JX_CHECK(features.defined() && is_float(features.dtype()) && features.ndim() == 3 && features.numel() > 0,
           kMetric, ": features: expected a float [M, L, D], got ", features);
  const int64_t m = features.size(0), patches = features.size(1);
  JX_CHECK(p.grid.size() == 2 && p.grid[0] >= 1 && p.grid[1] >= 1 && p.grid[0] * p.grid[1] == patches,
           kMetric, ": grid: expected [h, w] with h w = ", patches, " patches");
  const std::vector<int64_t> at = integers_of("prompt_patch_segmentation: prompt", prompt, {m});
  Matrix similarity(m, patches);
  for (int64_t i = 0; i < m; ++i) {
    const int64_t l = at[static_cast<size_t>(i)];
    JX_CHECK(l >= 0 && l < patches, kMetric, ": prompt: expected a patch from 0 to ", patches - 1, ", got ",
             l);
    const Matrix f = unit_rows("prompt_patch_segmentation: features", features.select(0, i), 1);
    similarity.row(i) = (f * f.row(l).transpose()).transpose();
  }
  return tensor_of(similarity).view({m, p.grid[0], p.grid[1]});
}

}  // namespace

PromptPatchResult prompt_patch_segmentation(const Tensor& features, const Tensor& prompt,
                                            const Tensor& object_mask, const Tensor& thresholds,
                                            const PromptPatchParams& p) {
  constexpr const char* kMetric = "prompt_patch_segmentation";
  const Tensor small = prompt_similarity(features, prompt, p);
  const int64_t m = small.size(0);
  JX_CHECK(object_mask.defined() && object_mask.ndim() == 3 && object_mask.numel() > 0, kMetric,
           ": object_mask: expected i64 [M, H, W], got ", object_mask);
  const int64_t height = object_mask.size(1), width = object_mask.size(2), pixels = height * width;
  const std::vector<int64_t> object =
      integers_of("prompt_patch_segmentation: object_mask", object_mask, {m, height, width});
  const std::vector<double> cut = doubles_of("prompt_patch_segmentation: thresholds", thresholds);
  JX_CHECK(!cut.empty(), kMetric, ": thresholds: expected at least one");
  const Tensor map = resized(small, height, width, p.resize);
  const int64_t t = static_cast<int64_t>(cut.size());
  Matrix iou(m, t);
  PromptPatchResult r;
  r.predicted = Tensor::empty({m, height, width}, DType::i64);
  for (int64_t i = 0; i < m; ++i) {
    const double* similarity = map.data<double>() + i * pixels;
    for (int64_t j = 0; j < t; ++j)
      iou(i, j) = intersection_over_union(similarity, object.data() + i * pixels, pixels,
                                          cut[static_cast<size_t>(j)]);
    int64_t* predicted = r.predicted.write<int64_t>(kMetric) + i * pixels;
    for (int64_t x = 0; x < pixels; ++x) predicted[x] = similarity[x] > cut[static_cast<size_t>(t / 2)];
  }
  const Eigen::RowVectorXd miou = iou.colwise().mean();
  miou.maxCoeff(&r.best_threshold);
  r.similarity = small.view({m, small.size(1) * small.size(2)});
  r.iou = tensor_of(iou);
  r.miou = tensor_of(std::span<const double>(miou.data(), static_cast<size_t>(t)));
  r.oracle_iou = iou.rowwise().maxCoeff().mean();
  return r;
}

namespace {

double mean_of(const std::vector<double>& v) {
  double sum = 0;
  for (const double x : v) sum += x;
  return sum / static_cast<double>(v.size());
}

// Shares of the bins over [-1, 1]; the last bin holds its upper edge.
std::vector<double> shares(const std::vector<double>& v, int64_t bins) {
  std::vector<double> share(static_cast<size_t>(bins), 0.0);
  for (const double x : v) {
    const double place = std::floor((std::clamp(x, -1.0, 1.0) + 1) / 2 * static_cast<double>(bins));
    share[static_cast<size_t>(std::min(place, static_cast<double>(bins - 1)))] +=
        1 / static_cast<double>(v.size());
  }
  return share;
}

// P(a > b) + P(a = b) / 2.
double area_under_curve(const std::vector<double>& a, std::vector<double> b) {
  std::sort(b.begin(), b.end());
  double wins = 0;
  for (const double x : a) {
    const auto below = std::lower_bound(b.begin(), b.end(), x), above = std::upper_bound(below, b.end(), x);
    wins += static_cast<double>(below - b.begin()) + 0.5 * static_cast<double>(above - below);
  }
  return wins / (static_cast<double>(a.size()) * static_cast<double>(b.size()));
}

}  // namespace

ObjectSimilarity object_similarity(const Tensor& features, const Tensor& labels, int64_t bins) {
  constexpr const char* kMetric = "object_similarity";
  const Matrix f = unit_rows("object_similarity: features", features, 2);
  const std::vector<int64_t> label = integers_of("object_similarity: labels", labels, {f.rows()});
  JX_CHECK(bins >= 1, kMetric, ": bins: expected at least 1, got ", bins);
  std::vector<double> intra, inter;
  std::map<int64_t, std::vector<double>> by_object;
  for (int64_t i = 0; i < f.rows(); ++i)
    for (int64_t j = i + 1; j < f.rows(); ++j) {
      const int64_t a = label[static_cast<size_t>(i)], b = label[static_cast<size_t>(j)];
      JX_CHECK(a >= -1 && b >= -1, kMetric, ": labels: expected -1 or more, got ", std::min(a, b));
      if (a < 0 || b < 0) continue;
      const double cosine = f.row(i).dot(f.row(j));
      (a == b ? intra : inter).push_back(cosine);
      if (a == b) by_object[a].push_back(cosine);
    }
  JX_CHECK(!intra.empty() && !inter.empty(), kMetric,
           ": labels: expected pairs inside and between objects, got ", intra.size(), " and ", inter.size());
  ObjectSimilarity r{mean_of(intra), mean_of(inter), {}, 0, area_under_curve(intra, inter)};
  for (const auto& [object, cosines] : by_object) r.intra_per_object.push_back(mean_of(cosines));
  const std::vector<double> x = shares(intra, bins), y = shares(inter, bins);
  for (size_t i = 0; i < x.size(); ++i) r.overlap += std::min(x[i], y[i]);
  return r;
}

}  // namespace juxta::ssl

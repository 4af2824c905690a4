#pragma once
// What patch tokens know of objects: segmentation from one prompted patch, and similarity inside and between
// objects (evaluations of Masked Momentum Contrastive Learning, Wu et al. 2023, arXiv 2308.11448). Computed
// in double.
#include <vector>

#include "ssl/params.h"
#include "tensor/tensor.h"

namespace juxta::ssl {

enum class MapResize { bilinear, nearest };

struct PromptPatchParams {
  std::vector<int64_t> grid{};  // [h, w], h w = L
  MapResize resize = MapResize::bilinear;
  void fields(Params& f) { f("grid", grid), f("resize", resize, {"bilinear", "nearest"}); }
};

struct PromptPatchResult {
  Tensor similarity;           // [M, L]: cos(F_l, F_prompt)
  Tensor iou, miou;            // [M, T], [T]: of sim > threshold with the object; 1 where both are empty
  int64_t best_threshold = 0;  // the first index of the largest miou
  double oracle_iou = 0;       // mean over objects of their best threshold's
  Tensor predicted;            // i64 [M, H, W], at threshold T / 2
};

// features [M, L, D] of the image of each object, prompt i64 [M] (a patch on the object), object_mask i64 [M,
// H, W] (not 0: object), thresholds [T]. The similarity map is resized to the mask: bilinear with half-pixel
// centres, or the nearest patch floor(y h / H).
PromptPatchResult prompt_patch_segmentation(const Tensor& features, const Tensor& prompt,
                                            const Tensor& object_mask, const Tensor& thresholds,
                                            const PromptPatchParams& p);

struct ObjectSimilarity {
  double intra = 0, inter = 0;  // mean cosine of pairs inside one object, and of pairs of two objects
  std::vector<double> intra_per_object;  // by ascending label; objects of one token have none
  double overlap = 0;                    // sum over bins of the smaller share
  double auc = 0;                        // P(an intra pair is more similar than an inter pair), ties 1/2
};

// features [L, D], labels i64 [L] (-1 ignored). Histograms have `bins` equal bins over [-1, 1]. Error unless
// there are pairs of both kinds.
ObjectSimilarity object_similarity(const Tensor& features, const Tensor& labels, int64_t bins = 20);

}  // namespace juxta::ssl

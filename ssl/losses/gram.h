#pragma once
// Anchoring of patch similarities.
#include "ssl/losses/loss.h"
#include "ssl/params.h"

namespace juxta::ssl {

enum class GramNegatives { keep, drop, drop_teacher };

struct GramAnchorParams {
  bool normalize = true;
  bool image_level = true;  // false: one Gram matrix over the patches of all images
  GramNegatives negatives = GramNegatives::keep;
  void fields(Params& f) {
    f("normalize", normalize), f("image_level", image_level);
    f("negatives", negatives, {"keep", "drop", "drop_teacher"});
  }
};

// Gram anchoring (DINOv3, Simeoni et al. 2025, arXiv 2508.10104). student, teacher [N, L, D] patch features;
// the teacher is an earlier snapshot, a constant.
//   L = mean over all entries of (S S^T - T T^T)^2, Gram matrices [L, L] per image
// drop: negative similarities of both count as 0; drop_teacher: those of the teacher do.
Loss gram_anchor(const Var& student, const Var& teacher, const GramAnchorParams& p = {});

}  // namespace juxta::ssl

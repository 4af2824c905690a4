#pragma once
// Losses that compare the views of one sample only; what keeps them from collapsing is said at each.
#include "ssl/losses/loss.h"
#include "ssl/params.h"

namespace juxta::ssl {

enum class CosineForm { simsiam, byol };

struct NegativeCosineParams {
  CosineForm form = CosineForm::simsiam;
  void fields(Params& f) { f("form", form, {"simsiam", "byol"}); }
};

// Negative cosine of predictions p1, p2 [N, D] against the other view's projections z1, z2 [N, D], which are
// constants (SimSiam, Chen & He 2021, arXiv 2011.10566; BYOL, Grill et al. 2020, arXiv 2006.07733).
//   simsiam  L = -1/2 (mean cos(p1, z2) + mean cos(p2, z1));  z from the same network
//   byol     L = (2 - 2 mean cos(p1, z2)) + (2 - 2 mean cos(p2, z1));  z from the moving average
// The predictor and the stop-gradient keep it from collapsing. Terms: cosine1, cosine2.
Loss negative_cosine(const Var& p1, const Var& p2, const Var& z1, const Var& z2,
                     const NegativeCosineParams& p = {});

struct SiamLipParams {
  int64_t views = 2;  // A, local views
  void fields(Params& f) { f("views", views); }
};

// SiamLIP and BYOLIP (Fini et al. 2023, arXiv 2305.08675): each modality predicts the other. p (predictions)
// and v (projections, of the same network or of the moving average: constants) [N, D]; of A local views [A,
// N, D], undefined for A = 0.
//   D(p, v) = 2 - 2 mean cos(p, v)
//   L = mean of D(p_image, v_text), D(p_text, v_image) and the same of all A^2 + A^2 pairs of local views
struct SiamLipSide {
  Var p, v, p_local, v_local;
};
Loss siamlip(const SiamLipSide& image, const SiamLipSide& text, const SiamLipParams& p = {});

}  // namespace juxta::ssl

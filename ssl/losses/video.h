#pragma once
// CoMix: temporal contrast and background mixing for videos of two domains (Sahoo et al. 2021, arXiv
// 2110.15128). The graph head is in nn/graph.h, the mixing in ssl/views/background.h.
#include "ssl/losses/loss.h"
#include "ssl/params.h"

namespace juxta::ssl {

struct ComixParams {
  double tau = 0.5, base_tau = 0.07;
  double smooth = 0.1;     // label smoothing
  double threshold = 0.7;  // least confidence of a pseudo-label
  double lambda_bgm = 0.1, lambda_tpl = 0.01;
  void fields(Params& f) {
    f("tau", tau), f("base_tau", base_tau), f("smooth", smooth), f("threshold", threshold);
    f("lambda_bgm", lambda_bgm), f("lambda_tpl", lambda_tpl);
  }
};

// Logits [B, C] of the videos of one domain at two speeds, as they are and with the other domain's
// backgrounds.
struct ComixLogits {
  Var fast, slow, mix_fast, mix_slow;
};

// labels i64 [B] of the source videos. Contrast acts on p = softmax(logits), not scaled to unit length:
//   supcon = tau/base_tau mean_a -1/|P(a)| sum_{p in P(a)} [ f_a.f_p/tau - log sum_{b != a} e^{f_a.f_b/tau} ]
//   ce     = cross-entropy with label smoothing of source.fast
//   bgm    = sum over domains of supcon over the four views of every video, class = video
//   q      = softmax( (target.fast + target.slow) / 2 ), a constant; a video is kept if max q >= threshold
//   tpl    = supcon over target.fast and target.slow of the kept videos, class = argmax q; 0 if none is kept
//   L      = ce + lambda_bgm bgm + lambda_tpl tpl. Terms: ce, bgm, tpl, n_kept (i64).
Loss comix(const ComixLogits& source, const ComixLogits& target, const Tensor& labels,
           const ComixParams& p = {});

}  // namespace juxta::ssl

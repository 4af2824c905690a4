#pragma once
// Supervised contrastive loss (Khosla et al. 2020, arXiv 2004.11362): every sample of the anchor's class is a
// positive.
#include "ssl/losses/loss.h"
#include "ssl/params.h"

namespace juxta::ssl {

// Who the anchors are: all rows, or those of the first view alone.
enum class ContrastMode { all, one };
// Where the mean over the positives stands: outside the logarithm or inside.
enum class SupConVariant { out, in };

struct SupConParams {
  double temperature = 0.07, base_temperature = 0.07;  // the paper: 0.1; its code: 0.07
  ContrastMode contrast_mode = ContrastMode::all;
  bool normalize = true;
  void fields(Params& f) {
    f("temperature", temperature), f("base_temperature", base_temperature);
    f("contrast_mode", contrast_mode, {"all", "one"});
    f("normalize", normalize);
  }
};

struct SupConMaskParams : SupConParams {
  SupConVariant variant = SupConVariant::out;
  void fields(Params& f) {
    SupConParams::fields(f);
    f("variant", variant, {"out", "in"});
  }
};

// features [N, V, D], labels i64 [N] or undefined (every sample is its own class: SimCLR). Rows are
// view-major, a = v N + i. P(a): the other rows of a's class; A(a): all other rows.
//   L_a = -1/|P(a)| sum_{p in P(a)} [ s_ap - log sum_{b in A(a)} e^{s_ab} ],  s = z z^T / temperature
//   L = temperature / base_temperature mean_a L_a
// An anchor without positives contributes 0 and is counted. Samples: L_a, unscaled.
Loss supcon(const Var& features, const Tensor& labels, const SupConParams& p = {});

// The same with any positive relation: mask [N, N] of 0 and 1 (i64 or bool; row i's positives; may be
// asymmetric) between samples in place of labels, and with the second variant
//   in: L_a = -log( 1/|P(a)| sum_{p in P(a)} e^{s_ap} / sum_{b in A(a)} e^{s_ab} )
Loss supcon_mask(const Var& features, const Tensor& labels, const Tensor& mask,
                 const SupConMaskParams& p = {});

}  // namespace juxta::ssl

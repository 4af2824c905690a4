#pragma once
// Contrast between samples of two different classes, inside the subspace that a gate opens for the pair.
#include "ssl/losses/loss.h"
#include "ssl/params.h"

namespace juxta::ssl {

// filter: cosine of gated vectors (the paper); square: unit vectors, gated twice (the newest code; no
// cosine).
enum class GateForm { filter, square };
// Mean over all positive pairs, or over each anchor's positives and then over the anchors that have any.
enum class PairReduction { pairs, anchor };

struct HydraParams {
  double temperature = 0.1;
  GateForm form = GateForm::filter;
  PairReduction reduction = PairReduction::pairs;
  double gate_penalty = 0;  // weight of the gates' mean entropy, which pushes them towards 0 and 1
  void fields(Params& f) {
    f("temperature", temperature), f("form", form, {"filter", "square"});
    f("reduction", reduction, {"pairs", "anchor"}), f("gate_penalty", gate_penalty);
  }
};

// Hydra, later SimLAP (Wu et al. 2024, arXiv 2410.18200). z1 [B, D] anchors of class y1 i64 [B] with partner
// class y2 i64 [B], z2 [N, D] candidates of class yc i64 [N], gate [B, D] of each anchor's pair of classes.
//   filter: c_bn = cos(g_b z1_b, g_b z2_n),   square: c_bn = (g_b^2 unit(z1_b)) . unit(z2_n)
//   P_b = {n: yc_n = y2_b},  N_b = {n: yc_n not in {y1_b, y2_b}}
//   l_bn = log( e^{c_bn / t} + sum_{m in N_b} e^{c_bm / t} ) - c_bn / t,   n in P_b
//   L = sum_b sum_{n in P_b} l_bn / sum_b |P_b| + gate_penalty mean_{bk} H(g_bk)
//   H(g) = -g log g - (1 - g) log(1 - g); with a penalty gates must lie in (0, 1)
// Without a positive anywhere the loss is 0; a positive without negatives costs 0. Samples: each anchor's
// mean over its positives, 0 where it has none.
Loss hydra(const Var& z1, const Var& z2, const Var& gate, const Tensor& y1, const Tensor& y2,
           const Tensor& yc, const HydraParams& p = {});

}  // namespace juxta::ssl

#pragma once
// G2L: video grounding with geodesic distances and semantic Shapley interaction (Li et al. 2023, arXiv
// 2307.14277), on the matching losses of MMN (Wang et al. 2022, arXiv 2109.04872). The map of moments is in
// nn/moments.h, its metrics in ssl/eval/grounding.h. Geodesic contrast and interaction are well-posed forms
// of the two terms; the paper's code has slips in both.
#include "ssl/losses/loss.h"
#include "ssl/params.h"

namespace juxta::ssl {

// Geodesic similarity 1 - d(a, .) of moments to anchors, a constant: feats [N, C], anchors i64 [Q] -> f64 [Q,
// N]. Directed graph, every moment to its k nearest by Euclidean distance (without itself, ties: the lower
// index; all when k >= N - 1), edge cost 1 - cos; d is the shortest path, and 1 where that exceeds `limit`.
Tensor g2l_geodesic(const Tensor& feats, const Tensor& anchors, int64_t k = 5, double limit = 0.5);

struct G2lParams {
  int64_t top_k = 1, geo_topk = 5;
  double tau_v = 0.1, tau_s = 0.1, margin = 0.3;
  double neg_iou = 0.5, removal_iou = 0.5;
  double min_iou = 0.5, max_iou = 1;
  double w_iou = 1, w_con = 0.1;
  void fields(Params& f) {
    f("top_k", top_k), f("geo_topk", geo_topk), f("tau_v", tau_v), f("tau_s", tau_s), f("margin", margin);
    f("neg_iou", neg_iou), f("removal_iou", removal_iou), f("min_iou", min_iou), f("max_iou", max_iou);
    f("w_iou", w_iou), f("w_con", w_con);
  }
};

// B videos of N moments, S sentences.
struct Grounding {
  Var feats, feats_iou;  // [B, N, C]: v and v'
  Var sents, sents_iou;  // [S, C]: u and u'
  Tensor video;          // i64 [S]: the sentence's video
  Tensor iou;            // [S, N]: of the sentence's moment with those of its video
  Tensor sent_iou;       // [S, S]: between the moments of two sentences
  Tensor geo;            // [S, N]: geodesic similarity to the sentence's best moment
};

// All similarities are cosines; top_k and geo_topk take the lower index of ties.
//   iou_loss  mean over sentences and their video's moments of BCE( sigmoid(10 <u', v'>), clip((IoU -
//             min_iou)/(max_iou - min_iou), 0, 1) )
//   vid       mean over sentences i and their top_k IoU moments v of -log [ e^{(<v,u_i> - margin)/tau_v} / (
//             the same + sum_{j in J_i} e^{<v,u_j>/tau_v} ) ],  J_i: all others but those of i's video with
//             sent_iou >= removal_iou
//   gcl       mean_i sum_{k in G_i} p_k [ log( sum_{G_i} e^{s_ij/tau_s} + sum_neg w_ij e^{s_ij/tau_s} ) -
//             s_ik/tau_s ],  G_i: the geo_topk moments of largest geo, p = geo / sum_{G_i} geo; negatives:
//             those of i's video outside G_i with IoU < neg_iou, w = 1 + geo, and all of other videos, w = 1
//   L         w_iou iou_loss + w_con (vid + gcl)
// Terms: vid, gcl, iou_loss. Memory is O(S N): other videos' moments enter through a fused log-sum-exp.
Loss g2l_losses(const Grounding& g, const G2lParams& p = {});

enum class Interaction { full, exact };

struct ShapleyParams {
  Interaction mode = Interaction::full;
  double tau = 0.1, tau_i = 0.1;
  void fields(Params& f) { f("mode", mode, {"full", "exact"}), f("tau", tau), f("tau_i", tau_i); }
};

// Semantic Shapley interaction of the moments [M, C] and sentences [N, C] of one video. Coalition value, with
// a = softmax over the moments present of the cosines, and 0 where one side is empty:
//   f = 1/2 ( mean_moments max_sentences a + mean_sentences max_moments a )
// Interaction X_ij of moment i and sentence j (a constant), U everyone:
//   full   f(U) - f(U\i) - f(U\j) + f(U\{i,j})
//   exact  the same difference f(T + i + j) - f(T + i) - f(T + j) + f(T), over all coalitions T of the others
//          with Shapley's weights |T|! (M + N - |T| - 2)! / (M + N - 1)!;  M + N <= 20
//   L = -mean_j sum_i softmax_i(X_ij/tau_i) log softmax_i(cos(s_j, m_i)/tau)
// Terms: interaction [N, M].
Loss g2l_shapley(const Var& moments, const Var& sents, const ShapleyParams& p = {});

}  // namespace juxta::ssl

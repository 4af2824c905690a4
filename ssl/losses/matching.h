#pragma once
// Losses of models that score one pair (or one masked word) at a time: matching heads, masked words with a
// teacher, distillation of pair scores, reranking.
#include "ssl/losses/loss.h"
#include "ssl/params.h"

namespace juxta::ssl {

struct AlbefItmParams {
  int64_t n_positive = 0;  // 0: a third of the rows
  void fields(Params& f) { f("n_positive", n_positive); }
};

// Image-text matching (ALBEF, Li et al. 2021, arXiv 2107.07651). cls [M, W]: class tokens of the n_positive
// true pairs, then of false ones (N true pairs, N with a false image, N with a false text); weight [2, W],
// bias [2], class 1 = match.
//   L = mean_r CE(cls_r weight^T + bias, [r < n_positive])
// Terms: logits [M, 2], match_probability [M].
Loss albef_itm(const Var& cls, const Var& weight, const Var& bias, const AlbefItmParams& p = {});

struct AlbefMlmParams {
  double alpha = 0.4;
  int64_t ignore_index = -100;
};

// Masked words with momentum distillation (ALBEF). logits, teacher_logits (constants) [N, L, V], labels i64
// [N, L]: the word, or ignore_index where it was not masked. Both means are over the masked places of the
// whole batch; none: 0.
//   L = (1 - alpha) mean CE(logits, label) + alpha mean -sum_V softmax(teacher_logits) log softmax(logits)
// Terms: loss_hard, loss_soft.
Loss albef_mlm(const Var& logits, const Tensor& teacher_logits, const Tensor& labels,
               const AlbefMlmParams& p = {});

struct DcdParams {
  double alpha = 0.2;
  double temperature = 1;  // T^2 MSE(t / T, s / T): it cancels
  bool per_sample = true;  // false: r_i meets a mean over the batch and has no effect, as published
  bool dynamic = true;     // false: u_i = r_i = 1/B
  void fields(Params& f) {
    f("alpha", alpha), f("temperature", temperature), f("per_sample", per_sample), f("dynamic", dynamic);
  }
};

// Dynamic contrastive distillation (Rao et al. 2022, arXiv 2207.01426). student_score, teacher_score
// (constant) [B, C] of one image with its true caption (column 0) and C - 1 false ones.
//   p_i = softmax(t_i), h_i = -sum_c p_ic log p_ic;   u_i = h_i / sum_j h_j (1/B if all are 0)
//   r = softmax_i((1 - u_i)^2)
//   L = alpha sum_i r_i mean_c (t_ic - s_ic)^2 + (1 - alpha) sum_i u_i mean_c BCE(s_ic, [c = 0])
// Terms: d_loss, nll_loss (the two sums), uncertainty u, distill_weight r [B].
Loss dcd_loss(const Var& student_score, const Tensor& teacher_score, const DcdParams& p = {});

enum class RerankForm { url, cl, sft };
enum class RerankReduction { group, document };
enum class RerankWeight { cl, sft, base };
enum class RerankDirection { cl, sft };

struct RerankParams {
  RerankForm loss = RerankForm::url;
  double temperature = 1;                              // of cl
  RerankReduction reduction = RerankReduction::group;  // of sft: sum of a group, or mean over all documents
  RerankWeight weight = RerankWeight::sft;             // of url; base: 1
  RerankDirection direction = RerankDirection::sft;
  double tau = 0;  // of url with weight base: 0 where the right answer's probability exceeds 1 - tau
  void fields(Params& f) {
    f("loss", loss, {"url", "cl", "sft"}), f("temperature", temperature);
    f("reduction", reduction, {"group", "document"}), f("weight", weight, {"cl", "sft", "base"});
    f("direction", direction, {"cl", "sft"}), f("tau", tau);
  }
};

// Reranking by the answers "yes" and "no" of a language model (Dai et al. 2025, arXiv 2510.14824). hidden [G,
// C, D]: one query per group, document 0 is relevant; token_yes, token_no [D]; mask i64 [G, C] (0: no
// document there) or undefined. z_y = token_yes . h, z_n = token_no . h.
//   cl   mean_g -log[ e^{z_y(h_0)/t} / sum_j e^{z_y(h_j)/t} ]
//   sft  mean_g sum_j -log sigma(+-(z_y - z_n)(h_j)),  + for j = 0;  document: the mean over all documents
//   url  mean_g [ -W+ d(h_0) + sum_j W-_j d(h_j) ],  W constants, d = z_y or z_y - z_n: a gradient, not a
//   figure
// W of cl: W-_j = softmax_j(z_y), W+ their sum; of sft: W+ = P(no | h_0), W-_j = P(yes | h_j). Terms: score
// (z_y, or P(yes) of sft) or weight [G, C] (0 where masked).
Loss rerank_loss(const Var& hidden, const Var& token_yes, const Var& token_no, const Tensor& mask = {},
                 const RerankParams& p = {});

}  // namespace juxta::ssl

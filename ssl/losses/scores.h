#pragma once
// Losses on scores that something else computed: of one positive and K negatives per row.
#include <optional>

#include "ssl/losses/loss.h"
#include "ssl/params.h"

namespace juxta::ssl {

// pos [N], neg [N, K]; valid [N, K] of 0 and 1 (i64 or bool) marks the negatives that exist, undefined: all;
// pos_logpn [N] and neg_logpn [N, K]: log-probabilities under the noise distribution, constants, together or
// not at all.
struct Scores {
  Var pos, neg;
  Tensor valid{};
  Var pos_logpn{}, neg_logpn{};
};

struct NceBinaryParams {
  std::optional<double> noise_ratio{};  // noise samples per real one; null: K
  void fields(Params& f) { f("noise_ratio", noise_ratio); }
};

// Binary noise-contrastive estimation (Gutmann & Hyvärinen 2010, AISTATS): every pair is a decision of its
// own.
//   s~ = s - log(noise_ratio p_N) where p_N is given, else s
//   L = mean_i [ softplus(-s~_i+) + sum_k softplus(s~_ik) ]
Loss nce_binary(const Scores& s, const NceBinaryParams& p = {});

struct NceRankingParams {
  double temperature = 1;
  void fields(Params& f) { f("temperature", temperature); }
};

// Ranking noise-contrastive estimation (Ma & Collins 2018, arXiv 1809.01812): s- = s / temperature - log p_N
// where given.
//   L = mean_i [ -s-_i+ + log(e^{s-_i+} + sum_k e^{s-_ik}) ]
Loss nce_ranking(const Scores& s, const NceRankingParams& p = {});

enum class MarginReduction { sum, mean, hardest };

struct MarginRankingParams {
  double margin = 0.2;
  MarginReduction reduction = MarginReduction::sum;
  void fields(Params& f) {
    f("margin", margin);
    f("reduction", reduction, {"sum", "mean", "hardest"});
  }
};

// Ranking hinge (Collobert & Weston 2008, ICML): per row max(0, margin - pos + neg_k), summed or averaged
// over its negatives, or of the largest alone; the mean over rows. A row without a valid negative gives 0.
Loss margin_ranking(const Scores& s, const MarginRankingParams& p = {});

struct SclFinetuneParams {
  double temperature = 0.3, weight = 0.9;
  bool sum = false;  // reduction "sum": of the contrastive part over the rows
  bool normalize = true;
  void fields(Params& f);
};

// Supervised contrastive fine-tuning (Gunel et al. 2021, arXiv 2011.01403). z [N, D], logits [N, C], labels
// i64 [N].
//   L = (1 - weight) mean_i CE(logits_i, label_i) + weight SupCon(z, labels)
// Rows without a partner of their class contribute 0 to the second part, whose mean divides by N all the
// same. Terms: cross_entropy, contrastive.
Loss scl_finetune(const Var& z, const Var& logits, const Tensor& labels, const SclFinetuneParams& p = {});

struct MclInfoNceParams {
  double temperature = 0.5;
  bool two_sided = true;  // false: rows against columns and back (CLIP)
  bool normalize = true;
  void fields(Params& f) {
    f("temperature", temperature), f("two_sided", two_sided), f("normalize", normalize);
  }
};

// Multistage contrastive learning (Zhang et al. 2024): negatives of an anchor are the samples of its cell
// only. z1, z2 [N, D], label i64 [N], the cell of each sample.
//   two_sided: L = 1/(2N) sum over all 2N anchors of -log( e^{s_a,a+} / sum_{b != a, same cell} e^{s_ab} )
//   else:      the mean of both directions of -log( e^{s_ii} / sum_{j: same cell} e^{s_ij} ), s = z1 z2^T /
//   temperature
Loss mcl_infonce(const Var& z1, const Var& z2, const Tensor& label, const MclInfoNceParams& p = {});

}  // namespace juxta::ssl

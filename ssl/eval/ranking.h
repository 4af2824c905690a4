#pragma once
// Metrics of ranked lists. Higher scores come first, ties by the lower index; everything is computed in
// double, one query after the other, so results do not depend on the number of threads.
#include <cstdint>
#include <vector>

#include "ssl/params.h"
#include "tensor/tensor.h"

namespace juxta::ssl {

// ---- Ranking of documents with graded or binary relevance.
enum class Gain { linear, exp2 };  // rel, or 2^rel - 1

struct RankMetricsParams {
  int64_t k = 10;
  Gain gain = Gain::linear;
  void fields(Params& f) { f("k", k), f("gain", gain, {"linear", "exp2"}); }
};
struct RankMetrics {  // per query, [Q]
  std::vector<double> ndcg, mrr, map, recall, precision, hit;
};
// score [Q, C], relevance i64 [Q, C] >= 0, mask i64 [Q, C] (0: no candidate of that query) or undefined.
//   ndcg       sum_{r <= k} gain(rel_r) / log2(r + 1), over that of the ideal order of all candidates
//   mrr        1 / rank of the first relevant candidate within k (0: none)
//   map        sum_{r <= k} precision@r [rel_r > 0] / min(#relevant, k)
//   recall     relevant within k / #relevant;  precision: / k;  hit: any
// Queries without a relevant candidate score 0.
RankMetrics rank_metrics(const Tensor& score, const Tensor& relevance, const Tensor& mask,
                         const RankMetricsParams& p = {});

// ---- Recommendation: every item is ranked for every user with test items (LightGCN, XSimGCL).
struct RecommendationParams {
  enum class Ties { index } ties = Ties::index;  // the lower item first
  std::vector<int64_t> ks{20};
  void fields(Params& f) { f("ks", ks), f("ties", ties, {"index"}); }
};
struct RecommendationMetrics {
  std::vector<int64_t> users, topk;                        // [n], [n, max ks]
  std::vector<double> recall, ndcg, precision, hit_ratio;  // one per k
};
// scores [U, I]; train and test i64 [n, 2] pairs (user, item). A user's training items rank last. Per user,
// then averaged over users: recall = hits / |test_u|, precision = hits / k, ndcg with the ideal over
// min(k, |test_u|). hit_ratio is that of the field's reference code: all hits over all test items.
RecommendationMetrics ranking_metrics(const Tensor& scores, const Tensor& train, const Tensor& test,
                                      const RecommendationParams& p = {});

// ---- Retrieval by class label.
struct LabelRetrieval {
  std::vector<double> recall;  // recall@k, one per k: any hit within k
  double precision_at_1 = 0, r_precision = 0, map_at_r = 0, map = 0, mrr = 0;
  int64_t queries = 0;  // with something to find; the others are left out
};
// query [N, D], query_labels i64 [N]; reference [M, D] and its labels, or undefined: the queries are the
// references, each without itself. Cosine similarity; R is the number of references of the query's label.
LabelRetrieval label_retrieval(const Tensor& query, const Tensor& query_labels, const Tensor& reference,
                               const Tensor& reference_labels, const std::vector<int64_t>& k);

// ---- Image-text retrieval (ALBEF, Li et al. 2021, arXiv 2107.07651), recalls in percent.
struct ItrRecall {
  std::vector<int64_t> rank_text,
      rank_image;  // from 0: of an image's best caption, [I]; of a caption's image, [T]
  double txt_r1 = 0, txt_r5 = 0, txt_r10 = 0, img_r1 = 0, img_r5 = 0, img_r10 = 0;
  double txt_r_mean = 0, img_r_mean = 0, r_mean = 0;
  Tensor score_i2t, score_t2i;  // with re-ranking: the scores that ranked, f64 [I, T] and [T, I]
};
// sims [I, T], txt2img i64 [T]: the image of each caption; every image has at least one. k_test > 0: the
// k_test best of each query by sims take their itm_score [I, T], all others -100.
ItrRecall itr_recall(const Tensor& sims, const Tensor& txt2img, const Tensor& itm_score, int64_t k_test = 0);

// ---- Code search: one right candidate per query (CodeSearchNet; CoCoSoDa).
struct CodeSearch {
  std::vector<int64_t> rank;  // from 1; 0: no answer, or beyond the cut-off
  double mrr = 0, r_at_1 = 0, r_at_5 = 0, r_at_10 = 0;
};
// queries [Q, D], candidates [C, D], answer i64 [Q] (-1: none). Dot products.
CodeSearch code_search_mrr(const Tensor& queries, const Tensor& candidates, const Tensor& answer,
                           int64_t cutoff = 1000);

}  // namespace juxta::ssl

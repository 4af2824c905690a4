#pragma once
// Losses of text encoders: retrieval with shared hard negatives, code search, labels as text, spread of token
// states.
#include <string>

#include "ssl/losses/loss.h"
#include "ssl/params.h"

namespace juxta::ssl {

enum class Partition { joint, per_direction };

struct MultipleNegativesRankingParams {
  double scale = 20;  // 1 / temperature
  std::vector<std::string> directions{"query_to_doc"};
  Partition partition = Partition::joint;
  void fields(Params& f) {
    f("scale", scale), f("directions", directions);
    f("partition", partition, {"joint", "per_direction"});
  }
};

// Multiple negatives ranking (Henderson et al. 2017, arXiv 1705.00652; four directions: Li et al. 2023, GTE,
// arXiv 2308.03281). anchors a, positives p [N, D]; hard_negatives h [H, N, D] or undefined, shared by all
// anchors. s = scale times cosine. Blocks of row i:
//   query_to_doc    s(a_i, p_j), s(a_i, h_kj)            all j, k
//   query_to_query  s(a_i, a_j)                          j != i
//   doc_to_query    s(p_i, a_j)                          all j
//   doc_to_doc      s(p_i, p_j), s(p_i, h_kj)            j != i: the documents of other anchors
//   L = mean_i ( log Z_i - s(a_i, p_i) )
// joint: Z sums over all blocks together. per_direction: log Z is the mean of the blocks' own, which must all
// contain the positive (query_to_doc, doc_to_query).
Loss multiple_negatives_ranking(const Var& anchors, const Var& positives, const Var& hard_negatives,
                                const MultipleNegativesRankingParams& p = {});

struct CocosodaParams {
  double temperature = 0.07;
  double logit_scale = 1;  // 20 in the released training loop
  bool intra = true, inter = true;
  bool normalize = true;  // of the four inputs; queues hold unit rows
  void fields(Params& f) {
    f("temperature", temperature), f("logit_scale", logit_scale), f("intra", intra), f("inter", inter);
    f("normalize", normalize);
  }
};

// Encodings of a batch [N, D] of code and of queries by the live encoder (q) and, augmented, by the momentum
// encoder (k, constants); of past batches the queues [K, D] (constants): live code and nl, masked ones by the
// momentum encoder.
struct CocosodaInputs {
  Var code_q, nl_q, code_k, nl_k;
  Var code_queue, masked_code_queue, nl_queue, masked_nl_queue;
};
// CoCoSoDa (Shi et al. 2022, arXiv 2204.03293). A block (a, b, Q) is the mean over rows i of
//   CE([a_i . b_1 .. a_i . b_N, a_i . Q_1 .. a_i . Q_K] logit_scale / temperature, i)
//   inter  (code_q, nl_q, Q_nl) (code_q, nl_k, Q~_nl) (nl_q, code_q, Q_code) (nl_q, code_k, Q~_code)
//   intra  (code_q, code_k, Q~_code) (nl_q, nl_k, Q~_nl)
// L is the mean of the blocks. Terms: per_block, in this order.
Loss cocosoda(const CocosodaInputs& in, const CocosodaParams& p = {});

enum class Matcher { product, concat };
enum class MatcherAct { relu, tanh };
enum class PairReduction { pairs, texts };

struct InputLabelNceParams {
  Matcher matcher = Matcher::product;
  MatcherAct activation = MatcherAct::relu;
  PairReduction reduction = PairReduction::pairs;
  void fields(Params& f) {
    f("matcher", matcher, {"product", "concat"}), f("activation", activation, {"relu", "tanh"});
    f("reduction", reduction, {"pairs", "texts"});
  }
};

// text [N, D], label_emb [L, E]; label_ids, target, valid i64 [N, M]: M labels per text, whether each is true
// (0, 1) and whether the pair exists (0, 1; what the others hold is not read). Weights of the matcher: u [D,
// J] and v [E, J], a, c, w [J] and b of one element (product); u [D + E, J], a, w, b (concat; v and c
// undefined).
struct InputLabelPairs {
  Var text, label_emb;
  Tensor label_ids, target, valid;
  Var u, a, v, c, w, b;
};
// Input-label contrast: every (text, label) pair is a binary decision (GILE, Pappas & Henderson 2019, arXiv
// 1806.06219; CLESS, Rethmeier & Augenstein 2021, arXiv 2010.01061). x a text, e a label's embedding:
//   product  s = (act(x u + a) * act(e v + c)) . w + b
//   concat   s = act([x; e] u + a) . w + b
//   BCE(s, y) = softplus(s) - y s
// pairs: the mean over valid pairs (none: 0). texts: the sum per text, the mean over texts. Terms: score [N,
// M], 0 where not valid.
Loss input_label_nce(const InputLabelPairs& in, const InputLabelNceParams& p = {});

enum class TextReduction { micro, macro };

struct SimCtgParams {
  double margin = 0.5;
  int64_t prefix_len = 0;
  TextReduction reduction = TextReduction::micro;
  void fields(Params& f) {
    f("margin", margin), f("prefix_len", prefix_len), f("reduction", reduction, {"micro", "macro"});
  }
};

// SimCTG (Su et al. 2022, arXiv 2202.06417). hidden h [N, T, D] of N texts, lengths i64 [N] (0 to T, padding
// on the right); pairs i != j of tokens of one text, but those within the first prefix_len tokens:
//   L = mean max(0, margin - 1 + cos(h_i, h_j))
// micro: over all pairs of the batch. macro: per text, then over texts that have pairs. No pairs at all
// (texts of one token): 0, since nothing is to be spread.
Loss simctg(const Var& hidden, const Tensor& lengths, const SimCtgParams& p = {});

}  // namespace juxta::ssl

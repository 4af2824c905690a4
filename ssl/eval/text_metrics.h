#pragma once
// Metrics of text models: isotropy of hidden states, repetition, word errors, and how in-context learning
// resembles fine-tuning.
#include <cstdint>
#include <vector>

#include "tensor/tensor.h"

namespace juxta::ssl {

// Isotropy, 1 - mean cosine of h_i, h_j over i != j of the same text (Su & Collier 2022, arXiv 2210.14140):
// from 0 to 2, 1 when orthogonal on average. micro: over all pairs of all texts; macro: mean over texts.
// Texts of fewer than two tokens have no pairs and are left out; Error when no text has any.
struct Isotropy {
  double micro = 0, macro = 0;
};
// hidden [B, T, D], lengths i64 [B] (1 <= length <= T; padding on the right).
Isotropy isotropy(const Tensor& hidden, const Tensor& lengths);

// Repetition of n-grams over a corpus (Su et al. 2022, arXiv 2202.06417):
//   rep_n = 1 - unique n-grams / n-grams, counted per text and summed over texts;  diversity = prod (1 -
//   rep_n)
struct TextDegeneration {
  double rep_2 = 0, rep_3 = 0, rep_4 = 0, diversity = 0;  // fractions
};
// tokens i64 [B, T], lengths i64 [B]. drop_last leaves out the last n-gram of each text, as a released script
// does. Error when the texts hold no n-gram of some length.
TextDegeneration text_degeneration(const Tensor& tokens, const Tensor& lengths, bool drop_last = false);

// Word error rate: Levenshtein distance of words, summed over sentences, over the words of all references.
struct WordErrorRate {
  std::vector<int64_t> distance;  // [N]
  double wer = 0;
};
// ref, hyp i64 [N, L], [N, L'], lengths i64 [N]; a reference may be empty, not all of them.
WordErrorRate word_error_rate(const Tensor& ref, const Tensor& hyp, const Tensor& ref_len,
                              const Tensor& hyp_len);

// How in-context learning (icl) resembles fine-tuning (ft), beside zero-shot (zs): Dai et al. 2022, arXiv
// 2212.10559. Predictions i64 [E]; per layer attention outputs h [E, L, D] and attention scores to the
// query's tokens m [E, L, H, S]; ctx_icl [E, L, N], scores to the N demonstration tokens; q_train [L, N, D],
// queries recorded in fine-tuning; q_test [E, L, D].
struct IclInputs {
  Tensor gold, pred_zs, pred_icl, pred_ft;
  Tensor h_zs, h_icl, h_ft, m_zs, m_icl, m_ft;
  Tensor ctx_icl, q_train, q_test;
};
struct IclSimilarity {
  double rec2ftp = 0;  // percent of what only fine-tuning gets right that in-context learning gets right too
  std::vector<double> simaou;                     // [L]: cos(h_icl - h_zs, h_ft - h_zs) of unit h
  std::vector<double> simam_after, simam_before;  // [L]: cos(m_icl, m_ft), cos(m_icl, m_zs), mean over heads
  std::vector<double> kendall;                    // [L]: tau-b of ctx_icl and q_train . q_test
};
IclSimilarity icl_similarity(const IclInputs& in);

}  // namespace juxta::ssl

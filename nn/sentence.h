#pragma once
// Sentence vectors from the hidden states of a text encoder.
#include "autograd/var.h"

namespace juxta::nn {

// Mean over the tokens t with mask[b, t] != 0: tokens [B, T, D], mask i64 [B, T] of 0 and 1 -> [B, D]. Error
// on a row without any.
Var masked_mean(const Var& tokens, const Tensor& mask);

// The poolings of SimCSE (Gao et al. 2021, arXiv 2104.08821), each [B, D].
struct SentencePooling {
  Var cls;             // first token of the last layer
  Var avg;             // masked mean of the last layer
  Var avg_top2;        // masked mean of the last two layers' mean
  Var avg_first_last;  // masked mean of the mean of the last layer and the one at `first_index`
};
// hidden [L + 1, B, T, D]: embeddings, then every block; L >= 1. first_index 1 is the first block (SimCSE), 0
// the embeddings (ESimCSE).
SentencePooling sentence_pooling(const Var& hidden, const Tensor& mask, int64_t first_index = 1);

}  // namespace juxta::nn

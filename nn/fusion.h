#pragma once
// One layer of a text encoder that may look at an image (ALBEF, Li et al. 2021, arXiv 2107.07651; BERT's
// post-norm layer, Devlin et al. 2019, arXiv 1810.04805), as a function of its weights.
#include "autograd/var.h"

namespace juxta::nn {

// Projections of one attention: w [W, I], b [W]. Keys and values read tokens of width I.
struct AttentionWeights {
  Var wq, bq, wk, bk, wv, bv, wo, bo;
};

struct FusionWeights {
  AttentionWeights self, cross;                  // cross is undefined without an image
  Var w1, b1, w2, b2;                            // [F, W], [F], [W, F], [W]
  Var ln1_g, ln1_b, ln2_g, ln2_b, ln3_g, ln3_b;  // [W]; ln2 belongs to the cross-attention
};

struct FusionOptions {
  int64_t heads = 1;
  double eps = 1e-12;  // of the layer norms
};

// hidden [N, L, W], image [N, P, I] or undefined, text_mask i64 [N, L] and image_mask i64 [N, P] (0: no
// token) or undefined. A masked key's score has -10,000 added, as in BERT.
//   h = LN1(hidden + SelfAttention(hidden));  with an image: h = LN2(h + CrossAttention(h, image))
//   out = LN3(h + W2 gelu(W1 h + b1) + b2)
Var fusion_layer(const Var& hidden, const Var& image, const Tensor& text_mask, const Tensor& image_mask,
                 const FusionWeights& weights, const FusionOptions& options);

}  // namespace juxta::nn

#pragma once
// Layers on graphs, as functions of their weights.
#include <span>

#include "autograd/ops.h"
#include "autograd/sparse.h"

namespace juxta::nn {

// Dropout of a layer: none without a generator (evaluation).
struct GraphDropout {
  double p = 0;
  Rng* rng = nullptr;
};

// ---- MEOW (Yu et al. 2023, arXiv 2212.13847)
// Context nodes of one type on a meta-path.
struct MetapathContext {
  Var features;      // [M, F]
  Tensor incidence;  // [N, M] of 0 and 1: the context nodes of every target node
  Var w_agg;         // [F, F]
};
// ELU( h_i + sum over types of dropout(W_agg mean_{m of i} h_m) ): h [N, F] -> [N, F]. A node without context
// nodes of a type gets 0 from it.
Var add_metapath_context(const Var& h, std::span<const MetapathContext> contexts, GraphDropout dropout = {});

// Two graph convolutions, X -> A (X W), PReLU between them, then layer norm over the whole [N, d] matrix (one
// mean, one variance, no gain or bias). w1 [F, d], w2 [d, e], slope [1].
struct MeowEncoder {
  Var w1, w2, slope;
};
Var meow_encode(const Var& h, const SparseMatrix& adjacency, const MeowEncoder& w, double eps = 1e-5);

// Fuses views: e_v = a . mean_i tanh(W z_vi + b), beta = softmax_v e, out_i = sum_v beta_v z_vi. views [V, N,
// D], w [H, D], b [H], a [H]. (HAN, Wang et al. 2019, arXiv 1903.07293.)
struct SemanticAttention {
  Var out, beta;  // [N, D], [V]
};
SemanticAttention semantic_attention(const Var& views, const Var& w, const Var& b, const Var& a);

// ---- CoMix's head over the clips of a video (Sahoo et al. 2021, arXiv 2110.15128)
// S_ij = <P x_i, Q x_j>, A = softmax over i (its columns sum to 1), y = A (x W) + b.
struct TemporalGraphLayer {
  Var w, b, p, q;  // [d, e], [e], [d, d], [d, d]
};
// x [B, K, d] for any number of clips K; ReLU and dropout (the paper: 0.1) after every layer but the last;
// the mean over clips: [B, C].
Var temporal_graph(const Var& x, std::span<const TemporalGraphLayer> layers, GraphDropout dropout = {});

}  // namespace juxta::nn

#pragma once
// Contrast between a coarse and a fine view of the nodes of a heterogeneous graph (MEOW and AdaMEOW, Yu et
// al. 2023, arXiv 2212.13847). The encoders are in nn/graph.h, the meta-path filter in ssl/data/metapath.h.
#include <span>

#include "ssl/losses/loss.h"
#include "ssl/params.h"

namespace juxta::ssl {

struct MeowParams {
  double tau = 0.4, lam_proto = 1;
  void fields(Params& f) { f("tau", tau), f("lam_proto", lam_proto); }
};

// One k-means clustering of the fine view: constants.
struct MeowClustering {
  Tensor centroids;  // [K, D], scaled to unit length here
  Tensor density;    // [K] > 0, phi of pcl_density with smoothing 5
};

// anchor (coarse), other (fine) [N, D], scaled to unit length here; assign i64 [R, N]: c_r(i).
//   w_ij   = R - #{r: c_r(i) = c_r(j)}
//   info   = mean_i -log( e^{a_i.o_i/tau} / sum_j w_ij e^{a_i.o_j/tau} )
//   proto  = mean_r mean_i -log( e^{a_i.mu_c(i)/phi_c(i)} / ( N/K_r sum_k e^{a_i.mu_k/phi_k} ) )
//   L      = info + lam_proto proto
// A node that shares every cluster with all others has an empty denominator: it adds 0 to info and is
// counted. Terms: info, proto.
Loss meow_contrast(const Var& anchor, const Var& other, const Tensor& assign,
                   std::span<const MeowClustering> clusterings, const MeowParams& p = {});

struct AdameowParams {
  double tau = 0.9;
  void fields(Params& f) { f("tau", tau); }
};

// The net that weighs pairs: w_ij = sigmoid( W2 tanh(W1 (a_i + o_j) + b1) + b2 ).
struct WeightNet {
  Var w1, b1, w2, b2;  // [H, D], [H], [1, H], [1]; the paper: H = 16
};

// anchor (fine), other (coarse) [N, D], scaled to unit length here; nothing is a constant.
//   L = mean_i -log( e^{a_i.o_i/tau} / sum_j w_ij e^{a_i.o_j/tau} ),   j = i included
// Computed by blocks of anchors that backward makes again: the [N, N, H] activations never exist at once.
Loss adameow_contrast(const Var& anchor, const Var& other, const WeightNet& net, const AdameowParams& p = {});
// w [N, N], for people.
Tensor adameow_weights(const Var& anchor, const Var& other, const WeightNet& net);

}  // namespace juxta::ssl

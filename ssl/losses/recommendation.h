#pragma once
// Recommendation from implicit feedback: Bayesian personalised ranking, and graph collaborative filtering
// with contrast between layers. LightGCN (He et al. 2020, arXiv 2002.02126), SimGCL (Yu et al. 2022, arXiv
// 2112.08679), XSimGCL (Yu et al. 2023, arXiv 2209.02544).
#include "autograd/sparse.h"
#include "ssl/losses/loss.h"
#include "ssl/params.h"

namespace juxta::ssl {

struct BprParams {
  double eps = 1e-5;          // inside the logarithm; 0: the exact form
  double reg = 0;             // weight of the penalty
  bool reg_negative = false;  // the negatives' rows are penalised too
  void fields(Params& f) { f("eps", eps), f("reg", reg), f("reg_negative", reg_negative); }
};

// Rendle et al. 2009, arXiv 1205.2618. user, positive, negative [B, d]; |.|_F a norm, not squared.
//   L = mean_b -log( eps + sigmoid(u.p - u.n) ) + reg ( |U|_F + |P|_F [+ |N|_F] ) / B
Loss bpr_loss(const Var& user, const Var& positive, const Var& negative, const BprParams& p = {});

// The triples of a step: i64 [B].
struct RecommendationBatch {
  Tensor user, positive, negative;
};
// The tables, E_0 = [user; item], and who has interacted: edges i64 [E, 2] (user, item); pairs given twice
// count once.
struct RecommendationGraph {
  Var user, item;  // [U, d], [I, d]
  Tensor edges;
};

// D^-1/2 [[0, R], [R^T, 0]] D^-1/2 without self-loops; isolated nodes have zero rows. Error naming `loss`.
SparseMatrix bipartite_adjacency(const char* loss, const Tensor& edges, int64_t users, int64_t items);

struct LightgcnParams {
  int64_t layers = 3, batch_size = 2048;  // batch_size: the nominal one
  double reg_lambda = 1e-4;
  void fields(Params& f) { f("layers", layers), f("batch_size", batch_size), f("reg_lambda", reg_lambda); }
};

// E_l = A E_{l-1}, final = mean(E_0 .. E_L), rec = BPR on final;
//   reg = reg_lambda ( |U_0|_F + |P_0|_F + |N_0|_F ) / (B batch_size)  on the batch's rows of E_0
//   L = rec + reg. Terms: rec, reg, final. layers = 0 is matrix factorisation.
Loss lightgcn_bpr(const RecommendationGraph& graph, const RecommendationBatch& batch,
                  const LightgcnParams& p = {});

struct SimgclParams {
  int64_t layers = 2;
  double eps = 0.1, tau = 0.2, cl_rate = 0.5, reg_lambda = 1e-4;
  void fields(Params& f) {
    f("layers", layers), f("eps", eps), f("tau", tau), f("cl_rate", cl_rate), f("reg_lambda", reg_lambda);
  }
};

// noise1, noise2 [L, U + I, d] uniform on (0, 1), constants; may be undefined when eps = 0. A noisy pass is
//   E_l = A E_{l-1} + eps sign(A E_{l-1}) . u_l / |u_l|   (rows; sign and u are constants)
// final = mean(E_1 .. E_L) of a clean pass, the views are those of two noisy ones.
//   reg = reg_lambda ( |F_u|_F + |F_p|_F ) / B on the batch's rows of final
//   nce(a, b) = mean_n -log softmax_m( cos(a_n, b_m) / tau )[n]
//   cl  = nce over the batch's distinct users + nce over its distinct positive items
//   L   = rec + reg + cl_rate cl. Terms: rec, reg, cl, final.
Loss simgcl(const RecommendationGraph& graph, const Tensor& noise1, const Tensor& noise2,
            const RecommendationBatch& batch, const SimgclParams& p = {});

struct XsimgclParams {
  int64_t layers = 2, l_star = 1;
  double eps = 0.2, tau = 0.15, cl_rate = 0.2, reg_lambda = 1e-4;
  void fields(Params& f) {
    f("layers", layers), f("l_star", l_star), f("eps", eps), f("tau", tau), f("cl_rate", cl_rate);
    f("reg_lambda", reg_lambda);
  }
};

// One noisy pass for both: final = mean(E_1 .. E_L), view2 = E_{l_star} (0: E_0), contrasted with each other;
// rec, reg, cl and L as in simgcl. Terms: rec, reg, cl, final, view2.
Loss xsimgcl(const RecommendationGraph& graph, const Tensor& noise, const RecommendationBatch& batch,
             const XsimgclParams& p = {});

}  // namespace juxta::ssl

#pragma once
// Losses over triplets and pairs of distances, and preferences over sums.
#include "ssl/losses/loss.h"
#include "ssl/params.h"

namespace juxta::ssl {

enum class Distance { l2, sq_l2, cosine };  // |a - b|, |a - b|^2, 1 - cos
inline constexpr auto kDistances = {"l2", "sq_l2", "cosine"};

enum class Mining { semihard, all, hard, easy, batch_hard, given };
enum class TripletMean { mean_nonzero, mean };  // over the positive terms, over all triplets (or pairs)

struct TripletMarginParams {
  double margin = 0.2;
  Mining mining = Mining::semihard;
  Distance distance = Distance::l2;
  TripletMean reduction = TripletMean::mean_nonzero;
  bool swap = false;  // d_an <- min(d_an, d_pn)
  bool soft = false;  // softplus in place of the hinge
  bool normalize = true;
  void fields(Params& f) {
    f("margin", margin), f("mining", mining, {"semihard", "all", "hard", "easy", "batch_hard", "given"});
    f("distance", distance, kDistances), f("reduction", reduction, {"mean_nonzero", "mean"});
    f("swap", swap), f("soft", soft), f("normalize", normalize);
  }
};

// Triplet loss (FaceNet, Schroff et al. 2015, arXiv 1503.03832; Hermans et al. 2017, arXiv 1703.07737).
// embeddings [N, D], labels i64 [N] (undefined: only with "given"); triplets i64 [T, 3] = (a, p, n) for
// "given" and for nothing else.
//   L = mean max(0, d_ap - d_an + margin)   over y_a = y_p != y_n
// gap = d_an - d_ap chooses the triplets: semihard 0 < gap <= margin, hard gap <= 0, easy gap > margin;
// batch_hard takes each anchor's farthest positive and nearest negative. The choice is not differentiated; no
// triplet: 0. Memory N^2, time N^3 (no tensor of triplets). Terms: num_triplets, num_active (terms above 0),
// i64.
Loss triplet_margin(const Var& embeddings, const Tensor& labels, const Tensor& triplets,
                    const TripletMarginParams& p = {});

struct ContrastiveMarginParams {
  double pos_margin = 0, neg_margin = 1;
  Distance distance = Distance::l2;
  bool squared = false;
  TripletMean reduction = TripletMean::mean_nonzero;
  bool normalize = true;
  void fields(Params& f) {
    f("pos_margin", pos_margin), f("neg_margin", neg_margin), f("distance", distance, kDistances);
    f("squared", squared), f("reduction", reduction, {"mean_nonzero", "mean"}), f("normalize", normalize);
  }
};

// Contrastive loss of pairs (Hadsell et al. 2006). embeddings [N, D], labels i64 [N].
//   L = mean_{y_i = y_j} max(0, d_ij - pos_margin)^e + mean_{y_i != y_j} max(0, neg_margin - d_ij)^e,  e = 1
//   or 2
// each mean by itself, over its terms above 0 or over its pairs; without any: 0. Terms: positive, negative.
Loss contrastive_margin(const Var& embeddings, const Tensor& labels, const ContrastiveMarginParams& p = {});

enum class Reduction { mean, sum };

struct SirlTripletParams {
  double margin = 1;
  Reduction reduction = Reduction::mean;
  void fields(Params& f) { f("margin", margin), f("reduction", reduction, {"mean", "sum"}); }
};

// Similarity queries (SIRL, Bobu et al. 2023, arXiv 2301.00810). emb [n, D] of trajectories, queries i64 [Q,
// 3] = (p1, p2, neg): a person named p1 and p2 the two most similar of three.
//   L = mean_q [ trip(p1, p2, neg) + trip(p2, p1, neg) ],  trip(a, p, n) = max(|a - p|^2 - |a - n|^2 +
//   margin, 0)
// Term: active (i64), the number of hinges above 0.
Loss sirl_triplet(const Var& emb, const Tensor& queries, const SirlTripletParams& p = {});

struct PreferenceBtParams {
  double beta = 1;
  void fields(Params& f) { f("beta", beta); }
};

// Bradley-Terry preferences between trajectories (card 34). rewards [n, T] per state, of which the first
// length[i] count; pairs i64 [Q, 2] = (A, B), label [Q] in [0, 1]: how much A is preferred.
//   P = sigma(beta (R_A - R_B)), R = sum_t r_t;   L = mean -[ y log P + (1 - y) log(1 - P) ]
// Term: accuracy, the fraction of pairs with label other than 1/2 that are ordered as it says (NaN without
// any).
Loss preference_bt(const Var& rewards, const Tensor& length, const Tensor& pairs, const Tensor& label,
                   const PreferenceBtParams& p = {});

}  // namespace juxta::ssl

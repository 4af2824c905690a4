#pragma once
// VICRegL: VICReg on images and on matched cells of their maps (Bardes et al. 2022, arXiv 2210.01571).
#include "ssl/losses/loss.h"
#include "ssl/params.h"

namespace juxta::ssl {

struct VicRegLParams {
  double alpha = 0.75;
  std::vector<int64_t> num_matches{20, 4};
  double sim_weight = 25, var_weight = 25, cov_weight = 1, eps = 1e-4;
  void fields(Params& f) {
    f("alpha", alpha), f("num_matches", num_matches);
    f("sim_weight", sim_weight), f("var_weight", var_weight), f("cov_weight", cov_weight), f("eps", eps);
  }
};

// Two global views. global1, global2 [N, D]; map1, map2 [N, S, C]; grid1, grid2 [N, S, 2], the places of the
// cells in the image. N >= 2.
//   L = alpha V(global1, global2) + (1 - alpha) local
// V is VICReg with the covariance term halved. local: for both orders (a, b) of the views, by distance of
// features and by distance of places, num_matches[0] matches of a in b and num_matches[1] of b in a: every
// cell with its nearest, the closest of these pairs kept, closest first. V of the matched cells has its
// statistics over the batch for every rank, averaged over ranks; features and places are added, directions
// and orders averaged. Terms: global, local.
struct VicRegLInputs {
  const Var& global1;
  const Var& global2;
  const Var& map1;
  const Var& map2;
  const Tensor& grid1;
  const Tensor& grid2;
};
Loss vicregl(const VicRegLInputs& x, const VicRegLParams& p = {});

}  // namespace juxta::ssl

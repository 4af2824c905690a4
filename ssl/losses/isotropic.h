#pragma once
// Losses that spread embeddings evenly over all directions: LeJEPA's characteristic functions, MMCR's
// nuclear norms.
#include "ssl/losses/loss.h"
#include "ssl/params.h"

namespace juxta::ssl {

struct LeJepaParams {
  double lambd = 0.05;
  int64_t knots = 17;
  double t_max = 3;
  void fields(Params& f) { f("lambd", lambd), f("knots", knots), f("t_max", t_max); }
};

// LeJEPA (Balestriero & LeCun 2025, arXiv 2511.08544). global_views [G, N, D], local_views [V, N, D],
// undefined or with V = 0 when there are none; directions [D, M] (constants, scaled to unit columns here).
//   invariance = mean over all views and elements of (z - mean of the global views)^2
//   sigreg = N mean over views and directions of int_{-t_max}^{t_max} |mean_n e^{i t z_n.a} - e^{-t^2/2}|^2
//            e^{-t^2/2} dt, twice the trapezoidal rule with `knots` points on [0, t_max]
//   L = lambd sigreg + (1 - lambd) invariance
// Terms: invariance, sigreg.
Loss lejepa(const Var& global_views, const Var& local_views, const Var& directions,
            const LeJepaParams& p = {});

struct MmcrParams {
  double lambd = 0.005;
  bool normalize = true;
  void fields(Params& f) { f("lambd", lambd), f("normalize", normalize); }
};

// MMCR (Yerxa et al. 2023, arXiv 2303.03307). online, momentum [N, V, D]: 2 V views of each image, with
// gradients to both; |.|_* is the nuclear norm.
//   L = -|C|_* + lambd mean_n |Z_n|_*,  C [N, D] the means over views, Z_n [2 V, D] the views of image n
// Terms: centroid_norm, local_norm.
Loss mmcr(const Var& online, const Var& momentum, const MmcrParams& p = {});

}  // namespace juxta::ssl

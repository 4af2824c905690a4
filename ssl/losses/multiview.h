#pragma once
// Losses of V >= 2 views at once (Koromilas et al. 2025, "A principled framework for multi-view contrastive
// learning", arXiv 2507.06979; poly-view: Shidani et al. 2024, arXiv 2403.05490). z [V, N, D]; s(l,i; m,j) =
// z_li . z_mj / temperature.
#include "ssl/losses/loss.h"
#include "ssl/params.h"

namespace juxta::ssl {

struct MvInfoNceParams {
  double temperature = 0.5;
  bool include_same_view = true;  // the authors' code; false: the paper's equation
  bool normalize = true;
  void fields(Params& f) {
    f("temperature", temperature), f("include_same_view", include_same_view), f("normalize", normalize);
  }
};

// MV-InfoNCE: L = mean_i [ log sum_l sum_{(m,j) != (l,i)} e^s(l,i; m,j) - log sum_l sum_{m != l} e^s(l,i;
// m,i) ]; with include_same_view = false the first sum runs over m != l and every j.
Loss mv_infonce(const Var& z, const MvInfoNceParams& p = {});

struct MvDhelParams {
  double temperature = 0.5;
  bool normalize = true;
  void fields(Params& f) { f("temperature", temperature), f("normalize", normalize); }
};

// MV-DHEL: L = mean_i [ sum_l log sum_{j != i} e^s(l,i; l,j) - log sum_{l < m} e^s(l,i; m,i) ]. N >= 2. The
// sum of logarithms is the product of the views' energies, which itself would overflow.
Loss mv_dhel(const Var& z, const MvDhelParams& p = {});

struct DhelParams {
  double temperature = 0.3;
  bool include_augs = true;  // false: without the second view's energy
  bool normalize = true;
  void fields(Params& f) {
    f("temperature", temperature), f("include_augs", include_augs), f("normalize", normalize);
  }
};

// DHEL: MV-DHEL of two views. z1, z2 [N, D], N >= 2.
//   L = mean_i [ -s(1,i; 2,i) + log sum_{j != i} e^s(1,i; 1,j) + log sum_{j != i} e^s(2,i; 2,j) ]
Loss dhel(const Var& z1, const Var& z2, const DhelParams& p = {});

enum class AggregateMode { pwe, avg };
enum class AggregateBase { nt_xent, dhel };

struct MultiviewAggregateParams {
  double temperature = 0.5;
  AggregateMode mode = AggregateMode::pwe;
  AggregateBase base = AggregateBase::nt_xent;
  bool renormalize = false;  // avg: the mean of the other views is made unit
  void fields(Params& f) {
    f("temperature", temperature);
    f("mode", mode, {"pwe", "avg"});
    f("base", base, {"nt_xent", "dhel"});
    f("renormalize", renormalize);
  }
};

// Two-view losses over V views: pwe, the mean over the pairs of views; avg, the mean over l of view l against
// the mean of the others' unit rows.
Loss multiview_aggregate(const Var& z, const MultiviewAggregateParams& p = {});

struct PolyViewParams {
  double temperature = 0.2;
  bool normalize = true;
  void fields(Params& f) { f("temperature", temperature), f("normalize", normalize); }
};

// Poly-view, geometric form: L = mean over i, l, m != l of
//   -log( e^s(l,i; m,i) / (e^s(l,i; m,i) + sum_{j != i} sum_v e^s(l,i; v,j)) ).  N = 1 gives 0.
Loss poly_view(const Var& z, const PolyViewParams& p = {});

}  // namespace juxta::ssl

#include "ssl/losses/multiview.h"
#include "ssl/objectives/rows.h"

namespace juxta::ssl {

namespace {

constexpr InputRow kViews[] = {{"z", "[V, N, D]"}};
constexpr InputRow kTwoViews[] = {{"z1", "[N, D]"}, {"z2", "[N, D]"}};

constexpr Objective kRows[] = {
    {"mv_infonce", "multi-view contrastive learning", "Koromilas et al. 2025, arXiv 2507.06979",
     "L = mean_i [ log sum_l sum_{(m,j) != (l,i)} e^s - log sum_l sum_{m != l} e^s(l,i; m,i) ]", Kind::loss,
     Across::negatives, kViews, list_params<MvInfoNceParams>,
     [](const Inputs& in, Params& f) { return mv_infonce(in["z"], f.read<MvInfoNceParams>()); }},
    {"mv_dhel", "multi-view contrastive learning", "Koromilas et al. 2025, arXiv 2507.06979",
     "L = mean_i [ sum_l log sum_{j != i} e^s(l,i; l,j) - log sum_{l < m} e^s(l,i; m,i) ]", Kind::loss,
     Across::negatives, kViews, list_params<MvDhelParams>,
     [](const Inputs& in, Params& f) { return mv_dhel(in["z"], f.read<MvDhelParams>()); }},
    {"dhel", "multi-view contrastive learning", "Koromilas et al. 2025, arXiv 2507.06979",
     "L = mean_i [ -s_i + log sum_{j != i} e^{z1_i . z1_j / temperature} + the same of z2 ]", Kind::loss,
     Across::negatives, kTwoViews, list_params<DhelParams>,
     [](const Inputs& in, Params& f) { return dhel(in["z1"], in["z2"], f.read<DhelParams>()); }},
    {"multiview_aggregate", "multi-view contrastive learning", "Koromilas et al. 2025, arXiv 2507.06979",
     "pwe: mean over pairs of views of nt_xent or dhel; avg: each view against the mean of the others",
     Kind::loss, Across::negatives, kViews, list_params<MultiviewAggregateParams>,
     [](const Inputs& in, Params& f) {
       return multiview_aggregate(in["z"], f.read<MultiviewAggregateParams>());
     }},
    {"poly_view", "poly-view contrastive learning", "Shidani et al. 2024, arXiv 2403.05490",
     "L = mean over i, l, m != l of softplus(log sum_{j != i} sum_v e^s(l,i; v,j) - s(l,i; m,i))", Kind::loss,
     Across::negatives, kViews, list_params<PolyViewParams>,
     [](const Inputs& in, Params& f) { return poly_view(in["z"], f.read<PolyViewParams>()); }},
};

}  // namespace

std::span<const Objective> multiview_rows() { return kRows; }

}  // namespace juxta::ssl

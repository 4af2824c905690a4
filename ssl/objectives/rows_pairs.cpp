#include "ssl/losses/pairwise.h"
#include "ssl/losses/sepclr.h"
#include "ssl/losses/supcon.h"
#include "ssl/losses/tiled.h"
#include "ssl/objectives/rows.h"

namespace juxta::ssl {

namespace {

constexpr InputRow kLabelled[] = {{"features", "[N, V, D]"}, {"labels", "i64 [N]", true}};
constexpr InputRow kMasked[] = {
    {"features", "[N, V, D]"}, {"labels", "i64 [N]", true}, {"mask", "i64 [N, N]", true}};
constexpr InputRow kImageText[] = {
    {"image", "[N, D]"}, {"text", "[N, D]"}, {"logit_scale", "[1]"}, {"logit_bias", "[1]"}};
constexpr InputRow kTwoViews[] = {{"z1", "[N, D]"}, {"z2", "[N, D]"}};
constexpr InputRow kCodes[] = {
    {"c1", "[N, D]"}, {"c2", "[N, D]"}, {"s1", "[N, S]"}, {"s2", "[N, S]"}, {"target", "i64 [N]"}};
constexpr InputRow kQueriesAndKeys[] = {
    {"q", "[N, D]"}, {"k", "[M, D]"}, {"labels", "i64 [N]"}, {"logit_scale", "[1]"}};

constexpr Objective kRows[] = {
    {"supcon", "SupCon", "Khosla et al. 2020, arXiv 2004.11362",
     "L = temperature / base_temperature mean_a [ log sum_{b != a} e^{s_ab} - mean_{p in P(a)} s_ap ], P(a) "
     "the other rows of "
     "a's class",
     Kind::loss, Across::negatives, kLabelled, list_params<SupConParams>,
     [](const Inputs& in, Params& f) {
       return supcon(in["features"], in.optional_tensor("labels"), f.read<SupConParams>());
     }},
    {"supcon_mask", "SupCon", "Khosla et al. 2020, arXiv 2004.11362",
     "out: as supcon with P(a) from a mask; in: L_a = -log( mean_{p in P(a)} e^{s_ap} / sum_{b != a} "
     "e^{s_ab} )",
     Kind::loss, Across::negatives, kMasked, list_params<SupConMaskParams>,
     [](const Inputs& in, Params& f) {
       return supcon_mask(in["features"], in.optional_tensor("labels"), in.optional_tensor("mask"),
                          f.read<SupConMaskParams>());
     }},
    {"siglip", "SigLIP", "Zhai et al. 2023, arXiv 2303.15343",
     "L = -1/N sum_ij log sigma(y_ij (e^logit_scale i_i . t_j + logit_bias)), y = 1 for i = j, else -1",
     Kind::loss, Across::negatives, kImageText, list_params<SigLipParams>,
     [](const Inputs& in, Params& f) {
       return siglip(in["image"], in["text"], in["logit_scale"], in["logit_bias"], f.read<SigLipParams>());
     }},
    {"align_uniform", "alignment and uniformity", "Wang & Isola 2020, arXiv 2005.10242",
     "L = align_weight mean |x - y|^alpha + uniform_weight 1/2 sum_{x, y} log mean_{i<j} e^{-t |x_i - "
     "x_j|^2}",
     Kind::loss, Across::negatives, kTwoViews, list_params<AlignUniformParams>,
     [](const Inputs& in, Params& f) {
       return align_uniform(in["z1"], in["z2"], f.read<AlignUniformParams>());
     }},
    {"sepclr", "SepCLR", "Louiset et al. 2024, arXiv 2402.11928",
     "L = common + w_salient salient + w_infoless infoless + w_jem mean log mean_j k(c_i, c_j) k(s_i, s_j)",
     Kind::loss, Across::negatives, kCodes, list_params<SepClrParams>,
     [](const Inputs& in, Params& f) {
       return sepclr(in["c1"], in["c2"], in["s1"], in["s2"], in.tensor("target"), f.read<SepClrParams>());
     }},
    {"tiled_contrastive", "Inf-CL", "Cheng et al. 2024, arXiv 2410.17243",
     "L = mean_i (LSE_i - s_i,label(i)), s = e^logit_scale q k^T, LSE merged over tiles by a - log sigma(a - "
     "b)",
     Kind::loss, Across::negatives, kQueriesAndKeys, list_params<TiledContrastiveParams>,
     [](const Inputs& in, Params& f) {
       return tiled_contrastive(in["q"], in["k"], in.tensor("labels"), in["logit_scale"],
                                f.read<TiledContrastiveParams>());
     }},
};

}  // namespace

std::span<const Objective> pairs_rows() { return kRows; }

}  // namespace juxta::ssl

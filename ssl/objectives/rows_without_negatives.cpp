#include "ssl/losses/covariance.h"
#include "ssl/losses/without_negatives.h"
#include "ssl/objectives/rows.h"

namespace juxta::ssl {

namespace {

constexpr InputRow kPredictions[] = {{"p1", "[N, D]"}, {"p2", "[N, D]"}, {"z1", "[N, D]"}, {"z2", "[N, D]"}};

constexpr InputRow kTwoViews[] = {{"z1", "[N, D]"}, {"z2", "[N, D]"}};
constexpr InputRow kOneView[] = {{"x", "[N, D]"}};
constexpr InputRow kSteps[] = {{"z1", "[T, N, D]"}, {"z2", "[T, N, D]"}, {"covariance", "[D, D]"}};
constexpr InputRow kProjections[] = {{"v_image", "[N, D]"},
                                     {"v_text", "[N, D]"},
                                     {"v_image_local", "[A, N, D]", true},
                                     {"v_text_local", "[A, N, D]", true}};
constexpr InputRow kModalities[] = {{"p_image", "[N, D]"},
                                    {"p_text", "[N, D]"},
                                    {"v_image", "[N, D]"},
                                    {"v_text", "[N, D]"},
                                    {"p_image_local", "[A, N, D]", true},
                                    {"p_text_local", "[A, N, D]", true},
                                    {"v_image_local", "[A, N, D]", true},
                                    {"v_text_local", "[A, N, D]", true}};

constexpr Objective kRows[] = {
    {"negative_cosine", "SimSiam, BYOL",
     "Chen & He 2021, arXiv 2011.10566; Grill et al. 2020, arXiv 2006.07733",
     "simsiam: L = -1/2 (mean cos(p1, sg z2) + mean cos(p2, sg z1)); byol: (2 - 2 mean cos(p1, z2)) + (2 - 2 "
     "mean "
     "cos(p2, z1))",
     Kind::loss, Across::local, kPredictions, list_params<NegativeCosineParams>,
     [](const Inputs& in, Params& f) {
       return negative_cosine(in["p1"], in["p2"], in["z1"], in["z2"], f.read<NegativeCosineParams>());
     }},
    {"siamlip", "SiamLIP, BYOLIP", "Fini et al. 2023, arXiv 2305.08675",
     "L = mean of D(p_image, v_text), D(p_text, v_image) and all local pairs, D(p, v) = 2 - 2 mean cos(p, sg "
     "v)",
     Kind::loss, Across::local, kModalities, list_params<SiamLipParams>,
     [](const Inputs& in, Params& f) {
       const auto side = [&](const std::string& name) {
         return SiamLipSide{in["p_" + name], in["v_" + name], in.optional("p_" + name + "_local"),
                            in.optional("v_" + name + "_local")};
       };
       return siamlip(side("image"), side("text"), f.read<SiamLipParams>());
     }},
    {"barlow_twins", "Barlow Twins", "Zbontar et al. 2021, arXiv 2103.03230",
     "L = scale [ sum_i (C_ii - 1)^2 + lambd sum_{i != j} C_ij^2 ], C = z1^T z2 / N of standardised columns",
     Kind::loss, Across::statistics, kTwoViews, list_params<BarlowTwinsParams>,
     [](const Inputs& in, Params& f) {
       return barlow_twins(in["z1"], in["z2"], f.read<BarlowTwinsParams>());
     }},
    {"barlip", "BarLIP", "Fini et al. 2023, arXiv 2305.08675",
     "L = scale mean over pairs of [ sum_i (C_ii - 1)^2 + lambd sum_{i != j} C_ij^2 ], C = v_image^T v_text "
     "/ N",
     Kind::loss, Across::statistics, kProjections, list_params<BarLipParams>,
     [](const Inputs& in, Params& f) {
       return barlip(in["v_image"], in["v_text"], in.optional("v_image_local"), in.optional("v_text_local"),
                     f.read<BarLipParams>());
     }},
    {"vicreg", "VICReg", "Bardes et al. 2022, arXiv 2105.04906",
     "L = sim_weight mean (z1 - z2)^2 + var_weight 1/2 sum mean_d max(0, gamma - sqrt(Var_d + eps)) + "
     "cov_weight sum 1/D "
     "sum_{i != j} Cov_ij^2",
     Kind::loss, Across::statistics, kTwoViews, list_params<VicRegParams>,
     [](const Inputs& in, Params& f) { return vicreg(in["z1"], in["z2"], f.read<VicRegParams>()); }},
    {"tico", "TiCo", "Zhu et al. 2022, arXiv 2206.10698",
     "C = beta C + (1 - beta) sg(z1^T z1) / N, L = 1 - mean cos + rho mean z1^T C z1, per step", Kind::loss,
     Across::statistics, kSteps, list_params<TicoParams>,
     [](const Inputs& in, Params& f) {
       return tico(in["z1"], in["z2"], in.tensor("covariance"), f.read<TicoParams>());
     }},
    {"koleo", "KoLeo, DINOv2", "Sablayrolles et al. 2019, arXiv 1806.03198",
     "L = -mean_i log(|x_i - x_nn(i) + eps| + eps) of unit rows", Kind::loss, Across::negatives, kOneView,
     list_params<KoLeoParams>,
     [](const Inputs& in, Params& f) { return koleo(in["x"], f.read<KoLeoParams>()); }},
};

}  // namespace

std::span<const Objective> without_negatives_rows() { return kRows; }

}  // namespace juxta::ssl

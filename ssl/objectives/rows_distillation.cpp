#include "ssl/losses/dino.h"
#include "ssl/losses/gram.h"
#include "ssl/losses/isotropic.h"
#include "ssl/losses/masked_siamese.h"
#include "ssl/losses/whitening.h"
#include "ssl/objectives/rows.h"

namespace juxta::ssl {

namespace {

constexpr InputRow kCrops[] = {{"student", "[S, N, P]"}, {"teacher", "[T, N, P]"}, {"center", "[P]"}};
constexpr InputRow kTokens[] = {{"student_cls", "[S, N, P]"},
                                {"teacher_cls", "[G, N, P]"},
                                {"student_patch", "[G, N, L, Q]"},
                                {"teacher_patch", "[G, N, L, Q]"},
                                {"mask", "i64 [G, N, L]"},
                                {"center", "[P]"},
                                {"patch_center", "[Q]"}};
constexpr InputRow kMasked[] = {{"anchors", "[VN, D]"}, {"targets", "[N, D]"}, {"prototypes", "[K, D]"}};
constexpr InputRow kDirections[] = {
    {"global_views", "[G, N, D]"}, {"local_views", "[V, N, D]", true}, {"directions", "[D, M]"}};
constexpr InputRow kBothNetworks[] = {{"online", "[N, V, D]"}, {"momentum", "[N, V, D]"}};
constexpr InputRow kWhitened[] = {{"z", "[V, B, D]"}, {"perm", "i64 [I, B]"}};
constexpr InputRow kPatches[] = {{"student", "[N, L, D]"}, {"teacher", "[N, L, D]"}};

constexpr Objective kRows[] = {
    {"dino", "DINO", "Caron et al. 2021, arXiv 2104.14294",
     "L = mean_{t, s != t} mean_n - softmax((t - c) / tau_t) . log softmax(s / tau_s)", Kind::loss,
     Across::statistics, kCrops, list_params<DinoParams>,
     [](const Inputs& in, Params& f) {
       return dino(in["student"], in["teacher"], in["center"], f.read<DinoParams>());
     }},
    {"ibot", "iBOT", "Zhou et al. 2022, arXiv 2111.07832",
     "L = w DINO on class tokens + w' mean over images of the mean CE at masked patches", Kind::loss,
     Across::statistics, kTokens, list_params<IbotParams>,
     [](const Inputs& in, Params& f) {
       const IbotTokens tokens{in["student_cls"], in["teacher_cls"], in["student_patch"], in["teacher_patch"],
                               in.tensor("mask"), in["center"],      in["patch_center"]};
       return ibot(tokens, f.read<IbotParams>());
     }},
    {"msn", "MSN", "Assran et al. 2022, arXiv 2204.07141",
     "L = mean - sum t log p + w (log K - H(mean p)) + w_e mean H(p)", Kind::loss, Across::statistics,
     kMasked, list_params<MsnParams>,
     [](const Inputs& in, Params& f) {
       return msn(in["anchors"], in["targets"], in["prototypes"], f.read<MsnParams>());
     }},
    {"lejepa", "LeJEPA", "Balestriero & LeCun 2025, arXiv 2511.08544",
     "L = l N int |mean e^{itz.a} - e^{-t^2/2}|^2 e^{-t^2/2} dt + (1-l) mean (z - mean z_g)^2", Kind::loss,
     Across::statistics, kDirections, list_params<LeJepaParams>,
     [](const Inputs& in, Params& f) {
       return lejepa(in["global_views"], in.optional("local_views"), in["directions"],
                     f.read<LeJepaParams>());
     }},
    {"mmcr", "MMCR", "Yerxa et al. 2023, arXiv 2303.03307", "L = -|C|_* + lambd mean_n |Z_n|_*", Kind::loss,
     Across::statistics, kBothNetworks, list_params<MmcrParams>,
     [](const Inputs& in, Params& f) { return mmcr(in["online"], in["momentum"], f.read<MmcrParams>()); }},
    {"w_mse", "W-MSE", "Ermolov et al. 2021, arXiv 2007.06346",
     "L = mean over pairs of views of 2 - 2 cos(w, w'),  w = L^-1 (z - mean),  Cov = L L^T", Kind::loss,
     Across::local, kWhitened, list_params<WMseParams>,
     [](const Inputs& in, Params& f) { return w_mse(in["z"], in.tensor("perm"), f.read<WMseParams>()); }},
    {"gram_anchor", "DINOv3", "Simeoni et al. 2025, arXiv 2508.10104", "L = mean (S S^T - T T^T)^2",
     Kind::loss, Across::local, kPatches, list_params<GramAnchorParams>,
     [](const Inputs& in, Params& f) {
       return gram_anchor(in["student"], in["teacher"], f.read<GramAnchorParams>());
     }},
};

}  // namespace

std::span<const Objective> distillation_rows() { return kRows; }

}  // namespace juxta::ssl

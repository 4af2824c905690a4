#include "ssl/losses/metric_losses.h"
#include "ssl/losses/regression.h"
#include "ssl/losses/triplets.h"
#include "ssl/objectives/rows.h"

namespace juxta::ssl {

namespace {

constexpr InputRow kLabelled[] = {{"embeddings", "[N, D]"}, {"labels", "i64 [N]"}};
constexpr InputRow kGraded[] = {{"z1", "[N, D]"}, {"z2", "[N, D]"}, {"gold", "[N]"}};
constexpr InputRow kTriplets[] = {
    {"embeddings", "[N, D]"}, {"labels", "i64 [N]", true}, {"triplets", "i64 [T, 3]", true}};
constexpr InputRow kQueries[] = {{"emb", "[N, D]"}, {"queries", "i64 [Q, 3]"}};
constexpr InputRow kPreferences[] = {
    {"rewards", "[N, T]"}, {"length", "i64 [N]"}, {"pairs", "i64 [Q, 2]"}, {"label", "[Q]"}};
constexpr InputRow kRanked[] = {{"features", "[N, 2, D]"}, {"labels", "[N, L]"}};
constexpr InputRow kMixed[] = {{"features", "[N, V, D]"}, {"labels", "[N]"}, {"lam", "[V N, V N]"}};

constexpr Objective kRows[] = {
    {"multi_similarity", "multi-similarity", "Wang et al. 2019, arXiv 1904.06627",
     "L = mean_i [ 1/alpha log(1 + sum_p e^{-alpha (s_ip - base)}) + 1/beta log(1 + sum_n e^{beta (s_in - "
     "base)}) ]",
     Kind::loss, Across::negatives, kLabelled, list_params<MultiSimilarityParams>,
     [](const Inputs& in, Params& f) {
       return multi_similarity(in["embeddings"], in.tensor("labels"), f.read<MultiSimilarityParams>());
     }},
    {"cosent", "CoSENT", "Su 2022", "L = log(1 + sum_{i, j: gold_i < gold_j} e^{scale (cos_i - cos_j)})",
     Kind::loss, Across::negatives, kGraded, list_params<CoSentParams>,
     [](const Inputs& in, Params& f) {
       return cosent(in["z1"], in["z2"], in.tensor("gold"), f.read<CoSentParams>());
     }},
    {"triplet_margin", "FaceNet",
     "Schroff et al. 2015, arXiv 1503.03832; Hermans et al. 2017, arXiv 1703.07737",
     "L = mean_(a,p,n) max(0, d_ap - d_an + margin)", Kind::loss, Across::negatives, kTriplets,
     list_params<TripletMarginParams>,
     [](const Inputs& in, Params& f) {
       return triplet_margin(in["embeddings"], in.optional_tensor("labels"), in.optional_tensor("triplets"),
                             f.read<TripletMarginParams>());
     }},
    {"contrastive_margin", "contrastive loss of pairs", "Hadsell et al. 2006",
     "L = mean_{y_i = y_j} max(0, d - pos_margin) + mean_{y_i != y_j} max(0, neg_margin - d)", Kind::loss,
     Across::negatives, kLabelled, list_params<ContrastiveMarginParams>,
     [](const Inputs& in, Params& f) {
       return contrastive_margin(in["embeddings"], in.tensor("labels"), f.read<ContrastiveMarginParams>());
     }},
    {"sirl_triplet", "SIRL", "Bobu et al. 2023, arXiv 2301.00810",
     "L = mean_q trip(p1, p2, n) + trip(p2, p1, n),  trip(a, p, n) = max(|a - p|^2 - |a - n|^2 + margin, 0)",
     Kind::loss, Across::local, kQueries, list_params<SirlTripletParams>,
     [](const Inputs& in, Params& f) {
       return sirl_triplet(in["emb"], in.tensor("queries"), f.read<SirlTripletParams>());
     }},
    {"preference_bt", "SIRL", "Bradley & Terry 1952; Bobu et al. 2023, arXiv 2301.00810",
     "L = mean -[y log P + (1 - y) log(1 - P)],  P = sigma(beta (R_A - R_B))", Kind::loss, Across::local,
     kPreferences, list_params<PreferenceBtParams>,
     [](const Inputs& in, Params& f) {
       return preference_bt(in["rewards"], in.tensor("length"), in.tensor("pairs"), in.tensor("label"),
                            f.read<PreferenceBtParams>());
     }},
    {"rnc", "Rank-N-Contrast", "Zha et al. 2023, arXiv 2210.01189",
     "L = -1/(M(M-1)) sum_a sum_b log [ e^{sim_ab/t} / sum_{c: d_ac >= d_ab} e^{sim_ac/t} ],  sim = -|f_a - "
     "f_b|",
     Kind::loss, Across::negatives, kRanked, list_params<RncParams>,
     [](const Inputs& in, Params& f) {
       return rnc(in["features"], in.tensor("labels"), f.read<RncParams>());
     }},
    {"supremix", "SupReMix", "Wu et al. 2023, arXiv 2309.16633",
     "L = mean_a -1/(|P| + #u) sum_{p in P, u} [ z_a.p/t - log(sum w e^{z_a.z_b/t} + sum w e^{z_a.v/t} + sum "
     "e^{z_a.u/t}) ]",
     Kind::loss, Across::negatives, kMixed, list_params<SupReMixParams>,
     [](const Inputs& in, Params& f) {
       return supremix(in["features"], in.tensor("labels"), in.tensor("lam"), f.read<SupReMixParams>());
     }},
};

}  // namespace

std::span<const Objective> metric_losses_rows() { return kRows; }

}  // namespace juxta::ssl

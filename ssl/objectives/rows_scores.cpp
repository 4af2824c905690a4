#include "ssl/losses/scores.h"
#include "ssl/objectives/rows.h"

namespace juxta::ssl {

namespace {

constexpr InputRow kScores[] = {{"pos", "[N]"},
                                {"neg", "[N, K]"},
                                {"neg_valid", "i64 [N, K]", true},
                                {"pos_logpn", "[N]", true},
                                {"neg_logpn", "[N, K]", true}};
constexpr InputRow kMargin[] = {{"pos", "[N]"}, {"neg", "[N, K]"}, {"neg_valid", "i64 [N, K]", true}};
constexpr InputRow kClassified[] = {{"z", "[N, D]"}, {"logits", "[N, C]"}, {"labels", "i64 [N]"}};
constexpr InputRow kCells[] = {{"z1", "[N, D]"}, {"z2", "[N, D]"}, {"label", "i64 [N]"}};

Scores scores_of(const Inputs& in) {
  return {in["pos"], in["neg"], in.optional_tensor("neg_valid"), in.optional("pos_logpn"),
          in.optional("neg_logpn")};
}

constexpr Objective kRows[] = {
    {"nce_binary", "NCE", "Gutmann & Hyvaerinen 2010, AISTATS",
     "L = mean_i [ softplus(-s_i+) + sum_k softplus(s_ik) ], s less log(noise_ratio p_N) where given",
     Kind::loss, Across::local, kScores, list_params<NceBinaryParams>,
     [](const Inputs& in, Params& f) { return nce_binary(scores_of(in), f.read<NceBinaryParams>()); }},
    {"nce_ranking", "ranking NCE", "Ma & Collins 2018, arXiv 1809.01812",
     "L = mean_i [ -s_i+ + log(e^{s_i+} + sum_k e^{s_ik}) ], s less log p_N where given", Kind::loss,
     Across::local, kScores, list_params<NceRankingParams>,
     [](const Inputs& in, Params& f) { return nce_ranking(scores_of(in), f.read<NceRankingParams>()); }},
    {"margin_ranking", "window ranking", "Collobert & Weston 2008, ICML",
     "L = mean_i of the sum, mean or largest over k of max(0, margin - pos_i + neg_ik)", Kind::loss,
     Across::local, kMargin, list_params<MarginRankingParams>,
     [](const Inputs& in, Params& f) {
       return margin_ranking(scores_of(in), f.read<MarginRankingParams>());
     }},
    {"scl_finetune", "SCL fine-tuning", "Gunel et al. 2021, arXiv 2011.01403",
     "L = (1 - weight) mean CE(logits, labels) + weight SupCon(z, labels)", Kind::loss, Across::negatives,
     kClassified, list_params<SclFinetuneParams>,
     [](const Inputs& in, Params& f) {
       return scl_finetune(in["z"], in["logits"], in.tensor("labels"), f.read<SclFinetuneParams>());
     }},
    {"mcl_infonce", "MCL", "Zhang et al. 2024, multistage contrastive learning",
     "L = mean_a -log( e^{s_a,a+} / sum over b of a's cell, b != a, e^{s_ab} )", Kind::loss,
     Across::negatives, kCells, list_params<MclInfoNceParams>,
     [](const Inputs& in, Params& f) {
       return mcl_infonce(in["z1"], in["z2"], in.tensor("label"), f.read<MclInfoNceParams>());
     }},
};

}  // namespace

std::span<const Objective> scores_rows() { return kRows; }

}  // namespace juxta::ssl

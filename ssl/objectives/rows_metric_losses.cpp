#include "ssl/losses/metric_losses.h"
#include "ssl/objectives/rows.h"

namespace juxta::ssl {

namespace {

constexpr InputRow kLabelled[] = {{"embeddings", "[N, D]"}, {"labels", "i64 [N]"}};
constexpr InputRow kGraded[] = {{"z1", "[N, D]"}, {"z2", "[N, D]"}, {"gold", "[N]"}};

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
};

}  // namespace

std::span<const Objective> metric_losses_rows() { return kRows; }

}  // namespace juxta::ssl

#include "ssl/losses/batch_contrastive.h"
#include "ssl/objectives/rows.h"

namespace juxta::ssl {

namespace {

constexpr InputRow kTwoViews[] = {{"z1", "[N, D]"}, {"z2", "[N, D]"}};
constexpr InputRow kQueryKeyQueue[] = {{"query", "[N, D]"}, {"key", "[N, D]"}, {"queue", "[K, D]", true}};

constexpr Objective kRows[] = {
    {"nt_xent", "SimCLR", "Chen et al. 2020, arXiv 2002.05709",
     "z = [z1; z2], S = z z^T / temperature, S_aa = -inf, L = mean_a CE(S_a, (a + N) mod 2N)", Kind::loss,
     Across::negatives, kTwoViews, list_params<NtXentParams>,
     [](const Inputs& in, Params& f) { return nt_xent(in["z1"], in["z2"], f.read<NtXentParams>()); }},
    {"info_nce", "MoCo", "He et al. 2020, arXiv 1911.05722",
     "L = mean_i CE([q_i . k_i ; q_i Q^T] / temperature, 0); in_batch: CE(q_i K^T / temperature, i); both: "
     "batch "
     "columns, then queue columns",
     Kind::loss, Across::negatives, kQueryKeyQueue, list_params<InfoNceParams>,
     [](const Inputs& in, Params& f) {
       return info_nce(in["query"], in["key"], in.optional("queue"), f.read<InfoNceParams>());
     }},
};

}  // namespace

std::span<const Objective> batch_contrastive_rows() { return kRows; }

}  // namespace juxta::ssl

#include "ssl/losses/without_negatives.h"
#include "ssl/objectives/rows.h"

namespace juxta::ssl {

namespace {

constexpr InputRow kPredictions[] = {{"p1", "[N, D]"}, {"p2", "[N, D]"}, {"z1", "[N, D]"}, {"z2", "[N, D]"}};

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
};

}  // namespace

std::span<const Objective> without_negatives_rows() { return kRows; }

}  // namespace juxta::ssl

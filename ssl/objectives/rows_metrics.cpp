#include "ssl/eval/monitors.h"
#include "ssl/objectives/rows.h"

namespace juxta::ssl {

namespace {

struct EmbeddingGeometryParams {
  double alpha = 2, t = 2, eps = 1e-7;
  void fields(Params& f) { f("alpha", alpha), f("t", t), f("eps", eps); }
};

Outcome run_embedding_geometry(const Inputs& in, Params& f) {
  const auto p = f.read<EmbeddingGeometryParams>();
  const Tensor &z1 = in.tensor("z1"), &z2 = in.tensor("z2"), &labels = in.tensor("labels");
  return {{},
          {{"alignment_loss", figure(alignment(z1, z2, p.alpha))},
           {"uniformity_loss", figure(uniformity(z1, p.t))},
           {"tolerance", figure(tolerance(z1, labels))},
           {"tolerance_all", figure(tolerance_all(z1, labels))},
           {"mean_cosine", figure(mean_cosine(z1))},
           {"rankme", figure(rankme(z1, p.eps))},
           {"effective_rank", figure(effective_rank(z1))},
           {"participation_ratio", figure(participation_ratio(z1))},
           {"std_unit", figure(feature_std(z1))},
           {"collapse", figure(collapse(z1))}}};
}

struct UniformityToleranceParams {
  double t = 2;
  void fields(Params& f) { f("t", t); }
};

Outcome run_uniformity_tolerance(const Inputs& in, Params& f) {
  const auto p = f.read<UniformityToleranceParams>();
  const Tensor &z = in.tensor("z"), &labels = in.tensor("labels");
  return {{},
          {{"uniformity", figure(-uniformity(z, p.t))},
           {"tolerance", figure(tolerance(z, labels))},
           {"tolerance_all", figure(tolerance_all(z, labels))}}};
}

constexpr InputRow kViewsAndLabels[] = {{"z1", "[N, D]"}, {"z2", "[N, D]"}, {"labels", "i64 [N]"}};
constexpr InputRow kLabelled[] = {{"z", "[N, D]"}, {"labels", "i64 [N]"}};

constexpr Objective kRows[] = {
    {"embedding_geometry", "all",
     "Wang & Isola 2020, arXiv 2005.10242; Garrido et al. 2023, arXiv 2210.02885",
     "alignment = mean |x - y|^alpha, uniformity = log mean_{i<j} exp(-t |x_i - x_j|^2), rankme = "
     "exp(entropy of the "
     "singular values)",
     Kind::metric, Across::statistics, kViewsAndLabels, list_params<EmbeddingGeometryParams>,
     run_embedding_geometry},
    {"uniformity_tolerance", "behaviour of the contrastive loss", "Wang & Liu 2021, arXiv 2012.09740",
     "uniformity = -log mean_{i<j} exp(-t |x_i - x_j|^2), tolerance = mean x_i . x_j over pairs of one label",
     Kind::metric, Across::statistics, kLabelled, list_params<UniformityToleranceParams>,
     run_uniformity_tolerance},
};

}  // namespace

std::span<const Objective> metrics_rows() { return kRows; }

}  // namespace juxta::ssl

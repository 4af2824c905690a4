// What lies between the stages of multistage contrastive learning.
#include "ssl/data/multi_stage.h"
#include "ssl/objectives/rows.h"

namespace juxta::ssl {

namespace {

constexpr InputRow kClusters[] = {{"clusters", "i64 [S, N]"}};
constexpr InputRow kCells[] = {{"labels", "i64 [N]"}, {"key", "[N]"}};
constexpr InputRow kStages[] = {{"features", "[S, N, D]"}, {"other", "[S, M, D]"}};

struct PseudoLabelParams {
  int64_t k = 10;
  void fields(Params& f) { f("k", k); }
};
Outcome run_pseudo_labels(const Inputs& in, Params& f) {
  const PseudoLabels r = mcl_pseudo_labels(in.tensor("clusters"), f.read<PseudoLabelParams>().k);
  return {{}, {{"pseudo", Var(r.pseudo)}, {"group", Var(r.group)}, {"groups", Var(r.groups)}}};
}

struct CellBatchParams {
  int64_t batch = 256;
  void fields(Params& f) { f("batch", batch); }
};
Outcome run_batches(const Inputs& in, Params& f) {
  const CellBatches r = mcl_batches(in.tensor("labels"), in.tensor("key"), f.read<CellBatchParams>().batch);
  return {{}, {{"batches", Var(r.batches)}, {"label", Var(r.label)}, {"dropped", Var(r.dropped)}}};
}

struct IntegrateParams {
  bool normalize_stages = false;
  void fields(Params& f) { f("normalize_stages", normalize_stages); }
};
Outcome run_integrate(const Inputs& in, Params& f) {
  const JoinedStages r =
      mcl_integrate(in.tensor("features"), in.tensor("other"), f.read<IntegrateParams>().normalize_stages);
  return {{}, {{"joined", Var(r.joined)}, {"similarity", Var(r.similarity)}}};
}

constexpr const char* kMcl = "Zhang et al. 2024, arXiv 2402.11816";

constexpr Objective kRows[] = {
    {"mcl_pseudo_labels", "MCL", kMcl, "pseudo_t(x) = sum_{u <= t} c_u(x) k^(t - u)", Kind::rule,
     Across::local, kClusters, list_params<PseudoLabelParams>, run_pseudo_labels},
    {"mcl_batches", "MCL", kMcl, "batches of one cell each, cells in turn", Kind::rule, Across::local, kCells,
     list_params<CellBatchParams>, run_batches},
    {"mcl_integrate", "MCL", kMcl, "joined = normalize([f_0; ..; f_{S-1}]), similarity = joined other^T",
     Kind::metric, Across::local, kStages, list_params<IntegrateParams>, run_integrate},
};

}  // namespace

std::span<const Objective> multi_stage_rows() { return kRows; }

}  // namespace juxta::ssl

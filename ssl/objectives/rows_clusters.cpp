#include "ssl/clusters/density.h"
#include "ssl/clusters/dyce.h"
#include "ssl/clusters/kmeans.h"
#include "ssl/eval/clustering.h"
#include "ssl/losses/prototypes.h"
#include "ssl/losses/sinkhorn.h"
#include "ssl/losses/swav.h"
#include "ssl/momentum/shift_queue.h"
#include "ssl/objectives/history.h"
#include "ssl/objectives/rows.h"

namespace juxta::ssl {

namespace {

constexpr InputRow kScores[] = {{"scores", "[M, K]"}};
constexpr InputRow kCrops[] = {{"z", "[V, N, D]"}, {"prototypes", "[K, D]"}, {"queue", "[A, L, D]", true}};
constexpr InputRow kShifts[] = {{"queue", "[A, L, D]"}, {"embeddings", "[S, A, B, D]"}};
constexpr InputRow kSwalip[] = {{"h_image", "[2, N, D]", true}, {"h_text", "[2, N, D]", true},
                                {"h_logit_scale", "[1]", true}, {"p_image", "[N, K]", true},
                                {"p_text", "[N, K]", true},     {"p_image_m", "[N, K]", true},
                                {"p_text_m", "[N, K]", true},   {"logit_scale", "[1]", true}};
constexpr InputRow kAssigned[] = {{"z", "[V, N, D]"}, {"assign", "i64 [P, N]"}, {"prototypes#", "[K, D]"}};
constexpr InputRow kClusterings[] = {
    {"query", "[N, D]"},    {"key", "[N, D]"},       {"queue", "[M, D]"}, {"index", "i64 [N]"},
    {"assign#", "i64 [T]"}, {"centroid#", "[K, D]"}, {"density#", "[K]"}, {"negative#", "i64 [R]", true}};
constexpr InputRow kStarts[] = {{"features", "[n, D]"}, {"start", "i64 [K]"}};
constexpr InputRow kCentroids[] = {{"x", "[n, D]"}, {"centroids", "[K, D]"}};
constexpr InputRow kAssignment[] = {{"features", "[n, D]"}, {"centroids", "[K, D]"}, {"assign", "i64 [n]"}};
constexpr InputRow kParts[] = {{"clusters", "i64 [N]"}, {"labels", "i64 [N]"}};
constexpr InputRow kMemory[] = {
    {"bank", "[S, D]"}, {"labels", "i64 [S]"}, {"prototypes", "[K, D]"}, {"z", "[steps, B, D]"}};
constexpr InputRow kNearest[] = {
    {"z", "[2B, D]"}, {"bank", "[S, D]"}, {"labels", "i64 [S]"}, {"prototypes", "[K, D]"}};

Outcome run_swav_queue(const Inputs& in, Params& f) {
  f.read<NoParams>();
  ShiftQueue queue = ShiftQueue::from_rows(in.tensor("queue"));
  const Tensor& embeddings = in.tensor("embeddings");
  JX_CHECK(embeddings.ndim() == 4, "swav_queue: embeddings: expected [S, A, B, D], got ", embeddings);
  History active, rows;
  for (int64_t s = 0; s < embeddings.size(0); ++s) {
    active.put(s, embeddings.size(0), queue.active());
    queue.push(embeddings.select(0, s));
    rows.put(s, embeddings.size(0), queue.rows());
  }
  return {{}, {{"active", Var(active.all)}, {"queue", Var(rows.all)}}};
}

Outcome run_swalip(const Inputs& in, Params& f) {
  const auto p = f.read<SwalipParams>();
  if (p.kind == SwalipParams::Form::views)
    return swalip_views(in["h_image"], in["h_text"], in["h_logit_scale"], p);
  return swalip_prototypes(in["p_image"], in["p_text"], in.optional("p_image_m"), in.optional("p_text_m"),
                           in["logit_scale"], p);
}

Outcome run_proto_nce(const Inputs& in, Params& f) {
  const auto p = f.read<ProtoNceParams>();
  std::vector<Clustering> clusterings;
  for (int64_t m = 0; in.has("centroid" + std::to_string(m)); ++m) {
    const std::string at = std::to_string(m);
    clusterings.push_back({in.tensor("assign" + at), in.tensor("centroid" + at), in.tensor("density" + at),
                           in.optional_tensor("negative" + at)});
  }
  return proto_nce(in["query"], in["key"], in.tensor("queue"), in.tensor("index"), clusterings, p);
}

struct SphericalParams {
  int64_t iterations = 10;
  void fields(Params& f) { f("iterations", iterations); }
};
Outcome run_spherical(const Inputs& in, Params& f) {
  const auto p = f.read<SphericalParams>();
  JX_CHECK(p.iterations >= 1, "spherical_kmeans: iterations: expected at least 1, got ", p.iterations);
  const Tensor& x = in.tensor("features");
  KMeans now;
  now.centroids = rows_at("spherical_kmeans", x, in.tensor("start"));
  History centroids;
  for (int64_t i = 0; i < p.iterations; ++i) {
    now = spherical_kmeans(x, now.centroids, 1);
    centroids.put(i, p.iterations, now.centroids);
  }
  return {{}, {{"assign", Var(now.label)}, {"centroids", Var(centroids.all)}}};
}

struct KMeansParams {
  int64_t rounds = 20;
  void fields(Params& f) { f("rounds", rounds); }
};
Outcome run_kmeans(const Inputs& in, Params& f) {
  const KMeans k = kmeans(in.tensor("x"), in.tensor("centroids"), f.read<KMeansParams>().rounds);
  const std::span<const double> before(k.inertia_before);
  return {{},
          {{"label", Var(k.label)},
           {"centroids", Var(k.centroids)},
           {"inertia", figure(k.inertia)},
           {"inertia_before", Var(Tensor::from(before, {static_cast<int64_t>(before.size())}))}}};
}

Outcome run_clustering_metrics(const Inputs& in, Params& f) {
  f.read<NoParams>();
  const ClusteringMetrics m = clustering_metrics(in.tensor("clusters"), in.tensor("labels"));
  return {{},
          {{"nmi", figure(m.nmi)},
           {"ari", figure(m.ari)},
           {"purity", figure(m.purity)},
           {"accuracy", figure(m.accuracy)}}};
}

struct DyceStepParams : DyceParams {
  int64_t ptr = 0, steps = 0;  // steps 0: as many as z has
  void fields(Params& f) { DyceParams::fields(f), f("ptr", ptr), f("steps", steps); }
};
Outcome run_dyce_update(const Inputs& in, Params& f) {
  const auto p = f.read<DyceStepParams>();
  const Tensor& z = in.tensor("z");
  JX_CHECK(z.ndim() == 3 && (p.steps == 0 || p.steps == z.size(0)),
           "dyce_update: z: expected [steps, B, D], got ", z);
  DyceMemory memory =
      DyceMemory::from(in.tensor("bank"), in.tensor("labels"), in.tensor("prototypes"), p.ptr, p);
  History q, assignment, bank, labels, prototypes, ptr;
  for (int64_t s = 0; s < z.size(0); ++s) {
    const DyceMemory::Assigned a = memory.update(z.select(0, s));
    q.put(s, z.size(0), a.q);
    assignment.put(s, z.size(0), a.label);
    bank.put(s, z.size(0), memory.bank());
    labels.put(s, z.size(0), memory.labels());
    prototypes.put(s, z.size(0), memory.prototypes());
    ptr.put(s, z.size(0), Tensor::from<int64_t>({memory.pointer()}, {}));
  }
  return {{},
          {{"q", Var(q.all)},
           {"assignment", Var(assignment.all)},
           {"bank", Var(bank.all)},
           {"labels", Var(labels.all)},
           {"prototypes", Var(prototypes.all)},
           {"ptr", Var(ptr.all)}}};
}

struct DyceTopKParams {
  int64_t k = 5;
  void fields(Params& f) { f("k", k); }
};
Outcome run_dyce_topk(const Inputs& in, Params& f) {
  const auto p = f.read<DyceTopKParams>();
  const DyceMemory memory =
      DyceMemory::from(in.tensor("bank"), in.tensor("labels"), in.tensor("prototypes"), 0, {});
  const DyceMemory::Enhanced e = memory.enhance(in["z"], p.k);
  return {{},
          {{"enhanced", e.rows}, {"indices", Var(e.neighbours)}, {"nearest_prototype", Var(e.prototype)}}};
}

constexpr const char* kSwavPaper = "Caron et al. 2020, arXiv 2006.09882";
constexpr const char* kBeclr = "Poulakakis-Daktylidis & Jamali-Rad 2024, arXiv 2402.02444";

constexpr Objective kRows[] = {
    {"sinkhorn_knopp", "SwAV", kSwavPaper, "Q = e^{S/eps}: columns to 1/K, rows to 1/M, in turn; Q M",
     Kind::rule, Across::statistics, kScores, list_params<SinkhornParams>,
     [](const Inputs& in, Params& f) {
       return Outcome{{}, {{"q", Var(sinkhorn_knopp(in.tensor("scores"), f.read<SinkhornParams>()))}}};
     }},
    {"swav", "SwAV", kSwavPaper,
     "L = 1/A sum_a 1/(V-1) sum_{v != a} mean_b - sum_k q_a log softmax(z_v C^T / t)", Kind::loss,
     Across::statistics, kCrops, list_params<SwavParams>,
     [](const Inputs& in, Params& f) {
       return swav(in["z"], in["prototypes"], in.optional_tensor("queue"), f.read<SwavParams>());
     }},
    {"swav_queue", "SwAV", kSwavPaper, "rows move down by B, the batch goes first; active once full",
     Kind::state, Across::local, kShifts, list_params<NoParams>, run_swav_queue},
    {"swalip", "SwALIP", "Fini et al. 2023, arXiv 2305.08675",
     "L = 1/2 CE(sinkhorn(H_i' H_t'^T), s H_i H_t^T) + 1/2 the same for text", Kind::loss, Across::statistics,
     kSwalip, list_params<SwalipParams>, run_swalip},
    {"deepcluster_v2", "DeepCluster-v2", kSwavPaper, "L = mean_p mean CE(z C_p^T / t, assign_p)", Kind::loss,
     Across::local, kAssigned, list_params<DeepClusterParams>,
     [](const Inputs& in, Params& f) {
       return deepcluster_v2(in["z"], in.tensor("assign"), in.numbered_tensors("prototypes"),
                             f.read<DeepClusterParams>());
     }},
    {"proto_nce", "PCL", "Li et al. 2021, arXiv 2005.04966",
     "L = InfoNCE + w mean_m mean_i CE(q_i . c / phi_c, own cluster)", Kind::loss, Across::local,
     kClusterings, list_params<ProtoNceParams>, run_proto_nce},
    {"pcl_density", "PCL", "Li et al. 2021, arXiv 2005.04966",
     "phi_c = mean |x - c| / log(n_c + smooth), clipped to percentiles, scaled to mean temperature",
     Kind::rule, Across::statistics, kAssignment, list_params<DensityParams>,
     [](const Inputs& in, Params& f) {
       return Outcome{{},
                      {{"density", Var(pcl_density(in.tensor("features"), in.tensor("centroids"),
                                                   in.tensor("assign"), f.read<DensityParams>()))}}};
     }},
    {"spherical_kmeans", "DeepCluster-v2", kSwavPaper, "assign by dot product, mean, scale to unit length",
     Kind::rule, Across::statistics, kStarts, list_params<SphericalParams>, run_spherical},
    {"kmeans", "k-means", "Lloyd 1982, IEEE Trans. Inf. Theory 28(2)",
     "assign to the nearest centroid, move it to the mean", Kind::rule, Across::statistics, kCentroids,
     list_params<KMeansParams>, run_kmeans},
    {"clustering_metrics", "clustering", "Hubert & Arabie 1985; Kuhn 1955",
     "NMI, adjusted Rand index, purity, accuracy of the best one-to-one map", Kind::metric, Across::local,
     kParts, list_params<NoParams>, run_clustering_metrics},
    {"dyce_update", "BECLR", kBeclr, "label = argmax sinkhorn(e^{-d/eps}); write; P = m P + (1-m) mean",
     Kind::state, Across::statistics, kMemory, list_params<DyceStepParams>, run_dyce_update},
    {"dyce_topk", "BECLR", kBeclr, "each row's k nearest of its prototype's rows in the bank", Kind::rule,
     Across::local, kNearest, list_params<DyceTopKParams>, run_dyce_topk},
};

}  // namespace

std::span<const Objective> clusters_rows() { return kRows; }

}  // namespace juxta::ssl

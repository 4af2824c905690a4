#pragma once
// Contrast of samples with cluster centres that k-means found: DeepCluster-v2 and prototypical contrast.
#include "ssl/losses/loss.h"
#include "ssl/params.h"

namespace juxta::ssl {

struct DeepClusterParams {
  double temperature = 0.1;
  void fields(Params& f) { f("temperature", temperature); }
};

// DeepCluster-v2 (Caron et al. 2020, arXiv 2006.09882). z [V, N, D], scaled to unit length here; assign i64
// [P, N], the cluster of each sample in each of P clusterings, -1: ignored; prototypes[p] [K_p, D] of unit
// rows, constants.
//   L = mean_p mean over views and samples with a cluster of CE(z C_p^T / temperature, assign_p)
// A clustering in which every sample is ignored adds 0.
Loss deepcluster_v2(const Var& z, const Tensor& assign, const std::vector<Tensor>& prototypes,
                    const DeepClusterParams& p = {});

enum class ProtoNegatives { sampled, all };

struct ProtoNceParams {
  double temperature = 0.1, proto_weight = 1;
  ProtoNegatives negatives = ProtoNegatives::sampled;
  void fields(Params& f) {
    f("temperature", temperature), f("proto_weight", proto_weight);
    f("negatives", negatives, {"sampled", "all"});
  }
};

// One clustering of a data set of n rows: constants.
struct Clustering {
  Tensor assign;      // i64 [n]
  Tensor centroid;    // [K, D], unit rows
  Tensor density;     // [K] > 0: the temperature of each cluster
  Tensor negative{};  // i64 [R] cluster ids; `sampled` only
};

// PCL (Li et al. 2021, arXiv 2005.04966). query, key [N, D], queue [M, D], index i64 [N]: the batch's places
// in the data set.
//   L = InfoNCE(query, key, queue) + proto_weight mean_m mean_i CE(q_i . c / density_c)
// sampled: the columns are the batch's own prototypes in order, repeats included, then the sampled ones
// (row i's target is column i, and a second sample of its cluster repels a copy of its own centroid); all:
// every prototype. Only the query has a gradient. Terms: instance, proto.
Loss proto_nce(const Var& query, const Var& key, const Tensor& queue, const Tensor& index,
               const std::vector<Clustering>& clusterings, const ProtoNceParams& p = {});

}  // namespace juxta::ssl

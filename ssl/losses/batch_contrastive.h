#pragma once
// Batch-contrastive losses: every sample against the others of its batch or against a queue of past keys.
// S is the matrix of similarities / temperature; it is never stored (autograd/contrast.h).
#include "ssl/losses/loss.h"
#include "ssl/params.h"

namespace juxta::ssl {

struct NtXentParams {
  double temperature = 0.5;  // 0.5 for CIFAR, 0.1 for ImageNet in the paper
  bool normalize = true;     // cosine similarity
  void fields(Params& f) {
    f("temperature", temperature);
    f("normalize", normalize);
  }
};

// NT-Xent (SimCLR, Chen et al. 2020, arXiv 2002.05709). z1, z2 [N, D]: two views of N samples.
//   z = [z1; z2],  S = z z^T / temperature with the diagonal at -inf,  L = 1/(2N) sum_a CE(S_a, (a+N) mod 2N)
// N = 1 gives 0. Terms: positive, the mean similarity of the positive pairs; lse, the mean log-sum-exp.
Loss nt_xent(const Var& z1, const Var& z2, const NtXentParams& p = {});

// Who the negatives of a query are.
enum class Negatives { queue, in_batch, both };

struct InfoNceParams {
  double temperature = 0.07;
  bool normalize = true;  // of query and key; the queue holds unit rows already
  Negatives negatives = Negatives::queue;
  bool symmetric = false;  // the mean of both directions
  void fields(Params& f) {
    f("temperature", temperature);
    f("normalize", normalize);
    f("negatives", negatives, {"queue", "in_batch", "both"});
    f("symmetric", symmetric);
  }
};

// InfoNCE (MoCo, He et al. 2020, arXiv 1911.05722; in-batch as in CPC, arXiv 1807.03748). query, key [N, D],
// queue [K, D] (K = 0 allowed) unless in_batch.
//   queue     l_i = [q_i . k_i ; q_i Q^T] / temperature, target 0
//   in_batch  l_i = q_i K^T / temperature, target i
//   both      l_i = [q_i K^T ; q_i Q^T] / temperature, target i
//   L = mean_i CE(l_i, target)
// `ids`: queue rows that carry the id of a row's sample are left out of its negatives (queue only).
// With a queue only the query has a gradient, in both directions of symmetric (keys and queue are constants);
// in_batch gives both. Terms: positive, the mean similarity of query and key.
struct QueueIds {
  Tensor rows{}, queue{};  // i64 [N] and [K], or both undefined: nothing is left out
};
Loss info_nce(const Var& query, const Var& key, const Var& queue, const InfoNceParams& p = {},
              const QueueIds& ids = {});

}  // namespace juxta::ssl

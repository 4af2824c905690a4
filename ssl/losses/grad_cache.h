#pragma once
// Contrast of queries and targets whose batch is larger than memory: the loss of the whole batch on
// embeddings that in_chunks() makes part by part.
#include "ssl/losses/loss.h"
#include "ssl/params.h"

namespace juxta::ssl {

struct GradCacheParams {
  int64_t chunk_x = 0, chunk_y = 0;  // rows that each encoder sees at a time; 0: all
  bool symmetric = true, normalize = true;
  int64_t targets_per_query = 1;
  void fields(Params& f) {
    f("chunk_x", chunk_x), f("chunk_y", chunk_y), f("symmetric", symmetric), f("normalize", normalize);
    f("targets_per_query", targets_per_query);
  }
};

// GradCache's contrastive loss (Gao et al. 2021, arXiv 2101.06983). rep_x [N, D], rep_y [N k, D]: query i
// belongs to target i k, the k - 1 after it are its hard negatives and everybody's; logit_scale of one
// element.
//   L = mean_i CE(e^logit_scale x_i Y^T, i k);  symmetric (k = 1): the mean of both directions
Loss grad_cache(const Var& rep_x, const Var& rep_y, const Var& logit_scale, const GradCacheParams& p = {});

}  // namespace juxta::ssl

#pragma once
// Decoupled contrastive learning (Yeh et al. 2022, arXiv 2110.06848): NT-Xent without the positive in the
// denominator.
#include <optional>

#include "ssl/losses/loss.h"
#include "ssl/params.h"

namespace juxta::ssl {

struct DclParams {
  double temperature = 0.1;
  bool symmetric = true;  // anchors of both views; false: of the first
  bool normalize = true;
  void fields(Params& f) {
    f("temperature", temperature), f("symmetric", symmetric), f("normalize", normalize);
  }
};

// DCL. z1, z2 [N, D], N >= 2. With U_a the sum over the 2N - 2 rows of other samples of e^{s_ab}, s = z z^T /
// temperature:
//   L = mean over the anchors a of -s_a,a+ + log U_a
Loss dcl(const Var& z1, const Var& z2, const DclParams& p = {});

struct DclwParams : DclParams {
  double sigma = 0.5;
  bool detach_weight = false;  // the gradient flows through the weights in the authors' code
  void fields(Params& f) {
    DclParams::fields(f);
    f("sigma", sigma), f("detach_weight", detach_weight);
  }
};

// DCLW: the positive of sample i weighs w_i = 2 - N softmax_i(c / sigma), c_i the cosine of its views: easy
// pairs pull less.
//   L = mean over the anchors a of -w_a s_a,a+ + log U_a
// Terms: weight [N], whose mean is 1.
Loss dclw(const Var& z1, const Var& z2, const DclwParams& p = {});

struct DclQueueParams {
  double temperature = 0.1;
  std::optional<double> sigma{};  // a number: weights as in DCLW
  bool normalize = true;          // of query and key; the queue holds unit rows already
  bool detach_weight = false;
  void fields(Params& f) {
    f("temperature", temperature), f("sigma", sigma), f("normalize", normalize),
        f("detach_weight", detach_weight);
  }
};

// DCL with MoCo's queue: L = mean_i -w_i q_i . k_i / temperature + log sum_m e^{q_i . queue_m / temperature}.
// query, key [N, D], queue [M, D], M >= 1. Only the query has a gradient.
Loss dcl_queue(const Var& query, const Var& key, const Var& queue, const DclQueueParams& p = {});

struct NpcMultiplierParams {
  double temperature = 0.1;
  bool normalize = true;
  void fields(Params& f) { f("temperature", temperature), f("normalize", normalize); }
};

// The factor q_a = sigma(log U_a - s_a,a+) by which NT-Xent's gradient at anchor a is that of DCL. z1, z2 [N,
// D], N >= 2. No loss; terms: q [2N], q_mean, q_std (biased).
Loss npc_multiplier(const Var& z1, const Var& z2, const NpcMultiplierParams& p = {});

}  // namespace juxta::ssl

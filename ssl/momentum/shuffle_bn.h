#pragma once
// Shuffling BN (MoCo, He et al. 1911.05722, section 3.3). Batch norm per device, or per part of a batch on
// one device, lets a query and its key share the statistics of their companions, which gives the answer away.
// So the key batch is permuted before the key network and its outputs are permuted back:
//   y[perm[r]] = f(x[perm])[r]
#include <functional>

#include "autograd/ops.h"

namespace juxta::ssl {

// f maps [N, ..] to [N, ..]. perm i64 [N], a permutation; Error when it is none.
Var shuffled(const Var& x, const Tensor& perm, const std::function<Var(const Var&)>& f);

// One batch norm layer under shuffling: `groups` equal parts of the permuted batch, each with its own
// statistics. The running statistics are those of the first part: what device 0 keeps, and saves, where each
// part is a device. x [N, C], gain and bias [C]; N / groups >= 2.
Var shuffle_bn(const Var& x, const Tensor& perm, const Var& gain, const Var& bias, BatchNormState& state,
               int64_t groups, double eps = 1e-5);

}  // namespace juxta::ssl

#pragma once
// Which samples a small memory keeps.
#include "tensor/tensor.h"

namespace juxta::ssl {

enum class Herding { barycenter, cluster };

// Exemplars of every class (iCaRL, Rebuffi et al. 2017, arXiv 1611.07725): features [N, D], labels i64 [N];
// at most per_class each. Returned i64: classes in ascending order, within a class in the order of choice.
// barycenter: greedily, of unit features f and their class mean mu, w_0 = mu, the largest w . f, then w += mu
// - f: the running mean of the chosen follows mu. cluster: the features nearest to their class mean, as they
// are. Computed in f64; ties go to the lower index.
Tensor herding(const Tensor& features, const Tensor& labels, int64_t per_class,
               Herding method = Herding::barycenter);

}  // namespace juxta::ssl

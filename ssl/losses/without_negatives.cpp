#include "ssl/losses/without_negatives.h"

#include "autograd/ops.h"

namespace juxta::ssl {

namespace {

// Mean over the rows of cos(p_i, sg z_i).
Var mean_cosine(const Var& p, const Var& z) {
  const Var unit_p = l2_normalize(at_least_f32(p)), unit_z = l2_normalize(stop_gradient(at_least_f32(z)));
  return mean(sum(mul(unit_p, unit_z), {-1}));
}

}  // namespace

Loss negative_cosine(const Var& p1, const Var& p2, const Var& z1, const Var& z2,
                     const NegativeCosineParams& p) {
  check_embeddings("negative_cosine", {{"p1", p1}, {"p2", p2}, {"z1", z1}, {"z2", z2}});
  const Var cosine1 = mean_cosine(p1, z2), cosine2 = mean_cosine(p2, z1);
  // simsiam: -1/2 (c1 + c2); byol: (2 - 2 c1) + (2 - 2 c2)
  const Var both = add(cosine1, cosine2);
  const Var loss = p.form == CosineForm::simsiam ? affine(both, -0.5, 0.0) : affine(both, -2.0, 4.0);
  return {loss, {{"cosine1", stop_gradient(cosine1)}, {"cosine2", stop_gradient(cosine2)}}};
}

}  // namespace juxta::ssl

#include "ssl/losses/gram.h"

#include "autograd/ops.h"

namespace juxta::ssl {

Loss gram_anchor(const Var& student, const Var& teacher, const GramAnchorParams& p) {
  JX_CHECK(student.defined() && is_float(student.dtype()) && student.ndim() == 3 && student.numel() > 0,
           "gram_anchor: student: expected a float [N, L, D], got ", student);
  JX_CHECK(teacher.defined() && teacher.dims() == student.dims() && teacher.dtype() == student.dtype(),
           "gram_anchor: teacher: expected ", student, " like student, got ", teacher);
  check_finite("gram_anchor", {"student", student});
  check_finite("gram_anchor", {"teacher", teacher});
  const auto similarities = [&](const Var& features, bool drop_negatives) {
    Var x = at_least_f32(features);
    if (p.normalize) x = l2_normalize(x);
    if (!p.image_level) x = reshape(x, {1, x.size(0) * x.size(1), x.size(2)});
    const Var gram = matmul(x, transpose(x, 1, 2));
    return drop_negatives ? relu(gram) : gram;
  };
  const Var own = similarities(student, p.negatives == GramNegatives::drop);
  const Var anchor = similarities(stop_gradient(teacher), p.negatives != GramNegatives::keep);
  return {mean(square(sub(own, anchor))), {}};
}

}  // namespace juxta::ssl

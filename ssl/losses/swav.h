#pragma once
// Losses whose targets are balanced assignments of other views (codes): SwAV and its image-text kin.
#include "ssl/losses/loss.h"
#include "ssl/params.h"

namespace juxta::ssl {

struct SwavParams {
  double temperature = 0.1, epsilon = 0.05;
  int64_t iterations = 3;
  int64_t n_assign = 2;   // the first views give codes (the large crops)
  bool normalize = true;  // z to unit length here
  void fields(Params& f) {
    f("temperature", temperature), f("epsilon", epsilon), f("iterations", iterations);
    f("n_assign", n_assign), f("normalize", normalize);
  }
};

// SwAV (Caron et al. 2020, arXiv 2006.09882). z [V, B, D] with the A = n_assign assigning views first,
// prototypes [K, D] of unit rows (renormalise_rows before the step), queue [A, L, D] of unit rows, a
// constant, or undefined. With s_v = z_v C^T:
//   q_a = last B rows of sinkhorn_knopp([queue_a C^T; s_a] / epsilon), constants
//   L = 1/A sum_{a < A} 1/(V-1) sum_{v != a} mean_b - sum_k q_a[b, k] log softmax(s_v / temperature)[b, k]
// queue_a takes part once it is full: its last row is not zero. V >= 2. Terms: codes [A, B, K].
Loss swav(const Var& z, const Var& prototypes, const Tensor& queue, const SwavParams& p = {});

// Rows of x [K, D] to unit length, in place: the prototypes before each step (no gradient passes through it).
void renormalise_rows(Tensor& x);

struct SwalipParams {
  enum class Form { views, prototypes } kind = Form::views;
  double epsilon = 0.05;
  int64_t iterations = 3;
  void fields(Params& f) {
    f("kind", kind, {"views", "prototypes"}), f("epsilon", epsilon), f("iterations", iterations);
  }
};

// SwALIP between views (Fini et al. 2023, arXiv 2305.08675): samples of the other modality are the
// prototypes. h_image, h_text [2, N, D], scaled to unit length here; logit_scale of one element, s its
// exponential.
//   L = mean over views a, b of 1/2 CE(Q_ab, s H_i^a H_t^b^T) + 1/2 CE(Q'_ab, its transpose)
//   Q_ab = sinkhorn(H_i^{1-a} H_t^{1-b}^T), Q'_ab = sinkhorn of its transpose: constants
// Terms: target_image_11 [N, N], the target of views a = b = 0, which comes from views 1.
Loss swalip_views(const Var& h_image, const Var& h_text, const Var& logit_scale, const SwalipParams& p = {});

// SwALIP on shared prototypes: p_image, p_text [N, K] cosines with unit prototypes; p_image_m, p_text_m the
// same by the momentum network, or undefined.
//   L = 1/2 CE(Q_t, s p_image) + 1/2 CE(Q_i, s p_text),  Q = sinkhorn of p (of the momentum network's if
//   given)
// Terms: assign_image, assign_text [N, K].
Loss swalip_prototypes(const Var& p_image, const Var& p_text, const Var& p_image_m, const Var& p_text_m,
                       const Var& logit_scale, const SwalipParams& p = {});

}  // namespace juxta::ssl

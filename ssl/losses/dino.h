#pragma once
// Self-distillation: a student predicts the teacher's distribution over prototypes from other views (DINO)
// and at masked patches (iBOT).
#include "ssl/losses/loss.h"
#include "ssl/params.h"

namespace juxta::ssl {

enum class Centering { mean, sinkhorn };

struct DinoParams {
  double student_temperature = 0.1, teacher_temperature = 0.04;
  double center_momentum = 0.9;
  Centering centering = Centering::mean;
  int64_t sinkhorn_iterations = 3;
  void fields(Params& f) {
    f("student_temperature", student_temperature), f("teacher_temperature", teacher_temperature);
    f("center_momentum", center_momentum), f("centering", centering, {"mean", "sinkhorn"});
    f("sinkhorn_iterations", sinkhorn_iterations);
  }
};

// DINO (Caron et al. 2021, arXiv 2104.14294). student [S, N, P], teacher [T, N, P] (constants), center [P];
// the student's first T crops are the teacher's views.
//   q_t = softmax((t - center) / teacher_temperature);  sinkhorn: e^{t / teacher_temperature} balanced over
//   all T N rows
//   L = mean over (t, s), s != t, of mean_n - sum_P q_t log softmax(s / student_temperature)
// The centre is state: term `center` is the one for the next step (moved_center). S >= 2. Terms:
// teacher_prob [T, N, P], center.
Loss dino(const Var& student, const Var& teacher, const Var& center, const DinoParams& p = {});

// momentum center + (1 - momentum) mean of the rows of logits [.., P]: of the raw logits, after the loss. A
// constant.
Tensor moved_center(const Tensor& center, const Tensor& logits, double momentum);

struct IbotParams {
  double student_temperature = 0.1, teacher_temperature = 0.04, teacher_patch_temperature = 0.04;
  double center_momentum = 0.9, patch_center_momentum = 0.9;
  double cls_weight = 1, patch_weight = 1;
  void fields(Params& f) {
    f("student_temperature", student_temperature), f("teacher_temperature", teacher_temperature);
    f("teacher_patch_temperature", teacher_patch_temperature), f("center_momentum", center_momentum);
    f("patch_center_momentum", patch_center_momentum), f("cls_weight", cls_weight);
    f("patch_weight", patch_weight);
  }
};

// What iBOT compares: class tokens of S student and G teacher crops, patch tokens and masks of the G global
// crops.
struct IbotTokens {
  Var student_cls, teacher_cls;      // [S, N, P], [G, N, P]
  Var student_patch, teacher_patch;  // [G, N, L, Q]
  Tensor mask;                       // i64 [G, N, L], 1: masked in the student
  Var center, patch_center;          // [P], [Q]
};

// iBOT (Zhou et al. 2022, arXiv 2111.07832). The class term is DINO's; the patch term is within a view:
//   L = cls_weight L_cls + patch_weight mean over views and images of the mean over its masked patches of
//       - sum_Q softmax((t - patch_center) / teacher_patch_temperature) log softmax(s / student_temperature)
// An image without masked patches adds 0 and counts. Terms: cls_loss and patch_loss with their weights,
// center, and patch_center, which moves with all patches, masked or not.
Loss ibot(const IbotTokens& tokens, const IbotParams& p = {});

}  // namespace juxta::ssl

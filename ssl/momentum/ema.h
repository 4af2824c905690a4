#pragma once
// EMA teacher: parameters that follow others, xi <- m xi + (1 - m) theta (card 23b; He et al. 1911.05722,
// Grill et al. 2006.07733).
#include <string>

#include "nn/module.h"

namespace juxta::ssl {

// When a method runs the update. before_forward (MoCo v1-v3): with the weights of the previous optimiser
// step, then the teacher's forward. after_step (BYOL, DINO, iBOT): after the optimiser step, with the new
// weights. It is written in each method; here for reports.
enum class EmaOrder { before_forward, after_step };
// What happens to buffers (BN statistics): own, the teacher keeps those of its own forward passes (MoCo);
// copy, it takes the student's; average, they follow like parameters. Integer buffers (counters) are copied
// under copy and average.
enum class BufferPolicy { own, copy, average };

class EmaTeacher {
 public:
  EmaTeacher() = default;
  // Pairs two modules of the same structure by name and copies the student into the teacher. Error when names
  // or shapes differ.
  EmaTeacher(nn::NamedState student, nn::NamedState teacher, EmaOrder order, BufferPolicy buffers);
  // One update; m in [0, 1]. 1 - m is computed in double: 1 - 0.9999 in float would lose three digits.
  void update(double m);
  EmaOrder order() const { return order_; }

 private:
  nn::NamedState student_, teacher_;
  EmaOrder order_ = EmaOrder::after_step;
  BufferPolicy buffers_ = BufferPolicy::own;
};

// The update alone, over tensors of f32 or f64: teacher[i] <- m teacher[i] + (1 - m) student[i].
void ema_update(std::span<const Tensor> teacher, std::span<const Tensor> student, double m);

}  // namespace juxta::ssl

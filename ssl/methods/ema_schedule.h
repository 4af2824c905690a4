#pragma once
// The momentum of an EMA teacher over a run, as a method's fields.
#include <string>

#include "ssl/optim/schedules.h"
#include "ssl/train/fields.h"

namespace juxta::ssl {

struct EmaSchedule {
  double momentum = 0.99;         // at the start
  std::string kind = "constant";  // cosine rises to 1 by 1 - (1 - m0)(1 + cos(pi t / T)) / 2 (BYOL, DINO)
  int64_t freeze_steps = 0;       // freeze_then_constant: the teacher stands still up to this step

  void fields(Fields& f) {
    f("momentum", momentum, "EMA momentum at the start", kFraction);
    f("momentum_schedule", kind, "of the EMA momentum: cosine rises to 1",
      {"constant", "cosine", "freeze_then_constant"});
    f("momentum_freeze_steps", freeze_steps, "freeze_then_constant: momentum 1 up to this step",
      kNotNegative);
  }
  double at(int64_t step, int64_t total_steps) const {
    if (kind == "cosine") return momentum_cosine(momentum, step, total_steps);
    if (kind == "freeze_then_constant") return freeze_then_constant(momentum, freeze_steps, step);
    return momentum;
  }
};

}  // namespace juxta::ssl

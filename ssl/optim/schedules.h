#pragma once
// Schedules: values as pure functions of the step t = 0 .. T-1 (card 23a).
#include <cstdint>
#include <string>
#include <vector>

namespace juxta::ssl {

// Which step of the warm-up reaches the peak: reach_after t/W (MoCo v3; the first value is the start),
// linspace t/(W-1) (DINO; the peak appears twice), skip_first (t+1)/W (Lightly).
enum class Warmup { reach_after, linspace, skip_first };

struct CosineSchedule {
  double base = 1, end = 0;
  int64_t steps = 1;   // T
  int64_t warmup = 0;  // W steps, linear from `start`
  double start = 0;
  Warmup index = Warmup::reach_after;
  bool endpoint =
      false;  // true: the last step reaches `end` (Lightly); false: it would be step T (DINO, MoCo, BYOL)
  double at(int64_t t) const;
};

// EMA momentum: 1 - (1 - m0) (1 + cos(pi t / T)) / 2, from m0 to 1.
double momentum_cosine(double m0, int64_t t, int64_t steps);
// Linear from `from` to `to` over `over` steps, then constant (teacher temperatures).
double linear_then_constant(double from, double to, int64_t over, int64_t t);
// base x factor^(number of milestones at or before t).
double multistep(double base, const std::vector<int64_t>& milestones, double factor, int64_t t);
// base x factor^floor(t / every).
double step_decay(double base, int64_t every, double factor, int64_t t);
// 1 for t <= frozen, then m0: a teacher that starts late.
double freeze_then_constant(double m0, int64_t frozen, int64_t t);

}  // namespace juxta::ssl

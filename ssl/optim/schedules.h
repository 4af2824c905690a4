#pragma once
// Schedules: values as pure functions of the step t = 0 .. T-1.
#include <cstdint>
#include <string>
#include <vector>

namespace juxta::ssl {

// Which step of the warm-up reaches the peak: reach_after t/W (MoCo v3; the first value is the start),
// linspace t/(W-1) (DINO; the peak appears twice), skip_first (t+1)/W (Lightly).
enum class Warmup { reach_after, linspace, skip_first };

enum class ScheduleKind {
  constant,              // base
  cosine,                // base to end by half a cosine
  linear_then_constant,  // `over` equally spaced values from base to end, then end
  ema_byol,              // 1 - (1 - base) (1 + cos(pi t / T)) / 2: an EMA momentum from base to 1
  multistep,             // base x gamma^(milestones at or before t)
  step,                  // base x gamma^floor(t / every)
  freeze_then_constant,  // 1 for t <= frozen, then base: a teacher that starts late
};

// One schedule with an optional linear warm-up before it. constant, cosine and linear_then_constant count
// their steps from the end of the warm-up; multistep and step from the start of the run, as MoCo's epochs.
struct Schedule {
  ScheduleKind kind = ScheduleKind::cosine;
  double base = 1, end = 0;
  int64_t steps = 1;   // T
  int64_t warmup = 0;  // W steps, linear from `warmup_start` to base
  double warmup_start = 0;
  Warmup index = Warmup::reach_after;
  bool endpoint =
      false;           // cosine: the last step reaches `end` (Lightly); else it would be step T (DINO, MoCo)
  int64_t over = 0;    // linear_then_constant
  double gamma = 0.1;  // multistep, step
  std::vector<int64_t> milestones{};  // multistep
  int64_t every = 1;                  // step
  int64_t frozen = 0;                 // freeze_then_constant
  // Error naming what is wrong: steps < 1, negative counts, gamma or values that are not finite, t outside
  // [0, T).
  void check() const;
  double at(int64_t t) const;
};

// The learning rate for a batch: base x batch / 256 (Goyal et al., arXiv 1706.02677), or by the square root
// of that ratio, the habit with LAMB.
double scaled_lr(double base, int64_t batch, bool square_root = false);

// The pieces, for those who need one alone.
double half_cosine(double from, double to, double part);  // part 0: from, 1: to
double momentum_cosine(double m0, int64_t t, int64_t steps);
double linear_then_constant(double from, double to, int64_t over, int64_t t);
double multistep(double base, const std::vector<int64_t>& milestones, double factor, int64_t t);
double step_decay(double base, int64_t every, double factor, int64_t t);
double freeze_then_constant(double m0, int64_t frozen, int64_t t);

}  // namespace juxta::ssl

#include "ssl/optim/schedules.h"

#include <algorithm>
#include <cmath>
#include <numbers>

#include "tensor/error.h"

namespace juxta::ssl {

void Schedule::check() const {
  JX_CHECK(steps >= 1, "schedule: steps: expected at least 1, got ", steps);
  JX_CHECK(warmup >= 0 && over >= 0 && frozen >= 0, "schedule: warm-up ", warmup, ", ramp ", over,
           " and frozen steps ", frozen, " must not be negative");
  JX_CHECK(every >= 1, "schedule: step_size: expected at least 1, got ", every);
  JX_CHECK(std::isfinite(base) && std::isfinite(end) && std::isfinite(warmup_start) && std::isfinite(gamma),
           "schedule: base ", base, ", end ", end, ", warm-up start ", warmup_start, " and gamma ", gamma,
           " must be finite");
}

double Schedule::at(int64_t t) const {
  check();
  JX_CHECK(t >= 0, "schedule: step ", t, " of ", steps);
  if (t < warmup) {
    const double W = static_cast<double>(warmup);
    double part = static_cast<double>(t) / W;
    if (index == Warmup::linspace) part = warmup > 1 ? static_cast<double>(t) / (W - 1) : 0;
    if (index == Warmup::skip_first) part = static_cast<double>(t + 1) / W;
    return warmup_start + (base - warmup_start) * part;
  }
  switch (kind) {
    case ScheduleKind::constant:
      return base;
    case ScheduleKind::cosine: {
      const double span = static_cast<double>(steps - warmup - (endpoint ? 1 : 0));
      return half_cosine(base, end, span > 0 ? std::min(1.0, static_cast<double>(t - warmup) / span) : 1.0);
    }
    case ScheduleKind::linear_then_constant:
      return linear_then_constant(base, end, over, t - warmup);
    case ScheduleKind::ema_byol:
      return momentum_cosine(base, t, steps);
    case ScheduleKind::multistep:
      return multistep(base, milestones, gamma, t);
    case ScheduleKind::step:
      return step_decay(base, every, gamma, t);
    case ScheduleKind::freeze_then_constant:
      return freeze_then_constant(base, frozen, t);
  }
  return base;
}

double scaled_lr(double base, int64_t batch, bool square_root) {
  JX_CHECK(batch >= 1, "scaled_lr: batch: expected at least 1, got ", batch);
  const double ratio = static_cast<double>(batch) / 256.0;
  return base * (square_root ? std::sqrt(ratio) : ratio);
}

double half_cosine(double from, double to, double part) {
  return to + (from - to) * (1.0 + std::cos(std::numbers::pi * part)) / 2.0;
}

double momentum_cosine(double m0, int64_t t, int64_t steps) {
  return 1.0 - (1.0 - m0) *
                   (1.0 + std::cos(std::numbers::pi * static_cast<double>(t) / static_cast<double>(steps))) /
                   2.0;
}

double linear_then_constant(double from, double to, int64_t over, int64_t t) {
  if (t >= over) return to;
  return over > 1 ? from + (to - from) * static_cast<double>(t) / static_cast<double>(over - 1) : from;
}

double multistep(double base, const std::vector<int64_t>& milestones, double factor, int64_t t) {
  for (int64_t m : milestones)
    if (m <= t) base *= factor;
  return base;
}

double step_decay(double base, int64_t every, double factor, int64_t t) {
  const int64_t drops = t / every;
  return base * std::pow(factor, static_cast<double>(drops));
}

double freeze_then_constant(double m0, int64_t frozen, int64_t t) { return t <= frozen ? 1.0 : m0; }

}  // namespace juxta::ssl

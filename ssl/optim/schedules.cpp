#include "ssl/optim/schedules.h"

#include <cmath>
#include <numbers>

#include "tensor/error.h"

namespace juxta::ssl {

double CosineSchedule::at(int64_t t) const {
  JX_CHECK(t >= 0 && steps > 0 && warmup >= 0, "schedule: step ", t, " of ", steps, ", warm-up ", warmup);
  if (t < warmup) {
    const double W = static_cast<double>(warmup);
    double part = static_cast<double>(t) / W;
    if (index == Warmup::linspace) part = warmup > 1 ? static_cast<double>(t) / (W - 1) : 0;
    if (index == Warmup::skip_first) part = static_cast<double>(t + 1) / W;
    return start + (base - start) * part;
  }
  const double span = static_cast<double>(steps - warmup - (endpoint ? 1 : 0));
  const double part = span > 0 ? std::min(1.0, static_cast<double>(t - warmup) / span) : 1.0;
  return end + (base - end) * (1.0 + std::cos(std::numbers::pi * part)) / 2.0;
}

double momentum_cosine(double m0, int64_t t, int64_t steps) {
  return 1.0 - (1.0 - m0) *
                   (1.0 + std::cos(std::numbers::pi * static_cast<double>(t) / static_cast<double>(steps))) /
                   2.0;
}

double linear_then_constant(double from, double to, int64_t over, int64_t t) {
  return t >= over ? to : from + (to - from) * static_cast<double>(t) / static_cast<double>(over);
}

double multistep(double base, const std::vector<int64_t>& milestones, double factor, int64_t t) {
  for (int64_t m : milestones)
    if (m <= t) base *= factor;
  return base;
}

double step_decay(double base, int64_t every, double factor, int64_t t) {
  return base * std::pow(factor, static_cast<double>(t / every));
}

double freeze_then_constant(double m0, int64_t frozen, int64_t t) { return t <= frozen ? 1.0 : m0; }

}  // namespace juxta::ssl

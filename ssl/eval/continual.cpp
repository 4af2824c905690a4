#include "ssl/eval/continual.h"

#include <algorithm>

#include "ssl/eval/values.h"

namespace juxta::ssl {

ContinualMetrics continual_metrics(const Tensor& correct, const Tensor& total) {
  constexpr const char* kMetric = "continual_metrics";
  JX_CHECK(total.defined() && total.ndim() == 1 && total.size(0) >= 1, kMetric,
           ": total: expected i64 [T], got ", total.defined() ? to_text(total) : "nothing");
  const int64_t tasks = total.size(0);
  const auto n = integers_of("continual_metrics: total", total, {tasks});
  const auto right = integers_of("continual_metrics: correct", correct, {tasks, tasks});
  const auto accuracy = [&](int64_t t, int64_t j) {
    return static_cast<double>(right[static_cast<size_t>(t * tasks + j)]) /
           static_cast<double>(n[static_cast<size_t>(j)]);
  };
  ContinualMetrics out;
  for (int64_t t = 0; t < tasks; ++t) {
    int64_t seen = 0, good = 0;
    for (int64_t j = 0; j <= t; ++j) {
      const int64_t of = n[static_cast<size_t>(j)], r = right[static_cast<size_t>(t * tasks + j)];
      JX_CHECK(of >= 1, kMetric, ": total: expected at least 1, got ", of, " for task ", j);
      JX_CHECK(r >= 0 && r <= of, kMetric, ": correct: expected 0 to ", of, ", got ", r, " for task ", j,
               " after task ", t);
      seen += of, good += r;
    }
    out.acc_after.push_back(static_cast<double>(good) / static_cast<double>(seen));
    out.avg_acc += out.acc_after.back() / static_cast<double>(tasks);
  }
  out.last_acc = out.acc_after.back();
  const int64_t last = tasks - 1;
  for (int64_t j = 0; j < last; ++j) {
    double best = accuracy(j, j);
    for (int64_t t = j + 1; t < last; ++t) best = std::max(best, accuracy(t, j));
    out.forgetting += (best - accuracy(last, j)) / static_cast<double>(last);
    out.backward_transfer += (accuracy(last, j) - accuracy(j, j)) / static_cast<double>(last);
  }
  return out;
}

}  // namespace juxta::ssl

#pragma once
// Figures of class-incremental learning.
#include <vector>

#include "tensor/tensor.h"

namespace juxta::ssl {

// a_tj = correct_tj / total_j, the accuracy on task j's test data after task t (Lopez-Paz & Ranzato 2017,
// arXiv 1706.08840; Chaudhry et al. 2018, arXiv 1801.10112).
struct ContinualMetrics {
  std::vector<double> acc_after;  // [T]: accuracy on the test data of all tasks seen by then
  double avg_acc = 0;             // their mean
  double last_acc = 0;            // the last of them
  double forgetting = 0;          // mean over j < T - 1 of max_{j <= t < T - 1} a_tj - a_{T - 1, j}
  double backward_transfer = 0;   // mean over j < T - 1 of a_{T - 1, j} - a_jj; both are 0 for one task
};
// correct i64 [T, T]: right answers on task j (column) after task t (row), of which j <= t are read; total
// i64 [T].
ContinualMetrics continual_metrics(const Tensor& correct, const Tensor& total);

}  // namespace juxta::ssl

#pragma once
// The tables of rows, one per family: rows_FAMILY.cpp.
#include "ssl/objectives/objective.h"

namespace juxta::ssl {

std::span<const Objective> batch_contrastive_rows();
std::span<const Objective> in_batch_rows();
std::span<const Objective> metric_losses_rows();
std::span<const Objective> metrics_rows();
std::span<const Objective> multiview_rows();
std::span<const Objective> pairs_rows();
std::span<const Objective> scores_rows();
std::span<const Objective> without_negatives_rows();

}  // namespace juxta::ssl

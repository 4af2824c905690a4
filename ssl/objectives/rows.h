#pragma once
// The tables of rows, one per family: rows_FAMILY.cpp.
#include "ssl/objectives/objective.h"

namespace juxta::ssl {

std::span<const Objective> attention_rules_rows();
std::span<const Objective> batch_contrastive_rows();
std::span<const Objective> clusters_rows();
std::span<const Objective> continual_rows();
std::span<const Objective> decoding_rows();
std::span<const Objective> dense_rows();
std::span<const Objective> distillation_rows();
std::span<const Objective> graphs_rows();
std::span<const Objective> in_batch_rows();
std::span<const Objective> masks_rows();
std::span<const Objective> metric_losses_rows();
std::span<const Objective> multi_stage_rows();
std::span<const Objective> metrics_rows();
std::span<const Objective> multiview_rows();
std::span<const Objective> pairs_rows();
std::span<const Objective> policy_rows();
std::span<const Objective> scores_rows();
std::span<const Objective> sentences_rows();
std::span<const Objective> signals_rows();
std::span<const Objective> temperatures_rows();
std::span<const Objective> video_rows();
std::span<const Objective> vision_language_rows();
std::span<const Objective> momentum_rows();
std::span<const Objective> optim_rows();
std::span<const Objective> ranking_rows();
std::span<const Objective> text_metrics_rows();
std::span<const Objective> without_negatives_rows();

}  // namespace juxta::ssl

#pragma once
// The report of a run: one HTML file that works offline, and its figures as PNG files beside it.
//
//   RUN/report.html   scores, curves, view pairs, nearest neighbours, map, recipe
//   RUN/loss.png knn.png health.png views.png neighbours.png map.png
// Parts for which there is no data are left out with a sentence.
#include <optional>
#include <string>
#include <vector>

#include "ssl/eval/protocol.h"
#include "tensor/tensor.h"

namespace juxta::ssl {

struct ReportScores {
  Scores trained, untrained, raw_pixels;
};

struct ReportInput {
  std::string run;  // folder; RUN/metrics.jsonl is read from it
  std::string title;
  std::string recipe;  // TOML text
  std::optional<ReportScores> scores;
  Tensor view1, view2;  // f32 [n, H, W, C] in [0, 1]: pairs of views as the method sees them
  Tensor images;        // u8 [M, H, W, C]: test images
  Tensor labels;        // i64 [M]
  std::vector<std::string> classes;
  Tensor features;  // f32 [M, F] of those images
};

// Writes the files, each atomically. Error when the folder cannot be written; never for missing parts.
void write_report(const ReportInput& input);

}  // namespace juxta::ssl

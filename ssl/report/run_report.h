#pragma once
// The report of a trained method: gathers view pairs, test images and their features, and writes the page.
#include <optional>
#include <string>

#include "ssl/report/report.h"
#include "ssl/train/recipe.h"

namespace juxta::ssl {

// Writes RUN/report.html and its figures from the recipe's method as it is now. Pictures use the first 2,000
// test images (training images when there is no test split).
void report_run(const std::string& run, Recipe& recipe, const ImageData& data, const PixelStats* stats,
                const std::optional<ReportScores>& scores);

}  // namespace juxta::ssl

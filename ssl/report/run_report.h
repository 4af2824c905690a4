#pragma once
// The report of a trained method: gathers view pairs, test images and their features, and writes the page.
#include <optional>
#include <string>

#include "ssl/report/report.h"
#include "ssl/train/recipe.h"

namespace juxta::ssl {

// Writes RUN/report.html and its figures from the recipe's method as it is now. Pictures use 2,000 test
// images, or training images when there is no test split, and view pairs 18 training images, both spread
// over their set.
void report_run(const std::string& run, Recipe& recipe, const ImageData& data, const PixelStats* stats,
                const std::optional<ReportScores>& scores);

}  // namespace juxta::ssl

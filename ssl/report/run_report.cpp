#include "ssl/report/run_report.h"

#include <algorithm>
#include <filesystem>

namespace juxta::ssl {

void report_run(const std::string& run, Recipe& recipe, const ImageData& data, const PixelStats* stats,
                const std::optional<ReportScores>& scores) {
  const ImageSet& source = data.test.size() > 0 ? data.test : data.train;
  ImageSet shown = source;
  const int64_t n = std::min<int64_t>(source.size(), 2000);
  shown.images = source.images.slice(0, 0, n);
  shown.labels = source.labels.slice(0, 0, n).contiguous();

  ReportInput in;
  in.run = run;
  const std::string set = std::filesystem::path(recipe.data.path).filename().string();
  in.title =
      concat(recipe.method_name, " on ", set.empty() ? data.format : set, " (", recipe.model.name, ")");
  in.recipe = recipe.to_toml();
  in.scores = scores;
  const std::vector<ViewSpec> views = recipe.method->views(recipe.view);
  std::vector<int64_t> samples, zero(18, 0);
  for (int64_t i = 0; i < std::min<int64_t>(18, data.train.size()); ++i) samples.push_back(i);
  zero.resize(samples.size());
  const auto seed = static_cast<uint64_t>(recipe.train.seed);
  in.view1 = make_views(data.train, samples, zero, views[0].config, seed, 0, 0);
  in.view2 = make_views(data.train, samples, zero, views[views.size() > 1 ? 1 : 0].config, seed, 0, 1);
  in.images = shown.images;
  in.labels = shown.labels;
  in.classes = source.classes;
  in.features = extract_features(recipe.method->encoder(), shown, recipe.view, stats);
  write_report(in);
}

}  // namespace juxta::ssl

#include "ssl/report/run_report.h"

#include <filesystem>

#include "ssl/data/sample.h"

namespace juxta::ssl {

void report_run(const std::string& run, Recipe& recipe, const ImageData& data, const PixelStats* stats,
                const std::optional<ReportScores>& scores) {
  const ImageSet& source = data.test.size() > 0 ? data.test : data.train;
  constexpr int64_t kShown = 2000, kPairs = 18;
  const ImageSet shown =
      source.size() > kShown ? take_images(source, spread_sample(source.size(), kShown)) : source;

  ReportInput in;
  in.run = run;
  const std::string set = std::filesystem::path(recipe.data.path).filename().string();
  in.title =
      concat(recipe.method_name, " on ", set.empty() ? data.format : set, " (", recipe.model.name, ")");
  in.recipe = recipe.to_toml();
  in.scores = scores;
  const std::vector<ViewSpec> views = recipe.method->views(recipe.view);
  const std::vector<int64_t> samples = spread_sample(data.train.size(), kPairs), zero(samples.size(), 0);
  const auto seed = static_cast<uint64_t>(recipe.train.seed);
  in.view1 = make_views(data.train, samples, zero, views[0].config, seed, 0, 0);
  in.view2 = make_views(data.train, samples, zero, views[views.size() > 1 ? 1 : 0].config, seed, 0, 1);
  in.images = shown.images;
  in.labels = shown.labels.contiguous();
  in.classes = source.classes;
  in.features = extract_features(recipe.method->encoder(), shown, recipe.view, stats);
  write_report(in);
}

}  // namespace juxta::ssl

#include "ssl/eval/evaluate.h"

#include <filesystem>

#include "autograd/ops.h"
#include "ssl/data/sample.h"
#include "ssl/eval/monitors.h"
#include "ssl/report/run_report.h"
#include "tensor/file.h"

namespace juxta::ssl {

namespace {

// The run folder: of a checkpoint file, the folder it lies in.
std::string folder_of(const std::string& run) {
  namespace fs = std::filesystem;
  if (fs::is_directory(run)) return run;
  const std::string parent = fs::path(run).parent_path().string();
  return parent.empty() ? "." : parent;
}

void hold_out(ImageData& data) {
  JX_CHECK(data.train.size() >= 5, "eval: ", data.train.source,
           ": no test split, so every fifth image is held out: expected at least 5 images, got ",
           data.train.size());
  const HeldOut split = every_fifth(data.train.size());
  data.test = take_images(data.train, split.held);
  data.train = take_images(data.train, split.keep);
}

// Alignment: mean squared distance of the unit features of two views of 1,000 test images.
double view_alignment(Method& method, const ImageSet& set, const Recipe& recipe, const PixelStats* stats) {
  const NoGrad no_grad;
  const std::vector<int64_t> samples = spread_sample(set.size(), 1000), zero(samples.size(), 0);
  const auto features = [&](int view) {
    const ViewConfig config = method.views(recipe.view)[0].config;
    const Tensor x = make_views(set, samples, zero, config, stream_id("alignment"), 0, view, stats);
    return method.encoder().features(Var(x), nn::Ctx{}).value();
  };
  return alignment(features(0), features(1));
}

}  // namespace

ImageData evaluation_data(const Recipe& recipe, const std::string& path) {
  const std::string source = path.empty() ? recipe.data.path : path;
  JX_CHECK(!source.empty(), "eval: the run's recipe names no data; give --data PATH");
  ImageData data = load_images(source, {.strict = recipe.data.strict, .image_size = recipe.data.image_size});
  if (data.test.size() == 0) hold_out(data);
  return data;
}

Evaluation evaluate_run(const std::string& run_path, const std::string& data_path,
                        const std::function<void(const Evaluation&)>& scored) {
  LoadedRun run = open_run(run_path);
  const ImageData data = evaluation_data(run.recipe, data_path);
  const auto classes = static_cast<int64_t>(data.train.classes.size());
  JX_CHECK(classes >= 2, "eval: ", data.train.source,
           ": one class only; kNN and probes need labels of at least two");
  std::optional<PixelStats> stats;
  if (run.recipe.view.normalize) stats = pixel_stats(data.train);
  const PixelStats* s = stats ? &*stats : nullptr;
  const auto score = [&](const Tensor& train, const Tensor& test) {
    return score_features(train, data.train.labels, test, data.test.labels, classes);
  };
  const auto features_of = [&](const ImageSet& set) {
    return extract_features(run.recipe.method->encoder(), set, run.recipe.view, s);
  };
  Evaluation e;
  e.raw_pixels = score(pixel_features(data.train), pixel_features(data.test));
  build_untrained(run, data.train);
  e.untrained = score(features_of(data.train), features_of(data.test));
  build_method(run, data.train);
  const Tensor train = features_of(data.train), test = features_of(data.test);
  e.trained = score(train, test);
  e.feature_dim = train.size(1);
  e.rankme = rankme(test);
  e.uniformity = uniformity(test);
  e.alignment = view_alignment(*run.recipe.method, data.test, run.recipe, s);
  if (scored) scored(e);
  report_run(folder_of(run_path), run.recipe, data, s, ReportScores{e.trained, e.untrained, e.raw_pixels});
  return e;
}

void save_evaluation(const std::string& run, const std::string& json) {
  write_file(folder_of(run) + "/eval.json", json);
}

}  // namespace juxta::ssl

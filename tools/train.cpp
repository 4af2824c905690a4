// juxta train RECIPE: reads a recipe and data, trains, writes the run folder.
#include <cstdio>
#include <memory>

#include "ssl/report/run_report.h"
#include "ssl/train/trainer.h"
#include "tensor/parallel.h"
#include "tools/commands.h"

namespace juxta::tools {

namespace {

struct Options {
  std::string recipe, data, out;
  std::vector<std::string> set;
  int threads = 0;
  bool resume = false, quiet = false, strict = false, keys = false;
};

int run_train(const Options& o) {
  ssl::Recipe recipe = ssl::load_recipe(o.recipe, o.set);
  if (o.keys) {
    std::printf("keys of %s with their values (set with --set key=value):\n%s", o.recipe.c_str(),
                recipe.fields().help().c_str());
    return kOk;
  }
  if (!o.data.empty()) recipe.data.path = o.data;
  if (o.strict) recipe.data.strict = true;
  JX_CHECK(!recipe.data.path.empty(), "train: no data: give --data PATH, or data.path in the recipe");
  if (o.threads > 0) set_num_threads(o.threads);
  const std::string out = o.out.empty() ? "runs/" + recipe.method_name + "_" + recipe.model.name : o.out;
  const ssl::ImageData data = ssl::load_images(
      recipe.data.path, {.strict = recipe.data.strict, .image_size = recipe.data.image_size});
  ssl::Trainer trainer(recipe, data);
  ssl::stop_on_signals();
  if (!o.quiet)
    std::fprintf(stderr, "%s on %s: %lld images, %s, %lld steps of %lld images, %s\n",
                 recipe.method_name.c_str(), recipe.data.path.c_str(),
                 static_cast<long long>(data.train.size()), recipe.model.name.c_str(),
                 static_cast<long long>(trainer.total_steps()), static_cast<long long>(recipe.train.batch),
                 name_of(recipe.train.dtype));
  const ssl::RunSummary s = trainer.train({.out = out, .resume = o.resume, .quiet = o.quiet});
  if (s.end != ssl::RunEnd::interrupted) ssl::report_run(out, recipe, data, trainer.stats(), {});
  if (s.images_per_second == 0) {
    std::printf("nothing left to train: step %lld of %lld; run folder %s\n", static_cast<long long>(s.steps),
                static_cast<long long>(trainer.total_steps()), out.c_str());
    return kOk;
  }
  const char* how = s.end == ssl::RunEnd::finished     ? "finished"
                    : s.end == ssl::RunEnd::time_limit ? "stopped at train.max_seconds"
                                                       : "interrupted and saved";
  std::printf("%s: step %lld of %lld, loss %.4f, %.0f images/s, %s of training; run folder %s\n", how,
              static_cast<long long>(s.steps), static_cast<long long>(trainer.total_steps()), s.loss,
              s.images_per_second, ssl::duration_text(s.seconds).c_str(), out.c_str());
  return kOk;
}

}  // namespace

Command add_train(CLI::App& app) {
  auto o = std::make_shared<Options>();
  Subcommand c(app, "train", "train a recipe; writes a run folder");
  c.text("RECIPE", o->recipe, "a recipe's name (juxta recipes) or a TOML file", Need::required);
  c.text("--data", o->data, "data set: a folder of IDX files, CIFAR batches, .npy files or image folders");
  c.text("--out", o->out, "run folder [runs/METHOD_MODEL]");
  c.texts("--set", o->set, "a.b=c: override one key of the recipe; may be repeated");
  c.threads(o->threads);
  c.flag("--resume", o->resume, "go on from the newest checkpoint of the run folder");
  c.flag("--strict", o->strict, "a corrupt image is an error, not a warning");
  c.flag("--quiet", o->quiet, "no progress on stderr");
  c.flag("--keys", o->keys, "list every key of the recipe with its value and meaning, and stop");
  return [o] { return run_train(*o); };
}

}  // namespace juxta::tools

#pragma once
// Recipe: everything that describes a run, as TOML. Each section is one struct that declares its fields once.
#include <memory>
#include <string>
#include <vector>

#include "nn/encoder.h"
#include "ssl/methods/method.h"
#include "ssl/train/fields.h"
#include "ssl/train/optim_config.h"
#include "ssl/views/views.h"

namespace juxta::ssl {

struct TrainConfig {
  int64_t epochs = 10;
  int64_t max_steps =
      0;  // 0: all steps of all epochs; schedules run over min(max_steps, steps of the epochs)
  double max_seconds = 0;  // 0: no limit; only cuts the run, schedules do not see it
  int64_t batch = 256;
  int64_t seed = 0;
  DType dtype = DType::f32;  // of activations: f32, or bf16 with f32 parameters, statistics and losses
  int64_t accumulate = 1;    // parts that a batch is split into; gradients are averaged over them
  // GradCache: images that a network holds activations of at a time; 0: the batch. The loss sees the whole
  // batch, and gradients are the whole batch's to rounding; batch norm sees each part by itself.
  int64_t chunk = 0;
  double clip_norm = 0;           // largest global gradient norm, 0: no clipping
  int64_t workers = 1;            // threads that render views ahead
  int64_t log_every = 20;         // steps between lines of metrics.jsonl
  int64_t monitor_every = 1;      // epochs between kNN and health monitors, 0: never
  int64_t monitor_images = 5000;  // training images in the kNN bank of the monitor (all for `juxta eval`)
  double checkpoint_minutes = 5;
  int64_t keep = 2;  // checkpoints kept
  void fields(Fields& f);
};

struct DataConfig {
  std::string path;        // --data
  bool strict = false;     // a corrupt image is an error
  int64_t image_size = 0;  // folders: side of the images
  void fields(Fields& f);
};

struct Recipe {
  TrainConfig train;
  DataConfig data;
  nn::ModelConfig model;
  std::string method_name = "simclr";
  std::unique_ptr<Method> method;
  OptimConfig optim;
  ViewConfig view;

  Recipe();
  Fields fields();  // of every section, bound to this recipe; "method." are those of the method
  std::string to_toml() { return fields().dump_toml(); }
  void check(const std::string& where);  // Error on values out of range or that do not go together
};

// What `now` changes of the run that it resumes, as "optim.lr = 0.1, was 0.2"; what a run may change without
// a word (its length, logs, monitors, workers, the path of its data) is left out. Error where the
// checkpoint's position or state would mean something else: another model, method, optimiser, batch or seed.
std::vector<std::string> resume_changes(const std::string& before, Recipe& now, const std::string& run);

// Defaults, then the TOML text, then "a.b=c" assignments in order. Errors name the source and the nearest
// key.
Recipe parse_recipe(const std::string& toml, const std::string& where,
                    const std::vector<std::string>& assignments = {});
// `name` is a path, or the name of a recipe in the recipe folders (see recipe_names).
Recipe load_recipe(const std::string& name, const std::vector<std::string>& assignments = {});
// Recipes by name: tools/recipes of the source tree or share/juxta/recipes of the installation, and their
// paths.
std::vector<std::pair<std::string, std::string>> recipe_names();

}  // namespace juxta::ssl

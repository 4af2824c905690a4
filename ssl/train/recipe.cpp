#include "ssl/train/recipe.h"

#include <algorithm>
#include <filesystem>

#include "tensor/file.h"

namespace juxta::ssl {

namespace fs = std::filesystem;

void TrainConfig::fields(Fields& f) {
  f("epochs", epochs, "passes over the training set", Range{0, 1e9});
  f("max_steps", max_steps, "stop after this many steps; 0: all", kNotNegative);
  f("max_seconds", max_seconds, "stop after this time; 0: no limit; schedules do not see it", kNotNegative);
  f("batch", batch, "images per step", Range{1, 1e9});
  f("seed", seed, "of initialisation, order, views and dropout");
  f("dtype", dtype, "of activations: f32 or bf16");
  f("accumulate", accumulate, "parts a batch is split into, gradients averaged", kAtLeastOne);
  f("chunk", chunk,
    "images a network sees at a time; gradients are the whole batch's; 0: all (batch norm sees parts)",
    kNotNegative);
  f("clip_norm", clip_norm, "largest global gradient norm; 0: no clipping", kNotNegative);
  f("workers", workers, "threads that render views ahead; 0: none", Range{0, 256});
  f("log_every", log_every, "steps between lines of metrics.jsonl", kAtLeastOne);
  f("monitor_every", monitor_every, "epochs between kNN and health monitors; 0: never", kNotNegative);
  f("monitor_images", monitor_images, "training images in the monitor's kNN bank", kAtLeastOne);
  f("checkpoint_minutes", checkpoint_minutes, "minutes between checkpoints", kNotNegative);
  f("keep", keep, "checkpoints kept", kAtLeastOne);
}

void DataConfig::fields(Fields& f) {
  f("path", path, "data set; --data overrides it");
  f("strict", strict, "a corrupt image is an error instead of a counted warning");
  f("image_size", image_size, "side of images from folders; 0: their own, or 224", Range{0, kMostSide});
}

namespace {

struct ModelFields {  // nn knows nothing of recipes: its config is declared here
  nn::ModelConfig& m;
  void fields(Fields& f) {
    f("name", m.name, "encoder (juxta models)");
    f("width", m.width, "channels of the first stage, or token size; 0: the model's own", Range{0, 65536});
    f("depth", m.depth, "transformer blocks; 0: the model's own", Range{0, 1000});
    f("heads", m.heads, "attention heads; 0: the model's own", Range{0, 1024});
    f("patch", m.patch, "ViT patch side; 0: 4 below 96 pixels, else 16", Range{0, kMostSide});
    f("registers", m.registers, "ViT register tokens", Range{0, 1024});
    f("pool", m.pool, "ViT: token or avg; text: cls or mean; empty: the model's own");
    f("stem", m.stem, "ResNet: cifar or imagenet; empty: cifar below 96 pixels");
    f("drop_path", m.drop_path, "stochastic depth of the last block", kBelowOne);
    f("layer_scale", m.layer_scale, "initial LayerScale of a ViT; 0: none", kNotNegative);
    f("dropout", m.dropout, "dropout rate", kBelowOne);
    f("init", m.init, "ResNet convolutions: he (torchvision) or uniform (PyTorch's default)");
    f("zero_init_residual", m.zero_init_residual, "ResNet: the last norm of each block starts at 0");
  }
};

struct MethodFields {
  Recipe& r;
  void fields(Fields& f) {
    f("name", r.method_name, "system (juxta recipes)");
    r.method->fields(f);
  }
};

// The value of method.name in a TOML text or an assignment: it must be known before the other fields are.
void find_method_name(const std::string& toml, const std::string& where,
                      const std::vector<std::string>& assignments, std::string& name) {
  Fields only;
  only("method.name", name, "");
  only.set_toml_known(toml, where);
  for (const std::string& a : assignments)
    if (a.rfind("method.name=", 0) == 0) only.set_assignment(a);
}

std::vector<std::string> recipe_folders() {
  std::vector<std::string> folders;
  std::error_code code;
  const fs::path self = fs::read_symlink("/proc/self/exe", code);
  if (!code) folders.push_back((self.parent_path().parent_path() / "share/juxta/recipes").string());
  folders.push_back(JUXTA_RECIPES);
  return folders;
}

}  // namespace

Recipe::Recipe() : method(make_method("simclr")) {}

Fields Recipe::fields() {
  Fields f;
  ModelFields model_fields{model};
  MethodFields method_fields{*this};
  f.section("train", train);
  f.section("data", data);
  f.section("model", model_fields);
  f.section("method", method_fields);
  f.section("optim", optim);
  f.section("view", view);
  return f;
}

void Recipe::check(const std::string& where) {
  fields().check(where);
  view.check(where);
  JX_CHECK(train.dtype == DType::f32 || train.dtype == DType::bf16, where,
           ": train.dtype: expected f32 or bf16, got ", train.dtype);
  JX_CHECK(train.batch % train.accumulate == 0, where, ": train.accumulate: ", train.accumulate,
           " does not divide train.batch ", train.batch);
}

Recipe parse_recipe(const std::string& toml, const std::string& where,
                    const std::vector<std::string>& assignments) {
  Recipe r;
  find_method_name(toml, where, assignments, r.method_name);
  r.method = make_method(r.method_name);
  Fields f = r.fields();
  f.set_toml(toml, where);
  for (const std::string& a : assignments) f.set_assignment(a);
  r.check(where);
  return r;
}

std::vector<std::string> resume_changes(const std::string& before, Recipe& now, const std::string& run) {
  const auto is_in = [](const std::string& key, std::initializer_list<const char*> names) {
    return std::find(names.begin(), names.end(), key) != names.end();
  };
  // The run's recipe is read into this one's fields and put back: its method need not be one known by name.
  const std::string mine = now.to_toml();
  const auto values = now.fields().values();
  now.fields().set_toml_known(before, run + " (recipe in the checkpoint)");
  const auto old_values = now.fields().values();
  now.fields().set_toml(mine, "recipe");
  std::vector<std::string> changes;
  for (size_t i = 0; i < values.size(); ++i) {
    const auto& [key, value] = values[i];
    const std::string& old = old_values[i].second;
    if (value == old) continue;
    const bool fixed =
        key.starts_with("model.") ||
        is_in(key, {"train.batch", "train.seed", "train.accumulate", "optim.name", "method.name"});
    JX_CHECK(!fixed, run, ": --resume: ", key, " is ", value, ", the run has ", old,
             "; train it into another --out, or leave it");
    if (key.starts_with("data.") ||
        is_in(key,
              {"train.epochs", "train.max_steps", "train.max_seconds", "train.workers", "train.log_every",
               "train.monitor_every", "train.monitor_images", "train.checkpoint_minutes", "train.keep"}))
      continue;
    changes.push_back(concat(key, " = ", value, ", was ", old));
  }
  return changes;
}

std::vector<std::pair<std::string, std::string>> recipe_names() {
  std::vector<std::pair<std::string, std::string>> list;
  for (const std::string& folder : recipe_folders()) {
    std::error_code code;
    for (const auto& e : fs::directory_iterator(folder, code))
      if (e.path().extension() == ".toml") list.emplace_back(e.path().stem().string(), e.path().string());
    if (!list.empty()) break;
  }
  std::sort(list.begin(), list.end());
  return list;
}

Recipe load_recipe(const std::string& name, const std::vector<std::string>& assignments) {
  std::string path = name;
  std::vector<std::string> names;
  if (!fs::exists(name)) {
    path.clear();
    for (const auto& [known, file] : recipe_names()) {
      if (known == name) path = file;
      names.push_back(known);
    }
    const std::string near = nearest_name(name, names);
    JX_CHECK(!path.empty(), "recipe '", name, "': no such file or recipe",
             near.empty() ? "" : "; did you mean '" + near + "'?", " (juxta recipes lists all)");
  }
  const std::vector<unsigned char> text = read_file(path);
  return parse_recipe(std::string(text.begin(), text.end()), path, assignments);
}

}  // namespace juxta::ssl

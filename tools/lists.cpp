// juxta models and juxta recipes: what there is.
#include <cstdio>

#include "nn/encoder.h"
#include "ssl/train/recipe.h"
#include "tools/commands.h"

namespace juxta::tools {

Command add_models(CLI::App& app) {
  Subcommand(app, "models", "list the encoders");
  return [] {
    for (const nn::ModelRow& m : nn::models()) std::printf("%-22s %-7s %s\n", m.name, m.family, m.about);
    return kOk;
  };
}

Command add_recipes(CLI::App& app) {
  Subcommand(app, "recipes", "list the recipes and the systems they may name");
  return [] {
    std::printf("recipes (juxta train NAME):\n");
    for (const auto& [name, path] : ssl::recipe_names())
      std::printf("  %-28s %s\n", name.c_str(), path.c_str());
    std::printf("systems (method.name):\n");
    for (const ssl::MethodRow& m : ssl::methods()) std::printf("  %-10s %s, %s\n", m.name, m.system, m.paper);
    return kOk;
  };
}

}  // namespace juxta::tools

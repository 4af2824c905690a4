// Fields, recipes and their errors.
#include "ssl/train/recipe.h"

#include <gtest/gtest-spi.h>

#include "tensor/file.h"
#include "tests/harness.h"

namespace juxta::test {
namespace {

using namespace juxta::ssl;

TEST(Recipe, TomlThenAssignmentsThenDumpRoundTrips) {
  Recipe r = parse_recipe(
      "[train]\nepochs = 3\ndtype = \"bf16\"\n[method]\nname = \"simclr\"\ntemperature = 0.2\n", "r.toml",
      {"train.epochs=5", "model.name=resnet18", "optim.lr=1", "view.shuffle_jitter=false"});
  EXPECT_EQ(r.train.epochs, 5);
  EXPECT_EQ(r.train.dtype, DType::bf16);
  EXPECT_EQ(r.model.name, "resnet18");
  EXPECT_EQ(r.optim.lr, 1.0);
  EXPECT_FALSE(r.view.shuffle_jitter);
  const std::string text = r.to_toml();
  EXPECT_NE(text.find("temperature = 0.2"), std::string::npos);
  Recipe again = parse_recipe(text, "dump");
  EXPECT_EQ(again.to_toml(), text);
}

TEST(Recipe, ErrorsNameSourceKeyAndNearestName) {
  const auto bad = [](const char* toml, std::initializer_list<const char*> parts) {
    expect_error([&] { parse_recipe(toml, "r.toml"); }, parts);
  };
  bad("[train]\nepoch = 3", {"r.toml", "train.epoch", "train.epochs"});
  bad("[train]\nepochs = \"three\"", {"train.epochs", "an integer", "three"});
  bad("[train]\nepochs = 1.5", {"train.epochs", "an integer", "1.5"});
  bad("[train]\nepochs = ", {"r.toml", "line"});
  bad("[optim]\nname = \"adamx\"", {"optim.name", "adamx", "adam", "lars"});
  bad("[method]\nname = \"simclrr\"", {"method.name", "simclrr", "simclr"});
  bad("[train]\ndtype = \"f17\"", {"f17", "bf16"});
  bad("[train]\nbatch = 10\naccumulate = 3", {"accumulate", "3", "10"});
  expect_error([] { parse_recipe("", "r", {"train.epochs"}); }, {"--set", "key=value"});
  expect_error([] { parse_recipe("", "r", {"train.batch=many"}); }, {"train.batch", "many"});
  expect_error([] { load_recipe("no_such_recipe"); }, {"no_such_recipe", "recipes"});
}

// A value that no run could use is refused by name, wherever it comes from.
TEST(Recipe, NumbersOutsideTheirRangeAreRefused) {
  const std::pair<const char*, const char*> bad[] = {
      {"train.epochs=-1", "0 to"},
      {"train.batch=0", "1 to"},
      {"train.epochs=9223372036854775807", "0 to"},
      {"train.clip_norm=-1", "at least 0"},
      {"train.clip_norm=nan", "nan"},
      {"train.max_seconds=nan", "nan"},
      {"train.workers=100000", "0 to 256"},
      {"train.keep=0", "at least 1"},
      {"train.monitor_images=0", "at least 1"},
      {"data.image_size=-3", "0 to"},
      {"model.width=-4", "0 to"},
      {"model.depth=1000000000", "0 to"},
      {"model.drop_path=1.5", "0 to below 1"},
      {"model.dropout=nan", "nan"},
      {"method.temperature=0", "more than 0"},
      {"method.projection_layers=100000000", "1 to"},
      {"optim.lr=-1", "at least 0"},
      {"optim.momentum=2", "0 to below 1"},
      {"optim.milestones=[1, -2]", "-2"},
      {"view.min_crop=-1", "above 0 to 1"},
      {"view.min_crop=nan", "nan"},
      {"view.max_crop=inf", "inf"},
      {"view.min_aspect=0", "above 0 to 1"},
      {"view.flip=1.5", "0 to 1"},
      {"view.hue=0.6", "0 to 0.5"},
      {"view.size=-3", "0 to"},
  };
  for (const auto& [assignment, part] : bad) {
    const std::string key = std::string(assignment).substr(0, std::string(assignment).find('='));
    expect_error([&, text = std::string(assignment)] { parse_recipe("", "r.toml", {text}); },
                 {"--set", key.c_str(), part});
  }
  expect_error([] { parse_recipe("", "r.toml", {"train.dtype=f64"}); },
               {"r.toml", "train.dtype", "bf16", "f64"});
  expect_error([] { parse_recipe("[view]\nmin_crop = 0.5\nmax_crop = 0.4", "r.toml"); },
               {"r.toml", "view.min_crop", "0.5", "view.max_crop", "0.4"});
  expect_error([] { parse_recipe("", "r", {"train.batch=16\nfoo=3"}); }, {"train.batch", "an integer"});
  EXPECT_NE(Recipe().fields().help().find("{0 to below 1}"), std::string::npos);
}

// The mutant of this file: a field without a range takes what it should refuse.
TEST(Recipe, MutantIsCaught) {
  const auto set_rate = [] {
    expect_error(
        [] {
          double lr = 0;
          Fields f;
          f("lr", lr, "learning rate");
          f.set("lr", "-1", "--set");
        },
        {"lr", "-1"});
  };
  EXPECT_NONFATAL_FAILURE(set_rate(), "expected an Error, got none");
}

TEST(Recipe, SectionsAndKeysInTheWrongPlaceAreNamed) {
  expect_error([] { parse_recipe("[trian]", "r.toml"); }, {"r.toml", "trian", "'train'"});
  expect_error([] { parse_recipe("batch = 4", "r.toml"); }, {"'batch'", "train.batch"});
  expect_error([] { parse_recipe("[optim]\nbatch = 4", "r.toml"); }, {"optim.batch", "train.batch"});
  EXPECT_EQ(parse_recipe("[train]\n[optim]\nlr = 1", "r.toml").optim.lr, 1.0);
}

TEST(Recipe, IntegersServeAsNumbersAndStringsNeedNoQuotes) {
  const Recipe r = parse_recipe("", "r", {"optim.lr=2", "data.path=/tmp/a b", "optim.schedule=\"constant\""});
  EXPECT_EQ(r.optim.lr, 2.0);
  EXPECT_EQ(r.data.path, "/tmp/a b");
  EXPECT_EQ(r.optim.schedule, "constant");
}

}  // namespace
}  // namespace juxta::test

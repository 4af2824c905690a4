// Fields, recipes and their errors.
#include "ssl/train/recipe.h"

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

TEST(Recipe, IntegersServeAsNumbersAndStringsNeedNoQuotes) {
  const Recipe r = parse_recipe("", "r", {"optim.lr=2", "data.path=/tmp/a b", "optim.schedule=\"constant\""});
  EXPECT_EQ(r.optim.lr, 2.0);
  EXPECT_EQ(r.data.path, "/tmp/a b");
  EXPECT_EQ(r.optim.schedule, "constant");
}

}  // namespace
}  // namespace juxta::test

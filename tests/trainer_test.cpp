// The trainer with every optimiser and schedule that a recipe can name: it trains, and a run that was cut off
// and resumed from its checkpoint ends with the bits of one that was not.
#include "ssl/train/trainer.h"

#include <cmath>
#include <filesystem>

#include "tests/harness.h"

namespace juxta::test {
namespace {

using namespace juxta::ssl;

// Images of 8 x 8 in two classes of stripes.
ImageData stripes() {
  ImageData data;
  for (ImageSet* set : {&data.train, &data.test}) {
    set->images = Tensor::zeros({32, 8, 8, 1}, DType::u8);
    set->labels = Tensor::zeros({32}, DType::i64);
    set->classes = {"across", "down"};
    set->source = "test";
    const Tensor noise = uniform({32, 64}, set == &data.train ? 1 : 2, 0, 100);
    for (int64_t i = 0; i < 32; ++i) {
      set->labels.write<int64_t>("test")[i] = i % 2;
      for (int64_t p = 0; p < 64; ++p)
        set->images.write<uint8_t>("test")[i * 64 + p] = static_cast<uint8_t>(
            noise.at({i, p}) + 150.0 * static_cast<double>(i % 2 ? (p / 8) % 2 : (p % 8) % 2));
    }
  }
  return data;
}

Recipe recipe_of(const std::string& method, const std::vector<std::string>& more) {
  std::vector<std::string> all{"train.epochs=3",      "train.batch=16",   "train.monitor_every=0",
                               "model.name=resnet20", "model.width=4",    "method.name=" + method,
                               "train.dtype=f32",     "train.log_every=1"};
  all.insert(all.end(), more.begin(), more.end());
  return parse_recipe("", "test", all);
}

Checkpoint trained(const ImageData& data, const std::string& method, const std::vector<std::string>& settings,
                   const std::string& out, bool in_two_parts) {
  if (in_two_parts) {
    std::vector<std::string> cut = settings;
    cut.emplace_back("train.max_seconds=1e-6");
    Recipe first = recipe_of(method, cut);
    const RunSummary s = Trainer(first, data).train({.out = out, .quiet = true});
    EXPECT_EQ(s.end, RunEnd::time_limit);
    EXPECT_EQ(s.steps, 1);
  }
  Recipe recipe = recipe_of(method, settings);
  const RunSummary s = Trainer(recipe, data).train({.out = out, .resume = in_two_parts, .quiet = true});
  EXPECT_EQ(s.end, RunEnd::finished);
  EXPECT_TRUE(std::isfinite(s.loss));
  return load_checkpoint(out);
}

void expect_resumes(const std::string& method, const std::vector<std::string>& settings,
                    const std::string& label) {
  const TempDir dir;
  const ImageData data = stripes();
  const Checkpoint a = trained(data, method, settings, dir / "a", false),
                   b = trained(data, method, settings, dir / "b", true);
  EXPECT_EQ(a.step, 6) << label;
  ASSERT_EQ(a.tensors.size(), b.tensors.size()) << label;
  for (size_t i = 0; i < a.tensors.size(); ++i) {
    EXPECT_EQ(a.tensors[i].first, b.tensors[i].first) << label;
    EXPECT_TRUE(same_bits(a.tensors[i].second, b.tensors[i].second)) << label << " " << a.tensors[i].first;
  }
}

class EveryOptimizer : public testing::TestWithParam<OptimizerRow> {};

TEST_P(EveryOptimizer, TrainsAndResumesBitForBit) {
  const std::string name = GetParam().name;
  expect_resumes("simclr", {"optim.name=" + name, "optim.warmup_steps=2"}, name);
}

INSTANTIATE_TEST_SUITE_P(Trainer, EveryOptimizer, testing::ValuesIn(optimizers().begin(), optimizers().end()),
                         [](const auto& info) { return std::string(info.param.name); });

TEST(Trainer, MomentumMethodsResumeWithTheirSchedules) {
  expect_resumes(
      "moco",
      {"method.queue=24", "method.queue_init=empty", "method.mask_same_id=true", "method.bn_groups=2",
       "method.momentum_schedule=freeze_then_constant", "method.momentum_freeze_steps=2"},
      "moco");
  expect_resumes("byol", {"method.projection_hidden=16", "optim.name=am_sgd", "optim.end_weight_decay=0.1"},
                 "byol");
}

// lr of every step of a run of 3 epochs of 2 steps.
std::vector<double> rates(const std::vector<std::string>& settings) {
  Recipe recipe = recipe_of("simclr", settings);
  const ImageData data = stripes();
  const Trainer trainer(recipe, data);
  std::vector<double> out;
  for (int64_t t = 0; t < trainer.total_steps(); ++t) out.push_back(trainer.lr_at(t));
  return out;
}

void expect_rates(const std::vector<std::string>& settings, const std::vector<double>& expected) {
  const std::vector<double> got = rates(settings);
  ASSERT_EQ(got.size(), expected.size()) << settings[0];
  for (size_t t = 0; t < got.size(); ++t) EXPECT_NEAR(got[t], expected[t], 1e-12) << settings[0] << " " << t;
}

TEST(Trainer, SchedulesOfRecipes) {
  const std::string lr = "optim.lr=1", half = "optim.gamma=0.5";
  expect_rates({"optim.schedule=constant", lr, "optim.warmup_steps=2"}, {0.5, 1, 1, 1, 1, 1});
  expect_rates({"optim.schedule=constant", lr, "optim.warmup_steps=2", "optim.warmup=reach_after"},
               {0, 0.5, 1, 1, 1, 1});
  expect_rates({"optim.schedule=constant", lr, "optim.warmup_epochs=1.5", "optim.warmup=linspace",
                "optim.warmup_lr=0.5"},
               {0.5, 0.75, 1, 1, 1, 1});
  expect_rates({"optim.schedule=multistep", lr, half, "optim.milestones=[1, 2.5]"},
               {1, 1, 0.5, 0.5, 0.5, 0.25});
  expect_rates({"optim.schedule=step", lr, half, "optim.step_epochs=1"}, {1, 1, 0.5, 0.5, 0.25, 0.25});
  expect_rates({"optim.schedule=linear_then_constant", lr, "optim.end_lr=0.5"}, {1, 0.9, 0.8, 0.7, 0.6, 0.5});
  expect_rates({"optim.schedule=linear_then_constant", lr, "optim.ramp_epochs=1", "optim.end_lr=0.5"},
               {1, 0.5, 0.5, 0.5, 0.5, 0.5});
  expect_rates({"optim.schedule=constant", lr, "optim.scale_lr=true", "optim.scale_rule=sqrt"},
               {0.25, 0.25, 0.25, 0.25, 0.25, 0.25});
  const double pi = std::acos(-1.0);
  std::vector<double> cosine;
  for (int t = 0; t < 6; ++t) cosine.push_back((1 + std::cos(pi * t / 5)) / 2);
  expect_rates({"optim.schedule=cosine", lr, "optim.endpoint=true"}, cosine);
}

// GradCache: the whole loss and the weights after training are those of whole batches, to rounding.
TEST(Trainer, ChunkedStepsAreThoseOfTheWholeBatch) {
  const ImageData data = stripes();
  const std::vector<std::string> vit{"model.name=vit_tiny", "model.width=16", "model.depth=2",
                                     "model.heads=2",       "model.patch=4",  "model.layer_scale=0",
                                     "optim.name=sgd",      "optim.lr=0.1",   "optim.momentum=0.9"};
  const TempDir dir;
  for (const char* method : {"moco", "simclr"}) {
    std::vector<std::string> settings = vit;
    settings.emplace_back(method == std::string("moco") ? "method.queue=24"
                                                        : "method.projection_batch_norm=false");
    const Checkpoint whole = trained(data, method, settings, dir / (method + std::string("_whole")), false);
    settings.emplace_back("train.chunk=5");
    const Checkpoint parts = trained(data, method, settings, dir / (method + std::string("_parts")), false);
    double largest = 0;
    ASSERT_EQ(whole.tensors.size(), parts.tensors.size());
    for (size_t i = 0; i < whole.tensors.size(); ++i) {
      const Tensor &a = whole.tensors[i].second, &b = parts.tensors[i].second;
      if (a.dtype() == DType::f32) largest = std::max(largest, max_abs_diff(a, b));
    }
    EXPECT_LT(largest, 1e-4) << method;
    EXPECT_GT(largest, 0) << method << ": the same bits: were there chunks?";
  }
}

TEST(Trainer, OptimiserSettingsOfRecipes) {
  const OptimConfig defaults;
  OptimConfig c;
  c.name = "am_adamw";
  EXPECT_EQ(c.options().beta1, 0.89);
  c.beta1 = 0.8, c.model_lambda = 2, c.beta_scope = "tensor";
  EXPECT_EQ(c.options().beta1, 0.8);
  EXPECT_EQ(c.options().model_lambda, 2.0);
  EXPECT_EQ(c.options().scope, "tensor");
  c.name = "lion";
  EXPECT_EQ(c.options().beta2, 0.99);
  EXPECT_EQ(defaults.options().beta2, 0.999);
  OptimConfig decay;
  decay.weight_decay = 0.04, decay.end_weight_decay = 0.4;
  EXPECT_NEAR(decay.weight_decay_schedule(10).at(0), 0.04, 1e-12);
  EXPECT_NEAR(decay.weight_decay_schedule(10).at(5), 0.22, 1e-12);
  EXPECT_EQ(defaults.weight_decay_schedule(10).at(5), 1e-4);
}

// Before the first step, not at the first evaluation.
TEST(Trainer, ErrorsOfTheSideOfEvaluation) {
  const TempDir dir;
  const ImageData data = stripes();
  const auto start = [&](const std::string& model, const std::string& side) {
    Recipe r = recipe_of("simclr", {"model.name=" + model, "view.eval_size=" + side});
    Trainer(r, data).train({.out = dir / "run", .quiet = true});
  };
  expect_error([&] { start("resnet20", "-1"); }, {"view.eval_size", "-1"});
  expect_error([&] { start("vit_tiny_patch16_224", "16"); },
               {"view.eval_size", "vit_tiny_patch16_224", "8", "16"});
}

TEST(Trainer, ErrorsOfTheOptimSection) {
  expect_error([] { rates({"optim.schedule=multistep"}); }, {"optim.milestones"});
  expect_error([] { rates({"optim.schedule=polynomial"}); }, {"optim.schedule", "polynomial", "cosine"});
  expect_error([] { rates({"optim.schedule=step", "optim.step_epochs=0"}); }, {"optim.step_epochs", "0"});
  expect_error([] { rates({"optim.name=am_adam"}); }, {"optim.name", "am_adam", "am_adamw"});
  expect_error([] { rates({"optim.name=am_sgd", "optim.beta_max=2"}); }, {"am_sgd", "beta_max", "2"});
}

}  // namespace
}  // namespace juxta::test

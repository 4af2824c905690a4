// The trainer with every optimiser and schedule that a recipe can name: it trains, and a run that was cut off
// and resumed from its checkpoint ends with the bits of one that was not.
#include "ssl/train/trainer.h"

#include <cmath>
#include <filesystem>
#include <fstream>

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
  cosine.reserve(6);
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

// A method whose loss is linear in its one weight: gradients are known, whatever the batch is split into.
class MeanPixel : public Method {
 public:
  explicit MeanPixel(double scale, bool fails = false) : scale_(scale), fails_(fails) {}
  void fields(Fields&) override {}
  std::vector<ViewSpec> views(const ViewConfig& base) const override { return {{"view1", base}}; }
  void build(const Task& task) override {
    Rng init(task.seed, "init");
    encoder_ = nn::make_encoder(task.model, init);
    weight_ = nn::Parameter(Tensor::zeros({1}));
  }
  StepResult step(const Batch& batch, StepContext& context) override {
    const Tensor& x = batch["view1"];
    const Var loss = affine(mean(mul(weight_.var(), Var(x.contiguous().view({x.numel()})))), scale_, 0.0);
    context.minimize(loss);
    const Tensor point = Tensor::full({x.size(0), 4}, 0.5);
    return {loss.item(), {}, point, point};
  }
  void visit(nn::Visitor& v) override { v("weight", weight_), v("encoder", *encoder_); }
  std::vector<nn::NamedParameter> trainable() override { return {{"weight", &weight_.var()}}; }
  nn::Encoder& encoder() override {
    JX_CHECK(!fails_, "this method has no encoder");
    return *encoder_;
  }
  double weight() { return weight_.var().value().item(); }

 private:
  double scale_;
  bool fails_;
  nn::Parameter weight_;
  std::unique_ptr<nn::Encoder> encoder_;
};

double weight_after(double scale, const std::vector<std::string>& settings, const ImageData& data) {
  const TempDir dir;
  std::vector<std::string> all{
      "optim.name=sgd",       "optim.momentum=0", "optim.lr=1", "optim.schedule=constant",
      "optim.weight_decay=0", "view.jitter=0",    "view.blur=0"};
  all.insert(all.end(), settings.begin(), settings.end());
  Recipe r = recipe_of("simclr", all);
  r.method = std::make_unique<MeanPixel>(scale);
  Trainer trainer(r, data);
  trainer.train({.out = dir / "run", .quiet = true});
  return dynamic_cast<MeanPixel&>(trainer.method()).weight();
}

TEST(Trainer, AccumulationAveragesGradientsAndClippingBoundsThem) {
  const ImageData data = stripes();
  const double whole = weight_after(1, {}, data);
  EXPECT_LT(whole, -1.0);  // six steps down the mean of the pixels
  for (const char* parts : {"2", "4", "8"})
    EXPECT_NEAR(weight_after(1, {std::string("train.accumulate=") + parts}, data), whole, 1e-5 * -whole)
        << parts;
  for (const char* parts : {"1", "4"})  // six steps of length 0.25
    EXPECT_NEAR(weight_after(100, {"train.clip_norm=0.25", std::string("train.accumulate=") + parts}, data),
                -1.5, 1e-5);
  EXPECT_NEAR(weight_after(1, {"train.clip_norm=1000"}, data), whole, 1e-6);
}

// Step 2 starts with xi = m theta_0 + (1 - m) theta_1, in however many parts it is taken.
TEST(Trainer, TheTeacherFollowsOnceAStepWhenAccumulating) {
  const ImageData data = stripes();
  const std::string name = "method.query.encoder.conv1.weight", key = "method.key.encoder.conv1.weight";
  const TempDir dir;
  for (const char* parts : {"1", "2", "4"}) {
    const auto run = [&](const char* steps) {
      Recipe r = recipe_of(
          "moco", {"method.momentum=0.5", "method.queue=32", "optim.schedule=constant",
                   std::string("train.accumulate=") + parts, std::string("train.max_steps=") + steps});
      Trainer(r, data).train({.out = dir / parts, .resume = true, .quiet = true});
      return load_checkpoint(dir / parts);
    };
    const auto of = [](const Checkpoint& c, const std::string& wanted) {
      for (const auto& [n, t] : c.tensors)
        if (n == wanted) return t.to(DType::f64);
      return Tensor();
    };
    const Checkpoint one = run("1"), two = run("2");
    const Tensor before = of(one, key), moved = of(one, name), after = of(two, key);
    ASSERT_TRUE(before.defined() && moved.defined() && after.defined());
    EXPECT_GT(max_abs_diff(before, moved), 1e-4);
    const Tensor expected = affine(add(Var(before), Var(moved)), 0.5, 0.0).value();
    EXPECT_LT(max_abs_diff(after, expected), 1e-7) << parts;
  }
}

// The mutant of this file: a method that counts its steps where visit() does not show it.
class Forgetful : public MeanPixel {
 public:
  Forgetful() : MeanPixel(1) {}
  StepResult step(const Batch& batch, StepContext& context) override {
    const auto minimize = context.minimize;
    ++steps_;
    context.minimize = [&](const Var& l) { return minimize(affine(l, static_cast<double>(steps_), 0.0)); };
    return MeanPixel::step(batch, context);
  }

 private:
  int64_t steps_ = 0;
};

TEST(Trainer, StateOutsideTheCheckpointIsCaught) {
  const ImageData data = stripes();
  const auto weight = [&](bool forgetful, bool in_two_parts) {
    const TempDir dir;
    const auto run = [&](const char* steps) {
      Recipe r = recipe_of(
          "simclr", {"optim.name=sgd", "optim.schedule=constant", std::string("train.max_steps=") + steps});
      r.method = forgetful ? std::make_unique<Forgetful>() : std::make_unique<MeanPixel>(1);
      Trainer(r, data).train({.out = dir / "run", .resume = true, .quiet = true});
      return dynamic_cast<MeanPixel&>(*r.method).weight();
    };
    if (in_two_parts) run("3");
    return run("6");
  };
  EXPECT_EQ(weight(false, true), weight(false, false));
  EXPECT_NE(weight(true, true), weight(true, false));
}

// A figure of every line about an epoch; NaN where a line lacks it. (A JSON parser would double the time that
// this file takes to compile.)
std::vector<double> epoch_figures(const std::string& run, const std::string& name) {
  std::ifstream file(run + "/metrics.jsonl");
  std::vector<double> values;
  for (std::string line; std::getline(file, line);) {
    if (line.find("\"kind\":\"epoch\"") == std::string::npos) continue;
    const size_t at = line.find("\"" + name + "\":");
    values.push_back(at == std::string::npos ? NAN
                                             : std::strtod(line.c_str() + at + name.size() + 3, nullptr));
  }
  return values;
}

TEST(Trainer, ACollapseIsToldEvenWhenQuietAndLogged) {
  const TempDir dir;
  const ImageData data = stripes();
  const auto run = [&](std::unique_ptr<Method> method, const std::string& out) {
    Recipe r = recipe_of("simclr", {"train.monitor_every=1"});
    if (method) r.method = std::move(method);
    testing::internal::CaptureStderr();
    Trainer(r, data).train({.out = out, .quiet = true});
    return testing::internal::GetCapturedStderr();
  };
  const std::string alarm = run(std::make_unique<MeanPixel>(1), dir / "dead"),
                    calm = run(nullptr, dir / "alive");
  EXPECT_NE(alarm.find("juxta: warning: the representation has collapsed to a point"), std::string::npos)
      << alarm;
  EXPECT_NE(alarm.find("Try:"), std::string::npos) << alarm;
  EXPECT_EQ(calm, "");
  EXPECT_EQ(epoch_figures(dir / "dead", "collapsed"), std::vector<double>(3, 1.0));
  EXPECT_EQ(epoch_figures(dir / "alive", "collapsed"), std::vector<double>(3, 0.0));
}

TEST(Trainer, ARunCutByTheClockIsMonitoredAsItIs) {
  const TempDir dir;
  const ImageData data = stripes();
  Recipe r = recipe_of("simclr", {"train.monitor_every=1", "train.max_seconds=1e-6"});
  EXPECT_EQ(Trainer(r, data).train({.out = dir / "run", .quiet = true}).end, RunEnd::time_limit);
  EXPECT_EQ(epoch_figures(dir / "run", "step"), std::vector<double>{1.0});
  const std::vector<double> knn = epoch_figures(dir / "run", "knn_top1");
  ASSERT_EQ(knn.size(), 1u);
  EXPECT_TRUE(std::isfinite(knn[0]));
}

TEST(Trainer, WhatWasTrainedIsSavedThoughAMonitorFails) {
  const TempDir dir;
  const ImageData data = stripes();
  Recipe r = recipe_of("simclr", {"train.monitor_every=1", "optim.name=sgd"});
  r.method = std::make_unique<MeanPixel>(1, /*fails=*/true);
  expect_error([&] { Trainer(r, data).train({.out = dir / "run", .quiet = true}); }, {"no encoder"});
  EXPECT_EQ(load_checkpoint(dir / "run").step, 2);  // the first epoch
}

TEST(Trainer, ARunIsNotResumedAsAnother) {
  const TempDir dir;
  const ImageData data = stripes();
  const auto train = [&](const std::vector<std::string>& settings, const ImageData& on, const char* method) {
    Recipe r = recipe_of(method, settings);
    Trainer(r, on).train({.out = dir / "run", .resume = true, .quiet = true});
  };
  train({"train.max_steps=3"}, data, "simclr");
  const auto refused = [&](const std::string& setting, std::initializer_list<const char*> parts,
                           const char* method = "simclr") {
    expect_error([&] { train({setting}, data, method); }, parts);
  };
  refused("optim.name=sgd", {"--resume", "optim.name", "sgd", "adamw"});
  refused("train.seed=4", {"train.seed", "4", "0"});
  refused("train.batch=8", {"train.batch", "8", "16"});
  refused("model.width=8", {"model.width", "8", "4"});
  refused("train.max_steps=2", {"step 3", "step 2", "train.max_steps"});
  refused("train.epochs=3", {"simclr", "moco"}, "moco");
  ImageData fewer = data;
  fewer.train.images = data.train.images.slice(0, 0, 16);
  fewer.train.labels = data.train.labels.slice(0, 0, 16);
  expect_error([&] { train({}, fewer, "simclr"); }, {"32 images of 8 x 8 x 1", "16 images"});
  EXPECT_EQ(load_checkpoint(dir / "run").step, 3);
  testing::internal::CaptureStderr();
  train({"optim.lr=0.001"}, data, "simclr");  // a rate is changed on purpose
  EXPECT_NE(testing::internal::GetCapturedStderr().find("resumed with optim.lr = 0.001, was 0.002"),
            std::string::npos);
  EXPECT_EQ(load_checkpoint(dir / "run").step, 6);
}

TEST(Trainer, SettingsMadeInCodeAreChecked) {
  const ImageData data = stripes();
  Recipe r = recipe_of("simclr", {});
  r.optim.lr = -1;
  expect_error([&] { Trainer(r, data); }, {"optim.lr", "-1"});
  ViewConfig view;
  view.min_crop = -1;
  expect_error(
      [&] {
        Loader(data.train, {{"view1", view}}, {.batch = 8});
      },
      {"view1", "view.min_crop", "-1"});
  expect_error(
      [&] {
        Loader(data.train, {{"view1", {}}}, {.batch = 8, .workers = -1});
      },
      {"train.workers", "-1"});
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
  expect_error([] { rates({"optim.name=am_sgd", "optim.beta_max=2"}); }, {"optim.beta_max", "0 to 1", "2"});
}

}  // namespace
}  // namespace juxta::test

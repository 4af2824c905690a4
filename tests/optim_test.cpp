// Optimiser kernels on every table against f64, and the optimiser class: exclusions, missing gradients,
// state, clipping.
#include "kernels/optim.h"

#include <cmath>
#include <functional>

#include "ssl/momentum/ema.h"
#include "ssl/optim/optimizer.h"
#include "ssl/optim/schedules.h"
#include "tensor/parallel.h"
#include "tests/harness.h"

namespace juxta::test {
namespace {

using namespace juxta::ssl;

struct Model {
  std::vector<Var> vars;
  std::vector<nn::NamedParameter> named;
};

Model make_model(DType dtype) {
  Model m;
  uint64_t seed = 1;
  for (const Dims& d : {Dims{40000}, Dims{3, 7}, Dims{5}, Dims{1, 1}, Dims{130, 9}})
    m.vars.push_back(Var::leaf(normal(d, seed++).to(dtype)));
  const char* names[] = {"big.bias", "conv.weight", "conv.bias", "cls_token", "fc.weight"};
  for (size_t i = 0; i < m.vars.size(); ++i) m.named.push_back({names[i], &m.vars[i]});
  return m;
}

// Parameters after `steps` steps with gradients that depend on the step.
std::vector<Tensor> run_optimizer(const std::string& name, const OptimizerOptions& o, DType dtype,
                                  int steps = 4) {
  Model m = make_model(dtype);
  Optimizer opt(name, m.named, o);
  for (int s = 0; s < steps; ++s) {
    for (size_t i = 0; i < m.vars.size(); ++i)
      m.vars[i].set_grad(
          normal(m.vars[i].dims(), 50 + 10 * static_cast<uint64_t>(s) + i).to(DType::f32).to(dtype));
    opt.step(0.05 / (s + 1), 0.1);
  }
  std::vector<Tensor> out;
  for (const Var& v : m.vars) out.push_back(v.value().clone());
  return out;
}

std::vector<std::pair<std::string, OptimizerOptions>> all_variants() {
  std::vector<std::pair<std::string, OptimizerOptions>> list;
  for (const OptimizerRow& r : optimizers()) list.emplace_back(r.name, default_options(r.name));
  list.push_back({"sgd", {.momentum = 0}});
  list.push_back({"sgd", {.momentum = 0.8, .dampening = 0.1}});
  list.push_back({"sgd", {.momentum = 0.8, .nesterov = true}});
  list.push_back({"adamw", {.amsgrad = true}});
  list.push_back({"lars", {.nesterov = true, .denominator = "sum"}});
  list.push_back({"lars", {.denominator = "sum", .clip_lr = true}});
  list.push_back({"lamb", {.max_grad_norm = 1, .trust_clip = true, .always_adapt = true}});
  list.push_back({"larc", {.trust_coefficient = 0.02, .clip_lr = true}});
  list.push_back({"am_sgd", {.model_lambda = 1, .beta_max = 0.5, .scope = "tensor"}});
  list.push_back({"am_adamw", {.beta1 = 0.8, .beta2 = 0.99, .model_lambda = 10}});
  return list;
}

TEST(Optim, EveryOptimizerOnEveryTableAgreesWithF64) {
  for (const auto& [name, options] : all_variants()) {
    const std::vector<Tensor> truth = run_optimizer(name, options, DType::f64);
    for (Isa isa : host_isas()) {
      const ForceTable force(isa);
      const int threads = num_threads();
      set_num_threads(1);
      const std::vector<Tensor> one = run_optimizer(name, options, DType::f32);
      set_num_threads(3);
      const std::vector<Tensor> three = run_optimizer(name, options, DType::f32);
      set_num_threads(threads);
      for (size_t i = 0; i < truth.size(); ++i) {
        EXPECT_LE(max_abs_diff(one[i], truth[i]), 3e-6 * max_abs(truth[i]))
            << name << " " << name_of(isa) << " " << i;
        EXPECT_TRUE(same_bits(one[i], three[i])) << name << " " << name_of(isa);
      }
    }
  }
}

TEST(Optim, DecaySparesBiasesGainsAndTokens) {
  Model m = make_model(DType::f32);
  const Optimizer opt("adamw", m.named, {});
  const bool expected[] = {false, true, false, false, true};
  for (size_t i = 0; i < m.named.size(); ++i) EXPECT_EQ(opt.decays(i), expected[i]) << m.named[i].name;
}

TEST(Optim, AParameterWithoutGradientIsSkippedEntirely) {
  Model m = make_model(DType::f32);
  Optimizer opt("adamw", m.named, {});
  const Tensor before = m.vars[1].value().clone();
  m.vars[0].set_grad(Tensor::full({40000}, 1.0));
  opt.step(0.1, 0.5);
  EXPECT_TRUE(same_bits(m.vars[1].value(), before));
  EXPECT_EQ(opt.state().size(), 3u);  // step, exp_avg, exp_avg_sq of one parameter
}

TEST(Optim, StateRoundTripContinuesBitForBit) {
  for (const auto& [name, options] : all_variants()) {
    const std::vector<Tensor> straight = run_optimizer(name, options, DType::f32, 4);
    Model m = make_model(DType::f32);
    auto first = std::make_unique<Optimizer>(name, m.named, options);
    for (int s = 0; s < 4; ++s) {
      if (s == 2) {
        nn::StateDict saved;
        for (const auto& [key, t] : first->state()) saved.emplace_back(key, t.clone());
        first = std::make_unique<Optimizer>(name, m.named, options);
        first->load_state(saved);
      }
      for (size_t i = 0; i < m.vars.size(); ++i)
        m.vars[i].set_grad(normal(m.vars[i].dims(), 50 + 10 * static_cast<uint64_t>(s) + i).to(DType::f32));
      first->step(0.05 / (s + 1), 0.1);
    }
    for (size_t i = 0; i < straight.size(); ++i)
      EXPECT_TRUE(same_bits(m.vars[i].value(), straight[i])) << name;
  }
}

// SGD's buffer under the name of Adam's first moment would be taken for it.
TEST(Optim, TheStateOfAnotherOptimizerIsRefused) {
  for (const auto& [from, to] :
       {std::pair{"sgd", "adamw"}, {"adamw", "sgd"}, {"adamw", "lion"}, {"lion", "lamb"}}) {
    Model m = make_model(DType::f32);
    for (Var& v : m.vars) v.set_grad(Tensor::full(v.dims(), 1.0));
    Optimizer first(from, m.named, default_options(from)), second(to, m.named, default_options(to));
    first.step(0.1, 0.0);
    const std::string why = std::string("not that of ") + to;
    expect_error([&, &a = first] { second.load_state(a.state()); }, {"optimizer state", why.c_str()});
  }
}

TEST(Optim, ClippingScalesByTheGlobalNorm) {
  Model m = make_model(DType::f32);
  m.vars[1].set_grad(Tensor::full({3, 7}, 2.0));
  m.vars[2].set_grad(Tensor::full({5}, 4.0));
  const double norm = std::sqrt(21 * 4.0 + 5 * 16.0);
  EXPECT_NEAR(grad_norm(m.named), norm, 1e-5);
  EXPECT_NEAR(clip_grad_norm(m.named, 1.0), norm, 1e-5);
  EXPECT_NEAR(grad_norm(m.named), 1.0, 1e-5);
  EXPECT_NEAR(clip_grad_norm(m.named, 10.0, INFINITY), 4.0 / norm, 1e-6);
  EXPECT_NEAR(clip_grad_norm(m.named, 100.0, 1.0), (21 * 2.0 + 5 * 4.0) / norm, 1e-5);
  m.vars[2].set_grad(Tensor::full({5}, std::nan("")));
  for (double type : {1.0, 2.0, static_cast<double>(INFINITY)})
    EXPECT_TRUE(std::isnan(clip_grad_norm(m.named, 1.0, type))) << type;
}

// Gradients that are views of other layouts are scaled where they lie.
TEST(Optim, ClippingReachesStridedGradients) {
  Var v = Var::leaf(Tensor::zeros({2, 3}));
  v.set_grad(Tensor::full({3, 2}, 2.0).transpose(0, 1));
  const std::vector<nn::NamedParameter> named{{"w", &v}};
  clip_grad_norm(named, 1.0);
  EXPECT_NEAR(grad_norm(named), 1.0, 1e-5);
}

// Gradients whose squares overflow single precision are clipped, not wiped out.
TEST(Optim, ClippingSurvivesHugeGradients) {
  for (const int table : cpu_tables()) {
    const ForceTable force(table);
    Model m = make_model(DType::f32);
    m.vars[0].set_grad(Tensor::full({40000}, 1e30));
    EXPECT_NEAR(clip_grad_norm(m.named, 2.0) / 2e32, 1.0, 1e-6) << table_name(table);
    EXPECT_NEAR(m.vars[0].grad().at({39999}), 0.01, 1e-7) << table_name(table);
  }
}

// One tensor of several chunks and some of a few elements, through `update`: near the f64 result on every
// table, with the same bits on any number of threads.
void expect_steady(const char* what, const std::function<std::vector<Tensor>(DType)>& update) {
  const std::vector<Tensor> truth = update(DType::f64);
  const int before = num_threads();
  for (const int table : cpu_tables()) {
    const ForceTable force(table);
    set_num_threads(1);
    const std::vector<Tensor> one = update(DType::f32);
    for (const int threads : {2, 3}) {
      set_num_threads(threads);
      const std::vector<Tensor> more = update(DType::f32);
      for (size_t i = 0; i < one.size(); ++i)
        EXPECT_TRUE(same_bits(one[i], more[i]))
            << what << " " << table_name(table) << " " << threads << " " << i;
    }
    for (size_t i = 0; i < one.size(); ++i)
      EXPECT_LE(max_abs_diff(one[i], truth[i]), 1e-6 * max_abs(truth[i]))
          << what << " " << table_name(table) << " " << i;
  }
  set_num_threads(before);
}

TEST(Optim, EmaScaleAndClippingOnEveryTableAndThreadCount) {
  const std::vector<int64_t> sizes{3 * kOptimChunk + 77, 1, 19, kOptimChunk};
  const auto tensors = [&](DType d, uint64_t seed) {
    std::vector<Tensor> list;
    for (const int64_t n : sizes) list.push_back(normal({n}, seed++).to(DType::f32).to(d).clone());
    return list;
  };
  expect_steady("ema", [&](DType d) {
    std::vector<Tensor> teacher = tensors(d, 1);
    ema_update(teacher, tensors(d, 9), 0.996);
    return teacher;
  });
  const auto on_gradients = [&](DType d, const auto& act) {
    std::vector<Var> vars;
    std::vector<nn::NamedParameter> named;
    std::vector<Tensor> out = tensors(d, 5);
    for (const Tensor& g : out) {
      vars.push_back(Var::leaf(Tensor::zeros(g.dims(), d)));
      vars.back().set_grad(g);
    }
    for (Var& v : vars) named.push_back({"w", &v});
    out.push_back(Tensor::scalar(act(named), DType::f64));
    return out;
  };
  expect_steady("scale", [&](DType d) {
    return on_gradients(d, [](const auto& named) { return scale_grads(named, 0.3), 1.0; });
  });
  expect_steady("clip_grad_norm", [&](DType d) {
    return on_gradients(d, [](const auto& named) { return clip_grad_norm(named, 2.0); });
  });
}

TEST(Optim, LarcDecaysAndAdaptsEveryTensor) {
  Model m = make_model(DType::f64);
  Optimizer larc("larc", m.named, default_options("larc"));
  for (size_t i = 0; i < m.named.size(); ++i) EXPECT_TRUE(larc.decays(i)) << m.named[i].name;
  // A tensor of ones with a gradient of ones: |w| / (|g| + 0.5 |w|) (g + 0.5 w) = w.
  Var v = Var::leaf(Tensor::full({4}, 1.0, DType::f64));
  v.set_grad(Tensor::full({4}, 1.0, DType::f64));
  Optimizer one("larc", {{"bias", &v}}, {.eps = 0, .trust_coefficient = 0.01});
  one.step(2.0, 0.5);
  EXPECT_NEAR(v.value().at({0}), 1.0 - 2.0 * 0.01, 1e-15);
}

TEST(Optim, ErrorsAreClear) {
  Model m = make_model(DType::f32);
  expect_error([&] { Optimizer("adamv", m.named, {}); }, {"optim.name", "adamv", "adam"});
  expect_error([&] { Optimizer("lars", m.named, {.denominator = "x"}); }, {"denominator", "joint"});
  Optimizer opt("sgd", m.named, {});
  expect_error([&] { opt.load_state({{"exp_avg.other", Tensor::zeros({1})}}); }, {"exp_avg.other"});
  expect_error([&] { opt.load_state({{"exp_avg.conv.bias", Tensor::zeros({1})}}); }, {"conv.bias", "[5]"});
  expect_error([&] { opt.load_state({{"velocity.conv.bias", Tensor::zeros({5})}}); }, {"velocity", "sgd"});
  expect_error([&] { Optimizer("am_sgd", m.named, {.scope = "layer"}); }, {"scope", "global", "tensor"});
  expect_error([&] { Optimizer("am_sgd", m.named, {.model_lambda = -1}); }, {"am_sgd", "model_lambda", "-1"});
  expect_error([&] { Optimizer("am_sgd", m.named, {.beta_max = 1.5}); }, {"am_sgd", "beta_max", "1.5"});
  expect_error([&] { Optimizer("am_adamw", m.named, {.eps = 0}); }, {"am_adamw", "eps", "0"});
  expect_error([&] { Optimizer("adam", m.named, {.beta1 = 1}); }, {"adam", "beta1", "1"});
  expect_error([&] { clip_grad_norm(m.named, 0.0); }, {"clip_grad_norm", "max_norm", "0"});
  expect_error([&] { clip_grad_norm(m.named, 1.0, -2.0); }, {"clip_grad_norm", "norm_type", "-2"});
}

// The mutant of this file: AdamW with coupled decay is another optimiser, and the comparison must see it.
TEST(Optim, MutantIsCaught) {
  const std::vector<Tensor> a = run_optimizer("adam", {}, DType::f64),
                            b = run_optimizer("adamw", {}, DType::f64);
  EXPECT_GT(max_abs_diff(a[1], b[1]), 3e-6 * max_abs(b[1]));
}

TEST(Schedules, WarmUpConventionsAndEnds) {
  Schedule s{.base = 2, .steps = 100, .warmup = 10};
  EXPECT_EQ(s.at(0), 0.0);
  EXPECT_EQ(s.at(5), 1.0);
  EXPECT_EQ(s.at(10), 2.0);
  EXPECT_GT(s.at(99), 0.0);
  s.index = Warmup::skip_first;
  EXPECT_EQ(s.at(9), 2.0);
  s.index = Warmup::linspace;
  EXPECT_EQ(s.at(9), 2.0);
  EXPECT_EQ(s.at(10), 2.0);
  s.endpoint = true;
  EXPECT_NEAR(s.at(99), 0.0, 1e-15);
  EXPECT_EQ(momentum_cosine(0.996, 0, 10), 0.996);
  EXPECT_EQ(momentum_cosine(0.996, 10, 10), 1.0);
  EXPECT_EQ(freeze_then_constant(0.9, 3, 3), 1.0);
  EXPECT_EQ(freeze_then_constant(0.9, 3, 4), 0.9);
  EXPECT_NEAR(multistep(0.03, {120, 160}, 0.1, 160), 0.0003, 1e-12);
}

TEST(Schedules, EveryKind) {
  Schedule s{.kind = ScheduleKind::constant, .base = 3, .steps = 10, .warmup = 2};
  EXPECT_EQ(s.at(1), 1.5);
  EXPECT_EQ(s.at(9), 3.0);
  s = {.kind = ScheduleKind::linear_then_constant, .base = 4, .end = 7, .steps = 10, .over = 4};
  EXPECT_EQ(s.at(0), 4.0);
  EXPECT_EQ(s.at(1), 5.0);
  EXPECT_EQ(s.at(3), 7.0);
  EXPECT_EQ(s.at(9), 7.0);
  s.over = 1;
  EXPECT_EQ(s.at(0), 4.0);
  s.over = 0;
  EXPECT_EQ(s.at(0), 7.0);
  s = {.kind = ScheduleKind::step, .base = 8, .steps = 10, .gamma = 0.5, .every = 3};
  EXPECT_EQ(s.at(2), 8.0);
  EXPECT_EQ(s.at(3), 4.0);
  EXPECT_EQ(s.at(9), 1.0);
  s = {.kind = ScheduleKind::ema_byol, .base = 0.5, .steps = 4};
  EXPECT_EQ(s.at(0), 0.5);
  EXPECT_NEAR(s.at(2), 0.75, 1e-15);
  s = {.kind = ScheduleKind::freeze_then_constant, .base = 0.5, .steps = 4, .frozen = 1};
  EXPECT_EQ(s.at(1), 1.0);
  EXPECT_EQ(s.at(2), 0.5);
  EXPECT_EQ(scaled_lr(0.1, 1024), 0.4);
  EXPECT_EQ(scaled_lr(0.1, 1024, true), 0.2);
}

TEST(Schedules, Errors) {
  expect_error([] { Schedule{.steps = 0}.check(); }, {"schedule", "steps", "0"});
  expect_error([] { Schedule{.steps = 3, .warmup = -1}.at(0); }, {"schedule", "-1"});
  expect_error([] { Schedule{.steps = 3}.at(-1); }, {"schedule", "-1"});
  expect_error([] { Schedule{.steps = 3, .every = 0}.check(); }, {"step_size", "0"});
  expect_error([] { Schedule{.base = NAN, .steps = 3}.check(); }, {"finite"});
  expect_error([] { scaled_lr(0.1, 0); }, {"batch", "0"});
}

}  // namespace
}  // namespace juxta::test

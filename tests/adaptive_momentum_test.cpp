// AM-SGD and AM-AdamW: the closed form against the problem it solves, cases that can be worked out by hand,
// and what must not happen.
#include <cmath>

#include "ssl/optim/optimizer.h"
#include "tests/harness.h"

namespace juxta::test {
namespace {

using namespace juxta::ssl;

struct One {
  Var v;
  Optimizer optimizer;
  One(const std::string& name, std::initializer_list<double> start, const OptimizerOptions& o)
      : v(Var::leaf(Tensor::from<double>(start, {static_cast<int64_t>(start.size())}))),
        optimizer(name, {{"w.weight", &v}}, o) {
    optimizer.set_decay(0, true);
  }
  void step(std::initializer_list<double> gradient, double lr, double weight_decay = 0) {
    v.set_grad(Tensor::from<double>(gradient, {static_cast<int64_t>(gradient.size())}));
    optimizer.step(lr, weight_decay);
  }
  double at(int64_t i) const { return v.value().at({i}); }
  double beta() const { return optimizer.last_beta()[0]; }
};

TEST(AmSgd, ByHand) {
  One one("am_sgd", {0, 0}, {.model_lambda = 0, .beta_max = 0.9});
  one.step({1, 0}, 0.5);  // d = g, whatever beta is
  EXPECT_EQ(one.beta(), 0.0);
  EXPECT_EQ(one.at(0), -0.5);
  one.step({0, 1}, 0.5);  // |g|^2 / |d - g|^2 = 1 / 2
  EXPECT_EQ(one.beta(), 0.5);
  EXPECT_EQ(one.at(0), -0.75);
  EXPECT_EQ(one.at(1), -0.25);
  one.step({-10, -10}, 0.0);  // 200 / (2 * 10.5^2) is above the cap; nothing moves
  EXPECT_EQ(one.beta(), 0.9);
  EXPECT_EQ(one.at(0), -0.75);
}

// beta maximises the dual of: minimise max(<g, y>, gap + <d, y>) + |y|^2 / (2 lr) + lambda |y + lr d|^2 / (2
// lr) over y = x - x_t, with gap = lr <g, d>.
TEST(AmSgd, BetaSolvesTheTwoPlaneProblem) {
  const double lr = 0.3, lambda = 0.4;
  One one("am_sgd", {0.2, -0.1, 0.4}, {.model_lambda = lambda, .beta_max = 1.0});
  const double d[] = {0.5, -1.0, 0.25}, g[] = {0.6, -0.2, 0.5};
  one.step({0.5, -1.0, 0.25}, 0.0);
  one.step({0.6, -0.2, 0.5}, lr);
  double gd = 0;
  for (int i = 0; i < 3; ++i) gd += g[i] * d[i];
  const auto dual = [&](double beta) {
    double value = beta * lr * gd;
    for (int i = 0; i < 3; ++i) {
      const double y = -lr * ((beta + lambda) * d[i] + (1 - beta) * g[i]) / (1 + lambda);
      value += (beta * d[i] + (1 - beta) * g[i]) * y + y * y / (2 * lr) +
               lambda * (y + lr * d[i]) * (y + lr * d[i]) / (2 * lr);
    }
    return value;
  };
  double best = 0;
  for (int k = 0; k <= 10000; ++k)
    if (dual(k * 1e-4) > dual(best)) best = k * 1e-4;
  EXPECT_NEAR(one.beta(), best, 1e-4);
  EXPECT_GT(best, 0.05);
  EXPECT_LT(best, 0.95);
}

TEST(AmSgd, MissingTensorsStayOutOfTheSums) {
  Var a = Var::leaf(Tensor::full({2}, 1.0, DType::f64)), b = Var::leaf(Tensor::full({2}, 1.0, DType::f64));
  Optimizer both("am_sgd", {{"a", &a}, {"b", &b}}, {});
  const auto grad = [](double x, double y) { return Tensor::from<double>({x, y}, {2}); };
  a.set_grad(grad(1, 0)), b.set_grad(grad(100, -50));
  both.step(0.1, 0);
  both.zero_grad();
  a.set_grad(grad(0, 1));
  const Tensor before = b.value().clone();
  both.step(0.1, 0);
  EXPECT_TRUE(same_bits(before, b.value()));
  One alone("am_sgd", {1, 1}, {});
  alone.step({1, 0}, 0.1);
  alone.step({0, 1}, 0.1);
  EXPECT_EQ(both.last_beta()[0], alone.beta());
  Optimizer each("am_sgd", {{"a", &a}, {"b", &b}}, {.scope = "tensor"});
  each.step(0.1, 0);
  ASSERT_EQ(each.last_beta().size(), 2u);
  EXPECT_TRUE(std::isnan(each.last_beta()[1]));
}

// With lambda = 0 and beta at its cap AM-AdamW is AdamW. Gradients that keep their sign hold it there.
TEST(AmAdamw, IsAdamwAtTheCap) {
  OptimizerOptions o = default_options("am_adamw");
  o.model_lambda = 0, o.beta1 = 0.9;
  One am("am_adamw", {1, -2}, o), adamw("adamw", {1, -2}, {});
  for (int s = 0; s < 5; ++s) {
    am.step({0.5, -1.5}, 0.01, 0.1);
    adamw.step({0.5, -1.5}, 0.01, 0.1);
    EXPECT_EQ(am.beta(), 0.9) << s;
  }
  for (int i : {0, 1}) EXPECT_NEAR(am.at(i), adamw.at(i), 1e-14);
}

TEST(AmAdamw, AFlippedGradientShortensTheMemory) {
  One one("am_adamw", {1, -2}, default_options("am_adamw"));
  for (int s = 0; s < 3; ++s) one.step({0.5, -1.5}, 0.01);
  EXPECT_EQ(one.beta(), 0.89);
  one.step({-0.5, 1.5}, 0.01);
  EXPECT_LT(one.beta(), 0.7);
}

TEST(AmAdamw, AZeroLearningRateMovesStateAlone) {
  One one("am_adamw", {1, -2}, default_options("am_adamw"));
  one.step({0.5, -1.5}, 0.0, 0.1);
  one.step({0.5, -1.5}, 0.0, 0.1);
  EXPECT_EQ(one.at(0), 1.0);
  EXPECT_TRUE(std::isfinite(one.beta()));
  for (const auto& [key, t] : one.optimizer.state()) {
    if (key == "exp_avg.w.weight") {
      EXPECT_NE(t.at({0}), 0.0);
    }
  }
}

TEST(AmAdamw, ZeroGradientsStayFinite) {
  for (const char* name : {"am_sgd", "am_adamw"}) {
    One one(name, {1, 2}, default_options(name));
    for (int s = 0; s < 3; ++s) one.step({0, 0}, 0.1);
    EXPECT_EQ(one.at(0), 1.0) << name;
    EXPECT_TRUE(std::isfinite(one.beta())) << name;
  }
}

// The mutant of this file: momentum in the form of sums, which grows tenfold, is another optimiser.
TEST(AmSgd, MutantIsCaught) {
  One am("am_sgd", {0, 0}, {}), sgd("sgd", {0, 0}, {});
  for (int s = 0; s < 3; ++s) am.step({1, 2}, 0.1), sgd.step({1, 2}, 0.1);
  EXPECT_NEAR(am.at(0), -0.3, 1e-12);
  EXPECT_GT(std::abs(am.at(0) - sgd.at(0)), 0.1);
}

}  // namespace
}  // namespace juxta::test

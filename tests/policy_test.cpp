// Contrast as a reward: pooling, rewards and the clipped surrogate.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "autograd/ops.h"
#include "ssl/eval/reward.h"
#include "ssl/losses/policy.h"
#include "tests/harness.h"

namespace juxta::test {
namespace {

using namespace ssl;

TEST(GracePool, PrefixAndShortRows) {
  const Var h(Tensor::from<double>({1, 2, 3, 4, 5, 6, 7, 8}, {2, 4, 1}));
  GracePoolParams p;
  p.prefix = 2, p.normalize = false;
  const Tensor e = grace_pool(h, Tensor::from<int64_t>({0, 1, 1, 1, 0, 1, 1, 0}, {2, 4}), p).value();
  EXPECT_EQ(e.at({0, 0}), 4);    // the last alone
  EXPECT_EQ(e.at({1, 0}), 6.5);  // nothing would be left: all of its tokens
  expect_error(
      [&] {
        grace_pool(h, Tensor::from<int64_t>({0, 1, 1, 1, 0, 0, 0, 0}, {2, 4}), p);
      },
      {"grace_pool", "mask", "row 1"});
}

TEST(GraceReward, TwoTextsByHand) {
  // unit vectors of the plane: x = (1, 0), y = (0, 1)
  const Tensor positive = Tensor::from<double>({1, 0, 0, 1, 0, 1, 0, 1}, {2, 2, 2});
  const Tensor query = Tensor::from<double>({1, 0, 0, 2}, {2, 2});
  GraceRewardParams p;
  p.temperature = 0.5, p.lambda_hard = 1, p.mode = GraceMode::unsupervised;
  const GraceReward r = grace_reward(positive, query, {}, Tensor::from<int64_t>({0, 0, 1, 0}, {2, 2}), p);
  EXPECT_EQ(r.similarity.at({0, 0}), 1);
  EXPECT_EQ(r.consistency.at({1, 0}), 1);
  EXPECT_EQ(r.cross.at({0, 1}), 1);             // against the other text's anchor
  EXPECT_NEAR(r.reward.at({0, 1}), -2, 1e-15);  // (0 + 0.2 * 0 - 1) / 0.5
  EXPECT_EQ(r.reward.at({1, 0}), -1);           // cut
  EXPECT_NEAR(r.advantage.at({0, 0}), 2, 1e-15);
  expect_error([&] { grace_reward(positive, query, positive, {}, p); }, {"grace_reward", "unsupervised"});
  p.mode = GraceMode::supervised;
  expect_error([&] { grace_reward(positive, query, {}, {}, p); }, {"grace_reward", "negative"});
  p.temperature = 0;
  expect_error([&] { grace_reward(positive, query, positive, {}, p); }, {"grace_reward", "temperature"});
}

// Largest error of a surrogate's gradient with respect to the log ratio.
template <class F>
double surrogate_error(F gradient) {
  struct Row {
    double log_ratio, advantage, want;
  };
  double worst = 0;
  for (const Row& r : {Row{0, 2, -2},  // on policy: -A
                       {0.5, 2, 0},    // already more likely by more than 1.2
                       {-0.5, 2, -2 * std::exp(-0.5)},
                       {-0.5, -2, 0},
                       {0.5, -2, 2 * std::exp(0.5)},
                       {1.5, -2, 0}})  // beyond the dual clip
    worst = std::max(worst, std::abs(gradient(r.log_ratio, r.advantage) - r.want));
  return worst;
}

TEST(Grpo, ClipsOnTheSideThatGains) {
  EXPECT_LT(
      surrogate_error([](double log_ratio, double advantage) {
        const Var x = Var::leaf(Tensor::full({1, 1}, log_ratio, DType::f64));
        backward(grpo_loss(x, Tensor::zeros({1, 1}, DType::f64), {}, Tensor::full({1}, advantage, DType::f64))
                     .loss);
        return x.grad().item();
      }),
      1e-15);
}

// The mutants of this file: no clipping, and clipping whatever the sign of the advantage.
TEST(Grpo, MutantsAreCaught) {
  const auto plain = [](double log_ratio, double advantage) { return -advantage * std::exp(log_ratio); };
  EXPECT_GT(surrogate_error(plain), 0.1);
  EXPECT_GT(surrogate_error([&](double log_ratio, double advantage) {
              return std::abs(std::exp(log_ratio) - 1) > 0.2 ? 0.0 : plain(log_ratio, advantage);
            }),
            0.1);
}

TEST(Grpo, RefusesBadInput) {
  const Var x(normal({2, 3}, 1));
  const Tensor a = Tensor::zeros({2}, DType::f64);
  GrpoParams p;
  p.kl_coef = 0.1;
  expect_error([&] { grpo_loss(x, x.value(), {}, a, {}, p); }, {"grpo_loss", "ref_log_prob", "missing"});
  p.kl_coef = 0, p.clip_dual = 1;
  expect_error([&] { grpo_loss(x, x.value(), {}, a, {}, p); }, {"grpo_loss", "clip_dual", "got 1"});
  expect_error([&] { grpo_loss(x, x.value(), {}, Tensor::zeros({3}, DType::f64)); },
               {"grpo_loss", "advantage"});
  const Loss none = grpo_loss(x, x.value(), Tensor::zeros({2, 3}, DType::i64), a);
  EXPECT_EQ(none.loss.item(), 0.0);
}

}  // namespace
}  // namespace juxta::test

// Momentum inside attention, its spectrum, local learning, attacks, transport, masked contrast: by hand,
// edges, errors.
#include <gtest/gtest.h>

#include <cmath>

#include "autograd/gradcheck.h"
#include "autograd/ops.h"
#include "nn/rotary.h"
#include "ssl/eval/attack.h"
#include "ssl/eval/attention_duality.h"
#include "ssl/eval/transport.h"
#include "ssl/losses/masked_contrast.h"
#include "ssl/train/local.h"
#include "tests/harness.h"

namespace juxta::test {
namespace {

using namespace ssl;

Var number(double x) { return Var(Tensor::from<double>({x}, {1})); }

TEST(DecayingSum, FollowsItsRecurrenceAcrossChunks) {
  const Var x(Tensor::from<double>({1, 2, 3}, {1, 3, 1, 1}));
  const Tensor m = nn::decaying_sum(x, number(0.5)).value();
  EXPECT_NEAR(m.at({0, 0, 0, 0}), 0, 1e-15);
  EXPECT_NEAR(m.at({0, 1, 0, 0}), 0.5, 1e-15);
  EXPECT_NEAR(m.at({0, 2, 0, 0}), 1.25, 1e-15);
  const int64_t t = 150;
  const Tensor v = normal({2, t, 2, 3}, 1), eta = Tensor::from<double>({0.3, 0.98}, {2});
  const Tensor out = nn::decaying_sum(Var(v), Var(eta)).value();
  for (int64_t b = 0; b < 2; ++b)
    for (int64_t h = 0; h < 2; ++h)
      for (int64_t d = 0; d < 3; ++d) {
        double state = 0;
        for (int64_t i = 0; i < t; ++i) {
          EXPECT_NEAR(out.at({b, i, h, d}), state, 1e-11) << i;
          state = eta.at({h}) * (state + v.at({b, i, h, d}));
        }
      }
  expect_error([&] { nn::decaying_sum(x, number(1)); }, {"decaying_sum", "eta", "between 0 and 1", "got 1"});
  expect_error([&] { nn::decaying_sum(x, Var(eta)); }, {"decaying_sum", "eta", "[1]"});
}

TEST(DecayingSum, GradientIsTheDerivative) {
  const OpFn op = [](std::span<const Var> in) {
    return std::vector<Var>{nn::decaying_sum(in[0], sigmoid(in[1]))};
  };
  const GradCheckResult g = gradcheck(op, std::vector<Tensor>{normal({1, 67, 2, 1}, 1), normal({2}, 2)}, {});
  EXPECT_TRUE(g.ok) << g.message;
}

TEST(Rotary, KeepsLengthsAndDependsOnDistanceAlone) {
  const Tensor one = normal({1, 1, 1, 8}, 1);
  const Var x = expand(Var(one), {1, 6, 1, 8});
  for (const auto layout : {nn::RotaryLayout::half, nn::RotaryLayout::interleaved}) {
    const Tensor r = nn::rotary(x, 100, layout).value();
    const auto product = [&](int64_t a, int64_t b) {
      return sum(mul(Var(r.select(1, a)), Var(r.select(1, b)))).item();
    };
    EXPECT_NEAR(product(0, 0), product(5, 5), 1e-12);
    EXPECT_NEAR(product(0, 2), product(3, 5), 1e-12);
    EXPECT_GT(std::abs(product(0, 0) - product(0, 2)), 1e-3);
    EXPECT_LT(max_abs_diff(r.select(1, 0), one.select(1, 0)), 1e-15);
  }
  expect_error([] { nn::rotary(Var(normal({1, 2, 1, 3}, 1))); }, {"rotary", "even D"});
  expect_error([] { nn::rotary(Var(normal({1, 2, 1, 4}, 1)), 0); }, {"rotary", "base"});
}

TEST(KinematicShear, ByHand) {
  const Var x(Tensor::from<double>({1, 3, 2}, {1, 3, 1, 1}));
  const Tensor calm = nn::kinematic_shear(x, number(2)).value();
  EXPECT_EQ(calm.at({0, 0, 0, 0}), 1);
  EXPECT_EQ(calm.at({0, 1, 0, 0}), 7);
  EXPECT_EQ(calm.at({0, 2, 0, 0}), 0);
  EXPECT_EQ(nn::kinematic_shear(x, number(2), nn::ShearBoundary::zero_state).value().at({0, 0, 0, 0}), 3);
  expect_error([&] { nn::kinematic_shear(x, Var(normal({2}, 1))); }, {"kinematic_shear", "gamma"});
}

// Scores far apart: one key takes all the weight, and no rounding of dp - delta may reach queries and keys.
TEST(Attention, ASaturatedSoftmaxHasNoGradient) {
  for (const int64_t d : {4, 16, 33}) {
    const Var q = Var::leaf(affine(Var(normal({1, 5, 1, d}, 1)), 300, 0).value().to(DType::f32).clone());
    const Var k = Var::leaf(affine(Var(normal({1, 5, 1, d}, 2)), 300, 0).value().to(DType::f32).clone());
    const Var v(normal({1, 5, 1, d}, 3).to(DType::f32)), w(normal({1, 5, 1, d}, 4).to(DType::f32));
    backward(sum(mul(attention(q, k, v, {.causal = true}), w)));
    EXPECT_EQ(max_abs(q.grad()), 0) << d;
    EXPECT_EQ(max_abs(k.grad()), 0) << d;
  }
}

TEST(KinematicFilter, IsAHighPassShelf) {
  const Tensor gamma = Tensor::from<double>({0.5, 2}, {2}), omega = Tensor::from<double>({0, M_PI}, {2});
  const KinematicFilter f = kinematic_filter(gamma, omega, Tensor::from<double>({1, 2}, {2, 1}),
                                             Tensor::from<int64_t>({1}, {1}), 4, 100);
  EXPECT_NEAR(f.magnitude.at({0, 0}), 1, 1e-15);
  EXPECT_NEAR(f.magnitude.at({1, 1}), 5, 1e-14);
  EXPECT_NEAR(f.filtered.at({1, 1, 0}), 4, 1e-15);
  EXPECT_NEAR(f.gamma_star.at({0}), 4.17, 1e-15);
  expect_error(
      [&] {
        kinematic_filter(gamma, omega, normal({2, 1}, 1), Tensor::from<int64_t>({0}, {1}), 4, 100);
      },
      {"kinematic_filter", "layers", "got 0"});
  expect_error(
      [&] {
        kinematic_filter(gamma, omega, normal({2, 1}, 1), Tensor::from<int64_t>({1}, {1}), 3, 100);
      },
      {"kinematic_filter", "head_dim"});
}

TEST(DualForm, LinearAttentionIsAWeightUpdate) {
  DualFormInputs in{normal({3, 4}, 1), normal({3, 4}, 2), normal({3, 4}, 3),
                    normal({5, 4}, 4), normal({2, 4}, 5), normal({4}, 6),
                    normal({2, 4}, 7), normal({3, 4}, 8), normal({3, 2}, 9)};
  const DualForm f = dual_form_attention(in, 0.1, 0);
  const Var q = matmul(Var(in.wq), reshape(Var(in.x), {4, 1}));
  Var attended(Tensor::zeros({1, 3}, DType::f64));
  for (const Tensor& tokens : {in.demo, in.seen}) {
    const Var keys = linear(Var(tokens), Var(in.wk), {}), values = linear(Var(tokens), Var(in.wv), {});
    attended = add(attended, matmul(transpose(matmul(keys, q), 0, 1), values));
  }
  EXPECT_LT(max_abs_diff(f.linear.view({1, 3}), attended.value()), 1e-12);
  // without momentum the heavy ball is gradient descent
  EXPECT_LT(max_abs_diff(f.w_heavy_ball, add(Var(in.w0), Var(f.dw_gd)).value()), 1e-14);
  expect_error([&] { dual_form_attention(in, 0.1, 1); }, {"dual_form_attention", "eta"});
  // demonstrations alone
  in.seen = Tensor::zeros({0, 4}, DType::f64);
  const DualForm alone = dual_form_attention(in, 0.1, 0);
  EXPECT_EQ(max_abs(alone.linear_zero_shot), 0);
  EXPECT_LT(max_abs_diff(alone.dw_icl, f.dw_icl), 1e-14);
  const Tensor demo = in.demo;
  in.demo = in.seen;
  expect_error([&] { dual_form_attention(in, 0.1, 0); }, {"dual_form_attention", "demo, seen"});
  in.demo = demo;
  in.grads = normal({2, 2}, 1);
  expect_error([&] { dual_form_attention(in, 0.1, 0); }, {"dual_form_attention", "grads", "[3, 2]"});
}

TEST(LocalStep, GradientsStayInTheirModule) {
  const Var a = Var::leaf(normal({3, 3}, 1)), b = Var::leaf(normal({3, 3}, 2));
  const Tensor follower = normal({3, 3}, 3), start = follower.clone();
  LocalModule first, last;
  first.forward = [&](const Var& h) { return matmul(h, a); };
  first.follower = [&](const Var& h) { return matmul(h, Var(follower)); };
  first.loss = last.loss = [](const Var& u) { return sum(square(u)); };
  first.follows = {follower}, first.leader = {b.value()};
  last.forward = [&](const Var& h) { return matmul(h, b); };
  const Var x(normal({2, 3}, 4));
  const std::vector<LocalModule> modules{first, last};
  const LocalStep step = local_step(modules, x, 0.5);
  // the first module's gradient is that of its own loss, through the follower as it was
  const Var alone = Var::leaf(a.value().clone());
  backward(sum(square(matmul(matmul(x, alone), Var(start)))));
  EXPECT_LT(max_abs_diff(a.grad(), alone.grad()), 1e-13);
  EXPECT_NEAR(follower.at({1, 1}), 0.5 * (start.at({1, 1}) + b.value().at({1, 1})), 1e-15);
  EXPECT_NEAR(step.losses[1], sum(square(matmul(matmul(x, a), b))).item(), 1e-12);
  EXPECT_FALSE(step.output.requires_grad());
  // the mutant: one backward pass for both losses
  const Var joint = Var::leaf(a.value().clone());
  const Var h = matmul(x, joint);
  backward(add(sum(square(matmul(h, Var(start)))), sum(square(matmul(h, b)))));
  EXPECT_GT(max_abs_diff(a.grad(), joint.grad()), 1e-3);
  expect_error([&] { local_step(modules, x, 1.5); }, {"local_step", "momentum"});
  expect_error([&] { local_step({}, x, 0.5); }, {"local_step", "at least one"});
}

TEST(LocalStep, WeightsAndLoss) {
  EXPECT_EQ(local_weight(5, 0, 0, 2), 5);
  EXPECT_EQ(local_weight(5, 0, 1, 4), 2.5);
  EXPECT_EQ(local_weight(5, 0, 2, 4), 0);
  expect_error([] { local_weight(5, 0, 3, 4); }, {"local_weight", "got 3"});
  const Var zero(Tensor::zeros({1, 2}, DType::f64));
  const Tensor image = Tensor::from<double>({0.2, 1}, {1, 2}), y = Tensor::zeros({1}, DType::i64);
  EXPECT_NEAR(infopro_loss(zero, image, zero, y, 2, 1).item(), 3 * std::log(2.0), 1e-15);
  expect_error(
      [&] {
        infopro_loss(zero, Tensor::full({1, 2}, 1.5), zero, y, 1, 1);
      },
      {"infopro_loss", "image", "[0, 1]", "1.5"});
}

TEST(MiFgsm, OneStepIsTheSignOfTheGradient) {
  const Tensor w = Tensor::from<double>({1, -1, 0, 0}, {2, 2});
  const auto model = [&](const Var& x) { return linear(x, Var(w), {}); };
  const Tensor x = Tensor::from<double>({0.5, 0.95}, {1, 2}), y = Tensor::zeros({1}, DType::i64);
  MiFgsmOptions o;
  o.eps = 0.1, o.steps = 1;
  // raising class 1 over class 0: the first element goes down, the second up to the range's end
  const Attack up = mi_fgsm(model, x, y, o);
  EXPECT_NEAR(up.x[0].at({0, 0}), 0.4, 1e-15);
  EXPECT_EQ(up.x[0].at({0, 1}), 1);
  EXPECT_NEAR(up.momentum[0].at({0, 0}), -0.5, 1e-8);
  EXPECT_EQ(up.fooled.at({0}), 1);
  o.targeted = true;
  EXPECT_NEAR(mi_fgsm(model, x, y, o).x[0].at({0, 0}), 0.6, 1e-15);
  o.steps = 0;
  expect_error([&] { mi_fgsm(model, x, y, o); }, {"mi_fgsm", "steps"});
  o.steps = 1;
  expect_error([&] { mi_fgsm(model, x, Tensor::full({1}, 2.0, DType::i64), o); }, {"mi_fgsm", "y", "got 2"});
}

TEST(Opta, OneClassGoesToTheMeanOfTheQueries) {
  OptaOptions o;
  o.standardize = false;
  const Tensor queries = Tensor::from<double>({0, 2, 4, 6}, {2, 2});
  const Opta r = opta(Tensor::from<double>({1, 1}, {1, 1, 2}), queries, o);
  EXPECT_NEAR(r.prototypes.at({0, 0}), 2, 1e-12);
  EXPECT_NEAR(r.prototypes.at({0, 1}), 4, 1e-12);
  EXPECT_EQ(r.iterations.size(), 5u);
  EXPECT_NEAR(r.plan.at({0, 0}), 0.5 + 1e-8, 1e-12);  // marginals are lifted as in the authors' code
  // two shots: one pass, and three tenths of the old prototype
  const Opta two = opta(Tensor::from<double>({1, 1, 3, 3}, {1, 2, 2}), queries, o);
  EXPECT_NEAR(two.prototypes.at({0, 0}), 0.7 * 2 + 0.3 * 2, 1e-12);
  EXPECT_NEAR(two.prototypes.at({0, 1}), 0.7 * 4 + 0.3 * 2, 1e-12);
  EXPECT_EQ(two.iterations.size(), 1u);
}

TEST(Opta, RefusesBadInput) {
  const Tensor support = normal({2, 1, 4}, 1), queries = normal({3, 4}, 2);
  expect_error(
      [&] {
        opta(Tensor::full({2, 1, 4}, 1.0), queries);
      },
      {"opta", "support", "row 0", "constant"});
  expect_error([&] { opta(support, normal({3, 5}, 1)); }, {"opta", "queries", "[Q, 4]"});
  OptaOptions o;
  o.eps = 0;
  expect_error([&] { opta(support, queries, o); }, {"opta", "eps"});
}

MmcInputs mmc_inputs(DType dtype) {
  const auto make = [&](Dims dims, uint64_t seed) { return Var(normal(dims, seed).to(dtype)); };
  MmcInputs in;
  in.recon = make({4, 2, 3}, 1), in.target = make({4, 2, 3}, 2);
  in.mask = indices({4, 2}, 3, 2);
  in.s_patch = make({4, 2, 5}, 4), in.t_patch = make({4, 2, 5}, 5);
  in.center = normal({5}, 6).to(dtype == DType::f64 ? dtype : DType::f32);
  in.q = make({4, 6}, 7), in.k = make({4, 6}, 8);
  return in;
}

TEST(Mmc, EdgesAndErrors) {
  MmcInputs in = mmc_inputs(DType::f64);
  const double wide = mmc(in).loss.item();
  const Loss narrow = mmc(mmc_inputs(DType::bf16));
  EXPECT_EQ(narrow.loss.dtype(), DType::f32);
  EXPECT_NEAR(narrow.loss.item(), wide, 0.05 * wide);
  MmcParams p;
  p.masked_only = true;
  in.mask = Tensor::zeros({4, 2}, DType::i64);
  const Loss none = mmc(in, p);
  EXPECT_EQ(none.term("rec").item(), 0);
  EXPECT_EQ(none.term("dist").item(), 0);
  in.mask = Tensor::full({4, 2}, 2.0, DType::i64);
  expect_error([&] { mmc(in); }, {"mmc", "mask", "0 or 1", "got 2"});
  in = mmc_inputs(DType::f64);
  in.q = in.k = Var(normal({3, 6}, 1));
  expect_error([&] { mmc(in); }, {"mmc", "q", "even"});
  in = mmc_inputs(DType::f64);
  in.center = normal({4}, 1);
  expect_error([&] { mmc(in); }, {"mmc", "center", "[5]"});
}

}  // namespace
}  // namespace juxta::test

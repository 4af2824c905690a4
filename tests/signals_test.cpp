// Time series, experts and gates between classes: rules and layers by hand, edges, errors.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "autograd/ops.h"
#include "nn/class_gate.h"
#include "nn/expert_fusion.h"
#include "nn/mbconv1d.h"
#include "ssl/losses/biosignal.h"
#include "ssl/losses/class_pairs.h"
#include "ssl/losses/experts.h"
#include "ssl/views/timeseries.h"
#include "tests/harness.h"

namespace juxta::test {
namespace {

using namespace ssl;

Tensor labels(std::initializer_list<int64_t> v) {
  return Tensor::from<int64_t>(v, {static_cast<int64_t>(v.size())});
}

// Largest error of an interpolation (x, y, at) of a cubic, also outside the knots.
template <class F>
double cubic_error(F interpolate) {
  const auto cubic = [](double t) { return 2 - t + 0.5 * t * t - 0.1 * t * t * t; };
  const std::vector<double> x{0, 1, 2.5, 4, 7};
  std::vector<double> y, at{-1, 0, 0.3, 2.5, 3.9, 7, 8};
  for (const double t : x) y.push_back(cubic(t));
  const std::vector<double> out = interpolate(x, y, at);
  double worst = 0;
  for (size_t i = 0; i < at.size(); ++i) worst = std::max(worst, std::abs(out[i] - cubic(at[i])));
  return worst;
}

TEST(TimeSeries, SplineFollowsCubicsExactly) {
  using Numbers = std::vector<double>;
  EXPECT_LT(cubic_error(
                [](const Numbers& x, const Numbers& y, const Numbers& at) { return cubic_spline(x, y, at); }),
            1e-12);
  // The mutant of this file: straight lines between the knots.
  EXPECT_GT(cubic_error([](const Numbers& x, const Numbers& y, const Numbers& at) {
              Numbers out;
              for (const double t : at) {
                size_t k = 0;
                while (k + 2 < x.size() && t > x[k + 1]) ++k;
                out.push_back(y[k] + (y[k + 1] - y[k]) * (t - x[k]) / (x[k + 1] - x[k]));
              }
              return out;
            }),
            0.1);
  EXPECT_NEAR(cubic_spline({0, 1, 3, 9}, {0, 1, 27, 729}, {5})[0], 125, 1e-11);  // four knots: one cubic
  EXPECT_NEAR(cubic_spline({0, 1, 3}, {0, 1, 9}, {2})[0], 4, 1e-14);             // a parabola
  EXPECT_NEAR(cubic_spline({0, 2}, {1, 3}, {0.5})[0], 1.5, 1e-15);               // a line
  expect_error([] { cubic_spline({0, 0}, {1, 1}, {0}); }, {"cubic_spline", "ascending"});
}

TEST(TimeSeries, RulesByHand) {
  const Tensor x = Tensor::from<double>({1, 10, 2, 10, 3, 10, 4, 10}, {4, 2});
  const Tensor cut = cut_out(x, 1, 2);
  EXPECT_EQ(cut.at({0, 1}) + cut.at({3, 0}), 14);
  EXPECT_EQ(cut.at({1, 0}) + cut.at({2, 1}), 0);
  EXPECT_NEAR(zscore(x).at({0, 0}), -1.5 / std::sqrt(1.25), 1e-15);
  EXPECT_EQ(max_abs(zscore(x).select(1, 1)), 0);  // a constant channel
  const Tensor ones = Tensor::full({5, 2}, 1.0, DType::f64);
  EXPECT_LT(max_abs_diff(magnitude_warp(x, ones.slice(1, 0, 1)), x), 1e-14);
  EXPECT_LT(max_abs_diff(time_warp(x, ones), x), 1e-14);
  EXPECT_EQ(permute_channels(x, labels({1, 0})).at({2, 0}), 10);
  EXPECT_EQ(add_noise(x, x, 0.5).at({1, 0}), 3);
}

TEST(TimeSeries, CascadesAreDrawnWithinTheirRanges) {
  CascadeRates rates;
  rates.probability = {1, 1, 1, 1, 1};
  Rng rng(3, "views"), again(3, "views");
  for (int i = 0; i < 20; ++i) {
    const Cascade c = draw_cascade(40, 3, rates, rng);
    EXPECT_GE(c.length, 12);
    EXPECT_LT(c.length, 20);
    EXPECT_LE(c.start + c.length, 40);
    EXPECT_TRUE(c.sigma >= 0.05 && c.sigma < 0.1);
    const Tensor x = normal({40, 3}, 7);
    EXPECT_TRUE(same_bits(apply_cascade(x, c), apply_cascade(x, draw_cascade(40, 3, rates, again))));
  }
  rates.probability = {0, 0, 0, 0, 0};
  const Tensor x = normal({6, 1}, 1);
  EXPECT_TRUE(same_bits(apply_cascade(x, draw_cascade(6, 1, rates, rng)), zscore(x)));
}

TEST(TimeSeries, RefusesWhatDoesNotFit) {
  const Tensor x = normal({6, 2}, 1);
  expect_error([&] { cut_out(x, 4, 3); }, {"cut_out", "start", "4, 3"});
  expect_error([&] { magnitude_warp(x, normal({4, 3}, 1)); }, {"magnitude_warp", "knots"});
  expect_error([&] { time_warp(x, Tensor::full({4, 2}, -1.0)); }, {"time_warp", "end above 0"});
  expect_error([&] { add_noise(x, x, -1); }, {"add_noise", "sigma"});
  expect_error([&] { permute_channels(x, labels({0, 0})); }, {"permute_channels", "permutation"});
  expect_error([&] { zscore(normal({3}, 1)); }, {"zscore", "[T, C]"});
}

TEST(Biosignal, RefusesBadInput) {
  const Var z(normal({3, 4}, 1));
  const Tensor pid = labels({0, 1, 2});
  const Var one = slice(z, 0, 0, 1);
  expect_error([&] { biosignal_nce_koleo(one, one, one, one, labels({0})); },
               {"biosignal_nce_koleo", "N >= 2"});
  expect_error([&] { biosignal_nce_koleo(z, z, z, z, labels({0, 1})); }, {"pid", "[3]"});
  BiosignalParams p;
  p.tau = 0;
  expect_error([&] { biosignal_nce_koleo(z, z, z, z, pid, p); }, {"biosignal_nce_koleo", "tau"});
  // numbers of participants are names: only which are equal matters
  const Var a(normal({3, 4}, 2));
  EXPECT_EQ(biosignal_nce_koleo(z, a, z, a, labels({-1, 7, -1})).loss.item(),
            biosignal_nce_koleo(z, a, z, a, labels({5, 2, 5})).loss.item());
}

TEST(Hydra, WithoutPositivesThereIsNoLoss) {
  const Var z = Var::leaf(normal({3, 4}, 1)), g(uniform({3, 4}, 2, 0.1, 1));
  for (const PairReduction reduction : {PairReduction::pairs, PairReduction::anchor}) {
    HydraParams p;
    p.reduction = reduction;
    const Loss l = hydra(z, Var(z.value()), g, labels({0, 1, 2}), labels({5, 5, 5}), labels({0, 1, 2}), p);
    EXPECT_EQ(l.loss.item(), 0);
    backward(l.loss);
    EXPECT_EQ(max_abs(z.grad()), 0);
  }
  // anchor: the mean over the anchors that have positives
  HydraParams p;
  p.reduction = PairReduction::anchor;
  const Tensor y1 = labels({0, 1, 2}), yc = labels({0, 1, 2});
  const Loss two = hydra(z, Var(z.value()), g, y1, labels({1, 9, 1}), yc, p);
  EXPECT_EQ(two.samples.value().at({1}), 0);
  EXPECT_NEAR(two.loss.item(), (two.samples.value().at({0}) + two.samples.value().at({2})) / 2, 1e-14);
}

TEST(Hydra, BlocksOfAnchorsAddUp) {
  const int64_t n = 300;
  const Tensor z = normal({n, 4}, 1), g = uniform({n, 4}, 2, 0.1, 1), c = normal({5, 4}, 3);
  const Tensor y1 = indices({n}, 4, 3), y2 = indices({n}, 5, 3), yc = labels({0, 1, 2, 1, 0});
  const Var whole = Var::leaf(c.clone()), parts = Var::leaf(c.clone());
  HydraParams p;
  const Loss all = hydra(Var(z), whole, Var(g), y1, y2, yc, p);
  backward(all.loss);
  double pairs = 0;
  const double count[3] = {2, 2, 1};
  for (int64_t b = 0; b < n; ++b) pairs += count[static_cast<size_t>(y2.at({b}))];
  double sum = 0;
  for (const int64_t begin : {int64_t{0}, int64_t{150}}) {
    const auto half = [&](const Tensor& t) { return t.slice(0, begin, begin + 150).contiguous(); };
    double own = 0;
    for (int64_t b = begin; b < begin + 150; ++b) own += count[static_cast<size_t>(y2.at({b}))];
    const Loss l = hydra(Var(half(z)), parts, Var(half(g)), half(y1), half(y2), yc, p);
    sum += l.loss.item() * own / pairs;
    backward(affine(l.loss, own / pairs, 0.0));
  }
  EXPECT_NEAR(all.loss.item(), sum, 1e-12);
  EXPECT_LT(max_abs_diff(whole.grad(), parts.grad()), 1e-13);
}

TEST(Hydra, PenaltyIsTheEntropyOfTheGates) {
  const Var z(normal({3, 4}, 1)), half(Tensor::full({3, 4}, 0.5, DType::f64));
  const Tensor y = labels({0, 1, 2});
  HydraParams p;
  const double without = hydra(z, z, half, y, y, y, p).loss.item();
  p.gate_penalty = 2;
  EXPECT_NEAR(hydra(z, z, half, y, y, y, p).loss.item(), without + 2 * std::log(2.0), 1e-14);
  expect_error(
      [&] {
        hydra(z, z, Var(Tensor::full({3, 4}, 1, DType::f64)), y, y, y, p);
      },
      {"hydra", "gate", "gate_penalty"});
}

TEST(Hydra, RefusesBadInput) {
  const Var z(normal({3, 4}, 1)), narrow(normal({3, 3}, 1));
  const Tensor y = labels({0, 1, 2});
  expect_error([&] { hydra(z, narrow, z, y, y, y); }, {"hydra", "z2", "[N, 4]"});
  expect_error([&] { hydra(z, z, narrow, y, y, y); }, {"hydra", "gate"});
  expect_error([&] { hydra(z, z, z, y, labels({0, 1}), y); }, {"hydra", "y2", "[3]"});
}

TEST(AstreaPrealign, RefusesBadInput) {
  const Var x(normal({2, 3, 4}, 1)), a(normal({3, 4}, 2));
  const auto weights = [](double p, double q) { return Tensor::from<double>({p, q}, {2}); };
  expect_error([&] { astrea_prealign(x, a, weights(0, 0), {}); },
               {"astrea_prealign", "stage_weight", "all are 0"});
  expect_error([&] { astrea_prealign(x, a, weights(1, -1), {}); }, {"stage_weight", "-1", "expert 1"});
  expect_error([&] { astrea_prealign(x, Var(normal({2, 4}, 1)), weights(1, 1), {}); }, {"anchor_m"});
  expect_error([&] { astrea_prealign(x, a, weights(1, 1), Var(normal({5, 3}, 1))); }, {"queue", "[Q, 4]"});
  // an expert of weight 0 counts for nothing
  EXPECT_NEAR(astrea_prealign(x, a, weights(3, 0), {}).loss.item(),
              astrea_prealign(slice(x, 0, 0, 1), a, Tensor::from<double>({1}, {1}), {}).loss.item(), 1e-14);
}

TEST(ExpertFusion, EvenGatesAverage) {
  const Tensor x = normal({3, 2, 2, 4}, 1), base = normal({2, 2, 4}, 2);
  const Var zero_w(Tensor::zeros({3, 4}, DType::f64)), zero_b(Tensor::zeros({3}, DType::f64));
  const nn::ExpertFusion f = nn::expert_fusion(Var(x), Var(base), zero_w, zero_b, labels({1, 0}), {}, true);
  const Tensor average = mean(Var(x), {0}).value();
  EXPECT_LT(max_abs_diff(f.out.value().select(0, 1), average.select(0, 1)), 1e-14);
  EXPECT_LT(max_abs_diff(f.out.value().select(0, 0), add(Var(average), Var(base)).value().select(0, 0)),
            1e-14);
  EXPECT_NEAR(f.balance.item(), 1, 1e-14);
  expect_error([&] { nn::expert_fusion(Var(x), Var(base), zero_w, zero_b, {}, {}, true); },
               {"expert_fusion", "keep", "one draw per sample"});
  expect_error([&] { nn::expert_fusion(Var(x), Var(base), zero_w, zero_b, {}, {.probability = 2}, false); },
               {"probability", "2"});
}

TEST(ClassGate, RefusesLabelsOutOfRange) {
  nn::ClassGateWeights w;
  w.embedding = Var(normal({3, 4}, 1));
  nn::ClassGateState state;
  expect_error(
      [&] {
        nn::class_gate(labels({0, 3}), labels({0, 1}), w, true, state, true);
      },
      {"class_gate", "y1", "[0, 3)", "got 3"});
  expect_error(
      [&] {
        nn::class_gate(labels({0}), labels({0, 1}), w, true, state, true);
      },
      {"class_gate", "y2"});
  const nn::GateFigures open = nn::gate_figures(Var(Tensor::full({2, 3}, 1.0, DType::f64)));
  EXPECT_EQ(open.entropy.item(), 0);
  EXPECT_EQ(open.activation.item(), 3);
}

TEST(MbConv1d, RefusesWeightsThatDoNotFit) {
  nn::MbConv1dWeights w;
  const Var x(normal({2, 5, 4}, 1));
  expect_error([&] { nn::mbconv1d(x, w, {.kernel = 4}, true); }, {"mbconv1d", "kernel", "odd", "4"});
  expect_error([&] { nn::mbconv1d(x, w, {.expansion = 2}, true); }, {"mbconv1d", "expand", "[8, 4]"});
  w.expand = Var(normal({4, 4}, 1));
  expect_error([&] { nn::mbconv1d(x, w, {.expansion = 1}, true); }, {"mbconv1d", "expansion of 1"});
}

}  // namespace
}  // namespace juxta::test

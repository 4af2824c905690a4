// CoMix and G2L: small examples, edge cases, errors.
#include <gtest/gtest.h>

#include <cmath>

#include "autograd/ops.h"
#include "nn/graph.h"
#include "nn/moments.h"
#include "ssl/eval/grounding.h"
#include "ssl/losses/grounding.h"
#include "ssl/losses/video.h"
#include "ssl/views/background.h"
#include "tests/support.h"

namespace juxta::test {
namespace {

using namespace ssl;

TEST(Comix, KeepsConfidentTargets) {
  // two classes: p = (0.9, 0.1) for video 0, (0.5, 0.5) for video 1
  const Var sure(Tensor::from<double>({std::log(9.0), 0, 0, 0}, {2, 2}));
  const ComixLogits x{sure, sure, sure, sure};
  const Tensor labels = Tensor::zeros({2}, DType::i64);
  ComixParams p;
  const Loss one = comix(x, x, labels, p);
  EXPECT_EQ(one.term("n_kept").item(), 1);
  EXPECT_NEAR(one.term("tpl").item(), 0.0, 1e-14);  // its own other view is the only row: log 1
  p.smooth = 0;
  EXPECT_NEAR(comix(x, x, labels, p).term("ce").item(), -0.5 * (std::log(0.9) + std::log(0.5)), 1e-14);
  p.threshold = 0.95;
  const Loss none = comix(x, x, labels, p);
  EXPECT_EQ(none.term("n_kept").item(), 0);
  EXPECT_EQ(none.term("tpl").item(), 0.0);
  expect_error([&] { comix(x, x, Tensor::full({2}, 2, DType::i64), p); }, {"comix", "labels", "[0, 2)"});
  p.smooth = 1;
  expect_error([&] { comix(x, x, labels, p); }, {"comix", "smooth", "[0, 1)"});
}

// Is `background` of four frames their median, the mean of the middle two, cut?
bool is_median(Tensor (*background)(const Tensor&)) {
  const Tensor median = background(Tensor::from<double>({0, 10, 3, 11, 9, 200, 2, 255}, {4, 1, 1, 2}));
  return median.at({0, 0, 0}) == 2 && median.at({0, 0, 1}) == 105;  // (2 + 3) / 2, (11 + 200) / 2
}

// The mutants of this file: a mean over the frames, and the lower of the middle two.
TEST(Background, MutantsAreCaught) {
  EXPECT_FALSE(is_median([](const Tensor& video) { return mean(Var(video), {0}).value(); }));
  EXPECT_FALSE(is_median([](const Tensor& video) {
    return select(topk(transpose(Var(video), 0, 3), 3).values, 3, 2).value().transpose(0, 2);
  }));
}

TEST(Background, MedianMixAndSlowView) {
  EXPECT_TRUE(is_median([](const Tensor& video) { return median_background(video); }));
  const Tensor clips = Tensor::full({1, 2, 1, 1, 1, 3}, 1.0), background = Tensor::full({1, 1, 1, 3}, -1.0);
  EXPECT_FLOAT_EQ(static_cast<float>(mix_background(clips, background, 0.25).at({0, 1, 0, 0, 0, 2})), 0.5f);
  EXPECT_EQ(slow_clips(5, {0.99, 0.0}), (std::vector<int64_t>{2, 3}));  // runs {0, 1, 2} and {3, 4}
  expect_error([&] { slow_clips(1, {0.5, 0.5}); }, {"slow_clips", "1 to 1", "2"});
  expect_error([&] { slow_clips(4, {1.0}); }, {"slow_clips", "[0, 1)"});
  expect_error([&] { mix_background(clips, background, 1.5); }, {"mix_background", "gamma", "1.5"});
  expect_error([&] { median_background(Tensor::full({2, 1}, 256.0)); }, {"median_background", "256"});
}

TEST(TemporalGraph, ColumnsOfTheAdjacencySumToOne) {
  // P = Q = 0: A is uniform, so the output is the mean clip whatever the number of clips
  const Var zero(Tensor::zeros({2, 2}, DType::f64)), eye(Tensor::from<double>({1, 0, 0, 1}, {2, 2}));
  const nn::TemporalGraphLayer layer{eye, Var(Tensor::zeros({2}, DType::f64)), zero, zero};
  const Var x(Tensor::from<double>({1, 2, 3, 6}, {1, 2, 2}));
  const Tensor y = nn::temporal_graph(x, {&layer, 1}).value();
  EXPECT_NEAR(y.at({0, 0}), 2, 1e-15);
  EXPECT_NEAR(y.at({0, 1}), 4, 1e-15);
  expect_error([&] { nn::temporal_graph(x, {}); }, {"temporal_graph", "layers"});
  const nn::TemporalGraphLayer wrong{eye, layer.b, eye, Var(normal({3, 3}, 1))};
  expect_error([&] { nn::temporal_graph(x, {&wrong, 1}); }, {"temporal_graph", "q", "[2, 2]"});
}

TEST(Geodesic, FollowsTheChainUpToTheLimit) {
  // unit vectors at 0, 40, 80 degrees, one neighbour each: 0 -> 40, 40 -> 0 (tie: lower), 80 -> 40
  const double step = 40 * M_PI / 180;
  Tensor x = Tensor::empty({3, 2}, DType::f64);
  for (int64_t i = 0; i < 3; ++i) {
    x.write<double>("test")[2 * i] = std::cos(static_cast<double>(i) * step);
    x.write<double>("test")[2 * i + 1] = std::sin(static_cast<double>(i) * step);
  }
  const double edge = 1 - std::cos(step);
  const Tensor from_2 = g2l_geodesic(x, Tensor::full({1}, 2, DType::i64), 1, 0.5);
  EXPECT_EQ(from_2.at({0, 2}), 1.0);
  EXPECT_NEAR(from_2.at({0, 1}), 1 - edge, 1e-12);
  EXPECT_NEAR(from_2.at({0, 0}), 1 - 2 * edge, 1e-12);
  EXPECT_EQ(g2l_geodesic(x, Tensor::full({1}, 2, DType::i64), 1, 1.5 * edge).at({0, 0}), 0.0);
  EXPECT_EQ(g2l_geodesic(x, Tensor::zeros({1}, DType::i64), 1, 0.5).at({0, 2}), 0.0);  // directed
  EXPECT_EQ(g2l_geodesic(x.slice(0, 0, 1), Tensor::zeros({1}, DType::i64)).at({0, 0}), 1.0);
  expect_error([&] { g2l_geodesic(x, Tensor::full({1}, 3, DType::i64)); }, {"g2l_geodesic", "anchors", "3"});
  expect_error([&] { g2l_geodesic(x, Tensor::zeros({1}, DType::i64), 0); }, {"g2l_geodesic", "k"});
}

Grounding one_of_each(double geo) {
  const Var v(Tensor::from<double>({1, 0, 0, 1}, {1, 2, 2})), u(Tensor::from<double>({1, 0}, {1, 2}));
  const Tensor one = Tensor::full({1, 1}, 1.0, DType::f64);
  return {v,
          v,
          u,
          u,
          Tensor::zeros({1}, DType::i64),
          Tensor::from<double>({1, 0}, {1, 2}),
          one,
          Tensor::full({1, 2}, geo, DType::f64)};
}

TEST(Grounding, OneSentenceByHand) {
  G2lParams p;
  p.geo_topk = 1, p.tau_s = 1;
  const Loss l = g2l_losses(one_of_each(1.0), p);
  EXPECT_NEAR(l.term("vid").item(), 0.0, 1e-14);  // nobody else in the batch
  // moment 0 is the positive, moment 1 a negative of weight 1 + 1
  EXPECT_NEAR(l.term("gcl").item(), std::log(std::exp(1.0) + 2) - 1, 1e-14);
  EXPECT_NEAR(l.term("iou_loss").item(), 0.5 * (std::log1p(std::exp(-10.0)) + std::log(2.0)), 1e-12);
  p.geo_topk = 3;
  expect_error([&] { g2l_losses(one_of_each(1.0), p); }, {"g2l_losses", "geo_topk", "1 to 2", "3"});
  p.geo_topk = 1;
  expect_error([&] { g2l_losses(one_of_each(0.0), p); }, {"g2l_losses", "geo", "row 0"});
  expect_error([&] { g2l_losses(one_of_each(2.0), p); }, {"g2l_losses", "geo", "[0, 1]", "2"});
}

TEST(Shapley, ExactAndFullAgreeOnTwoPlayers) {
  const Var m(normal({1, 3}, 1)), s(normal({1, 3}, 2));
  ShapleyParams p;
  const Loss full = g2l_shapley(m, s, p);
  EXPECT_EQ(full.term("interaction").value().at({0, 0}), 1.0);  // f(U) = 1, all else 0
  EXPECT_NEAR(full.loss.item(), 0.0, 1e-15);
  p.mode = Interaction::exact;
  EXPECT_NEAR(g2l_shapley(m, s, p).term("interaction").value().at({0, 0}), 1.0, 1e-12);
  expect_error(
      [&] {
        g2l_shapley(Var(normal({18, 3}, 1)), Var(normal({3, 3}, 2)), p);
      },
      {"g2l_shapley", "mode", "20", "21"});
}

TEST(MomentMap, SparsePatternAndFirstMaximum) {
  const Var x = Var::leaf(Tensor::from<double>({2, 1, 2, 0, 5}, {5, 1}));
  const nn::MomentMap m = nn::moment_map(x, {1, 1});
  EXPECT_EQ(m.mask.at({0, 1}), 1);
  EXPECT_EQ(m.mask.at({0, 2}), 0);
  EXPECT_EQ(m.mask.at({0, 3}), 1);  // two apart, from every second clip
  EXPECT_EQ(m.mask.at({1, 4}), 0);
  EXPECT_EQ(m.map.value().at({0, 3, 0}), 2);
  EXPECT_EQ(m.map.value().at({0, 2, 0}), 0);
  backward(select(select(select(m.map, 0, 0), 0, 3), 0, 0));
  EXPECT_EQ(x.grad().at({0, 0}), 1);  // not clip 2, which ties
  EXPECT_EQ(x.grad().at({2, 0}), 0);
  expect_error([&] { nn::moment_map(x, {2, 0}); }, {"moment_map", "counts"});
}

TEST(GroundingMetrics, SuppressionAndRecall) {
  const std::vector<Moment> moments{{0, 10}, {0, 9}, {20, 30}};
  EXPECT_EQ(suppress_moments(moments, {0.5, 0.9, 0.1}, 0.5), (std::vector<int64_t>{1, 2}));
  EXPECT_EQ(suppress_moments(moments, {0.5, 0.5, 0.5}, 0.95), (std::vector<int64_t>{0, 1, 2}));
  EXPECT_NEAR(interval_iou({0, 10}, {5, 15}), 1.0 / 3, 1e-15);
  EXPECT_EQ(interval_iou({0, 1}, {2, 3}), 0.0);
  // two clips of 15 s, three moments; the best is [0, 15), the truth [0, 30)
  const Tensor c = Tensor::full({1, 2, 2}, 1.0, DType::f64),
               o = Tensor::from<double>({0.9, 0.8, 0, 0.1}, {1, 2, 2}),
               mask = Tensor::from<int64_t>({1, 1, 0, 1}, {2, 2}), gt = Tensor::from<double>({0, 30}, {1, 2});
  GroundingMetricsParams p;
  p.ns = {1, 2}, p.ms = {0.4, 0.5};
  const GroundingMetrics g = grounding_metrics(c, o, mask, gt, p);
  EXPECT_EQ(g.best.at({0, 1}), 15);
  EXPECT_EQ(g.recall.at({0, 0}), 1);
  EXPECT_EQ(g.recall.at({0, 1}), 0);  // 0.5 does not exceed 0.5
  EXPECT_EQ(g.recall.at({1, 1}), 1);
  expect_error(
      [&] {
        grounding_metrics(c, o, Tensor::zeros({2, 2}, DType::i64), gt, p);
      },
      {"grounding_metrics", "mask", "at least one"});
  p.duration = 0;
  expect_error([&] { grounding_metrics(c, o, mask, gt, p); }, {"grounding_metrics", "duration"});
}

}  // namespace
}  // namespace juxta::test

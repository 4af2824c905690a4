// kNN and the linear probe: examples by hand, ties, errors, and that both entry points agree.
#include "ssl/eval/protocol.h"

#include <cmath>

#include "tests/harness.h"

namespace juxta::test {
namespace {

using namespace ssl;

Tensor ints(std::initializer_list<int64_t> v) {
  return Tensor::from<int64_t>(v, {static_cast<int64_t>(v.size())});
}

TEST(Knn, ByHand) {
  const Tensor train = Tensor::from<double>({2, 0, 1, 1, 0, 3}, {3, 2}), labels = ints({0, 1, 1});
  const Tensor test = Tensor::from<double>({1, 0}, {1, 2});
  KnnResult r = knn_weighted(train, labels, test, ints({0}), {.k = 3, .temperature = 0.5});
  EXPECT_NEAR(r.scores.at({0, 0}), std::exp(2.0), 1e-12);
  EXPECT_NEAR(r.scores.at({0, 1}), std::exp(2 / std::sqrt(2.0)) + 1, 1e-12);
  EXPECT_EQ(r.top1, 1.0);
  r = knn_weighted(train, labels, test, ints({0}), {.k = 9, .weights = KnnParams::Weights::uniform});
  EXPECT_EQ(r.scores.at({0, 1}), 2.0);
  EXPECT_EQ(r.top1, 0.0);
  EXPECT_EQ(r.top5, 1.0);  // two classes
  EXPECT_EQ(r.neighbours.size(1), 3);
  r = knn_weighted(train, labels, test, ints({0}), {.k = 1, .temperature = 1, .normalize = false});
  EXPECT_NEAR(r.scores.at({0, 0}), std::exp(2.0), 1e-12);  // a dot product
}

TEST(Knn, TiesGoToTheLowerRowAndClass) {
  const Tensor train = Tensor::full({4, 2}, 1.0), test = Tensor::full({1, 2}, 1.0);
  const KnnResult r = knn_weighted(train, ints({2, 1, 1, 2}), test, ints({1}), {.k = 4, .num_classes = 4});
  EXPECT_EQ(r.ranking.at({0, 0}), 1.0);
  EXPECT_EQ(r.ranking.at({0, 2}), 0.0);
  for (int64_t j = 0; j < 4; ++j) EXPECT_EQ(r.neighbours.at({0, j}), static_cast<double>(j));
}

TEST(Knn, BothEntryPointsAgree) {
  const Tensor train = normal({400, 6}, 1).to(DType::f32), test = normal({300, 6}, 2).to(DType::f32);
  const Tensor labels = indices({400}, 3, 5), wanted = indices({300}, 4, 5);
  EXPECT_EQ(knn_accuracy(train, labels, test, wanted, 5),
            knn_weighted(train, labels, test, wanted, {.num_classes = 5}).top1);
}

TEST(Knn, Errors) {
  const Tensor x = Tensor::full({2, 3}, 1.0);
  expect_error(
      [&] {
        knn_weighted(x, ints({0, 1}), x, ints({0, 5}), {.num_classes = 3});
      },
      {"test_labels", "2", "5"});
  expect_error([&] { knn_weighted(x, ints({0}), x, ints({0, 1})); }, {"train_labels", "[2]", "[1]"});
  expect_error(
      [&] {
        knn_weighted(x, ints({0, 1}), Tensor::full({2, 4}, 1.0), ints({0, 1}));
      },
      {"knn", "[2, 4]"});
  expect_error([&] { knn_weighted(x, ints({0, 1}), x, ints({0, 1}), {.k = 0}); }, {"knn", "k", "0"});
  expect_error([&] { knn_weighted(x, ints({0, 1}), x, ints({0, 1}), {.temperature = 0}); }, {"temperature"});
}

// At the optimum the gradient of the objective is 0: checked by hand, in f64, for every coordinate.
TEST(Probe, ReachesTheOptimum) {
  const Tensor x = normal({40, 3}, 5), labels = indices({40}, 6, 4);
  const double l2 = 0.02;
  const SoftmaxRegression r = softmax_regression(x, labels, 4, l2, 1e-12, 2000);
  double bias = 0, worst = 0;
  for (int64_t c = 0; c < 4; ++c) bias += r.bias.at({c});
  EXPECT_NEAR(bias, 0.0, 1e-12);
  for (int64_t c = 0; c < 4; ++c)
    for (int64_t d = 0; d < 3; ++d) {
      double g = l2 * r.weight.at({c, d});
      for (int64_t i = 0; i < 40; ++i) {
        double total = 0, mine = 0;
        for (int64_t k = 0; k < 4; ++k) {
          double s = r.bias.at({k});
          for (int64_t e = 0; e < 3; ++e) s += r.weight.at({k, e}) * x.at({i, e});
          total += std::exp(s);
          if (k == c) mine = std::exp(s);
        }
        g += (mine / total - (labels.at({i}) == static_cast<double>(c) ? 1.0 : 0.0)) * x.at({i, d}) / 40;
      }
      worst = std::max(worst, std::abs(g));
    }
  EXPECT_LT(worst, 1e-8);
  // The same problem in f32 ends near it, and a stronger penalty elsewhere: the mutant of this test.
  const SoftmaxRegression f32 = softmax_regression(x.to(DType::f32), labels, 4, l2, 1e-6, 2000);
  EXPECT_LT(max_abs_diff(f32.weight, r.weight), 1e-3);
  EXPECT_GT(max_abs_diff(softmax_regression(x, labels, 4, 0.05, 1e-12, 2000).weight, r.weight), 1e-2);
}

// Where rounding hides the last decreases of the loss, the gradient still leads to the optimum.
TEST(Probe, ReachesTheOptimumOfAWeakPenalty) {
  const Tensor x = normal({200, 30}, 5), labels = indices({200}, 6, 10);
  const SoftmaxRegression r = softmax_regression(x, labels, 10, 1e-4, 1e-12, 5000);
  EXPECT_LT(r.gradient, 1e-11);
}

// Features like pixels, each nearly its neighbour: 100 steps suffice only with the curvature.
TEST(Probe, ReachesTheOptimumOfCorrelatedFeatures) {
  const Tensor x = cumsum(Var(normal({3000, 60}, 5)), 1).value();
  Tensor labels = Tensor::empty({3000}, DType::i64);
  for (int64_t i = 0; i < 3000; ++i)
    labels.write<int64_t>("test")[i] = (x.at({i, 59}) > 0) + (x.at({i, 20}) > x.at({i, 40}));
  const SoftmaxRegression r = softmax_regression(x, labels, 3, 1e-3, 1e-6, 100);
  EXPECT_LT(r.gradient, 1e-6);
  const SoftmaxRegression f32 = softmax_regression(x.to(DType::f32), labels, 3, 1e-3, 1e-5, 100);
  EXPECT_LT(f32.gradient, 1e-5);
  EXPECT_LT(max_abs_diff(f32.weight, r.weight), 1e-2);
}

TEST(Probe, SeparatesWhatIsSeparable) {
  Tensor x = Tensor::zeros({40, 2}), labels = Tensor::zeros({40}, DType::i64);
  for (int64_t i = 0; i < 40; ++i) {
    x.write<float>("test")[2 * i + i % 2] = 1.0f + 0.01f * static_cast<float>(i);
    labels.write<int64_t>("test")[i] = i % 2;
  }
  EXPECT_EQ(linear_probe(x, labels, x, labels, 2).accuracy, 1.0);
  expect_error([&] { softmax_regression(x, labels, 1, 0.1, 1e-6, 10); }, {"train_labels", "1"});
  expect_error([&] { softmax_regression(x, labels, 2, -0.1, 1e-6, 10); }, {"l2", "-0.1"});
}

}  // namespace
}  // namespace juxta::test

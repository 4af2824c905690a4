// Triplets, pairs, ranks and mixtures: against plain loops, and what they refuse.
#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "autograd/ops.h"
#include "ssl/losses/metric_losses.h"
#include "ssl/losses/regression.h"
#include "ssl/losses/triplets.h"
#include "tests/harness.h"

namespace juxta::test {
namespace {

using namespace ssl;

double distance(const Tensor& x, int64_t a, int64_t b) {
  double d = 0;
  for (int64_t k = 0; k < x.size(1); ++k) d += std::pow(x.at({a, k}) - x.at({b, k}), 2);
  return std::sqrt(d);
}

TEST(Triplets, AllOfThemByLoops) {
  const Tensor x = normal({9, 4}, 1), y = indices({9}, 2, 3);
  for (const bool swap : {false, true}) {
    TripletMarginParams p;
    p.mining = Mining::all, p.normalize = false, p.margin = 0.7, p.swap = swap;
    double total = 0;
    int64_t triplets = 0, active = 0;
    for (int64_t a = 0; a < 9; ++a)
      for (int64_t b = 0; b < 9; ++b)
        for (int64_t c = 0; c < 9; ++c) {
          if (a == b || y.at({a}) != y.at({b}) || y.at({a}) == y.at({c})) continue;
          double far = distance(x, a, c);
          if (swap) far = std::min(far, distance(x, b, c));
          const double term = std::max(0.0, distance(x, a, b) - far + 0.7);
          total += term, ++triplets, active += term > 0;
        }
    const Loss loss = triplet_margin(Var(x), y, {}, p);
    EXPECT_NEAR(loss.loss.item(), total / static_cast<double>(active), 1e-12);
    EXPECT_EQ(loss.term("num_triplets").item(), triplets);
    EXPECT_EQ(loss.term("num_active").item(), active);
    p.reduction = TripletMean::mean;
    EXPECT_NEAR(triplet_margin(Var(x), y, {}, p).loss.item(), total / static_cast<double>(triplets), 1e-12);
    p.margin = 0.69;  // the mutant: another margin is another loss
    EXPECT_GT(std::abs(triplet_margin(Var(x), y, {}, p).loss.item() - total / static_cast<double>(triplets)),
              1e-4);
  }
}

TEST(Triplets, NoneIsZeroWithZeroGradient) {
  const Var x = Var::leaf(normal({4, 3}, 1));
  const Loss loss = triplet_margin(x, Tensor::zeros({4}, DType::i64), {});
  EXPECT_EQ(loss.loss.item(), 0.0);
  backward(loss.loss);
  EXPECT_EQ(max_abs(x.grad()), 0.0);
}

TEST(Triplets, GivenOnesNeedNoLabels) {
  const Var x(normal({4, 3}, 1));
  const Tensor triplets = Tensor::from<int64_t>({0, 1, 2, 3, 1, 0}, {2, 3});
  TripletMarginParams p;
  p.mining = Mining::given, p.normalize = false, p.margin = 2, p.reduction = TripletMean::mean;
  double total = 0;
  for (int64_t t = 0; t < 2; ++t) {
    const auto at = [&](int64_t k) { return static_cast<int64_t>(triplets.at({t, k})); };
    total += std::max(0.0, distance(x.value(), at(0), at(1)) - distance(x.value(), at(0), at(2)) + 2);
  }
  EXPECT_NEAR(triplet_margin(x, {}, triplets, p).loss.item(), total / 2, 1e-12);
  expect_error([&] { triplet_margin(x, {}, {}); }, {"triplet_margin", "labels", "i64 [4]"});
}

// Cosines in f32 are known to 6e-8; times 500 that would be more than a loss may be off.
TEST(CoSent, LargeScaleInF32) {
  for (uint64_t seed = 0; seed < 20; ++seed) {
    const Tensor a = normal({6, 8}, seed).to(DType::f32), b = normal({6, 8}, seed + 100).to(DType::f32),
                 gold = normal({6}, seed + 200);
    const Var one = Var::leaf(a.to(DType::f64)), two(b.to(DType::f64));
    const Var x = Var::leaf(a.clone());
    const Var exact = cosent(one, two, gold, {.scale = 500}).loss;
    const Var loss = cosent(x, Var(b), gold, {.scale = 500}).loss;
    EXPECT_EQ(loss.dtype(), DType::f32);
    EXPECT_NEAR(loss.item(), exact.item(), 1e-7 * exact.item());
    backward(exact), backward(loss);
    EXPECT_LT(max_abs_diff(x.grad().to(DType::f64), one.grad()), 1e-5 * max_abs(one.grad()) + 1e-9);
  }
}

TEST(Triplets, RefuseBadInput) {
  const Var x(normal({4, 3}, 1));
  const Tensor y = Tensor::arange(4), triplets = Tensor::from<int64_t>({0, 1, 4}, {1, 3});
  TripletMarginParams given;
  given.mining = Mining::given;
  expect_error([&] { triplet_margin(x, Tensor::arange(3), {}); }, {"triplet_margin", "labels", "[4]"});
  expect_error([&] { triplet_margin(x, y, {}, given); }, {"triplet_margin", "triplets", "needs them"});
  expect_error([&] { triplet_margin(x, y, triplets, given); },
               {"triplet_margin", "triplets", "0 to 3", "got 4"});
  expect_error([&] { triplet_margin(x, y, triplets); }, {"triplets", "only mining"});
  expect_error([&] { contrastive_margin(x, y.to(DType::f64)); }, {"contrastive_margin", "labels", "i64"});
  expect_error([&] { sirl_triplet(x, triplets); }, {"sirl_triplet", "queries", "got 4"});
  const Tensor pairs = Tensor::from<int64_t>({0, 1}, {1, 2}),
               length = Tensor::from<int64_t>({3, 3, 3, 4}, {4});
  expect_error([&] { preference_bt(x, length, pairs, Tensor::full({1}, 1.0)); },
               {"preference_bt", "length", "got 4"});
  expect_error([&] { preference_bt(x, Tensor::full({4}, 3, DType::i64), pairs, Tensor::full({1}, 1.5)); },
               {"preference_bt", "label", "0 to 1", "1.5"});
}

// The definition, term by term.
double rnc_by_loops(const Tensor& f, const Tensor& y, double temperature) {
  const int64_t n = f.size(0), m = 2 * n;
  const auto apart = [&](int64_t a, int64_t b) {
    double d = 0;
    for (int64_t k = 0; k < f.size(2); ++k)
      d += std::pow(f.at({a % n, a / n, k}) - f.at({b % n, b / n, k}), 2);
    return std::sqrt(d);
  };
  const auto labels_apart = [&](int64_t a, int64_t b) {
    return std::abs(y.at({a % n, 0}) - y.at({b % n, 0}));
  };
  double total = 0;
  for (int64_t a = 0; a < m; ++a)
    for (int64_t b = 0; b < m; ++b) {
      if (a == b) continue;
      double sum = 0;
      for (int64_t c = 0; c < m; ++c)
        if (c != a && labels_apart(a, c) >= labels_apart(a, b)) sum += std::exp(-apart(a, c) / temperature);
      total += apart(a, b) / temperature + std::log(sum);
    }
  return total / static_cast<double>(m * (m - 1));
}

TEST(Regression, RankNContrastByLoops) {
  const Tensor f = normal({7, 2, 5}, 1), y = indices({7, 1}, 2, 4).to(DType::f64);
  for (const double t : {0.05, 1.0, 3.0}) {
    RncParams p;
    p.temperature = t;
    const double reference = rnc_by_loops(f, y, t);
    EXPECT_NEAR(rnc(Var(f), y, p).loss.item(), reference, 1e-10 * std::abs(reference));
  }
  EXPECT_GT(std::abs(rnc(Var(f), y).loss.item() - rnc_by_loops(f, y, 2.1)), 1e-4);  // a mutant
}

TEST(Regression, RefuseBadInput) {
  const Var f(normal({3, 2, 4}, 1));
  expect_error([&] { rnc(f, normal({3}, 1)); }, {"rnc", "labels", "[3, L]"});
  expect_error([&] { rnc(Var(normal({1, 1, 4}, 1)), normal({1, 1}, 1)); }, {"rnc", "features", "two rows"});
  expect_error([&] { supremix(f, normal({3}, 1), normal({3, 3}, 1)); }, {"supremix", "lam", "[6, 6]"});
  SupReMixParams p;
  p.window = 0;
  expect_error([&] { supremix(f, normal({3}, 1), normal({6, 6}, 1), p); }, {"supremix", "window"});
  Tensor nan = normal({3}, 1);
  nan.write<double>("test")[1] = std::numeric_limits<double>::quiet_NaN();
  expect_error([&] { supremix(f, nan, normal({6, 6}, 1)); }, {"supremix", "labels", "finite"});
}

}  // namespace
}  // namespace juxta::test

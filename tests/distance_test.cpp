// Pairwise distances, and values that come with their gradient.
#include <gtest/gtest.h>

#include <cmath>

#include "autograd/gradcheck.h"
#include "autograd/ops.h"
#include "tensor/parallel.h"
#include "tests/harness.h"

namespace juxta::test {
namespace {

TEST(Distance, GradientsAgreeWithDifferences) {
  for (const int64_t d : {1, 5, 16, 37}) {
    const std::vector<Tensor> inputs{normal({4, d}, 1), normal({3, d}, 2)};
    const auto check = gradcheck(
        [](std::span<const Var> x) { return std::vector{pairwise_sq_distance(x[0], x[1])}; }, inputs);
    EXPECT_TRUE(check.ok) << check.message;
    // both operands one matrix: its gradient is the sum of both
    const std::vector<Tensor> one{normal({4, d}, 3)};
    const auto same = gradcheck(
        [](std::span<const Var> x) { return std::vector{sqrt(pairwise_sq_distance(x[0], neg(x[0])))}; }, one);
    EXPECT_TRUE(same.ok) << same.message;
  }
}

// The mutant of this file: distances whose second operand gets no gradient.
TEST(Distance, MutantIsCaught) {
  const std::vector<Tensor> inputs{normal({4, 5}, 1), normal({3, 5}, 2)};
  const auto check = gradcheck(
      [](std::span<const Var> x) { return std::vector{pairwise_sq_distance(x[0], stop_gradient(x[1]))}; },
      inputs);
  EXPECT_FALSE(check.ok);
}

TEST(Distance, CloseRowsKeepTheirDigits) {
  Tensor a = Tensor::full({1, 20}, 1000.0), b = a.clone();
  b.write<float>("test")[3] += 0.5f;
  EXPECT_EQ(pairwise_sq_distance(Var(a), Var(b)).item(), 0.25);
  const Var x = Var::leaf(a);  // the distance of a row to itself has derivative 0, also through the root
  backward(sqrt(pairwise_sq_distance(x, x)));
  EXPECT_EQ(max_abs(x.grad()), 0.0);
}

TEST(Distance, ThreadsDoNotChangeBits) {
  const auto run = [](int threads) {
    set_num_threads(threads);
    const Var x = Var::leaf(normal({300, 40}, 5).to(DType::f32));
    const Var d = sqrt(pairwise_sq_distance(x, x));
    backward(sum(square(d)));
    set_num_threads(1);
    return cat(std::vector{reshape(d, {300 * 300}), reshape(Var(x.grad()), {300 * 40})}, 0).value();
  };
  const Tensor one = run(1);
  EXPECT_TRUE(same_bits(one, run(2)));
  EXPECT_TRUE(same_bits(one, run(3)));
}

TEST(Distance, GivenGradientsReachTheirInputs) {
  const Var a = Var::leaf(normal({2, 3}, 1)), b = Var::leaf(normal({4}, 2));
  const std::vector<Var> xs{a, b};
  const std::vector<Tensor> dxs{normal({2, 3}, 3), normal({4}, 4)};
  const Var y = with_gradient(Tensor::scalar(7, DType::f64), xs, dxs);
  EXPECT_EQ(y.item(), 7.0);
  backward(affine(y, 2.0, 0.0));
  EXPECT_EQ(max_abs_diff(a.grad(), affine(Var(dxs[0]), 2.0, 0.0).value()), 0.0);
  EXPECT_EQ(max_abs_diff(b.grad(), affine(Var(dxs[1]), 2.0, 0.0).value()), 0.0);
}

TEST(Distance, RefusesWhatDoesNotFit) {
  const Var a(normal({2, 3}, 1));
  expect_error(
      [&] {
        pairwise_sq_distance(a, Var(normal({2, 4}, 1)));
      },
      {"pairwise_sq_distance", "b", "rows like"});
  expect_error(
      [&] {
        pairwise_sq_distance(a, Var(normal({2, 3}, 1).to(DType::f32)));
      },
      {"pairwise_sq_distance"});
  const Tensor short_one = normal({3}, 1);
  expect_error(
      [&] {
        with_gradient(Tensor::scalar(0, DType::f64), {&a, 1}, {&short_one, 1});
      },
      {"with_gradient", "dxs[0]"});
}

}  // namespace
}  // namespace juxta::test

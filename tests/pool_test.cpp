#include "kernels/pool.h"

#include <limits>

#include "tests/harness.h"

namespace juxta::test {
namespace {

struct Window {
  int64_t h, w, kernel, stride, padding;
};
constexpr Window kWindows[] = {{6, 7, 2, 2, 0}, {7, 9, 3, 2, 1}, {5, 5, 3, 1, 1},
                               {8, 6, 3, 3, 0}, {9, 8, 2, 3, 1}, {4, 5, 4, 1, 2}};

OpCase pool_case(const char* name, const Window& p, int64_t channels, bool maximum) {
  return {.name = concat(name, " ", p.h, "x", p.w, " C ", channels, " k ", p.kernel, " s ", p.stride, " p ",
                         p.padding),
          .inputs = {{normal({2, p.h, p.w, channels}, 1)}},
          .op =
              [p, maximum](std::span<const Var> in) {
                return std::vector<Var>{maximum ? max_pool2d(in[0], p.kernel, p.stride, p.padding)
                                                : avg_pool2d(in[0], p.kernel, p.stride, p.padding)};
              },
          .gradcheck = {.max_elements = 60}};
}

TEST(Pool, MaxWindows) {
  for (const Window& p : kWindows) run_op_case(pool_case("max_pool2d", p, 5, true));
}
TEST(Pool, AvgWindows) {
  for (const Window& p : kWindows) run_op_case(pool_case("avg_pool2d", p, 5, false));
}
TEST(Pool, ChannelsAroundTheVector) {
  for (int64_t c : edge_sizes()) {
    run_op_case(pool_case("max_pool2d", {7, 6, 3, 2, 1}, c, true));
    run_op_case(pool_case("avg_pool2d", {7, 6, 3, 2, 1}, c, false));
  }
}

TEST(Pool, GlobalAverage) {
  for (int64_t c : edge_sizes())
    run_op_case({.name = concat("global_avg_pool C ", c),
                 .inputs = {{normal({3, 3, 5, c}, 2)}},
                 .op = [](std::span<const Var> in) { return std::vector<Var>{global_avg_pool(in[0])}; },
                 .gradcheck = {.max_elements = 40}});
  const Var y = global_avg_pool(Var(Tensor::from<float>({1, 10, 2, 20, 6, 60}, {1, 3, 2})));
  EXPECT_EQ(y.dims(), Dims({1, 2}));
  EXPECT_EQ(y.value().at({0, 0}), 3.0);
  EXPECT_EQ(y.value().at({0, 1}), 30.0);
}

// Padding never wins a maximum and counts as zero in an average.
TEST(Pool, PaddingAsInPyTorch) {
  const Var x(Tensor::full({1, 2, 2, 1}, -4.0));
  EXPECT_EQ(max_pool2d(x, 2, 2, 1).value().at({0, 0, 0, 0}), -4.0);
  EXPECT_EQ(avg_pool2d(x, 2, 2, 1).value().at({0, 0, 0, 0}), -1.0);
}

TEST(Pool, FirstOfEqualValuesWinsAndNaNPasses) {
  for (const int table : cpu_tables()) {
    const ForceTable force(table);
    const Var x = Var::leaf(Tensor::full({1, 2, 2, 3}, 1.0));
    backward(max_pool2d(x, 2, 2));
    EXPECT_EQ(x.grad().at({0, 0, 0, 1}), 1.0);
    EXPECT_EQ(x.grad().at({0, 1, 1, 1}), 0.0);
    const float nan = std::numeric_limits<float>::quiet_NaN(), low = -std::numeric_limits<float>::infinity();
    const Var z(Tensor::from<float>({low, 7, low, nan, low, 9, low, 8}, {1, 2, 2, 2}));
    const Tensor y = max_pool2d(z, 2, 2).value();
    EXPECT_EQ(y.at({0, 0, 0, 0}), low);
    EXPECT_TRUE(std::isnan(y.at({0, 0, 0, 1})));
  }
}

TEST(Pool, EmptyBatch) {
  const Var x = Var::leaf(Tensor::empty({0, 4, 4, 3}));
  for (const Var& y : {max_pool2d(x, 2, 2), avg_pool2d(x, 2, 2), global_avg_pool(x)}) {
    EXPECT_EQ(y.size(0), 0);
    EXPECT_EQ(grad(std::vector{y}, std::vector{x})[0].dims(), x.dims());
  }
}

TEST(Pool, ErrorsNameOpArgumentAndShapes) {
  const Var x(Tensor::zeros({2, 4, 4, 3}));
  expect_error([&] { max_pool2d(x, 5, 1); }, {"max_pool2d", "kernel 5", "larger", "[2, 4, 4, 3]"});
  expect_error([&] { max_pool2d(x, 2, 0); }, {"max_pool2d", "stride", "got 0"});
  expect_error([&] { avg_pool2d(x, 3, 1, 2); }, {"avg_pool2d", "padding", "half", "got 2"});
  expect_error([&] { avg_pool2d(x, 0, 1); }, {"avg_pool2d", "kernel", "got 0"});
  expect_error([&] { max_pool2d(Var(Tensor::zeros({4, 4, 3})), 2, 2); }, {"[N, H, W, C]", "[4, 4, 3]"});
  expect_error([&] { global_avg_pool(Var(Tensor::zeros({2, 0, 3}))); }, {"global_avg_pool", "[2, 0, 3]"});
  expect_error([&] { global_avg_pool(Var(Tensor::arange(3))); }, {"global_avg_pool", "i64"});
}

// The mutant of this file: an average whose gradient forgets to divide.
TEST(Pool, MutantIsCaught) {
  OpCase c = pool_case("avg_pool2d", {4, 4, 2, 2, 0}, 3, false);
  c.op = [](std::span<const Var> in) {
    const Tensor y = avg_pool2d(Var(in[0].value()), 2, 2).value();
    return std::vector<Var>{record("wrong_avg", {}, {&in[0]}, y, {{"x", in[0].value()}}, [](Backward& b) {
      const Var x = Var::leaf(b.saved(0));
      const EnableGrad on;
      const Tensor dx = grad(std::vector{avg_pool2d(x, 2, 2)}, std::vector{x}, std::vector{b.dy()})[0];
      b.set(0, affine(Var(dx), 4.0, 0.0).value());
    })};
  };
  expect_caught(c);
}

}  // namespace
}  // namespace juxta::test

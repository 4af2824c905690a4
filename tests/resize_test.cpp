#include "kernels/resize.h"

#include "tests/harness.h"

namespace juxta::test {
namespace {

OpCase resize_case(Dims x, int64_t height, int64_t width) {
  return {
      .name = concat("resize_bilinear ", x, " to ", height, "x", width),
      .inputs = {{normal(x, 1)}},
      .op = [height, width](
                std::span<const Var> in) { return std::vector<Var>{resize_bilinear(in[0], height, width)}; },
      .gradcheck = {.max_elements = 60}};
}

TEST(Resize, UpAndDown) {
  for (const auto& [h, w] : {std::pair{8, 10}, {4, 5}, {3, 2}, {7, 13}, {1, 1}, {2, 20}, {5, 6}})
    run_op_case(resize_case({2, 5, 6, 3}, h, w));
  run_op_case(resize_case({1, 1, 1, 4}, 3, 4));
}

TEST(Resize, ChannelsAroundTheVector) {
  for (int64_t c : edge_sizes()) run_op_case(resize_case({2, 4, 3, c}, 6, 5));
}

// torch.nn.functional.interpolate(torch.tensor([[[[1., 2., 4.]]]]), size=(1, 6), mode="bilinear")
TEST(Resize, MatchesPyTorch) {
  const Tensor y = resize_bilinear(Var(Tensor::from<double>({1, 2, 4}, {1, 1, 3, 1})), 1, 6).value();
  const double wanted[] = {1.0, 1.25, 1.75, 2.5, 3.5, 4.0};
  for (int64_t j = 0; j < 6; ++j) EXPECT_NEAR(y.at({0, 0, j, 0}), wanted[j], 1e-12) << j;
}

TEST(Resize, SameSizeIsTheIdentity) {
  const Tensor x = normal({2, 5, 4, 7}, 3).to(DType::f32);
  EXPECT_EQ(max_abs_diff(resize_bilinear(Var(x), 5, 4).value(), x), 0.0);
}

TEST(Resize, EmptyBatch) {
  const Var x = Var::leaf(Tensor::empty({0, 4, 4, 3}));
  const Var y = resize_bilinear(x, 2, 3);
  EXPECT_EQ(y.dims(), Dims({0, 2, 3, 3}));
  backward(y);
  EXPECT_EQ(x.grad().dims(), x.dims());
}

TEST(Resize, ErrorsNameOpArgumentAndShapes) {
  expect_error(
      [] {
        resize_bilinear(Var(Tensor::zeros({2, 4, 3})), 2, 2);
      },
      {"resize_bilinear", "[N, H, W, C]", "[2, 4, 3]"});
  expect_error([] { resize_bilinear(Var(Tensor::zeros({1, 2, 4, 3})), 0, 2); }, {"resize_bilinear", "0x2"});
  expect_error(
      [] {
        resize_bilinear(Var(Tensor::zeros({1, 2, 4, 3})), int64_t{1} << 40, int64_t{1} << 40);
      },
      {"resize_bilinear", "1 to 268435455", "1099511627776x1099511627776"});
  expect_error(
      [] {
        resize_bilinear(Var(Tensor::zeros({1, 0, 4, 3})), 2, 2);
      },
      {"resize_bilinear", "[1, 0, 4, 3]"});
}

// The mutant of this file: the gradient of resizing back is not the transpose of resizing.
TEST(Resize, MutantIsCaught) {
  OpCase c = resize_case({1, 4, 4, 2}, 8, 8);
  c.op = [](std::span<const Var> in) {
    const Tensor y = resize_bilinear(Var(in[0].value()), 8, 8).value();
    return std::vector<Var>{record("wrong_resize", {}, {&in[0]}, y, {}, [](Backward& b) {
      b.set(0, resize_bilinear(Var(b.dy()), 4, 4).value());
    })};
  };
  expect_caught(c);
}

}  // namespace
}  // namespace juxta::test

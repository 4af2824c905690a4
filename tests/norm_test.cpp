#include "tests/harness.h"

namespace juxta::test {
namespace {

OpCase layer_norm_case(Dims x, bool affine) {
  const int64_t cols = x.back();
  OpCase c{
      .name = concat("layer_norm ", x), .inputs = {{normal(x, 1, 0.5, 2.0)}}, .op = {}, .emulated = true};
  if (affine) {
    c.inputs.push_back({normal({cols}, 2), Role::param});
    c.inputs.push_back({normal({cols}, 3), Role::param});
  }
  c.op = [affine](std::span<const Var> in) {
    return std::vector<Var>{layer_norm(in[0], affine ? in[1] : Var(), affine ? in[2] : Var(), 1e-5)};
  };
  return c;
}

TEST(Norm, LayerNormAtEveryWidth) {
  for (int64_t cols : edge_sizes()) {
    if (cols < 3) continue;  // one column is constant: its own test below
    run_op_case(layer_norm_case({5, cols}, true));
  }
  run_op_case(layer_norm_case({2, 3, 24}, false));
  run_op_case(layer_norm_case({1, 4097}, true));
}

TEST(Norm, LayerNormManyRowsCrossChunks) {
  run_op_case(layer_norm_case({75, 9}, true));  // three chunks, the last one short
}

TEST(Norm, LayerNormOfOneColumnIsTheBias) {
  const Var y = layer_norm(Var(Tensor::from<float>({3.0f, -1.0f}, {2, 1})),
                           Var(Tensor::from<float>({2.0f}, {1})), Var(Tensor::from<float>({0.25f}, {1})));
  EXPECT_EQ(y.value().at({0, 0}), 0.25);
  EXPECT_EQ(y.value().at({1, 0}), 0.25);
}

TEST(Norm, LayerNormKeepsDigitsFarFromZero) {
  // mean 1e4, std 1: the difference of squares would keep one digit in f32
  OpCase c = layer_norm_case({4, 64}, false);
  c.inputs[0].value = normal({4, 64}, 1, 1e4, 1.0);
  c.bf16 = false;
  c.gradcheck.tolerance = 1e-4;
  c.gradcheck.step = 1e-8;
  c.floor = 1e5;  // f32 holds the inputs to 1e-3 only; what the kernel adds must stay near that
  run_op_case(c);
}

TEST(Norm, L2NormalizeAtEveryWidth) {
  for (int64_t cols : edge_sizes()) {
    run_op_case({.name = concat("l2_normalize ", cols),
                 .inputs = {{normal({7, cols}, 4)}},
                 .op = [](std::span<const Var> in) { return std::vector<Var>{l2_normalize(in[0])}; },
                 .emulated = true,
                 // one column: y = +-1, its gradient is 0 and finite differences see rounding only
                 .gradcheck = {.tolerance = cols == 1 ? 1e-3 : 1e-6}});
  }
}

TEST(Norm, L2NormalizeOfZeroIsZeroWithFiniteGradient) {
  const Var x = Var::leaf(Tensor::zeros({1, 4}));
  const Var y = l2_normalize(x);
  backward(y);
  EXPECT_EQ(max_abs(y.value()), 0.0);
  EXPECT_NEAR(x.grad().at({0, 0}), 1e12, 1e6);
}

TEST(Norm, EmptyInputsGiveEmptyOutputs) {
  const Var x = Var::leaf(Tensor::empty({0, 8}));
  const Var y = layer_norm(x, Var(), Var());
  EXPECT_EQ(y.dims(), Dims({0, 8}));
  backward(y);
  EXPECT_EQ(x.grad().dims(), Dims({0, 8}));
}

TEST(Norm, ErrorsNameOpArgumentAndShapes) {
  const Var x(Tensor::zeros({2, 8}));
  expect_error([&] { layer_norm(x, Var(Tensor::zeros({7})), Var()); },
               {"layer_norm", "weight", "[8]", "[7]"});
  expect_error([&] { layer_norm(x, Var(), Var(Tensor::zeros({8}, DType::f64))); }, {"bias", "f32", "f64"});
  expect_error([&] { layer_norm(Var(Tensor::arange(4)), Var(), Var()); }, {"layer_norm", "i64"});
  expect_error([&] { l2_normalize(x, -1.0); }, {"l2_normalize", "eps", "-1"});
}

// The mutant of this file: a layer norm whose gradient forgets the mean of g.
TEST(Norm, MutantIsCaught) {
  OpCase c = layer_norm_case({5, 12}, false);
  c.op = [](std::span<const Var> in) {
    const Tensor y = layer_norm(Var(in[0].value()), Var(), Var()).value();
    return std::vector<Var>{
        record("wrong_layer_norm", {}, {&in[0]}, y, {}, [](Backward& b) { b.set(0, b.dy()); })};
  };
  expect_caught(c);
}

}  // namespace
}  // namespace juxta::test

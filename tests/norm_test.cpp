#include <algorithm>
#include <cmath>

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

// Rows whose squares overflow are as good as others.
TEST(Norm, L2NormalizeOfHugeRows) {
  for (const DType d : {DType::f32, DType::bf16, DType::f64}) {
    const double scale = d == DType::f64 ? 1e300 : 1e30, tolerance = d == DType::bf16 ? 1e-2 : 1e-6;
    for (const int table : cpu_tables()) {
      const ForceTable force(table);
      for (const int64_t cols : {3, 5, 16, 67}) {
        const Tensor plain = normal({3, cols}, 1), dy = normal({3, cols}, 2).to(d);
        const Var small = Var::leaf(plain.to(d)),
                  large = Var::leaf(affine(Var(plain), scale, 0.0).value().to(d));
        const Var y = l2_normalize(large), want = l2_normalize(small);
        EXPECT_LE(max_abs_diff(y.value(), want.value()), tolerance)
            << name_of(d) << " " << table_name(table) << cols;
        backward(std::span(&y, 1), std::span(&dy, 1));
        backward(std::span(&want, 1), std::span(&dy, 1));
        const Tensor back = affine(Var(large.grad().to(DType::f64)), scale, 0.0).value();
        EXPECT_LE(max_abs_diff(back, small.grad()), 4 * tolerance * std::max(1.0, max_abs(small.grad())))
            << name_of(d) << " " << table_name(table) << " " << cols;
      }
      Tensor endless = Tensor::full({1, 3}, 2.0, DType::f64);
      endless.write<double>("test")[1] = INFINITY;
      EXPECT_EQ(l2_normalize(Var(endless.to(d))).value().at({0, 0}), 0.0);
    }
  }
}

TEST(Norm, EmptyInputsGiveEmptyOutputs) {
  const Var x = Var::leaf(Tensor::empty({0, 8}));
  const Var y = layer_norm(x, Var(), Var());
  EXPECT_EQ(y.dims(), Dims({0, 8}));
  backward(y);
  EXPECT_EQ(x.grad().dims(), Dims({0, 8}));
}

// Rows without columns are rows all the same: nothing to normalise, parameters of no elements.
TEST(Norm, RowsWithoutColumns) {
  const Var x = Var::leaf(Tensor::empty({2, 3, 0})), none = Var::leaf(Tensor::empty({0}));
  for (const Var& y : {layer_norm(x, none, none), rms_norm(x, none), l2_normalize(x)}) {
    EXPECT_EQ(y.dims(), x.dims());
    backward(y);
    EXPECT_EQ(x.grad().dims(), x.dims());
  }
}

TEST(Norm, ErrorsNameOpArgumentAndShapes) {
  const Var x(Tensor::zeros({2, 8}));
  expect_error([&] { layer_norm(x, Var(Tensor::zeros({7})), Var()); },
               {"layer_norm", "weight", "[8]", "[7]"});
  expect_error([&] { layer_norm(x, Var(), Var(Tensor::zeros({8}, DType::f64))); }, {"bias", "f32", "f64"});
  expect_error([&] { layer_norm(Var(Tensor::arange(4)), Var(), Var()); }, {"layer_norm", "i64"});
  expect_error([&] { l2_normalize(x, -1.0); }, {"l2_normalize", "eps", "-1"});
  expect_error([&] { l2_normalize(x, INFINITY); }, {"l2_normalize", "eps", "inf"});
  BatchNormState none;
  for (const double eps : {-1.0, -1e-5, static_cast<double>(NAN)}) {
    expect_error([&] { layer_norm(x, Var(), Var(), eps); }, {"layer_norm", "eps", "at least 0"});
    expect_error([&] { rms_norm(x, Var(), eps); }, {"rms_norm", "eps", "at least 0"});
    expect_error([&] { group_norm(x, 2, Var(), Var(), eps); }, {"group_norm", "eps", "at least 0"});
    expect_error([&] { batch_norm(x, Var(), Var(), none, true, eps); }, {"batch_norm", "eps", "at least 0"});
  }
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

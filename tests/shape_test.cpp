#include "tests/harness.h"

namespace juxta::test {
namespace {

// A case of one input: the op, then a product with fixed numbers so that element order shows in the gradient.
OpCase case_of(const char* name, const Dims& x, const std::function<Var(const Var&)>& op) {
  return {.name = concat(name, " ", x), .inputs = {{normal(x, 1)}}, .op = [op](std::span<const Var> in) {
            return std::vector<Var>{op(in[0])};
          }};
}

Tensor numbers(Dims dims) {  // 0, 1, 2, ... as f32
  return Tensor::arange(numel(dims)).to(DType::f32).view(dims);
}

TEST(Shape, ViewsHaveGradients) {
  run_op_case(case_of("reshape", {4, 6}, [](const Var& x) { return reshape(x, {3, -1}); }));
  run_op_case(case_of("transpose", {4, 6, 3}, [](const Var& x) { return transpose(x, 0, -1); }));
  run_op_case(case_of("permute", {4, 6, 3}, [](const Var& x) { return permute(x, {2, 0, 1}); }));
  run_op_case(case_of("permute negative", {2, 3, 4, 5}, [](const Var& x) {
    return permute(x, {-1, 0, -2, 1});
  }));
  run_op_case(case_of("slice", {4, 6, 3}, [](const Var& x) { return slice(x, 1, 2, 5); }));
  run_op_case(case_of("slice rows", {7, 5}, [](const Var& x) { return slice(x, 0, 0, 3); }));
  run_op_case(case_of("select", {4, 6, 3}, [](const Var& x) { return select(x, -1, 1); }));
  run_op_case(case_of("unsqueeze", {4, 6}, [](const Var& x) { return unsqueeze(x, 1); }));
  run_op_case(case_of("squeeze", {4, 1, 6}, [](const Var& x) { return squeeze(x, 1); }));
  run_op_case(case_of("flatten", {2, 3, 5, 4}, [](const Var& x) { return flatten(x); }));
  run_op_case(case_of("flatten rows", {3, 4}, [](const Var& x) { return flatten(x); }));
}

TEST(Shape, ExpandSumsItsGradient) {
  run_op_case(case_of("expand row", {1, 19}, [](const Var& x) { return expand(x, {7, 19}); }));
  run_op_case(case_of("expand column", {7, 1}, [](const Var& x) { return expand(x, {7, 19}); }));
  run_op_case(case_of("expand new axes", {5}, [](const Var& x) { return expand(x, {2, 3, 5}); }));
  run_op_case(case_of("expand scalar", {}, [](const Var& x) { return expand(x, {2, 3}); }));
  run_op_case(case_of("expand inside", {2, 1, 3, 1}, [](const Var& x) { return expand(x, {2, 4, 3, 5}); }));
}

TEST(Shape, PadAndFlip) {
  for (int dim : {0, 1, -1}) {
    run_op_case(case_of("pad", {3, 4, 5}, [dim](const Var& x) { return pad(x, dim, 2, 1, 0.5); }));
    run_op_case(case_of("flip", {3, 4, 5}, [dim](const Var& x) { return flip(x, dim); }));
  }
  const Tensor y = pad(Var(numbers({2, 2})), 1, 1, 2, -1.0).value();
  EXPECT_TRUE(same_bits(y, Tensor::from<float>({-1, 0, 1, -1, -1, -1, 2, 3, -1, -1}, {2, 5})));
  const Tensor f = flip(Var(numbers({2, 3})), 1).value();
  EXPECT_TRUE(same_bits(f, Tensor::from<float>({2, 1, 0, 5, 4, 3}, {2, 3})));
}

TEST(Shape, CatStackSplit) {
  for (int dim : {0, 1, -1}) {
    OpCase c{.name = concat("cat ", dim), .inputs = {}, .op = [dim](std::span<const Var> in) {
               return std::vector<Var>{cat(in, dim)};
             }};
    for (int64_t size : {2, 1, 3}) {
      Dims dims{3, 4, 5};
      dims[dim < 0 ? 2 : dim] = size;
      c.inputs.push_back({normal(dims, static_cast<uint64_t>(size))});
    }
    run_op_case(c);
    OpCase s = c;
    s.name = concat("stack ", dim);
    for (size_t i = 0; i < 3; ++i) s.inputs[i].value = normal({3, 4}, i);
    s.op = [dim](std::span<const Var> in) { return std::vector<Var>{stack(in, dim)}; };
    run_op_case(s);
    OpCase p = c;
    p.name = concat("split ", dim);
    p.inputs = {{normal({6, 6, 6}, 9)}};
    p.op = [dim](std::span<const Var> in) { return split(in[0], dim, std::vector<int64_t>{1, 3, 0, 2}); };
    run_op_case(p);
  }
}

TEST(Shape, CatOfManyParts) {  // more than a node holds inline
  std::vector<Var> parts;
  parts.reserve(40);
  for (int i = 0; i < 40; ++i) parts.push_back(Var::leaf(Tensor::full({1, 2}, i)));
  const Var y = cat(parts, 0);
  EXPECT_EQ(y.value().at({39, 1}), 39.0);
  backward(mul(y, y));
  EXPECT_EQ(parts[17].grad().at({0, 1}), 34.0);
}

TEST(Shape, SplitAcceptsMissingCotangents) {
  const Var x = Var::leaf(numbers({4, 3}));
  const std::vector<Var> parts = split(x, 0, std::vector<int64_t>{1, 2, 1});
  backward(mul(parts[1], parts[1]));
  EXPECT_EQ(x.grad().at({0, 0}), 0.0);
  EXPECT_EQ(x.grad().at({1, 2}), 10.0);
  EXPECT_EQ(x.grad().at({3, 1}), 0.0);
}

TEST(Shape, ViewsShareMemory) {
  const Var x(numbers({4, 6}));
  for (const Var& v :
       {reshape(x, {24}), transpose(x, 0, 1), permute(x, {1, 0}), slice(x, 0, 1, 2), select(x, 0, 1),
        unsqueeze(x, 0), expand(x, {2, 4, 6}), split(x, 1, std::vector<int64_t>{2, 4})[1]})
    EXPECT_EQ(v.value().storage().get(), x.value().storage().get());
}

TEST(Shape, FlattenIsChannelsFirst) {
  // PyTorch's flatten of [N, C, H, W]: element (h, w, c) of the channels-last image lands at (c H + h) W + w.
  const Tensor y = flatten(Var(numbers({1, 2, 3, 4}))).value();
  for (int64_t h = 0; h < 2; ++h)
    for (int64_t w = 0; w < 3; ++w)
      for (int64_t c = 0; c < 4; ++c) EXPECT_EQ(y.at({0, (c * 2 + h) * 3 + w}), (h * 3 + w) * 4 + c);
}

TEST(Shape, LeafGradientsAreContiguous) {
  const Var x = Var::leaf(numbers({4, 6})), y = Var::leaf(numbers({4, 2}));
  backward(reshape(transpose(x, 0, 1), {24}));
  EXPECT_TRUE(x.grad().is_contiguous());
  backward(cat(std::vector<Var>{x, y}, 1));
  EXPECT_TRUE(y.grad().is_contiguous());
  EXPECT_EQ(x.grad().at({2, 2}), 2.0);
}

TEST(Shape, EmptyTensors) {
  const Var x = Var::leaf(Tensor::empty({0, 2, 3}));
  const Var y = flip(cat(std::vector<Var>{flatten(x), Var(Tensor::empty({0, 6}))}, 1), 0);
  EXPECT_EQ(y.dims(), Dims({0, 12}));
  backward(y);
  EXPECT_EQ(x.grad().dims(), Dims({0, 2, 3}));
}

TEST(Shape, ErrorsNameOpArgumentAndShapes) {
  const Var x(Tensor::zeros({4, 6}));
  expect_error([&] { reshape(x, {5, 5}); }, {"reshape", "[5, 5]", "24"});
  expect_error([&] { flatten(Var(Tensor::zeros({4}))); }, {"flatten", "[4]"});
  expect_error([&] { transpose(x, 0, 2); }, {"transpose", "2"});
  expect_error([&] { permute(x, {0, 0}); }, {"permute", "twice"});
  expect_error([&] { slice(x, 1, 2, 9); }, {"slice", "9", "[4, 6]"});
  expect_error([&] { select(x, 0, 4); }, {"select", "4", "[4, 6]"});
  expect_error([&] { squeeze(x, 0); }, {"squeeze", "not 1"});
  expect_error([&] { expand(x, {3, 6}); }, {"expand", "[4, 6]", "[3, 6]"});
  expect_error([&] { cat({}, 0); }, {"cat", "at least one"});
  expect_error([&] { cat(std::vector<Var>{x, Var(Tensor::zeros({4, 5}))}, 0); }, {"cat", "part 1", "[4, 5]"});
  expect_error([&] { cat(std::vector<Var>{x, Var(Tensor::zeros({4, 6}, DType::f64))}, 0); }, {"cat", "f64"});
  expect_error([&] { stack(std::vector<Var>{x, Var(Tensor::zeros({4}))}, 0); }, {"stack", "part 1", "[4]"});
  expect_error([&] { split(x, 0, std::vector<int64_t>{1, 2}); }, {"split", "3", "4"});
  expect_error([&] { split(x, 0, std::vector<int64_t>{5, -1}); }, {"split", "-1"});
  expect_error([&] { pad(x, 0, -1, 0); }, {"pad", "-1"});
  expect_error([&] { flip(Var(), 0); }, {"flip", "undefined"});
}

// The mutant of this file: a flip whose gradient is not flipped back.
TEST(Shape, MutantIsCaught) {
  expect_caught(case_of("wrong flip", {3, 4}, [](const Var& x) {
    return record("wrong_flip", {}, {&x}, flip(Var(x.value()), 1).value(), {},
                  [](Backward& b) { b.set(0, b.dy()); });
  }));
}

}  // namespace
}  // namespace juxta::test

#include <cmath>

#include "tests/harness.h"

namespace juxta::test {
namespace {

using ReduceOp = Var (*)(const Var&, const std::vector<int>&, bool);

OpCase reduce_case(const char* name, ReduceOp op, Dims x, std::vector<int> dims, bool keepdim = false) {
  return {.name = concat(name, " ", x, dims.empty() ? "" : concat(" from ", dims[0])),
          .inputs = {{normal(x, 1, 0.3)}},
          .op = [=](std::span<const Var> in) { return std::vector<Var>{op(in[0], dims, keepdim)}; }};
}

TEST(Reduce, SumAndMeanOverEveryKindOfAxes) {
  for (ReduceOp op : {static_cast<ReduceOp>(sum), static_cast<ReduceOp>(mean)}) {
    for (int64_t n : edge_sizes()) run_op_case(reduce_case("rows", op, {3, n}, {1}));
    for (int64_t n : {1, 4, 17, 40}) run_op_case(reduce_case("columns", op, {7, n}, {0}));
    run_op_case(reduce_case("all", op, {4, 3, 5}, {}));
    run_op_case(reduce_case("middle", op, {4, 6, 5}, {1}, true));
    run_op_case(reduce_case("outer two", op, {4, 3, 5}, {0, 1}));
    run_op_case(reduce_case("apart", op, {4, 3, 5}, {0, -1}));
    run_op_case(reduce_case("scalar", op, {}, {}));
  }
}

TEST(Reduce, LongAxesCrossChunks) {
  OpCase rows = reduce_case("long row", sum, {2, 9001}, {1});
  rows.gradcheck.max_elements = 5;
  run_op_case(rows);
  OpCase columns = reduce_case("long columns", mean, {5000, 3}, {0});
  columns.gradcheck.max_elements = 5;
  run_op_case(columns);
}

TEST(Reduce, AMillionFloatsKeepTheirDigits) {
  const Tensor x = uniform({1 << 20}, 3).to(DType::f32);
  const double truth = sum(Var(x.to(DType::f64))).item();
  for (Isa isa : host_isas()) {
    const ForceTable force(isa);
    EXPECT_NEAR(sum(Var(x)).item(), truth, 1e-6 * truth) << name_of(isa);
  }
}

TEST(Reduce, ExtremesShareTheGradientAmongTies) {
  for (ReduceOp op : {static_cast<ReduceOp>(amax), static_cast<ReduceOp>(amin)}) {
    for (int64_t n : edge_sizes()) run_op_case(reduce_case("extreme rows", op, {3, n}, {1}));
    run_op_case(reduce_case("extreme columns", op, {6, 19}, {0}));
    run_op_case(reduce_case("extreme apart", op, {3, 4, 5}, {0, 2}));
  }
  const Var x = Var::leaf(Tensor::from<float>({1.0f, 5.0f, 5.0f, 2.0f}, {4}));
  backward(amax(x));
  EXPECT_EQ(x.grad().at({1}), 0.5);
  EXPECT_EQ(x.grad().at({2}), 0.5);
  EXPECT_EQ(x.grad().at({0}), 0.0);
}

TEST(Reduce, NaNIsNotLost) {
  Tensor x = Tensor::zeros({1, 40});
  x.write<float>("test")[37] = NAN;
  for (Isa isa : host_isas()) {
    const ForceTable force(isa);
    EXPECT_TRUE(std::isnan(sum(Var(x)).item()));
    EXPECT_TRUE(std::isnan(amax(Var(x)).item())) << name_of(isa);
    EXPECT_TRUE(std::isnan(amin(Var(x), {1}).item())) << name_of(isa);
  }
}

TEST(Reduce, VarianceNormCumsum) {
  run_op_case({.name = "variance", .inputs = {{normal({4, 9}, 1)}}, .op = [](std::span<const Var> in) {
                 return std::vector<Var>{variance(in[0], {1}), variance(in[0], {0}, true, false)};
               }});
  run_op_case({.name = "norm", .inputs = {{normal({4, 9}, 1)}}, .op = [](std::span<const Var> in) {
                 return std::vector<Var>{norm(in[0], {1}), norm(in[0])};
               }});
  run_op_case({.name = "cumsum", .inputs = {{normal({3, 7, 4}, 1)}}, .op = [](std::span<const Var> in) {
                 return std::vector<Var>{cumsum(in[0], -1), cumsum(in[0], 1)};
               }});
  const Var zero = Var::leaf(Tensor::zeros({3}));
  backward(norm(zero));
  EXPECT_EQ(max_abs(zero.grad()), 0.0);
  const Var far(normal({1000}, 1, 1e4, 1.0).to(DType::f32));
  EXPECT_NEAR(variance(far).item(), 1.0, 0.1);
}

TEST(Reduce, TopKIsDescendingWithTiesByIndex) {
  for (Isa isa : host_isas()) {
    const ForceTable force(isa);
    const Tensor x = normal({5, 131}, 2).to(DType::f32);
    const TopK t = topk(Var(x), 7);
    for (int64_t r = 0; r < 5; ++r) {
      std::vector<std::pair<double, int64_t>> all;
      for (int64_t c = 0; c < 131; ++c) all.emplace_back(-x.at({r, c}), c);
      std::sort(all.begin(), all.end());
      for (int64_t k = 0; k < 7; ++k) {
        EXPECT_EQ(t.indices.at({r, k}), static_cast<double>(all[static_cast<size_t>(k)].second))
            << name_of(isa);
        EXPECT_EQ(t.values.value().at({r, k}), -all[static_cast<size_t>(k)].first);
      }
    }
    const TopK ties = topk(Var(Tensor::full({40}, 3.0)), 3);
    for (int64_t k = 0; k < 3; ++k) EXPECT_EQ(ties.indices.at({k}), static_cast<double>(k));
  }
  run_op_case({.name = "topk", .inputs = {{normal({4, 33}, 1)}}, .op = [](std::span<const Var> in) {
                 return std::vector<Var>{topk(in[0], 5).values};
               }});
  EXPECT_EQ(argmax(Tensor::from<float>({1.0f, 4.0f, 4.0f, 0.0f, 9.0f, 1.0f}, {2, 3}), 1).at({0}), 1.0);
  EXPECT_EQ(argmax(Tensor::from<float>({1.0f, 4.0f, 4.0f, 0.0f, 9.0f, 1.0f}, {2, 3}), 0, true).at({0, 1}),
            1.0);
}

TEST(Reduce, TopKAndArgmaxTakeNaNForTheLargest) {
  for_every_table([](DType d, Device device) {
    Tensor x = Tensor::zeros({2, 40}, DType::f64);
    auto* p = x.write<double>("test");
    p[37] = NAN, p[3] = 5, p[38] = INFINITY;
    p[40] = NAN, p[79] = NAN, p[60] = 1;
    const Tensor in = x.to(d).to(device), best = topk(Var(in), 3).indices.to(kCpu);
    EXPECT_TRUE(same_bits(best, Tensor::from<int64_t>({37, 38, 3, 0, 39, 20}, {2, 3}))) << print(best);
    EXPECT_TRUE(same_bits(argmax(in, 1).to(kCpu), Tensor::from<int64_t>({37, 0}, {2})));
  });
}

TEST(Reduce, ErrorsAndEmptyInputs) {
  const Var x(Tensor::zeros({2, 3}));
  expect_error([&] { sum(x, {2}); }, {"sum", "dimension 2"});
  expect_error([&] { sum(x, {0, 0}); }, {"sum", "dims", "dimension 0", "[2, 3]", "twice"});
  expect_error([&] { variance(x, {1, -1}); }, {"variance", "dimension -1", "twice"});
  expect_error([&] { topk(x, 4); }, {"topk", "1 to 3", "4"});
  expect_error([&] { amax(Var(Tensor::empty({0, 3}))); }, {"amax", "no elements"});
  expect_error([&] { mean(Var(Tensor::empty({0}))); }, {"mean", "no elements"});
  expect_error([&] { variance(Var(Tensor::zeros({1}))); }, {"variance", "at least 2"});
  EXPECT_EQ(sum(Var(Tensor::empty({0, 3})), {0}).value().at({2}), 0.0);
}

// The mutant of this file: a mean whose gradient is that of the sum.
TEST(Reduce, MutantIsCaught) {
  expect_caught({.name = "wrong mean", .inputs = {{normal({3, 4}, 1)}}, .op = [](std::span<const Var> in) {
                   const Tensor y = mean(Var(in[0].value()), {1}).value();
                   return std::vector<Var>{record("wrong_mean", {}, {&in[0]}, y, {}, [](Backward& b) {
                     b.set(0, b.dy().view({3, 1}).expand({3, 4}).contiguous());
                   })};
                 }});
}

}  // namespace
}  // namespace juxta::test

#include "kernels/elementwise.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "kernels/gpu_emu.h"
#include "tests/harness.h"

namespace juxta::test {
namespace {

constexpr double kNan = std::numeric_limits<double>::quiet_NaN();

struct UnaryRow {
  const char* name;
  Var (*op)(const Var&);
  double low, high;  // range of the inputs
};

const UnaryRow kUnaryRows[] = {
    {"affine", [](const Var& x) { return affine(x, 1.7, -0.3); }, -2, 2},
    {"neg", neg, -2, 2},
    {"exp", exp, -4, 4},
    {"log", log, 0.1, 5},
    {"log1p", log1p, -0.8, 5},
    {"expm1", expm1, -3, 3},
    {"sqrt", sqrt, 0.1, 5},
    {"rsqrt", rsqrt, 0.2, 5},
    {"square", square, -3, 3},
    {"reciprocal", reciprocal, 0.3, 4},
    {"abs", abs, -2, 2},
    {"pow 2.5", [](const Var& x) { return pow(x, 2.5); }, 0.2, 3},
    {"pow 3", [](const Var& x) { return pow(x, 3); }, -2, 2},
    {"pow -2", [](const Var& x) { return pow(x, -2); }, 0.5, 2},
    {"pow 0", [](const Var& x) { return pow(x, 0); }, -2, 2},
    {"sin", sin, -7, 7},
    {"cos", cos, -7, 7},
    {"tanh", tanh, -3, 3},
    {"atanh", atanh, -0.8, 0.8},
    {"acos", acos, -0.8, 0.8},
    {"erf", erf, -3, 3},
    {"sigmoid", sigmoid, -6, 6},
    {"log_sigmoid", log_sigmoid, -6, 6},
    {"softplus", softplus, -6, 6},
    {"relu", relu, -2, 2},
    {"leaky_relu", [](const Var& x) { return leaky_relu(x, 0.2); }, -2, 2},
    {"elu", [](const Var& x) { return elu(x, 1.3); }, -3, 3},
    {"gelu", gelu, -5, 5},
    {"gelu_tanh", gelu_tanh, -5, 5},
    {"silu", silu, -6, 6},
    {"clamp", [](const Var& x) { return clamp(x, -0.5, 0.75); }, -2, 2},
};

OpCase unary_case(const UnaryRow& row, int64_t n) {
  return {.name = concat(row.name, " ", n),
          .inputs = {{uniform({n}, 3, row.low, row.high)}},
          .op = [op = row.op](std::span<const Var> in) { return std::vector<Var>{op(in[0])}; },
          .emulated = true};
}

TEST(Elementwise, UnaryOpsAtEveryWidth) {
  for (const UnaryRow& row : kUnaryRows)
    for (int64_t n : {1, 15, 16, 33, 130}) run_op_case(unary_case(row, n));
}

TEST(Elementwise, EveryUnaryKindHasARow) {
  for (const char* kind : kUnaryNames) {
    const bool found = std::any_of(std::begin(kUnaryRows), std::end(kUnaryRows), [kind](const UnaryRow& r) {
      return std::string(r.name).substr(0, std::string(r.name).find(' ')) == kind;
    });
    EXPECT_TRUE(found) << kind;
  }
}

TEST(Elementwise, UnaryCrossesRangesOfThreads) {
  OpCase c = unary_case(kUnaryRows[2], 2 * kElementGrain + 5);
  c.gradcheck.max_elements = 8;
  run_op_case(c);
}

using BinaryOp = Var (*)(const Var&, const Var&);
OpCase binary_case(const char* name, BinaryOp op, Dims a, Dims b) {
  // Away from 0 (div) and, at these seeds, free of ties (minimum, maximum).
  return {.name = concat(name, " ", a, " ", b),
          .inputs = {{uniform(a, 5, 0.5, 2.0)}, {uniform(b, 6, 0.5, 2.0)}},
          .op = [op](std::span<const Var> in) { return std::vector<Var>{op(in[0], in[1])}; },
          .emulated = true};
}
struct BinaryRow {
  const char* name;
  BinaryOp op;
};
const BinaryRow kBinaryRows[] = {{"add", add}, {"sub", sub},         {"mul", mul},
                                 {"div", div}, {"minimum", minimum}, {"maximum", maximum}};

TEST(Elementwise, BinaryOpsBroadcast) {
  for (const BinaryRow& row : kBinaryRows) {
    for (int64_t n : edge_sizes()) run_op_case(binary_case(row.name, row.op, {n}, {n}));
    const Dims pairs[][2] = {{{4, 19}, {19}},    // row vector
                             {{19}, {4, 19}},    // on the left
                             {{5, 17}, {5, 1}},  // column
                             {{5, 1}, {1, 17}},  // outer product: both are summed
                             {{3, 7, 5}, {}},    // scalar
                             {{2, 3, 4, 5}, {3, 1, 5}}, {{2, 3, 4, 5}, {2, 1, 4, 1}},
                             {{3, 1, 6}, {3, 4, 1}},    {{1, 1}, {1}}};
    for (const auto& p : pairs) run_op_case(binary_case(row.name, row.op, p[0], p[1]));
  }
}

TEST(Elementwise, SumsOverBroadcastAxesCrossChunks) {
  const Dims pairs[][2] = {{{70, 1000}, {1000}},       // several partial sums
                           {{70, 1000}, {70, 1}},      // disjoint parts of one
                           {{3 * kElementGrain}, {}},  // one number
                           {{7, 90, 2, 70}, {7, 1, 2, 1}}};
  for (const auto& p : pairs) {
    OpCase c = binary_case("mul", mul, p[0], p[1]);
    c.gradcheck.max_elements = 8;
    run_op_case(c);
  }
}

TEST(Elementwise, BinaryOfTransposedViewReadsItInPlace) {
  OpCase c = binary_case("mul", mul, {6, 9}, {9, 6});
  c.op = [](std::span<const Var> in) { return std::vector<Var>{mul(transpose(in[0], 0, 1), in[1])}; };
  run_op_case(c);
}

TEST(Elementwise, TiesShareTheGradient) {
  const Var a = Var::leaf(Tensor::from<float>({1, 2, 3}, {3})),
            b = Var::leaf(Tensor::from<float>({1, 5, 0}, {3}));
  backward(maximum(a, b));
  EXPECT_EQ(a.grad().at({0}), 0.5);
  EXPECT_EQ(a.grad().at({1}), 0.0);
  EXPECT_EQ(b.grad().at({0}), 0.5);
  EXPECT_EQ(b.grad().at({1}), 1.0);
}

TEST(Elementwise, Where) {
  for (const Dims& m : {Dims{4, 19}, Dims{19}, Dims{4, 1}, Dims{}}) {
    Tensor mask = Tensor::empty(m, DType::boolean);
    bool* p = mask.write<bool>("test");
    for (int64_t i = 0; i < mask.numel(); ++i) p[i] = i % 3 != 1;
    for (const Dims& b : {Dims{4, 19}, Dims{19}, Dims{1}}) {
      run_op_case(
          {.name = concat("where ", m, " ", b),
           .inputs = {{mask, Role::constant}, {normal({4, 19}, 1)}, {normal(b, 2)}},
           .op = [](std::span<const Var> in) { return std::vector<Var>{where(in[0].value(), in[1], in[2])}; },
           .emulated = true});
    }
  }
}

TEST(Elementwise, WhereKeepsInfinityOutOfTheGradient) {
  const Var x = Var::leaf(Tensor::from<float>({0.0f, 4.0f}, {2}));
  const Tensor mask = Tensor::from<bool>({false, true}, {2});
  backward(where(mask, x, Var(Tensor::zeros({2}))));
  EXPECT_EQ(x.grad().at({0}), 0.0);
  EXPECT_EQ(x.grad().at({1}), 1.0);
}

TEST(Elementwise, NanPassesThroughEveryOp) {
  for_every_table([](DType d, Device device) {
    const Var nan(Tensor::full({20}, kNan, d).to(device)), one(Tensor::full({20}, 1.0, d).to(device));
    for (const UnaryRow& row : kUnaryRows) {
      if (std::string(row.name) == "pow 0") continue;  // x^0 = 1 whatever x is, as in C
      EXPECT_TRUE(std::isnan(row.op(nan).value().at({17}))) << row.name;
      EXPECT_TRUE(std::isnan(row.op(nan).value().at({3}))) << row.name;
    }
    for (const BinaryRow& row : kBinaryRows) {
      EXPECT_TRUE(std::isnan(row.op(nan, one).value().at({17}))) << row.name;
      EXPECT_TRUE(std::isnan(row.op(one, nan).value().at({3}))) << row.name;
    }
  });
}

TEST(Elementwise, GradientsAtKinksAreZero) {
  const auto slope_at = [](Var (*op)(const Var&), double x) {
    const Var v = Var::leaf(Tensor::full({1}, x));
    backward(op(v));
    return v.grad().item();
  };
  EXPECT_EQ(slope_at(relu, 0.0), 0.0);
  EXPECT_EQ(slope_at(abs, 0.0), 0.0);
  EXPECT_EQ(slope_at(sqrt, 0.0), 0.0);
  EXPECT_EQ(slope_at([](const Var& x) { return clamp(x, 0.0, 1.0); }, 2.0), 0.0);
  EXPECT_EQ(slope_at([](const Var& x) { return clamp(x, 0.0, 1.0); }, 1.0), 1.0);
}

TEST(Elementwise, ActivateNamesTheSameOps) {
  const Var x(normal({33}, 9).to(DType::f32));
  EXPECT_TRUE(same_bits(activate(x, Act::none).value(), x.value()));
  EXPECT_TRUE(same_bits(activate(x, Act::relu).value(), relu(x).value()));
  EXPECT_TRUE(same_bits(activate(x, Act::gelu).value(), gelu(x).value()));
  EXPECT_TRUE(same_bits(activate(x, Act::silu).value(), silu(x).value()));
  EXPECT_TRUE(same_bits(activate(x, Act::tanh).value(), tanh(x).value()));
  EXPECT_TRUE(same_bits(activate(x, Act::sigmoid).value(), sigmoid(x).value()));
}

TEST(Elementwise, CastRoundsAndItsGradientCastsBack) {
  const Tensor values = normal({67}, 4).to(DType::f32);
  for (DType d : {DType::f64, DType::bf16}) {
    const Var x = Var::leaf(values.clone()), y = cast(x, d);
    EXPECT_TRUE(same_bits(y.value(), values.to(d)));
    EXPECT_TRUE(same_bits(cast(y, DType::f32).value(), values.to(d).to(DType::f32)));
    backward(mul(y, y));
    EXPECT_EQ(x.grad().dtype(), DType::f32);
    EXPECT_NEAR(x.grad().at({5}), 2 * values.at({5}), 0.05);
  }
  EXPECT_EQ(cast(Var(values.to(DType::bf16)), DType::f64).dtype(), DType::f64);
  EXPECT_FALSE(cast(Var(values), DType::f32).requires_grad());
}

TEST(Elementwise, StopGradientIsTheValueWithoutAnEdge) {
  struct Names : OpObserver {
    std::vector<std::string> seen;
    void forward(const char* op, std::span<const Attr>, std::span<const Var* const>, std::span<const Tensor>,
                 std::span<const Saved>) override {
      seen.push_back(op);
    }
    void backward(const char*, std::span<const Tensor>, std::span<const Tensor>) override {}
  } names;
  const ObserverScope scope(names);
  const Var x = Var::leaf(Tensor::full({3}, 2.0));
  const Var y = stop_gradient(x);
  EXPECT_FALSE(y.requires_grad());
  EXPECT_TRUE(same_bits(y.value(), x.value()));
  backward(mul(x, y));
  EXPECT_EQ(x.grad().at({0}), 2.0);
  EXPECT_EQ(names.seen, (std::vector<std::string>{"stop_gradient", "mul"}));
}

TEST(Elementwise, ProductKeepsOnlyWhatItsGradientsRead) {
  const Var x = Var::leaf(Tensor::full({100}, 2.0)), weight(Tensor::full({100}, 3.0));
  EXPECT_NE(dump(mul(x, weight)).find("saved for backward: 400 bytes"), std::string::npos);
  EXPECT_NE(dump(add(x, weight)).find("saved for backward: 0 bytes"), std::string::npos);
  backward(div(weight, x));
  EXPECT_NEAR(x.grad().at({7}), -0.75, 1e-6);
}

TEST(Elementwise, DropoutDrawsByElementAndAgainInBackward) {
  for_every_table([](DType d, Device device) {
    for (int64_t n : {1, 5, 64, 1001}) {
      Rng rng(7, "dropout"), twin(7, "dropout");
      const Draw draw = twin.next();
      const Var x = Var::leaf(Tensor::full({n}, 3.0, d).to(device));
      const Var y = dropout(x, 0.25, rng, true);
      backward(y);
      const Tensor got = y.value().to(kCpu).to(DType::f64), dx = x.grad().to(kCpu).to(DType::f64);
      const Tensor three = Tensor::scalar(3.0 / 0.75, d), one = Tensor::scalar(1 / 0.75, d);
      for (int64_t i = 0; i < n; ++i) {
        const bool kept = draw.uniform(static_cast<uint64_t>(i)) >= 0.25f;
        ASSERT_EQ(got.data<double>()[i], kept ? three.item() : 0.0) << n << " " << i;
        ASSERT_EQ(dx.data<double>()[i], kept ? one.item() : 0.0) << n << " " << i;
      }
    }
  });
}

TEST(Elementwise, DropoutKeepsTheMeanAndStoresNoMask) {
  Rng rng(1, "dropout");
  const Var x = Var::leaf(Tensor::full({100000}, 1.0));
  const Var y = dropout(x, 0.4, rng, true);
  double sum = 0;
  for (int64_t i = 0; i < y.numel(); ++i) sum += y.value().data<float>()[i];
  EXPECT_NEAR(sum / 1e5, 1.0, 0.01);
  EXPECT_NE(dump(y).find("saved for backward: 0 bytes"), std::string::npos);
  EXPECT_TRUE(same_bits(dropout(x, 0.4, rng, false).value(), x.value()));
  EXPECT_TRUE(same_bits(dropout(x, 0.0, rng, true).value(), x.value()));
  EXPECT_EQ(rng.draws(), 1u);
  EXPECT_EQ(max_abs(dropout(x, 1.0, rng, true).value()), 0.0);
}

TEST(Elementwise, DropoutGradient) {
  for (const bool path : {false, true}) {
    run_op_case({.name = path ? "drop_path" : "dropout",
                 .inputs = {{normal({9, 5, 13}, 2)}},
                 .op =
                     [path](std::span<const Var> in) {
                       Rng rng(3, "test");
                       return std::vector<Var>{path ? drop_path(in[0], 0.5, rng, true)
                                                    : dropout(in[0], 0.5, rng, true)};
                     },
                 .emulated = true});
  }
}

TEST(Elementwise, DropPathDropsWholeSamples) {
  Rng rng(5, "path");
  const Tensor y = drop_path(Var(Tensor::full({64, 37}, 1.0)), 0.5, rng, true).value();
  int kept = 0;
  for (int64_t r = 0; r < 64; ++r) {
    const double first = y.at({r, 0});
    EXPECT_TRUE(first == 0.0 || first == 2.0);
    kept += first != 0.0;
    for (int64_t c = 1; c < 37; ++c) ASSERT_EQ(y.at({r, c}), first);
  }
  EXPECT_GT(kept, 16);
  EXPECT_LT(kept, 48);
}

// A view that starts one element in cannot be read in packs: the same bits, element by element.
TEST(Elementwise, EmulatedKernelsTakeUnalignedViews) {
  emu::register_device();
  const Device device{DeviceKind::emu, 0};
  for (DType d : {DType::f32, DType::bf16}) {
    const Tensor wide = normal({70}, 8).to(d).to(device), view = wide.slice(0, 1, 70);
    const Tensor aligned = view.clone();
    const auto outputs = [](const Tensor& x) {
      Rng rng(3, "test");
      const Var v(x);
      return std::vector<Tensor>{gelu(v).value(), mul(v, v).value(), dropout(v, 0.5, rng, true).value(),
                                 cast(v, x.dtype() == DType::f32 ? DType::bf16 : DType::f32).value()};
    };
    const std::vector<Tensor> a = outputs(view), b = outputs(aligned);
    for (size_t k = 0; k < a.size(); ++k) EXPECT_TRUE(same_bits(a[k], b[k])) << k;
  }
}

// The emulator counts what a kernel moves: packs of 16 bytes, each sector once.
TEST(Elementwise, EmulatedKernelsMoveEachByteOnce) {
  emu::register_device();
  const Tensor x = normal({64, 64}, 1).to(DType::f32).to(Device{DeviceKind::emu, 0});
  const uint64_t bytes = 64 * 64 * 4;
  emu::reset_counters();
  relu(Var(x));
  const emu::Counters c = emu::counters("unary_fwd_pack_per_thread");
  EXPECT_EQ(c.load_bytes, bytes);
  EXPECT_EQ(c.load_sectors, bytes / 32);
  EXPECT_EQ(c.store_sectors, bytes / 32);
  const Var row = Var::leaf(x.slice(0, 0, 1).clone());
  backward(mul(row, Var(x)));  // dy and x once each, summed over 64 rows
  const emu::Counters r = emu::counters("binary_reduce_targets_per_block");
  EXPECT_EQ(r.launches, 1u);
  EXPECT_EQ(r.load_bytes, 2 * bytes);
  EXPECT_EQ(r.load_sectors, 2 * bytes / 32);
}

TEST(Elementwise, FillsDependOnTheIndexAlone) {
  const Draw draw{123, 4};
  Tensor u = Tensor::empty({5000}), n = Tensor::empty({5000}), t = Tensor::empty({5000});
  fill_uniform(u, draw, -1.0, 3.0);
  fill_normal(n, draw, 2.0, 0.5);
  fill_truncated_normal(t, draw, 0.0, 1.0, -2.0, 1.0);
  double mean = 0, square_sum = 0, t_mean = 0;
  for (int64_t i = 0; i < 5000; ++i) {
    const auto e = static_cast<uint64_t>(i);
    ASSERT_FLOAT_EQ(u.data<float>()[i], -1.0f + 4.0f * draw.uniform(e));
    ASSERT_FLOAT_EQ(n.data<float>()[i], 2.0f + 0.5f * draw.normal(e));
    ASSERT_GE(t.data<float>()[i], -2.0f);
    ASSERT_LE(t.data<float>()[i], 1.0f);
    mean += n.data<float>()[i] / 5000;
    square_sum += n.data<float>()[i] * n.data<float>()[i] / 5000;
    t_mean += t.data<float>()[i] / 5000;
  }
  EXPECT_NEAR(mean, 2.0, 0.03);
  EXPECT_NEAR(std::sqrt(square_sum - mean * mean), 0.5, 0.02);
  // E = (phi(-2) - phi(1)) / (Phi(1) - Phi(-2)) = (0.05399 - 0.24197) / (0.84134 - 0.02275)
  EXPECT_NEAR(t_mean, -0.22963, 0.03);
}

TEST(Elementwise, TruncatedNormalInvertsTheDistribution) {
  Tensor t = Tensor::empty({4000}, DType::f64);
  const Draw draw{9, 0};
  fill_truncated_normal(t, draw, 1.0, 2.0, -7.0, 9.0);
  const auto cdf = [](double x) { return 0.5 * std::erfc(-(x - 1.0) / 2.0 / std::sqrt(2.0)); };
  for (int64_t i = 0; i < t.numel(); ++i) {
    const double u = (draw.bits(static_cast<uint64_t>(i)) + 0.5) * 0x1p-32;
    const double want = cdf(-7.0) + (cdf(9.0) - cdf(-7.0)) * u;
    ASSERT_NEAR(cdf(t.data<double>()[i]), want, 1e-9) << u;
  }
}

TEST(Elementwise, EmptyTensors) {
  const Var x = Var::leaf(Tensor::empty({0, 3})), b = Var::leaf(Tensor::full({3}, 1.0));
  const Var y = add(gelu(x), b);
  EXPECT_EQ(y.dims(), Dims({0, 3}));
  backward(y);
  EXPECT_EQ(x.grad().dims(), Dims({0, 3}));
  EXPECT_EQ(max_abs(b.grad()), 0.0);
}

TEST(Elementwise, GeluTanhIsFlatFarOut) {
  for_every_table([](DType d, Device device) {
    const Var x = Var::leaf(Tensor::from<double>({-1e30, -1e5, 1e5, 1e30}, {4}).to(d).to(device));
    const Var y = gelu_tanh(x);
    backward(y);
    EXPECT_TRUE(same_bits(x.grad().to(kCpu).to(DType::f64), Tensor::from<double>({0, 0, 1, 1}, {4})))
        << print(x.grad());
    EXPECT_EQ(max_abs_diff(y.value().slice(0, 2, 4), x.value().slice(0, 2, 4)), 0.0);
  });
}

TEST(Elementwise, ErrorsNameOpArgumentAndShapes) {
  const Var x(Tensor::zeros({2, 8}));
  Rng rng(0, "test");
  expect_error([&] { add(x, Var(Tensor::zeros({3}))); }, {"add", "[2, 8]", "[3]", "broadcast"});
  expect_error([&] { mul(x, Var(Tensor::zeros({2, 8}, DType::bf16))); }, {"mul", "b", "f32", "bf16", "cast"});
  expect_error([&] { sub(x, Var()); }, {"sub", "undefined"});
  expect_error([&] { exp(Var(Tensor::arange(3))); }, {"exp", "i64"});
  expect_error([&] { where(Tensor::zeros({2, 8}), x, x); }, {"where", "mask", "bool", "f32"});
  expect_error([&] { clamp(x, 1.0, 0.0); }, {"clamp", "low", "1", "0"});
  expect_error([&] { leaky_relu(x, -0.1); }, {"leaky_relu", "slope", "-0.1"});
  expect_error([&] { elu(x, -1.0); }, {"elu", "alpha", "-1"});
  expect_error([&] { cast(x, DType::i64); }, {"cast", "i64"});
  expect_error([&] { dropout(x, 1.5, rng, true); }, {"dropout", "p", "1.5"});
  expect_error([&] { drop_path(x, -0.5, rng, true); }, {"drop_path", "p", "-0.5"});
  Tensor i = Tensor::arange(3), strided = Tensor::zeros({4, 4}).transpose(0, 1), t = Tensor::zeros({4});
  expect_error([&] { fill_uniform(i, {}, 0, 1); }, {"fill_uniform", "i64"});
  expect_error([&] { fill_normal(strided, {}, 0, 1); }, {"fill_normal", "contiguous"});
  expect_error([&] { fill_uniform(t, {}, 2, 1); }, {"fill_uniform", "low", "2"});
  expect_error([&] { fill_normal(t, {}, 0, -1); }, {"fill_normal", "-1"});
  expect_error([&] { fill_truncated_normal(t, {}, 0, 1, 3, 2); }, {"fill_truncated_normal", "low < high"});
  expect_error([&] { fill_truncated_normal(t, {}, 0, 0.1, 5, 6); }, {"fill_truncated_normal", "no mass"});
}

// The mutants of this file: a product whose gradient to a broadcast factor forgets half of the rows, and a
// GELU whose gradient forgets the density.
TEST(Elementwise, MutantsAreCaught) {
  OpCase c = binary_case("wrong mul", mul, {4, 19}, {19});
  c.op = [](std::span<const Var> in) {
    const Tensor y = mul(Var(in[0].value()), Var(in[1].value())).value();
    return std::vector<Var>{
        record("wrong_mul", {}, {&in[0], &in[1]}, y, {{"a", in[0].value()}}, [](Backward& b) {
          const Tensor half = mul(Var(b.dy()), Var(b.saved(0))).value().slice(0, 0, 1).select(0, 0);
          b.set(0, b.dy());
          b.set(1, half);
        })};
  };
  expect_caught(c);
  OpCase g = unary_case({"wrong gelu", gelu, -2, 2}, 17);
  g.op = [](std::span<const Var> in) {
    return std::vector<Var>{record(
        "wrong_gelu", {}, {&in[0]}, gelu(Var(in[0].value())).value(), {{"x", in[0].value()}},
        [](Backward& b) { b.set(0, mul(Var(b.dy()), sigmoid(affine(Var(b.saved(0)), 1.702, 0))).value()); })};
  };
  expect_caught(g);
}

}  // namespace
}  // namespace juxta::test

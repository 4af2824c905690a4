#include <cmath>
#include <limits>

#include "kernels/gpu_emu.h"
#include "tests/harness.h"

namespace juxta::test {
namespace {

constexpr double kInf = std::numeric_limits<double>::infinity();
const double kNaN = std::numeric_limits<double>::quiet_NaN();

// A mask that shows about two of three entries; row 1 of the last two axes is hidden altogether.
Tensor mask_like(Dims dims) {
  Tensor m = Tensor::empty(dims, DType::boolean);
  const Tensor r = indices(dims, 5, 3);
  const int64_t cols = dims.back(), rows = dims.size() > 1 ? dims[dims.size() - 2] : 1;
  for (int64_t i = 0; i < m.numel(); ++i)
    m.write<bool>("mask")[i] = r.data<int64_t>()[i] > 0 && (rows < 3 || i / cols % rows != 1);
  return m;
}

Var zero_like(const Var& y) { return Var(Tensor::scalar(0.0, y.dtype()).to(y.device())); }

using RowOp = Var (*)(const Var&, const Tensor&);

OpCase row_case(const char* name, RowOp op, const Dims& x, const Tensor& mask = {}) {
  OpCase c{.name = concat(name, x, mask ? " masked" : ""),
           .inputs = {{normal(x, 1, 0.0, 3.0)}},
           .op = {},
           .emulated = true};
  if (mask) c.inputs.push_back({mask, Role::constant});
  const bool log = op == static_cast<RowOp>(log_softmax);
  c.op = [op, log](std::span<const Var> in) {
    const Tensor m = in.size() > 1 ? in[1].value() : Tensor();
    const Var y = op(in[0], m);
    if (!log || !m) return std::vector<Var>{y};
    // finite differences of the constant -inf are none: show what the mask shows
    return std::vector<Var>{where(m, y, zero_like(y))};
  };
  return c;
}

// logsumexp gives -inf for hidden rows: 0 instead, for finite differences.
Var finite_logsumexp(const Var& x, const Tensor& mask) {
  const Var y = logsumexp(x, mask);
  Tensor seen = Tensor::empty(y.dims(), DType::boolean);
  const Tensor v = y.value().to(kCpu).to(DType::f64).contiguous();
  for (int64_t i = 0; i < v.numel(); ++i) seen.write<bool>("seen")[i] = std::isfinite(v.data<double>()[i]);
  return where(seen.to(y.device()), y, zero_like(y));
}

const std::pair<const char*, RowOp> kRowOps[] = {
    {"softmax ", softmax}, {"log_softmax ", log_softmax}, {"logsumexp ", finite_logsumexp}};

TEST(Softmax, RowOpsAtEveryWidth) {
  for (const auto& [name, op] : kRowOps) {
    for (int64_t cols : edge_sizes()) run_op_case(row_case(name, op, {5, cols}));
    run_op_case(row_case(name, op, {4, 2}));
    run_op_case(row_case(name, op, {7}));
    run_op_case(row_case(name, op, {2, 3, 2, 12}));
  }
}

TEST(Softmax, RowOpsWithMasksOfEveryShape) {
  for (const auto& [name, op] : kRowOps) {
    for (int64_t cols : {1, 5, 16, 33, 67}) run_op_case(row_case(name, op, {5, cols}, mask_like({5, cols})));
    run_op_case(row_case(name, op, {2, 3, 4, 9}, mask_like({9})));           // one for all rows
    run_op_case(row_case(name, op, {2, 3, 4, 9}, mask_like({2, 1, 4, 9})));  // shared by axis 1
    run_op_case(row_case(name, op, {2, 3, 4, 9}, mask_like({2, 1, 1, 9})));
    run_op_case(row_case(name, op, {2, 3, 4, 9}, mask_like({3, 1, 1})));  // whole rows
    run_op_case(row_case(name, op, {3, 4, 9}, mask_like({4, 9})));
  }
}

TEST(Softmax, ManyRowsCrossRanges) {
  for (const auto& [name, op] : kRowOps) {
    for (OpCase c : {row_case(name, op, {1500, 3}), row_case(name, op, {200, 33}, mask_like({200, 33}))}) {
      c.gradcheck.max_elements = 30;
      run_op_case(c);
    }
  }
}

// Rows longer than a block whose maxima grow: the running sum is rescaled.
TEST(Softmax, LongRowsRescaleTheRunningSum) {
  for (const auto& [name, op] : kRowOps)
    for (bool masked : {false, true}) {
      OpCase c = row_case(name, op, {3, 13001}, masked ? mask_like({3, 13001}) : Tensor());
      auto* x = c.inputs[0].value.write<double>("ramp");
      for (int64_t i = 0; i < 3 * 13001; ++i) x[i] = x[i] * 0.5 + static_cast<double>(i % 13001) * 1e-3;
      c.gradcheck.max_elements = 4;
      c.gradcheck.tolerance = 1e-5;
      run_op_case(c);
    }
}

// The row's only visible entry lies in the last block; the blocks before it are hidden.
TEST(Softmax, HiddenBlocksBeforeTheFirstVisibleEntry) {
  for_every_table([](DType d, Device device) {
    for (double low : {-500.0, 0.0, 500.0}) {
      const Tensor x = Tensor::full({1, 9000}, low, d).to(device);
      Tensor mask = Tensor::full({1, 9000}, 0.0, DType::boolean);
      mask.write<bool>("test")[8999] = true;
      mask = mask.to(device);
      EXPECT_EQ(logsumexp(Var(x), mask).value().at({0}), low);
      EXPECT_EQ(softmax(Var(x), mask).value().at({0, 8999}), 1.0);
      EXPECT_EQ(softmax(Var(x), mask).value().at({0, 0}), 0.0);
    }
  });
}

OpCase cross_entropy_case(Dims x, double smoothing, bool ignore) {
  const int64_t classes = x.back();
  Dims rows = x;
  rows.erase(rows.size() - 1);
  Tensor t = indices(rows, 2, classes);
  if (ignore)
    for (int64_t i = 0; i < t.numel(); i += 3) t.write<int64_t>("test")[i] = -100;
  return {.name = concat("cross_entropy ", x, " smoothing ", smoothing),
          .inputs = {{normal(x, 1, 1.0, 3.0)}, {t, Role::constant}},
          .op =
              [smoothing](std::span<const Var> in) {
                return std::vector<Var>{cross_entropy(in[0], in[1].value(), smoothing)};
              },
          .emulated = true,
          .gradcheck = {.max_elements = 40}};
}

TEST(Softmax, CrossEntropyAtEveryWidth) {
  for (int64_t classes : edge_sizes())
    for (double smoothing : {0.0, 0.1}) run_op_case(cross_entropy_case({5, classes}, smoothing, false));
  run_op_case(cross_entropy_case({2, 3, 12}, 1.0, true));
  run_op_case(cross_entropy_case({9}, 0.0, false));
  run_op_case(cross_entropy_case({700, 10}, 0.1, true));
  run_op_case(cross_entropy_case({2, 9001}, 0.1, false));
}

TEST(Softmax, SoftCrossEntropyAtEveryWidth) {
  for (int64_t classes : edge_sizes())
    for (Role role : {Role::frozen, Role::constant}) {
      Tensor q = softmax(Var(normal({5, classes}, 3))).value();
      if (role == Role::constant) q = q.to(DType::f32).to(DType::f64);  // f32 targets in every run
      OpCase c{.name = concat("soft_cross_entropy ", classes),
               .inputs = {{normal({5, classes}, 1, 1.0, 3.0)}, {q, role}},
               .op =
                   [role](std::span<const Var> in) {
                     const DType acc = acc_dtype(in[0].dtype());
                     const Tensor t = role == Role::constant ? in[1].value().to(acc) : in[1].value();
                     return std::vector<Var>{soft_cross_entropy(in[0], t)};
                   },
               .emulated = true};
      run_op_case(c);
    }
}

TEST(Softmax, SoftCrossEntropyOfLongRowsAndUnnormalisedTargets) {
  run_op_case(
      {.name = "soft_cross_entropy long",
       .inputs = {{normal({3, 9001}, 1)}, {uniform({3, 9001}, 2), Role::frozen}},
       .op =
           [](std::span<const Var> in) { return std::vector<Var>{soft_cross_entropy(in[0], in[1].value())}; },
       .emulated = true,
       .gradcheck = {.tolerance = 1e-5, .max_elements = 6}});
}

// One-hot targets and smoothing are the same loss in two forms.
TEST(Softmax, CrossEntropyAgreesWithSoftTargets) {
  const int64_t B = 6, K = 11;
  const Tensor x = normal({B, K}, 1, 0.0, 4.0), t = indices({B}, 2, K);
  Tensor q = Tensor::full({B, K}, 0.2 / static_cast<double>(K), DType::f64);
  for (int64_t r = 0; r < B; ++r) q.write<double>("test")[r * K + t.data<int64_t>()[r]] += 0.8;
  const Var a = Var::leaf(x.clone()), b = Var::leaf(x.clone());
  const Var hard = cross_entropy(a, t, 0.2), soft = soft_cross_entropy(b, q);
  EXPECT_LT(max_abs_diff(hard.value(), soft.value()), 1e-12);
  backward(hard);
  backward(soft);
  EXPECT_LT(max_abs_diff(a.grad(), b.grad()), 1e-12);
}

TEST(Softmax, ExtremeLogitsKeepTheirDigits) {
  // +-500 at temperature 0.002: logits of 2.5e5, whose logsumexp a float holds to 0.016 only
  const Tensor x64 = Tensor::from<double>({2.5e5, -2.5e5, 249999.0, 249998.5}, {1, 4});
  const Tensor t = Tensor::from<int64_t>({2}, {1});
  const Var truth_x = Var::leaf(x64.clone());
  const Var truth = cross_entropy(truth_x, t);
  backward(truth);
  const Tensor p = softmax(Var(x64)).value();
  for (Isa isa : host_isas()) {
    const ForceTable force(isa);
    const Var x = Var::leaf(x64.to(DType::f32).clone());
    const Var y = cross_entropy(x, t);
    backward(y);
    EXPECT_LT(max_abs_diff(y.value(), truth.value()), 1e-6) << name_of(isa);
    EXPECT_LT(max_abs_diff(x.grad(), truth_x.grad()), 1e-6) << name_of(isa);
    EXPECT_LT(max_abs_diff(softmax(Var(x.value())).value(), p), 1e-6) << name_of(isa);
    const Var lse_x = Var::leaf(x64.to(DType::f32).clone());
    backward(logsumexp(lse_x));
    EXPECT_LT(max_abs_diff(lse_x.grad(), p), 1e-6) << name_of(isa);
  }
}

TEST(Softmax, InfinitiesAndNaN) {
  const Tensor x64 = Tensor::from<double>(
      {-kInf, 1.0, -kInf, 0.0, -kInf, -kInf, -kInf, -kInf, kInf, 0.0, 1.0, 2.0, 0.0, kNaN, 1.0, 2.0}, {4, 4});
  for_every_table([&](DType d, Device device) {
    const Var x = Var::leaf(x64.to(d).clone().to(device));
    const Tensor p = softmax(x).value(), l = log_softmax(x).value(), s = logsumexp(x).value();
    EXPECT_EQ(p.at({0, 0}), 0.0);
    EXPECT_NEAR(p.at({0, 1}), 0.731058578, 4e-3);
    EXPECT_EQ(l.at({0, 0}), -kInf);
    EXPECT_NEAR(s.at({0}), 1.313261687, 1e-6);
    for (int64_t c = 0; c < 4; ++c) {  // nothing but -inf
      EXPECT_EQ(p.at({1, c}), 0.0);
      EXPECT_EQ(l.at({1, c}), -kInf);
      EXPECT_TRUE(std::isnan(p.at({3, c})) && std::isnan(l.at({3, c})));  // a NaN makes the row NaN
    }
    EXPECT_EQ(s.at({1}), -kInf);
    EXPECT_EQ(s.at({2}), kInf);
    EXPECT_TRUE(std::isnan(p.at({2, 0})) && std::isnan(l.at({2, 0})));
    EXPECT_TRUE(std::isnan(s.at({3})));
    backward(logsumexp(x));
    EXPECT_EQ(x.grad().at({0, 0}), 0.0);
    EXPECT_EQ(x.grad().at({1, 2}), 0.0);
    EXPECT_TRUE(std::isnan(x.grad().at({2, 0})));
    EXPECT_TRUE(std::isnan(x.grad().at({3, 0})));
  });
}

TEST(Softmax, HiddenEntriesNeitherReadNorPassGradients) {
  for_every_table([&](DType d, Device device) {
    // NaN and inf behind the mask change nothing
    const Tensor x64 = Tensor::from<double>({1.0, kNaN, 2.0, kInf, kNaN, kInf}, {2, 3});
    const Tensor mask = Tensor::from<bool>({true, false, true, false, false, false}, {2, 3}).to(device);
    for (const auto& [name, op] :
         {std::pair<const char*, RowOp>{"softmax", softmax}, {"log_softmax", log_softmax}}) {
      const Var x = Var::leaf(x64.to(d).clone().to(device));
      const Var y = op(x, mask);
      // not ones: their gradient through softmax is 0 anyway
      const Tensor dy = Tensor::from<double>({1.0, 2.0, 3.0, 4.0, 5.0, 6.0}, {2, 3}).to(d).to(device);
      backward(std::vector{y}, std::vector{dy});
      EXPECT_NE(x.grad().at({0, 0}), 0.0) << name;
      EXPECT_NEAR(x.grad().at({0, 0}), -x.grad().at({0, 2}), 0.02) << name;
      for (int64_t i : {1, 3, 4, 5}) EXPECT_EQ(x.grad().at({i / 3, i % 3}), 0.0) << name << i;
    }
  });
}

TEST(Softmax, LossesWithInfiniteLogits) {
  for_every_table([&](DType d, Device device) {
    const auto target = [&](int64_t c) { return Tensor::from<int64_t>({c}, {1}).to(device); };
    const Tensor inf_first = Tensor::from<double>({-kInf, 1.0, 1.0}, {1, 3}).to(d).to(device);
    const Var x = Var::leaf(inf_first.clone());
    const Var y = cross_entropy(x, target(1));
    EXPECT_NEAR(y.value().at({0}), std::log(2.0), 1e-6);
    backward(y);
    EXPECT_EQ(x.grad().at({0, 0}), 0.0);
    EXPECT_EQ(cross_entropy(x, target(0)).value().at({0}), kInf);
    // target mass 0 where the logit is -inf
    const Tensor q = Tensor::from<double>({0.0, 0.5, 0.5}, {1, 3}).to(acc_dtype(d)).to(device);
    const Var soft_x = Var::leaf(inf_first.clone());
    const Var soft = soft_cross_entropy(soft_x, q);
    EXPECT_NEAR(soft.value().at({0}), std::log(2.0), 1e-6);
    backward(soft);
    EXPECT_EQ(max_abs(soft_x.grad()), 0.0);
    // rows without any mass, and ignored rows, give 0 whatever the logits are
    const Var bad = Var::leaf(Tensor::full({1, 3}, -kInf, d).to(device));
    const Var none = soft_cross_entropy(bad, Tensor::zeros({1, 3}, acc_dtype(d)).to(device));
    const Var ignored = cross_entropy(bad, target(7), 0.1, 7);
    EXPECT_EQ(none.value().at({0}), 0.0);
    EXPECT_EQ(ignored.value().at({0}), 0.0);
    backward(std::vector{none, ignored}, std::vector{none.value(), ignored.value()});
    EXPECT_EQ(max_abs_diff(bad.grad(), Tensor::zeros({1, 3})), 0.0);
  });
}

// The emulator counts what a kernel moves: each element is read for the statistics and for the result.
TEST(Softmax, EmulatedKernelReadsARowTwice) {
  emu::register_device();
  const Tensor x = normal({6, 1024}, 1).to(DType::f32).to(Device{DeviceKind::emu, 0});
  emu::reset_counters();
  softmax(Var(x));
  const emu::Counters c = emu::counters("softmax_fwd_row_per_block");
  EXPECT_EQ(c.blocks, 6u);
  EXPECT_EQ(c.load_bytes, 2u * 6 * 1024 * 4);
  EXPECT_EQ(c.store_bytes, 6u * 1024 * 4);
  EXPECT_EQ(c.load_sectors, c.load_bytes / 32);  // neighbouring threads read neighbouring elements
}

TEST(Softmax, LossesAndLogsumexpOfBf16AreF32) {
  const Var x(Tensor::zeros({2, 3}, DType::bf16));
  EXPECT_EQ(logsumexp(x).dtype(), DType::f32);
  EXPECT_EQ(cross_entropy(x, Tensor::zeros({2}, DType::i64)).dtype(), DType::f32);
  EXPECT_EQ(soft_cross_entropy(x, Tensor::zeros({2, 3})).dtype(), DType::f32);
  EXPECT_EQ(softmax(x).dtype(), DType::bf16);
}

TEST(Softmax, EmptyInputs) {
  const Var x = Var::leaf(Tensor::empty({0, 8}));
  backward(softmax(x));
  EXPECT_EQ(x.grad().dims(), Dims({0, 8}));
  EXPECT_EQ(cross_entropy(x, Tensor::empty({0}, DType::i64)).dims(), Dims({0}));
  const Tensor none = logsumexp(Var(Tensor::empty({2, 0}))).value();
  EXPECT_EQ(none.at({1}), -kInf);
  EXPECT_EQ(softmax(Var(Tensor::empty({2, 0}))).dims(), Dims({2, 0}));
}

// Probabilities are not kept: x, the targets and two numbers per row are.
TEST(Softmax, CrossEntropySavesNoProbabilities) {
  const Var x = Var::leaf(Tensor::zeros({4, 1000}));
  const std::string text = dump(cross_entropy(x, Tensor::zeros({4}, DType::i64)));
  EXPECT_NE(text.find("max_and_log_sum"), std::string::npos) << text;
  EXPECT_EQ(text.find("prob"), std::string::npos) << text;
}

TEST(Softmax, ErrorsNameOpArgumentAndShapes) {
  const Var x(Tensor::zeros({4, 10}));
  const auto target = [](std::initializer_list<int64_t> v) { return Tensor::from<int64_t>(v, {4}); };
  expect_error(
      [&] {
        cross_entropy(x, target({0, 1, 10, 2}));
      },
      {"cross_entropy", "row 2", "[0, 10)", "-100", "got 10"});
  expect_error([&] { cross_entropy(x, target({0, -1, 10, 2})); }, {"row 1", "got -1"});
  expect_error([&] { cross_entropy(x, Tensor::zeros({4, 1}, DType::i64)); }, {"target", "[4]", "[4, 1]"});
  expect_error([&] { cross_entropy(x, Tensor::zeros({4})); }, {"target", "i64", "f32"});
  expect_error([&] { cross_entropy(x, {}); }, {"target", "undefined"});
  expect_error([&] { cross_entropy(x, target({0, 0, 0, 0}), 1.5); }, {"label_smoothing", "1.5"});
  expect_error([&] { soft_cross_entropy(x, Tensor::zeros({4, 9})); }, {"target", "[4, 10]", "[4, 9]"});
  expect_error([&] { soft_cross_entropy(x, Tensor::zeros({4, 10}, DType::f64)); }, {"f32", "f64"});
  expect_error([&] { softmax(x, Tensor::zeros({4, 10})); }, {"softmax", "mask", "bool", "f32"});
  expect_error(
      [&] {
        log_softmax(x, Tensor::zeros({3, 10}, DType::boolean));
      },
      {"log_softmax", "mask", "[4, 10]", "[3, 10]"});
  expect_error([&] { logsumexp(x, Tensor::zeros({1, 4, 10}, DType::boolean)); }, {"logsumexp", "mask"});
  expect_error([&] { softmax(Var(Tensor::scalar(1.0))); }, {"softmax", "at least 1"});
  expect_error([&] { softmax(Var(Tensor::arange(4))); }, {"softmax", "i64"});
}

// The mutant of this file: the gradient of softmax without the sum over the row. With ones as the cotangent
// it would pass unseen only if the check used them.
TEST(Softmax, MutantIsCaught) {
  OpCase c = row_case("wrong softmax ", softmax, {5, 12});
  c.op = [](std::span<const Var> in) {
    const Tensor y = softmax(Var(in[0].value())).value();
    return std::vector<Var>{record("wrong_softmax", {}, {&in[0]}, y, {{"y", y}},
                                   [](Backward& b) { b.set(0, mul(Var(b.saved(0)), Var(b.dy())).value()); })};
  };
  expect_caught(c);
}

}  // namespace
}  // namespace juxta::test

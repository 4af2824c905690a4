#include "autograd/contrast.h"

#include <cmath>

#include "tensor/parallel.h"
#include "tests/harness.h"

namespace juxta::test {
namespace {

// One call, as the tests vary it. Parts of both sides come first among the inputs, then the temperature.
struct Call {
  std::string name;
  std::vector<int64_t> rows{7}, columns{9};  // sizes of the parts; no columns: symmetric
  int64_t depth = 6;
  double temperature = 0.5;
  bool row_temperature = false;
  ContrastOptions options{};
  int64_t block = 4;  // rows per block, so that these sizes cross borders
  // In units of OpCase::floor: an error of s grows by |s| in e^s, and the sums behind one temperature nearly
  // cancel.
  double floor = 64;
};

int64_t total(const std::vector<int64_t>& sizes) {
  int64_t n = 0;
  for (int64_t s : sizes) n += s;
  return n;
}

std::vector<Var> outputs(const ContrastResult& r) {
  std::vector<Var> out{r.lse, r.positive, Var(r.count)};
  if (r.column_lse.defined()) out.insert(out.end(), {r.column_lse, r.column_positive, Var(r.column_count)});
  return out;
}

OpCase op_case(const Call& call) {
  OpCase c{.name = "contrast " + call.name, .inputs = {}, .op = {}};
  uint64_t seed = 1;
  for (int64_t n : call.rows) c.inputs.push_back({normal({n, call.depth}, seed++)});
  for (int64_t n : call.columns) c.inputs.push_back({normal({n, call.depth}, seed++)});
  const Dims t = call.row_temperature ? Dims({total(call.rows)}) : Dims();
  c.inputs.push_back({uniform(t, 99, call.temperature, 1.5 * call.temperature), Role::param});
  c.floor = call.floor;
  const size_t rows = call.rows.size(), columns = call.columns.size();
  c.op = [=](std::span<const Var> in) {
    const ForceContrastBlock block(call.block);
    const Var& temperature = in[rows + columns];
    return outputs(columns ? contrast(in.first(rows), in.subspan(rows, columns), temperature, call.options)
                           : contrast_symmetric(in.first(rows), temperature, call.options));
  };
  return c;
}

// The same results from the whole matrix of similarities, in double.
std::vector<Tensor> naive(const Call& call) {
  const OpCase c = op_case(call);
  std::vector<std::vector<double>> rows, columns;
  for (size_t p = 0; p < call.rows.size() + call.columns.size(); ++p) {
    const Tensor& x = c.inputs[p].value;
    for (int64_t i = 0; i < x.size(0); ++i) {
      std::vector<double> v;
      double norm = 0;
      for (int64_t d = 0; d < x.size(1); ++d) v.push_back(x.at({i, d})), norm += v.back() * v.back();
      for (double& e : v) e /= call.options.normalize ? std::sqrt(norm) : 1.0;
      (p < call.rows.size() ? rows : columns).push_back(v);
    }
  }
  const ContrastOptions& o = call.options;
  Tensor column_ids = o.column_ids, column_groups = o.column_groups;
  if (call.columns.empty()) columns = rows, column_ids = o.row_ids, column_groups = o.row_groups;
  const Tensor temperature = c.inputs.back().value;
  const int64_t r = static_cast<int64_t>(rows.size()), k = static_cast<int64_t>(columns.size());
  const auto make = [](int64_t n) { return Tensor::zeros({n}, DType::f64); };
  std::vector<Tensor> out{make(r), make(r), make(r), make(k), make(k), make(k)};
  for (int64_t i = 0; i < r; ++i) {
    for (int64_t j = 0; j < k; ++j) {
      double s = 0;
      for (size_t d = 0; d < rows[0].size(); ++d)
        s += rows[static_cast<size_t>(i)][d] * columns[static_cast<size_t>(j)][d];
      const bool excluded = (o.row_ids.defined() && o.row_ids.at({i}) == column_ids.at({j})) ||
                            (o.mask.defined() && o.mask.at({i, j}) == 0);
      const bool positive =
          !excluded && ((o.row_groups.defined() && o.row_groups.at({i}) == column_groups.at({j})) ||
                        (o.positive.defined() && o.positive.at({i}) == static_cast<double>(j)) ||
                        (o.positive_mask.defined() && o.positive_mask.at({i, j}) != 0) ||
                        (o.positive_weight.defined() && o.positive_weight.at({i, j}) != 0));
      const double weight = o.positive_weight.defined() ? o.positive_weight.at({i, j}) : 1.0;
      s = (s - (positive ? o.margin : 0)) / (call.row_temperature ? temperature.at({i}) : temperature.item());
      const bool in = !excluded && (o.over == LseOver::all || positive == (o.over == LseOver::positives));
      const auto add = [&](size_t first, int64_t at) {
        const bool sigmoid = o.term == ContrastTerm::sigmoid;
        if (in)
          out[first].write<double>("naive")[at] +=
              sigmoid ? std::log1p(std::exp(positive ? -s : s)) : std::exp(s);
        if (positive)
          out[first + 1].write<double>("naive")[at] += weight * s,
              out[first + 2].write<double>("naive")[at] += weight;
      };
      add(0, i);
      add(3, j);
    }
  }
  for (size_t side : {0, 3})
    for (int64_t i = 0; i < out[side].numel() && o.term == ContrastTerm::softmax; ++i)
      out[side].write<double>("naive")[i] = std::log(out[side].at({i}));
  if (!o.two_way) out.resize(3);
  return out;
}

void check_values(const Call& call) {
  const OpCase c = op_case(call);
  std::vector<Var> in;
  for (const Input& i : c.inputs) in.emplace_back(i.value);
  const std::vector<Var> got = c.op(in);
  const std::vector<Tensor> wanted = naive(call);
  ASSERT_EQ(got.size(), wanted.size());
  for (size_t k = 0; k < wanted.size(); ++k)
    EXPECT_LE(max_abs_diff(got[k].value(), wanted[k]), 1e-11 * std::max(1.0, max_abs(wanted[k])))
        << call.name << ": output " << k;
}

void check(const Call& call) {
  check_values(call);
  OpCase c = op_case(call);
  c.gradcheck.tolerance = 3e-6;
  run_op_case(c);
}

Tensor groups(int64_t n, int64_t labels, uint64_t seed) { return indices({n}, seed, labels); }
Tensor coin(Dims dims, uint64_t seed) { return indices(dims, seed, 3).to(DType::boolean); }

TEST(Contrast, AtEveryDepthAndSize) {
  // Raw rows: similarities grow with the depth, and so does what cancels (85 of these units at depth 31).
  for (int64_t depth : edge_sizes())
    check({.name = concat("depth ", depth), .depth = depth, .temperature = 3.0, .floor = 128});
  for (int64_t n : {1, 15, 33, 130})
    check({.name = concat("sizes ", n), .rows = {n}, .columns = {n + 3}, .depth = 5, .block = 17});
}

TEST(Contrast, PartsAreReadWhereTheyLie) {
  check({.name = "parts", .rows = {3, 6}, .columns = {5, 1, 8}});
  check({.name = "empty part", .rows = {4}, .columns = {0, 7}});
}

TEST(Contrast, OneSideMuchLonger) {  // replicas of the shorter side's sums
  check({.name = "few rows", .rows = {3}, .columns = {150}, .block = 2});
  Call c{.name = "few columns", .rows = {150}, .columns = {3}, .block = 2};
  c.options.two_way = true;
  check(c);
}

TEST(Contrast, IdsExcludeAndGroupsMakePositives) {
  Call c{.name = "ids and groups", .rows = {11}, .columns = {13}};
  c.options.normalize = true;
  c.options.row_ids = groups(11, 8, 1);
  c.options.column_ids = groups(13, 8, 2);
  c.options.row_groups = groups(11, 3, 3);
  c.options.column_groups = groups(13, 3, 4);
  check(c);
  c.options.two_way = true;
  c.name = "two-way";
  check(c);
  for (const LseOver over : {LseOver::negatives, LseOver::positives}) {
    c.options.over = over;
    c.options.row_ids = c.options.column_ids = Tensor();  // every row keeps a positive and a negative
    c.options.row_groups = Tensor::from<int64_t>({0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1}, {11});
    c.options.column_groups = Tensor::from<int64_t>({2, 1, 0, 0, 1, 2, 0, 1, 2, 0, 1, 0, 2}, {13});
    c.name = concat("over ", static_cast<int>(over));
    check(c);
  }
}

TEST(Contrast, IdsBeyond32BitsKeepTheirMeaning) {
  Call c{.name = "wide ids", .rows = {5}, .columns = {6}};
  const int64_t big = int64_t{1} << 40;
  c.options.row_ids = Tensor::from<int64_t>({1, 2, big, big + 1, -big}, {5});
  c.options.column_ids = Tensor::from<int64_t>({big, 2 + big, 2, 1, -big, 7}, {6});
  check_values(c);
}

TEST(Contrast, PositiveIndexMaskAndMargin) {
  Call c{.name = "index", .rows = {9}, .columns = {12}};
  c.options.normalize = true;
  c.options.positive = Tensor::from<int64_t>({3, -1, 0, 11, 5, 5, 7, -1, 2}, {9});
  check(c);
  c.options.margin = 0.3;
  c.name = "margin";
  check(c);
  c.options.over = LseOver::negatives;
  c.name = "margin, negatives";
  check(c);
  c.options = {};
  c.options.mask = coin({9, 12}, 5);
  c.options.positive_mask = coin({9, 12}, 6);
  c.name = "masks";
  check(c);
  c.options.two_way = true;
  c.name = "masks, two-way";
  check(c);
}

TEST(Contrast, SoftTargetsWeighPositives) {
  Tensor weights = uniform({7, 9}, 3, 0.0, 1.0);
  for (int64_t i = 0; i < weights.numel(); i += 3) weights.write<double>("test")[i] = 0;
  ContrastOptions o{.positive_weight = weights};
  const auto in_dtype_of_call = [&](const Call& call) {
    OpCase c = op_case(call);
    const OpFn wide = c.op;
    c.op = [=](std::span<const Var> in) {
      Call narrow = call;
      narrow.options.positive_weight = weights.to(acc_dtype(in[0].dtype()));
      return op_case(narrow).op(in);
    };
    return c;
  };
  for (const bool two_way : {false, true}) {
    o.two_way = two_way;
    const Call call{.name = concat("soft targets ", two_way), .options = o};
    check_values(call);
    OpCase c = in_dtype_of_call(call);
    c.gradcheck.tolerance = 3e-6;
    c.floor = 96;
    run_op_case(c);
  }
}

TEST(Contrast, LogisticTerms) {
  for (const bool two_way : {false, true}) {
    for (const bool normalize : {false, true}) {
      ContrastOptions o{.normalize = normalize, .term = ContrastTerm::sigmoid, .two_way = two_way};
      check({.name = concat("sigmoid without positives ", two_way, normalize),
             .temperature = 1.5,
             .options = o});
      o.positive = Tensor::arange(7);
      check({.name = concat("sigmoid pairs ", two_way, normalize), .temperature = 1.5, .options = o});
      check({.name = "sigmoid pairs far apart", .temperature = 0.02, .options = o});
      o.positive = Tensor();
      o.row_groups = groups(7, 3, 1), o.column_groups = groups(9, 3, 2);
      o.row_ids = groups(7, 5, 3), o.column_ids = groups(9, 5, 4);
      check({.name = concat("sigmoid groups ", two_way, normalize), .temperature = 1.5, .options = o});
    }
  }
  ContrastOptions o{.term = ContrastTerm::sigmoid};
  o.row_groups = groups(12, 3, 1);
  check({.name = "sigmoid symmetric", .rows = {5, 7}, .columns = {}, .temperature = 2.0, .options = o});
}

TEST(Contrast, TemperaturePerRow) {
  Call c{.name = "row temperature", .rows = {4, 5}, .columns = {8}, .row_temperature = true};
  c.options.positive = groups(9, 8, 7);
  check(c);
  c.options.normalize = true;
  c.temperature = 0.01;  // beyond the bound: running maxima
  check(c);
}

TEST(Contrast, Symmetric) {
  Call c{.name = "symmetric", .rows = {6, 6}, .columns = {}};
  c.options.normalize = true;
  c.options.row_ids = Tensor::arange(12);
  c.options.positive = Tensor::from<int64_t>({6, 7, 8, 9, 10, 11, 0, 1, 2, 3, 4, 5}, {12});
  check(c);
  c.name = "symmetric, negatives";
  c.options.over = LseOver::negatives;
  check(c);
  c.name = "symmetric, not mirrored";
  c.options.positive = Tensor::from<int64_t>({5, 7, 8, 9, 10, 11, 0, 1, -1, 3, 4, 5}, {12});
  check(c);  // another similarity per direction: takes the general path
  c.options.over = LseOver::all;
  check(c);  // one tile still serves both
  c.name = "symmetric groups";
  c.options.positive = Tensor();
  c.options.row_groups = groups(12, 3, 8);
  check(c);
  for (int64_t n : {1, 2, 5, 17}) {  // odd and even numbers of blocks
    Call plain{.name = concat("symmetric ", n), .rows = {n}, .columns = {}, .block = 2};
    check(plain);
  }
}

TEST(Contrast, LargeSimilaritiesKeepRunningMaxima) {
  for (const bool two_way : {false, true}) {
    Call c{.name = "tiny temperature", .rows = {9}, .columns = {10}, .temperature = 0.002};
    c.options.normalize = true;
    c.options.two_way = two_way;
    c.options.positive = groups(9, 10, 3);
    OpCase o = op_case(c);
    o.gradcheck = {.step = 1e-8, .tolerance = 1e-4};
    check_values(c);
    run_op_case(o);
  }
  Call c{.name = "tiny temperature, symmetric", .rows = {5, 5}, .columns = {}, .temperature = 0.002};
  c.options.normalize = true;
  c.options.row_ids = Tensor::arange(10);
  OpCase o = op_case(c);
  o.gradcheck = {.step = 1e-8, .tolerance = 1e-4};
  check_values(c);
  run_op_case(o);
}

// What softmax loses to the rounding of a log-sum-exp near 500 would reach the gradient 500 times larger.
TEST(Contrast, LargeSimilaritiesGiveExactGradients) {
  const Tensor rows = Tensor::from({1.0, 1.1, 1.2, 1.3, 0.9, 0.8, 0.7, 0.6}, {8, 1});
  const Tensor columns = Tensor::from({1.0, 0.999, 0.998, 0.9975}, {4, 1});
  const auto gradient = [&](double temperature, DType dtype) {
    const Var r = Var::leaf(rows.to(DType::f32).to(dtype)), c(columns.to(DType::f32).to(dtype));
    ContrastOptions o;
    o.positive = Tensor::zeros({8}, DType::i64);
    const ContrastResult s = contrast({&r, 1}, {&c, 1}, constant_temperature(temperature, r), o);
    const std::vector<Var> loss{sum(sub(s.lse, s.positive))}, wanted{r};
    return grad(loss, wanted)[0].to(DType::f64);
  };
  for (const double temperature : {0.002, 0.02, 0.05}) {
    const Tensor exact = gradient(temperature, DType::f64), got = gradient(temperature, DType::f32);
    for (int64_t i = 0; i < 8; ++i)
      EXPECT_NEAR(got.at({i, 0}), exact.at({i, 0}), 5e-7 / temperature)
          << "1/" << 1 / temperature << ", " << i;
  }
}

// One column has the whole softmax: no gradient at all, whatever the similarity.
TEST(Contrast, OneColumnHasNoGradient) {
  const Var r = Var::leaf(normal({1, 5}, 3).to(DType::f32)), c = Var::leaf(normal({1, 5}, 4).to(DType::f32));
  for (const double temperature : {1.0, 0.05, 0.01}) {
    ContrastOptions o;
    o.normalize = o.two_way = true;
    o.positive = Tensor::zeros({1}, DType::i64);
    const ContrastResult s = contrast({&r, 1}, {&c, 1}, constant_temperature(temperature, r), o);
    const std::vector<Var> loss{sum(add(sub(s.lse, s.positive), sub(s.column_lse, s.column_positive)))},
        wanted{r, c};
    for (const Tensor& d : grad(loss, wanted))
      for (int64_t i = 0; i < 5; ++i) EXPECT_EQ(d.at({0, i}), 0) << temperature;
  }
}

TEST(Contrast, Bf16ProductsOfF32Operands) {
  Call c{.name = "bf16 products", .rows = {20}, .columns = {33}, .depth = 37, .block = 16};
  c.options.normalize = true;
  std::vector<Var> exact, rounded;
  for (const Input& i : op_case(c).inputs) exact.push_back(Var::leaf(i.value.to(DType::f32)));
  for (const Var& v : exact) rounded.push_back(Var::leaf(v.value().clone()));
  const auto run = [&](std::span<const Var> in, bool bf16) {
    c.options.bf16_products = bf16;
    const ContrastResult r = contrast(in.first(1), in.subspan(1, 1), in[2], c.options);
    backward(r.lse);
    return r.lse.value();
  };
  const Tensor a = run(exact, false);
  for (const int which : cpu_tables()) {
    const ForceTable force(which);
    for (Var& v : rounded) v.clear_grad();
    EXPECT_LT(max_abs_diff(run(rounded, true), a), 2e-2) << which;
    for (size_t i = 0; i < exact.size(); ++i)
      EXPECT_LT(max_abs_diff(rounded[i].grad(), exact[i].grad()), 2e-2 * max_abs(exact[i].grad())) << which;
  }
}

TEST(Contrast, RowsWithoutColumnsAreMinusInfinityWithoutGradient) {
  for (const double temperature : {0.5, 0.001}) {
    for (const DType dtype : {DType::f32, DType::f64}) {
      const Var x = Var::leaf(normal({3, 4}, 1).to(dtype)), y = Var::leaf(normal({2, 4}, 2).to(dtype));
      ContrastOptions o{.normalize = true};
      o.row_ids = Tensor::from<int64_t>({5, 6, 7}, {3});
      o.column_ids = Tensor::from<int64_t>({6, 6}, {2});
      const Var t = constant_temperature(temperature, x);
      const ContrastResult r = contrast({&x, 1}, {&y, 1}, t, o);
      EXPECT_EQ(r.lse.value().at({1}), -std::numeric_limits<double>::infinity());
      backward(r.lse);
      for (int64_t d = 0; d < 4; ++d) EXPECT_EQ(x.grad().at({1, d}), 0.0);
      EXPECT_GT(max_abs(x.grad()), 0.0);
      const Var none(Tensor::empty({0, 4}, dtype));  // an empty queue
      const ContrastResult empty = contrast({&x, 1}, {&none, 1}, t);
      EXPECT_EQ(empty.lse.value().at({0}), -std::numeric_limits<double>::infinity());
      EXPECT_EQ(empty.count.at({0}), 0.0);
      x.is_leaf() ? backward(empty.lse) : void();
    }
  }
}

TEST(Contrast, StopGradientOnEitherSide) {
  const Var x = Var::leaf(normal({5, 4}, 1)), y = Var::leaf(normal({6, 4}, 2));
  backward(contrast({&x, 1}, {&y, 1}, constant_temperature(1, x), {.stop_columns = true}).lse);
  EXPECT_TRUE(x.grad().defined());
  EXPECT_FALSE(y.grad().defined());
  const Var z = Var::leaf(normal({5, 4}, 1));
  backward(contrast({&z, 1}, {&z, 1}, constant_temperature(1, z), {.stop_columns = true}).lse);
  const Var w = Var::leaf(normal({5, 4}, 1));
  backward(contrast_symmetric({&w, 1}, constant_temperature(1, w), {.stop_columns = true}).lse);
  EXPECT_TRUE(same_bits(z.grad(), w.grad()));
}

TEST(Contrast, ShippedBlocksGiveTheSameAsTinyOnes) {
  // Real block sizes, symmetric and not, at 1 and 3 threads; 1300 rows are 10 blocks
  const Tensor x = normal({1300, 24}, 1).to(DType::f32);
  const auto run = [&](int threads, int64_t block) {
    const ForceContrastBlock force(block);
    set_num_threads(threads);
    const Var v = Var::leaf(x);
    ContrastOptions o{.normalize = true};
    o.row_ids = Tensor::arange(1300);
    const Var lse = contrast_symmetric({&v, 1}, constant_temperature(0.1, v), o).lse;
    backward(lse);
    set_num_threads(2);
    return std::pair(lse.value(), v.grad());
  };
  const auto one = run(1, 0), three = run(3, 0), small = run(2, 100);
  EXPECT_TRUE(same_bits(one.first, three.first));
  EXPECT_TRUE(same_bits(one.second, three.second));
  EXPECT_LT(max_abs_diff(one.first, small.first), 1e-5);
  EXPECT_LT(max_abs_diff(one.second, small.second), 1e-5 * max_abs(one.second));
}

TEST(Contrast, ErrorsNameTheLossTheArgumentAndTheRule) {
  const Var x(Tensor::zeros({3, 4})), y(Tensor::zeros({5, 4})), t = constant_temperature(0.1, x);
  const auto call = [&](const Var& a, const Var& b, const Var& temperature, ContrastOptions o = {}) {
    o.op = "some_loss";
    return [=] { contrast({&a, 1}, {&b, 1}, temperature, o); };
  };
  expect_error(call(x, Var(Tensor::zeros({5, 3})), t), {"some_loss", "columns", "[n, 4]", "[5, 3]"});
  expect_error(call(x, Var(Tensor::zeros({5, 4}, DType::f64)), t), {"some_loss", "columns", "f32", "f64"});
  expect_error(call(Var(Tensor::zeros({4})), y, t), {"some_loss", "rows", "[n, D]"});
  expect_error(call(x, y, constant_temperature(0, x)), {"some_loss", "temperature", "positive", "0"});
  expect_error(call(x, y, constant_temperature(-1, x)), {"temperature", "-1"});
  expect_error(call(x, y, Var(Tensor::full({5}, 1.0))), {"temperature", "[3]"});
  expect_error(call(x, y, Var(Tensor::full({3}, 1.0)), {.two_way = true}), {"temperature", "two_way"});
  expect_error(call(x, y, t, {.row_ids = Tensor::arange(3)}), {"column_ids", "missing"});
  expect_error(call(x, y, t, {.row_ids = Tensor::arange(2), .column_ids = Tensor::arange(5)}),
               {"row_ids", "[3]"});
  expect_error(call(x, y, t, {.positive = Tensor::from<int64_t>({0, 5, 1}, {3})}),
               {"positive", "4", "5", "row 1"});
  expect_error(call(x, y, t, {.mask = Tensor::zeros({3, 5})}), {"mask", "bool", "[3, 5]"});
  expect_error(
      [&] {
        contrast_symmetric({&x, 1}, t, {.column_ids = Tensor::arange(3)});
      },
      {"column_ids", "row_ids"});
}

// The mutant of this file: the log-sum-exp forgets that a row's similarities depend on the columns too.
TEST(Contrast, MutantIsCaught) {
  OpCase c = op_case({.name = "mutant"});
  c.op = [](std::span<const Var> in) {
    return outputs(contrast(in.first(1), in.subspan(1, 1), in[2], {.stop_columns = true}));
  };
  expect_caught(c);
}

}  // namespace
}  // namespace juxta::test

#include "kernels/attention.h"

#include <cmath>
#include <limits>

#include "tensor/allocator.h"
#include "tests/harness.h"

namespace juxta::test {
namespace {

enum class MaskShape { none, rows, batch, heads };  // [Tq, Tk], [B, Tq, Tk], [B, H, Tq, Tk]
enum class BiasShape { none, shared, batch };       // [H, Tq, Tk], [B, H, Tq, Tk]
enum class Form { separate, packed, scores };

struct Config {
  int64_t B = 2, H = 2, Tq = 5, Tk = 5, D = 16;
  Form form = Form::separate;
  bool causal = false, lengths = false;
  MaskShape mask = MaskShape::none;
  BiasShape bias = BiasShape::none;
  double scale = 0;
};

// True with probability 0.7; the first row hides every key.
Tensor random_mask(Dims dims) {
  Tensor t = Tensor::empty(dims, DType::boolean);
  const Tensor u = uniform(dims, 21);
  bool* p = t.write<bool>("mask");
  for (int64_t i = 0; i < t.numel(); ++i) p[i] = i >= dims.back() && u.data<double>()[i] < 0.7;
  return t;
}

// The options' tensors as inputs from place `first` on: lengths, mask, bias.
void push_options(const Config& c, std::vector<Input>& in) {
  if (c.lengths) {
    Tensor t = Tensor::empty({c.B}, DType::i64);
    for (int64_t b = 0; b < c.B; ++b) t.write<int64_t>("lengths")[b] = b == 0 ? c.Tk / 2 : c.Tk - b % 2;
    in.push_back({t, Role::constant});
  }
  if (c.mask == MaskShape::rows) in.push_back({random_mask({c.Tq, c.Tk}), Role::constant});
  if (c.mask == MaskShape::batch) in.push_back({random_mask({c.B, c.Tq, c.Tk}), Role::constant});
  if (c.mask == MaskShape::heads) in.push_back({random_mask({c.B, c.H, c.Tq, c.Tk}), Role::constant});
  if (c.bias == BiasShape::shared) in.push_back({normal({c.H, c.Tq, c.Tk}, 4), Role::param});
  if (c.bias == BiasShape::batch) in.push_back({normal({c.B, c.H, c.Tq, c.Tk}, 4), Role::param});
}

AttentionOptions options_of(const Config& c, std::span<const Var> in) {
  AttentionOptions o{.scale = c.scale, .causal = c.causal};
  size_t i = 0;
  if (c.lengths) o.key_lengths = in[i++].value();
  if (c.mask != MaskShape::none) o.mask = in[i++].value();
  if (c.bias != BiasShape::none) o.bias = in[i++];
  return o;
}

std::string name_of(const Config& c) {
  return concat("attention form ", static_cast<int>(c.form), " B ", c.B, " H ", c.H, " Tq ", c.Tq, " Tk ",
                c.Tk, " D ", c.D, c.causal ? " causal" : "", c.lengths ? " lengths" : "", " mask ",
                static_cast<int>(c.mask), " bias ", static_cast<int>(c.bias));
}

OpCase attention_case(const Config& c) {
  OpCase o{.name = name_of(c), .inputs = {}, .op = {}};
  if (c.form == Form::packed) {
    o.inputs.push_back({normal({c.B, c.Tq, 3, c.H, c.D}, 1)});
  } else {
    // With one key p = 1: the gradients of q and k are 0 but for rounding (see OneKeyTakesAll).
    const Role role = c.Tk == 1 && c.form == Form::separate ? Role::frozen : Role::activation;
    o.inputs.push_back({normal({c.B, c.Tq, c.H, c.D}, 1), role});
    o.inputs.push_back({normal({c.B, c.Tk, c.H, c.D}, 2), role});
    if (c.form == Form::separate) o.inputs.push_back({normal({c.B, c.Tk, c.H, c.D}, 3)});
  }
  const size_t first = o.inputs.size();
  push_options(c, o.inputs);
  o.op = [c, first](std::span<const Var> in) {
    const AttentionOptions options = options_of(c, in.subspan(first));
    if (c.form == Form::packed) return std::vector<Var>{attention_qkv(in[0], options)};
    if (c.form == Form::scores) return std::vector<Var>{attention_scores(in[0], in[1], options)};
    return std::vector<Var>{attention(in[0], in[1], in[2], options)};
  };
  const int64_t work = c.B * c.H * c.Tq * c.Tk * c.D;
  o.gradcheck.max_elements = work > 200000 ? 6 : work > 20000 ? 20 : 60;
  return o;
}

// Small blocks of keys: tiny inputs cross several.
void run_both_tiles(const Config& c) {
  run_op_case(attention_case(c));
  const KeyBlockScope small(1);
  run_op_case(attention_case(c));
}

TEST(Attention, EveryHeadSize) {
  for (int64_t D : {1, 3, 16, 17, 24, 33, 48, 63, 64, 65, 80, 96, 128}) run_op_case(attention_case({.D = D}));
}

TEST(Attention, EveryLengthAroundTheTiles) {
  for (int64_t T : {1, 2, 13, 14, 15, 16, 17, 28, 31, 32, 33, 48, 63, 64, 65, 96, 97})
    run_both_tiles({.B = 1, .Tq = T, .Tk = T, .D = 8});
  run_op_case(attention_case({.B = 1, .H = 1, .Tq = 129, .Tk = 129, .D = 17}));
  run_op_case(attention_case({.B = 1, .H = 1, .Tq = 300, .Tk = 300, .D = 16}));
}

TEST(Attention, QueriesAndKeysOfDifferentLengths) {
  for (const auto& [Tq, Tk] : {std::pair{1, 37}, {37, 1}, {20, 50}, {50, 20}, {3, 130}})
    run_both_tiles({.Tq = Tq, .Tk = Tk, .D = 12});
}

TEST(Attention, PackedInPlace) {
  for (int64_t T : {1, 14, 33, 65}) run_both_tiles({.H = 3, .Tq = T, .Tk = T, .D = 16, .form = Form::packed});
  run_op_case(attention_case({.H = 3, .Tq = 65, .Tk = 65, .D = 64, .form = Form::packed}));
  run_op_case(attention_case({.H = 1, .Tq = 9, .Tk = 9, .D = 5, .form = Form::packed, .causal = true}));
}

TEST(Attention, OneKeyTakesAll) {
  for (Isa isa : host_isas()) {
    const ForceTable force(isa);
    const Var q = Var::leaf(normal({2, 1, 2, 8}, 1).to(DType::f32)),
              k = Var::leaf(normal({2, 1, 2, 8}, 2).to(DType::f32)),
              v = Var::leaf(normal({2, 1, 2, 8}, 3).to(DType::f32));
    const Var y = attention(q, k, v);
    const Tensor dy = normal({2, 1, 2, 8}, 4).to(DType::f32);
    backward(std::vector{y}, std::vector{dy});
    EXPECT_LE(max_abs_diff(y.value(), v.value()), 1e-6);
    EXPECT_LE(max_abs_diff(v.grad(), dy), 1e-6);
    EXPECT_LE(max_abs(q.grad()), 1e-5);
    EXPECT_LE(max_abs(k.grad()), 1e-5);
  }
}

TEST(Attention, Causal) {
  for (int64_t T : {1, 15, 33, 70}) run_both_tiles({.B = 1, .Tq = T, .Tk = T, .D = 9, .causal = true});
  // a cache of earlier keys, and queries that see no key at all
  run_both_tiles({.Tq = 3, .Tk = 40, .D = 16, .causal = true});
  run_both_tiles({.Tq = 40, .Tk = 3, .D = 16, .causal = true});
}

TEST(Attention, KeyLengths) {
  run_both_tiles({.B = 3, .Tq = 20, .Tk = 33, .D = 16, .lengths = true});
  run_both_tiles({.B = 3, .Tq = 33, .Tk = 33, .D = 16, .causal = true, .lengths = true});
  run_op_case(attention_case({.Tq = 4, .Tk = 1, .lengths = true}));  // the first item sees no key
}

TEST(Attention, Masks) {
  for (MaskShape mask : {MaskShape::rows, MaskShape::batch, MaskShape::heads}) {
    run_both_tiles({.Tq = 18, .Tk = 35, .D = 8, .mask = mask});
    run_op_case(attention_case({.Tq = 34, .Tk = 17, .D = 8, .causal = true, .lengths = true, .mask = mask}));
  }
}

TEST(Attention, BiasWithGradient) {
  for (BiasShape bias : {BiasShape::shared, BiasShape::batch}) {
    run_both_tiles({.Tq = 18, .Tk = 35, .D = 8, .bias = bias});
    run_both_tiles(
        {.Tq = 33, .Tk = 33, .D = 8, .causal = true, .mask = MaskShape::rows, .bias = bias, .scale = 0.3});
    run_op_case(
        attention_case({.Tq = 16, .Tk = 16, .D = 8, .form = Form::packed, .lengths = true, .bias = bias}));
  }
  run_op_case(
      attention_case({.B = 19, .Tq = 3, .Tk = 4, .D = 4, .bias = BiasShape::shared}));  // several chunks
}

TEST(Attention, Scores) {
  for (int64_t T : {1, 14, 33, 65}) run_both_tiles({.B = 1, .Tq = T, .Tk = T, .D = 8, .form = Form::scores});
  run_both_tiles({.Tq = 17, .Tk = 40, .D = 16, .form = Form::scores, .causal = true, .lengths = true});
  run_both_tiles(
      {.Tq = 40, .Tk = 17, .D = 16, .form = Form::scores, .causal = true, .mask = MaskShape::heads});
  run_op_case(attention_case({.B = 9,
                              .Tq = 6,
                              .Tk = 20,
                              .D = 7,
                              .form = Form::scores,
                              .mask = MaskShape::batch,
                              .bias = BiasShape::shared}));
  run_op_case(attention_case({.Tq = 6, .Tk = 20, .D = 7, .form = Form::scores, .bias = BiasShape::batch}));
}

TEST(Attention, ManyQueriesCrossWorkItems) {
  OpCase c = attention_case({.B = 1, .H = 1, .Tq = 550, .Tk = 70, .D = 8});
  run_op_case(c);
  run_op_case(attention_case({.B = 1, .H = 1, .Tq = 550, .Tk = 70, .D = 8, .causal = true}));
}

// The definition, written out.
double expected_output(const Config& c, const std::vector<Input>& in, const AttentionOptions& o, int64_t b,
                       int64_t h, int64_t t, int64_t d, bool probability) {
  const Tensor &q = in[0].value, &k = in[1].value;
  double sum = 0, out = 0;
  for (int64_t j = 0; j < c.Tk; ++j) {
    if (c.causal && j > t + c.Tk - c.Tq) continue;
    if (o.key_lengths && j >= static_cast<int64_t>(o.key_lengths.at({b}))) continue;
    if (o.mask && o.mask.at({b, h, t, j}) == 0) continue;
    double s = 0;
    for (int64_t i = 0; i < c.D; ++i) s += q.at({b, t, h, i}) * k.at({b, j, h, i});
    s *= c.scale ? c.scale : 1 / std::sqrt(static_cast<double>(c.D));
    if (o.bias) s += o.bias.value().at({h, t, j});
    sum += std::exp(s);
    out += std::exp(s) * (probability ? j == d : in[2].value.at({b, j, h, d}));
  }
  return sum > 0 ? out / sum : 0;
}

TEST(Attention, IsTheDefinition) {
  for (const bool scaled : {false, true}) {
    Config c{.Tq = 7, .Tk = 9, .D = 6, .causal = true, .lengths = true, .mask = MaskShape::heads};
    c.bias = BiasShape::shared;
    if (scaled) c.scale = 0.7;
    const OpCase o = attention_case(c);
    std::vector<Var> in;
    for (const Input& i : o.inputs) in.emplace_back(i.value);
    const AttentionOptions options = options_of(c, std::span(in).subspan(3));
    const Tensor out = attention(in[0], in[1], in[2], options).value();
    const Tensor p = attention_scores(in[0], in[1], options).value();
    for (int64_t b = 0; b < c.B; ++b)
      for (int64_t h = 0; h < c.H; ++h)
        for (int64_t t = 0; t < c.Tq; ++t) {
          for (int64_t d = 0; d < c.D; ++d)
            EXPECT_NEAR(out.at({b, t, h, d}), expected_output(c, o.inputs, options, b, h, t, d, false),
                        1e-12);
          for (int64_t j = 0; j < c.Tk; ++j)
            EXPECT_NEAR(p.at({b, h, t, j}), expected_output(c, o.inputs, options, b, h, t, j, true), 1e-12);
        }
  }
}

// Views of any strides give the bits of contiguous tensors; the packed form gives those of its slices.
TEST(Attention, StridedViewsAreReadInPlace) {
  const Tensor qkv = normal({2, 35, 3, 2, 24}, 1).to(DType::f32);
  const Var packed = Var::leaf(qkv);
  const Var q = Var::leaf(qkv.select(2, 0)), k = Var::leaf(qkv.select(2, 1)), v = Var::leaf(qkv.select(2, 2));
  const Var a = attention(q, k, v), b = attention_qkv(packed);
  const Var c = attention(Var(q.value().clone()), Var(k.value().clone()), Var(v.value().clone()));
  EXPECT_TRUE(same_bits(a.value(), b.value()));
  EXPECT_TRUE(same_bits(a.value(), c.value()));
  backward(a), backward(b);
  const Var* parts[] = {&q, &k, &v};
  for (int i = 0; i < 3; ++i) EXPECT_TRUE(same_bits(parts[i]->grad(), packed.grad().select(2, i)));
  // heads before tokens, and D not contiguous
  const Tensor heads_first = q.value().permute({0, 2, 1, 3}).clone().permute({0, 2, 1, 3});
  const Tensor odd = q.value().permute({3, 0, 1, 2}).clone().permute({1, 2, 3, 0});
  EXPECT_TRUE(same_bits(attention(Var(heads_first), k, v).value(), a.value()));
  EXPECT_TRUE(same_bits(attention(Var(odd), k, v).value(), a.value()));
}

TEST(Attention, HiddenQueriesGiveZeroAndZeroGradient) {
  for (const DType dtype : {DType::f32, DType::bf16, DType::f64}) {
    const Var q = Var::leaf(normal({1, 4, 1, 8}, 1).to(dtype));
    Var k = Var::leaf(normal({1, 2, 1, 8}, 2).to(dtype)), v = Var::leaf(normal({1, 2, 1, 8}, 3).to(dtype));
    const Var y = attention(q, k, v, {.causal = true});  // queries 0 and 1 come before every key
    backward(y);
    EXPECT_EQ(max_abs(y.value().slice(1, 0, 2)), 0.0);
    EXPECT_EQ(max_abs(q.grad().slice(1, 0, 2)), 0.0);
    EXPECT_GT(max_abs(y.value().slice(1, 2, 4)), 0.0);
    const Var z = attention(q, k, v, {.key_lengths = Tensor::zeros({1}, DType::i64)});
    k.set_grad({}), v.set_grad({});
    backward(z);
    EXPECT_EQ(max_abs(z.value()), 0.0);
    EXPECT_EQ(max_abs(k.grad()), 0.0);
    EXPECT_EQ(max_abs(v.grad()), 0.0);
  }
}

TEST(Attention, LargeScoresStayFinite) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    const Var q = Var::leaf(normal({1, 40, 1, 16}, 1, 0, 300).to(dtype)),
              k = Var::leaf(normal({1, 40, 1, 16}, 2, 0, 300).to(dtype)),
              v = Var::leaf(normal({1, 40, 1, 16}, 3).to(dtype));
    const KeyBlockScope small(1);
    const Var y = attention(q, k, v);
    backward(y);
    for (const Tensor& t : {y.value(), q.grad(), k.grad(), v.grad()})
      for (int64_t i = 0; i < t.numel(); ++i)
        ASSERT_TRUE(std::isfinite(t.to(DType::f64).contiguous().data<double>()[i]));
    EXPECT_LE(max_abs(y.value()), max_abs(v.value()) * 1.01);
  }
}

TEST(Attention, NaNIsNotSwallowed) {
  Tensor q = normal({1, 3, 1, 8}, 1).to(DType::f32);
  q.select(1, 1).fill(std::numeric_limits<double>::quiet_NaN(), "test");
  const Var k(normal({1, 3, 1, 8}, 2).to(DType::f32));
  for (Isa isa : host_isas()) {
    const ForceTable force(isa);
    const Tensor y = attention(Var(q), k, k).value();
    EXPECT_TRUE(std::isnan(y.at({0, 1, 0, 0})));
    EXPECT_FALSE(std::isnan(y.at({0, 0, 0, 0})) || std::isnan(y.at({0, 2, 0, 0})));
  }
}

// Forward and backward of T = 1500 stay far below one T x T matrix.
TEST(Attention, MemoryIsLinearInLength) {
  const int64_t T = 1500;
  const Var qkv = Var::leaf(normal({1, T, 3, 1, 8}, 1).to(DType::f32));
  const size_t before = allocator(kCpu).stats().live_bytes;
  allocator(kCpu).reset_peak();
  backward(attention_qkv(qkv));
  EXPECT_LT(allocator(kCpu).stats().peak_bytes - before,
            static_cast<size_t>(T * T));  // bytes: a quarter of the matrix in f32
}

TEST(Attention, EmptyInputs) {
  const Var q = Var::leaf(Tensor::zeros({2, 3, 2, 8})), none = Var::leaf(Tensor::zeros({2, 0, 2, 8}));
  const Var y = attention(q, none, none);
  backward(y);
  EXPECT_EQ(max_abs(y.value()), 0.0);
  EXPECT_EQ(max_abs(q.grad()), 0.0);
  const Var z = attention(none, q, q);
  backward(z);
  EXPECT_EQ(z.dims(), Dims({2, 0, 2, 8}));
  EXPECT_EQ(attention_scores(q, none).dims(), Dims({2, 2, 3, 0}));
}

TEST(Attention, ErrorsNameOpArgumentAndShapes) {
  const Var q(Tensor::zeros({2, 3, 2, 8})), k(Tensor::zeros({2, 5, 2, 8}));
  const auto with = [&](const AttentionOptions& o) { return [=] { attention(q, k, k, o); }; };
  expect_error(
      [&] {
        attention(Var(Tensor::zeros({3, 8})), k, k);
      },
      {"attention", "q", "[B, Tq, H, D]", "[3, 8]"});
  expect_error(
      [&] {
        attention(q, Var(Tensor::zeros({2, 5, 3, 8})), k);
      },
      {"k", "[2, 5, 2, 8]", "[2, 5, 3, 8]"});
  expect_error([&] { attention(q, k, q); }, {"v", "[2, 5, 2, 8]", "[2, 3, 2, 8]"});
  expect_error([&] { attention(q, k, Var(Tensor::zeros({2, 5, 2, 8}, DType::bf16))); }, {"v", "f32", "bf16"});
  expect_error([&] { attention(q, Var(), k); }, {"attention", "k"});
  expect_error([&] { attention_qkv(q); }, {"attention_qkv", "[B, T, 3, H, D]"});
  expect_error([&] { attention_scores(q, Var(Tensor::zeros({5, 2, 8}))); }, {"attention_scores", "k"});
  expect_error(with({.scale = std::numeric_limits<double>::infinity()}), {"scale", "inf"});
  expect_error(with({.key_lengths = Tensor::zeros({3}, DType::i64)}), {"key_lengths", "[2]", "[3]"});
  expect_error(with({.key_lengths = Tensor::from<int64_t>({5, 6}, {2})}),
               {"key_lengths", "[0, 5]", "6", "[1]"});
  expect_error(with({.mask = Tensor::zeros({3, 5})}), {"mask", "bool", "f32"});
  expect_error(with({.mask = Tensor::zeros({2, 5, 3}, DType::boolean)}), {"mask", "[2, 3, 5]", "[2, 5, 3]"});
  expect_error(with({.bias = Var(Tensor::zeros({3, 5}))}), {"bias", "[2, 3, 5]", "[3, 5]"});
  expect_error(with({.bias = Var(Tensor::zeros({2, 3, 5}, DType::f64))}), {"bias", "f32", "f64"});
}

// The mutant of this file: a backward pass that forgets delta, so that ds = p dp.
TEST(Attention, MutantIsCaught) {
  OpCase c = attention_case({.B = 1, .H = 1, .Tq = 4, .Tk = 4, .D = 3});
  c.op = [](std::span<const Var> in) {
    const Var p = attention_scores(Var(in[0].value()), Var(in[1].value()));
    const Tensor y = attention(Var(in[0].value()), Var(in[1].value()), Var(in[2].value())).value();
    return std::vector<Var>{
        record("wrong_attention", {}, {&in[0], &in[1], &in[2]}, y,
               {{"k", in[1].value()}, {"v", in[2].value()}, {"p", p.value()}}, [](Backward& b) {
                 Tensor dq = Tensor::zeros({1, 4, 1, 3}, b.dy().dtype());
                 for (int64_t t = 0; t < 4; ++t)
                   for (int64_t d = 0; d < 3; ++d) {
                     double sum = 0;
                     for (int64_t j = 0; j < 4; ++j)
                       for (int64_t e = 0; e < 3; ++e)
                         sum += b.saved(2).at({0, 0, t, j}) * b.dy().at({0, t, 0, e}) *
                                b.saved(1).at({0, j, 0, e}) * b.saved(0).at({0, j, 0, d}) / std::sqrt(3.0);
                     dq.select(1, t).slice(2, d, d + 1).fill(sum, "wrong");
                   }
                 b.set(0, dq);
               })};
  };
  for (size_t i = 1; i < 3; ++i) c.inputs[i].role = Role::frozen;
  expect_caught(c);
}

}  // namespace
}  // namespace juxta::test

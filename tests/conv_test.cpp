#include "kernels/conv.h"

#include "kernels/conv_plan.h"
#include "tests/harness.h"

namespace juxta::test {
namespace {

struct Case {
  int64_t n, h, w, in, out, kh, kw;
  ConvOptions options = {};
  bool bias = false;
};

std::string name_case(const char* op, const Case& c) {
  const ConvOptions& o = c.options;
  return concat(op, " x [", c.n, ", ", c.h, ", ", c.w, ", ", c.in, "] -> ", c.out, " k ", c.kh, "x", c.kw,
                " stride ", o.stride, " pad ", o.padding, " dilation ", o.dilation, " groups ", o.groups);
}

// Large cases check fewer elements by finite differences: each costs two convolutions in plain loops.
GradCheck few_elements(const Case& c) {
  const int64_t work = c.n * c.h * c.w * c.in * c.out * c.kh * c.kw / c.options.groups;
  return {.max_elements = work > 2'000'000 ? 4 : work > 200'000 ? 10 : 40};
}

OpCase conv2d_case(const Case& c) {
  OpCase op{.name = name_case("conv2d", c),
            .inputs = {{normal({c.n, c.h, c.w, c.in}, 1)},
                       {normal({c.out, c.in / c.options.groups, c.kh, c.kw}, 2), Role::param}},
            .op = {},
            .gradcheck = few_elements(c)};
  if (c.bias) op.inputs.push_back({normal({c.out}, 3), Role::param});
  op.op = [o = c.options](std::span<const Var> in) {
    return std::vector<Var>{conv2d(in[0], in[1], in.size() > 2 ? in[2] : Var(), o)};
  };
  return op;
}

OpCase transpose_case(const Case& c) {
  OpCase op{.name = name_case("conv_transpose2d", c),
            .inputs = {{normal({c.n, c.h, c.w, c.in}, 4)},
                       {normal({c.in, c.out / c.options.groups, c.kh, c.kw}, 5), Role::param},
                       {normal({c.out}, 6), Role::param}},
            .op = {},
            .gradcheck = few_elements(c)};
  op.op = [o = c.options](std::span<const Var> in) {
    return std::vector<Var>{conv_transpose2d(in[0], in[1], in[2], o)};
  };
  return op;
}

// The formula of conv.h for one image of two axes, with none of the library's plans.
Tensor plain_conv2d(const Tensor& x, const Tensor& w, const ConvOptions& o) {
  const int64_t in_group = w.size(1), out_group = w.size(0) / o.groups;
  const auto size = [&](int64_t in, int64_t k) {
    return (in + 2 * o.padding - o.dilation * (k - 1) - 1) / o.stride + 1;
  };
  Tensor y = Tensor::zeros({x.size(0), size(x.size(1), w.size(2)), size(x.size(2), w.size(3)), w.size(0)},
                           DType::f64);
  auto* out = y.write<double>("plain_conv2d");
  for (int64_t n = 0; n < y.size(0); ++n)
    for (int64_t i = 0; i < y.size(1); ++i)
      for (int64_t j = 0; j < y.size(2); ++j)
        for (int64_t k = 0; k < y.size(3); ++k, ++out)
          for (int64_t r = 0; r < w.size(2); ++r)
            for (int64_t s = 0; s < w.size(3); ++s) {
              const int64_t h = i * o.stride + r * o.dilation - o.padding,
                            v = j * o.stride + s * o.dilation - o.padding;
              if (h < 0 || h >= x.size(1) || v < 0 || v >= x.size(2)) continue;
              for (int64_t c = 0; c < in_group; ++c)
                *out += x.at({n, h, v, k / out_group * in_group + c}) * w.at({k, c, r, s});
            }
  return y;
}

TEST(Conv, MatchesTheFormula) {
  const Case cases[] = {
      {2, 7, 6, 3, 4, 3, 3, {.padding = 1}},
      {1, 9, 8, 4, 6, 3, 2, {.stride = 2, .padding = 1, .groups = 2}},
      {1, 9, 11, 2, 3, 3, 3, {.stride = 3, .padding = 2, .dilation = 2}},
      {1, 5, 5, 4, 4, 1, 1, {.stride = 2}},
      {1, 6, 7, 5, 5, 3, 3, {.padding = 1, .groups = 5}},
  };
  for (const Case& c : cases) {
    const Tensor x = normal({c.n, c.h, c.w, c.in}, 7),
                 w = normal({c.out, c.in / c.options.groups, c.kh, c.kw}, 8);
    const Tensor y = conv2d(Var(x), Var(w), Var(), c.options).value();
    EXPECT_LT(max_abs_diff(y, plain_conv2d(x, w, c.options)), 1e-12) << name_case("conv2d", c);
  }
}

TEST(Conv, ChannelsAroundTheVector) {
  for (int64_t c : edge_sizes()) {
    run_op_case(conv2d_case({1, 5, 6, c, 5, 3, 3, {.padding = 1}}));
    run_op_case(conv2d_case({1, 5, 6, 5, c, 3, 3, {.padding = 1}, true}));
  }
  run_op_case(conv2d_case({2, 4, 3, 33, 65, 1, 1, {}}));
}

TEST(Conv, KernelSizesStridesPaddings) {
  for (int64_t k : {1, 3, 5})
    for (int64_t stride : {1, 2})
      for (int64_t padding : {int64_t{0}, k / 2})
        run_op_case(conv2d_case({2, 9, 7, 3, 4, k, k, {.stride = stride, .padding = padding}}));
  run_op_case(conv2d_case({1, 19, 22, 3, 8, 7, 7, {.stride = 2, .padding = 3}}));
  run_op_case(conv2d_case({2, 8, 8, 6, 9, 1, 1, {.stride = 2}, true}));
  run_op_case(conv2d_case({1, 10, 13, 4, 4, 2, 4, {.stride = 3, .padding = 1}}));
  run_op_case(conv2d_case({1, 12, 12, 5, 3, 4, 4, {.stride = 4}}));  // patches
  run_op_case(
      conv2d_case({1, 9, 10, 3, 3, 2, 2, {.stride = 5, .padding = 1}}));  // pixels that no window sees
  run_op_case(conv2d_case({1, 3, 3, 4, 4, 3, 3, {.padding = 4}}));        // padding beyond the kernel
}

TEST(Conv, Dilation) {
  run_op_case(conv2d_case({1, 9, 10, 4, 5, 3, 3, {.padding = 2, .dilation = 2}}));
  run_op_case(conv2d_case({1, 13, 12, 3, 4, 3, 3, {.stride = 2, .padding = 3, .dilation = 3}}));
  run_op_case(conv2d_case({1, 11, 9, 3, 4, 3, 2, {.stride = 2, .padding = 1, .dilation = 4}}));
}

TEST(Conv, Groups) {
  run_op_case(conv2d_case({1, 5, 6, 8, 12, 3, 3, {.padding = 1, .groups = 4}, true}));
  run_op_case(conv2d_case({1, 4, 6, 34, 70, 3, 3, {.stride = 2, .padding = 1, .groups = 2}}));
  run_op_case(conv2d_case({1, 5, 4, 3, 6, 3, 3, {.padding = 1, .groups = 3}}));  // multiplier 2
}

TEST(Conv, Depthwise) {
  for (int64_t c : edge_sizes())
    run_op_case(conv2d_case({2, 5, 6, c, c, 3, 3, {.padding = 1, .groups = c}, c % 2 == 1}));
  run_op_case(conv2d_case({1, 9, 8, 6, 6, 5, 3, {.stride = 2, .padding = 2, .groups = 6}}));
}

// Narrow images put several rows in a register tile, wide ones several tiles in a row.
TEST(Conv, ImageSizesAcrossTiles) {
  for (int64_t w : {1, 2, 3, 4, 5, 7, 8, 13, 14, 15, 16, 17, 28, 29, 33})
    for (int64_t out : {3, 20}) {
      run_op_case(conv2d_case({1, 7, w, 2, out, 3, 3, {.padding = 1}}));
    }
  run_op_case(conv2d_case({9, 4, 4, 17, 18, 3, 3, {.padding = 1}}));  // several images in one task
}

// One pixel under a stride: dx has a single phase with a single tap, which looks like a 1x1 convolution but
// writes with that stride.
TEST(Conv, SidesOfOneUnderAStride) {
  for (int64_t k : {1, 3, 7})
    for (int64_t n : {1, 5})
      run_op_case(conv2d_case({n, 1, 1, 6, 9, k, k, {.stride = 2, .padding = k / 2}, true}));
  run_op_case(conv2d_case({3, 1, 6, 4, 5, 3, 3, {.stride = 2, .padding = 1}}));
  run_op_case(conv2d_case({3, 2, 2, 4, 5, 1, 1, {.stride = 3}}));
  run_op_case(transpose_case({4, 1, 1, 5, 6, 1, 1, {.stride = 2}}));
}

TEST(Conv, ManyPixelsCrossTasks) {
  OpCase c = conv2d_case({3, 70, 40, 3, 4, 3, 3, {.padding = 1}, true});
  c.gradcheck.max_elements = 3;
  run_op_case(c);
  c = conv2d_case({1, 30, 31, 40, 33, 1, 1, {}});
  c.gradcheck.max_elements = 3;
  run_op_case(c);
}

// A window of 121 x 121 positions does not fit the block: pixels are collected tile by tile.
TEST(Conv, WindowsBeyondTheBlock) {
  const Case cases[] = {{1, 122, 123, 2, 18, 3, 3, {.padding = 1, .dilation = 60}, true},
                        {1, 122, 121, 35, 18, 3, 3, {.padding = 1, .dilation = 60}},
                        {2, 150, 140, 3, 20, 2, 2, {.stride = 2, .padding = 3, .dilation = 130}}};
  for (const Case& wide : cases) {
    OpCase c = conv2d_case(wide);
    c.gradcheck.max_elements = 3;
    run_op_case(c);
  }
  const ConvCall call = plan_conv({.batch = 1,
                                   .in = {1, 122, 123},
                                   .out = {1, 4, 5},
                                   .kernel = {1, 3, 3},
                                   .padding = {0, 1, 1},
                                   .dilation = {1, 60, 60},
                                   .in_channels = 2,
                                   .out_channels = 18});
  EXPECT_TRUE(call.geometry.tile.gather);  // else these cases test something else
}

TEST(Conv, Conv1d) {
  struct Signal {
    int64_t t, in, out, k;
    ConvOptions o;
  };
  const Signal signals[] = {{20, 3, 5, 5, {.padding = 2}},
                            {50, 6, 8, 10, {.stride = 5}},
                            {40, 4, 6, 3, {.stride = 2, .padding = 2, .dilation = 2, .groups = 2}},
                            {33, 16, 16, 3, {.padding = 1}}};
  for (const Signal& s : signals) {
    run_op_case(
        {.name = concat("conv1d T ", s.t, " k ", s.k),
         .inputs = {{normal({2, s.t, s.in}, 9)},
                    {normal({s.out, s.in / s.o.groups, s.k}, 10), Role::param},
                    {normal({s.out}, 11), Role::param}},
         .op =
             [o = s.o](std::span<const Var> in) { return std::vector<Var>{conv1d(in[0], in[1], in[2], o)}; },
         .gradcheck = {.max_elements = 40}});
  }
}

TEST(Conv, Transposed) {
  run_op_case(transpose_case({2, 4, 5, 3, 4, 3, 3, {.padding = 1}}));
  run_op_case(transpose_case({1, 4, 5, 6, 4, 3, 3, {.stride = 2, .padding = 1, .output_padding = 1}}));
  run_op_case(transpose_case({1, 5, 4, 4, 6, 4, 4, {.stride = 2, .padding = 1, .groups = 2}}));
  run_op_case(transpose_case({1, 3, 4, 17, 33, 2, 2, {.stride = 2}}));
  run_op_case(transpose_case({1, 3, 4, 3, 4, 3, 2, {.stride = 3, .dilation = 2, .output_padding = 2}}));
}

// A convolution that ends in act(y + bias) + residual; the residual has y's shape.
OpCase epilogue_case(Case c, Act act, bool residual, bool transposed = false) {
  c.bias = true;
  c.options.act = act;
  OpCase op = transposed ? transpose_case(c) : conv2d_case(c);
  op.name += concat(" ", act, residual ? " residual" : "");
  std::vector<Var> in;
  for (const Input& i : op.inputs) in.emplace_back(i.value);
  const Dims y = op.op(in)[0].dims();
  if (residual) op.inputs.push_back({normal(y, 12)});
  op.op = [o = c.options, transposed, residual](std::span<const Var> v) {
    const Var added = residual ? v[3] : Var();
    return std::vector<Var>{transposed ? conv_transpose2d(v[0], v[1], v[2], o, added)
                                       : conv2d(v[0], v[1], v[2], o, added)};
  };
  return op;
}

TEST(Conv, EpiloguesWithEveryActivation) {
  for (Act act : {Act::none, Act::relu, Act::gelu, Act::silu, Act::tanh, Act::sigmoid})
    for (bool residual : {false, true}) {
      run_op_case(epilogue_case({2, 5, 6, 3, 18, 3, 3, {.padding = 1}}, act, residual));
      run_op_case(epilogue_case({2, 5, 6, 35, 35, 3, 3, {.padding = 1, .groups = 35}}, act, residual));
    }
}

// Whole panels and parts of one, groups, strides, phases, and pixels collected tile by tile.
TEST(Conv, EpiloguesOnEveryWayToMemory) {
  for (int64_t out : {1, 8, 16, 32, 33, 64})
    run_op_case(epilogue_case({1, 9, 7, 5, out, 3, 3, {.stride = 2, .padding = 1}}, Act::relu, true));
  run_op_case(epilogue_case({3, 4, 4, 17, 32, 1, 1, {}}, Act::gelu, true));
  run_op_case(epilogue_case({1, 4, 6, 34, 70, 3, 3, {.padding = 1, .groups = 2}}, Act::silu, true));
  run_op_case(epilogue_case({1, 4, 5, 6, 32, 3, 3, {.stride = 2, .padding = 1}}, Act::tanh, true, true));
  OpCase far = epilogue_case({1, 122, 123, 2, 18, 3, 3, {.padding = 1, .dilation = 60}}, Act::relu, true);
  far.gradcheck.max_elements = 3;
  run_op_case(far);
}

TEST(Conv, EpilogueIsTheActivationOfTheSum) {
  const Var x(normal({2, 5, 5, 3}, 1)), w(normal({4, 3, 3, 3}, 2)), b(normal({4}, 3)),
      r(normal({2, 5, 5, 4}, 4));
  const Var fused = conv2d(x, w, b, {.padding = 1, .act = Act::silu}, r);
  const Var plain = add(activate(conv2d(x, w, b, {.padding = 1}), Act::silu), r);
  EXPECT_LT(max_abs_diff(fused.value(), plain.value()), 1e-14);
  expect_error([&] { conv2d(x, w, b, {.padding = 1}, x); },
               {"conv2d", "residual", "[2, 5, 5, 4]", "[2, 5, 5, 3]"});
}

TEST(Conv, EmptyBatchGivesEmptyOutputAndZeroGradient) {
  const Var x = Var::leaf(Tensor::empty({0, 5, 5, 3})), w = Var::leaf(Tensor::full({4, 3, 3, 3}, 1.0)),
            b = Var::leaf(Tensor::full({4}, 1.0));
  const Var y = conv2d(x, w, b, {.padding = 1});
  EXPECT_EQ(y.dims(), Dims({0, 5, 5, 4}));
  backward(y);
  EXPECT_EQ(x.grad().dims(), Dims({0, 5, 5, 3}));
  EXPECT_EQ(w.grad().dims(), Dims({4, 3, 3, 3}));
  EXPECT_EQ(max_abs(w.grad()), 0.0);
  EXPECT_EQ(max_abs(b.grad()), 0.0);
}

// Packings are kept with the weight until it is written; strides and directions do not share one.
TEST(Conv, PackedWeightsFollowTheWeight) {
  const Var x(normal({1, 6, 6, 4}, 15).to(DType::f32));
  Tensor w = normal({4, 4, 3, 3}, 16).to(DType::f32);
  for (const ConvOptions& o : {ConvOptions{.padding = 1}, ConvOptions{.stride = 2, .padding = 1}}) {
    const Tensor before = conv2d(x, Var(w), Var(), o).value();
    const Tensor transposed = conv_transpose2d(x, Var(w), Var(), o).value();
    EXPECT_TRUE(same_bits(conv2d(x, Var(w), Var(), o).value(), before));
    EXPECT_TRUE(same_bits(conv2d(x, Var(w.clone()), Var(), o).value(), before));
    EXPECT_TRUE(same_bits(conv_transpose2d(x, Var(w.clone()), Var(), o).value(), transposed));
    w.fill(1.0, "test");
    EXPECT_FALSE(same_bits(conv2d(x, Var(w), Var(), o).value(), before));
    w.copy_from(normal({4, 4, 3, 3}, 16), "test");
    EXPECT_TRUE(same_bits(conv2d(x, Var(w), Var(), o).value(), before));
  }
}

// Video is not an op yet, but the kernels carry three axes: fast tables against the reference.
TEST(Conv, ThreeAxesInTheKernels) {
  ConvShape s{.batch = 2,
              .in = {5, 6, 7},
              .out = {3, 3, 4},
              .kernel = {3, 3, 3},
              .stride = {2, 2, 2},
              .padding = {1, 1, 1},
              .dilation = {1, 1, 1},
              .in_channels = 18,
              .out_channels = 20,
              .groups = 1};
  const Tensor x = normal({2, 5, 6, 7, 18}, 12).to(DType::f32), w = normal({20, 18, 27}, 13).to(DType::f32),
               dy = normal({2, 3, 3, 4, 20}, 14).to(DType::f32);
  const ConvCall call = plan_conv(s);
  const ConvGradCall grad = plan_conv_weight(s);
  const auto outputs = [&](const ConvTable<float>& table) {
    const ConvGeometry& g = call.geometry;
    Tensor packed = Tensor::empty({conv_packed_bytes<float>(27, 1, 18, 20)}, DType::u8);
    Tensor y = Tensor::empty({2, 3, 3, 4, 20}), part = Tensor::empty({grad.parts, 27 * 18 * 20}),
           dw = Tensor::empty({20, 18, 27});
    void* room = packed.write("test");
    table.pack({w.data<float>(), room, g.taps, 27, 1, 18, 20, 0, 18 * 27, 27}, 0, conv_pack_items(1, 18, 20));
    table.conv({g, x.data<float>(), room, nullptr, y.write<float>("test"), {3, 3, 4}, {1, 1, 1}, {0, 0, 0}},
               0, conv_tasks(g));
    const ConvGeometry& gg = grad.call.geometry;
    table.weight_grad(
        {gg, x.data<float>(), dy.data<float>(), part.write<float>("test"), grad.parts, grad.channels}, 0,
        conv_grad_items(gg, grad.parts, grad.channels));
    table.weight_sum({part.data<float>(), dw.write<float>("test"), gg.taps, grad.parts, 1, 27, 18, 20}, 0,
                     20);
    return std::vector{y, dw};
  };
  const auto plain = outputs(conv_tables<float>().reference());
  for (Isa isa : host_isas()) {
    const ForceTable force(isa);
    const auto fast = outputs(conv_tables<float>().on(kCpu));
    for (size_t i = 0; i < plain.size(); ++i)
      EXPECT_LT(max_abs_diff(fast[i], plain[i]), 2e-5 * max_abs(plain[i])) << name_of(isa) << " output " << i;
  }
}

TEST(Conv, ErrorsNameOpArgumentAndShapes) {
  const Var x(Tensor::zeros({2, 8, 8, 6})), w(Tensor::zeros({4, 6, 3, 3}));
  expect_error(
      [&] {
        conv2d(x, Var(Tensor::zeros({4, 5, 3, 3})), Var());
      },
      {"conv2d", "weight", "[4, 5, 3, 3]", "5 input channels", "[2, 8, 8, 6]", "has 6"});
  expect_error([&] { conv2d(x, w, Var(), {.groups = 4}); }, {"conv2d", "groups", "4", "[2, 8, 8, 6]"});
  expect_error(
      [&] {
        conv2d(x, Var(Tensor::zeros({4, 6, 9, 3})), Var());
      },
      {"conv2d", "[4, 6, 9, 3]", "larger than", "[2, 8, 8, 6]", "padding 0"});
  expect_error([&] { conv2d(x, w, Var(), {.dilation = 4}); }, {"conv2d", "dilation 4", "larger"});
  expect_error([&] { conv2d(x, w, Var(), {.stride = 0}); }, {"conv2d", "stride", "got 0"});
  expect_error([&] { conv2d(x, w, Var(), {.padding = -1}); }, {"conv2d", "padding", "-1"});
  expect_error([&] { conv2d(x, w, Var(), {.dilation = 0}); }, {"conv2d", "dilation", "got 0"});
  expect_error([&] { conv2d(x, w, Var(), {.output_padding = 1}); },
               {"conv2d", "output_padding", "transposed"});
  expect_error([&] { conv2d(x, w, Var(Tensor::zeros({5}))); }, {"conv2d", "bias", "[4]", "[5]"});
  expect_error(
      [&] {
        conv2d(Var(Tensor::zeros({8, 8, 6})), w, Var());
      },
      {"conv2d", "[N, H, W, C]", "[8, 8, 6]"});
  expect_error(
      [&] {
        conv2d(x, Var(Tensor::zeros({4, 6, 3, 3}, DType::f64)), Var());
      },
      {"weight", "f32", "f64"});
  expect_error([&] { conv2d(x, Var(), Var()); }, {"conv2d", "weight is undefined"});
  expect_error([&] { conv1d(x, w, Var()); }, {"conv1d", "[N, T, C]"});
  expect_error([&] { conv_transpose2d(x, w, Var()); },
               {"conv_transpose2d", "weight [4, 6, 3, 3]", "4 input channels"});
  expect_error(
      [&] {
        conv_transpose2d(x, Var(Tensor::zeros({6, 4, 3, 3})), Var(), {.output_padding = 1});
      },
      {"conv_transpose2d", "output_padding", "got 1"});
  expect_error(
      [&] {
        conv_transpose2d(x, Var(Tensor::zeros({6, 4, 3, 3})), Var(), {.padding = 9});
      },
      {"conv_transpose2d", "padding 9", "size -8"});
}

// The mutant of this file: a gradient that forgets to flip the kernel.
TEST(Conv, MutantIsCaught) {
  OpCase c = conv2d_case({1, 5, 5, 2, 2, 3, 3, {.padding = 1}});
  c.inputs[1].role = Role::frozen;
  c.bf16 = false;
  c.op = [](std::span<const Var> in) {
    const Tensor y = conv2d(Var(in[0].value()), Var(in[1].value()), Var(), {.padding = 1}).value();
    return std::vector<Var>{
        record("wrong_conv2d", {}, {&in[0]}, y, {{"weight", in[1].value()}}, [](Backward& b) {
          const Tensor w = b.saved(0).transpose(0, 1).contiguous();
          b.set(0, conv2d(Var(b.dy()), Var(w), Var(), {.padding = 1}).value());
        })};
  };
  expect_caught(c);
}

}  // namespace
}  // namespace juxta::test

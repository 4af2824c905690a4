#include "kernels/matmul.h"

#include <thread>

#include "tensor/allocator.h"
#include "tests/harness.h"

namespace juxta::test {
namespace {

// Sizes around the tiles of all instruction sets (4 x 8, 6 x 16, 14 x 32) and the width of all vectors.
constexpr int64_t kSizes[] = {1, 3, 5, 13, 14, 15, 16, 31, 32, 33, 67, 130};

OpFn plain() {
  return [](std::span<const Var> in) { return std::vector<Var>{matmul(in[0], in[1])}; };
}
OpCase matmul_case(Dims a, Dims b) {
  return {.name = concat("matmul ", a, " ", b), .inputs = {{normal(a, 1)}, {normal(b, 2)}}, .op = plain()};
}

TEST(Matmul, EverySizeOfEachAxis) {
  for (int64_t n : kSizes) {
    OpCase m = matmul_case({n, 7}, {7, 9}), k = matmul_case({5, n}, {n, 6}), c = matmul_case({6, 5}, {5, n});
    // Finite differences of every element are for small products only; the tables are compared at all sizes.
    for (OpCase* one : {&m, &k, &c}) run_op_case(*one);
  }
}

TEST(Matmul, PairsOfEdgeSizes) {
  for (int64_t m : {1, 13, 15, 67})
    for (int64_t n : {1, 15, 33, 130})
      for (int64_t k : {1, 31, 130}) {
        OpCase c = matmul_case({m, k}, {k, n});
        c.gradcheck.max_elements = 5;
        run_op_case(c);
      }
}

// Both operands in every orientation: transposed views are read in place and give the bits of copies.
TEST(Matmul, TransposedAndSlicedOperandsGiveTheBitsOfCopies) {
  for (Isa isa : host_isas()) {
    const ForceTable force(isa);
    for (DType dtype : {DType::f32, DType::bf16}) {
      for (Dims s : {Dims{3, 5, 7}, Dims{33, 67, 31}, Dims{1, 130, 33}, Dims{15, 16, 1}, Dims{130, 33, 14}}) {
        const int64_t m = s[0], k = s[1], n = s[2];
        const Tensor a = normal({m, k}, 1).to(dtype), b = normal({k, n}, 2).to(dtype);
        const Tensor expected = matmul(a, b).value();
        const Tensor at = a.transpose(0, 1).contiguous().transpose(0, 1);
        const Tensor bt = b.transpose(0, 1).contiguous().transpose(0, 1);
        Tensor wide = Tensor::full({m, 2 * k}, 3.0, dtype);  // neither axis contiguous after the transposes
        Tensor as = wide.view({m, k, 2}).select(2, 1);
        as.copy_from(a, "test");
        Tensor tall = Tensor::full({n, 3 * k + 1}, 3.0, dtype);
        Tensor bs = tall.slice(1, 1, 3 * k + 1).reshape({n, k, 3}).select(2, 2).transpose(0, 1);
        bs.copy_from(b, "test");
        for (const Tensor& x : {a, at, as})
          for (const Tensor& y : {b, bt, bs})
            EXPECT_TRUE(same_bits(matmul(x, y).value(), expected)) << concat(isa, " ", dtype, " ", s);
      }
    }
  }
}

TEST(Matmul, BatchesBroadcast) {
  run_op_case(matmul_case({4, 5, 6}, {4, 6, 7}));
  run_op_case(matmul_case({4, 5, 6}, {6, 7}));        // one b: rows join the batch
  run_op_case(matmul_case({5, 6}, {3, 6, 7}));        // one a
  run_op_case(matmul_case({2, 1, 3, 4}, {5, 4, 2}));  // each is repeated along an axis of the other
  run_op_case(matmul_case({2, 3, 1, 4}, {2, 1, 4, 5}));
  run_op_case(matmul_case({3, 17, 9}, {3, 9, 1}));
  run_op_case(matmul_case({1, 17, 9}, {1, 9, 33}));
}

TEST(Matmul, BatchWithTransposedOperandsMatchesCopies) {
  const Tensor q = normal({2, 9, 3, 8}, 1).to(DType::f32), k = normal({2, 9, 3, 8}, 2).to(DType::f32);
  const Tensor qh = q.transpose(1, 2), kt = k.permute({0, 2, 3, 1});  // [B, H, T, D], [B, H, D, T]
  EXPECT_TRUE(same_bits(matmul(qh, kt).value(), matmul(qh.contiguous(), kt.contiguous()).value()));
  // One b for a batch whose rows do not join: the same bits as when they do.
  const Tensor w = normal({8, 4}, 3).to(DType::f32);
  EXPECT_TRUE(same_bits(matmul(qh, w).value(), matmul(qh.contiguous(), w).value()));
}

TEST(Matmul, CutsOfEveryKind) {
  // Blocks of one tile, passes of 8 along k, three parts: tiny inputs cross every border there is.
  const int64_t cuts[][4] = {{1, 1, 8, 1}, {1, 2, 4, 3}, {2, 1, 0, 5}, {1, 1, 2, 16}, {0, 0, 6, 1}};
  for (const auto& cut : cuts) {
    const ForceMatmulBlocks force(cut[0], cut[1], cut[2], cut[3]);
    for (Dims s : {Dims{33, 35, 67}, Dims{5, 130, 3}, Dims{15, 1, 33}, Dims{1, 33, 5}, Dims{31, 16, 1}}) {
      OpCase c = matmul_case({s[0], s[1]}, {s[1], s[2]});
      c.gradcheck.max_elements = 5;
      run_op_case(c);
    }
    run_op_case(matmul_case({3, 15, 9}, {3, 9, 17}));
  }
}

TEST(Matmul, PassesAndBlocksDoNotChangeBits) {
  const Tensor a = normal({67, 130}, 1).to(DType::f32), b = normal({130, 67}, 2).to(DType::f32);
  for (Isa isa : host_isas()) {
    const ForceTable table(isa);
    const Tensor whole = matmul(a, b).value();
    const ForceMatmulBlocks force(1, 1, 10, 1);
    EXPECT_TRUE(same_bits(matmul(a, b).value(), whole)) << name_of(isa);
  }
}

// (A B) t = A (B t): an oracle that needs no reference, at sizes that cross all real blocks.
TEST(Matmul, LargeProductsAgreeWithAVector) {
  for (Dims s : {Dims{517, 1300, 389}, Dims{64, 5000, 96}, Dims{1100, 70, 1030}, Dims{1, 600, 5000},
                 Dims{3000, 700, 1}, Dims{9, 9000, 40}}) {
    for (DType dtype : {DType::f32, DType::bf16}) {
      const Tensor a = normal({s[0], s[1]}, 1).to(dtype), b = normal({s[1], s[2]}, 2).to(dtype);
      const Tensor t = normal({s[2], 1}, 3);
      const Tensor a64 = a.to(DType::f64), bt = matmul(b.to(DType::f64), t).value();
      const Tensor expected = matmul(a64, bt).value();
      for (Isa isa : host_isas()) {
        const ForceTable table(isa);
        const Tensor y = matmul(a, b).value();
        set_num_threads(3);
        EXPECT_TRUE(same_bits(matmul(a, b).value(), y)) << name_of(isa);
        set_num_threads(1);
        EXPECT_TRUE(same_bits(matmul(a, b).value(), y)) << name_of(isa);
        set_num_threads(2);
        const double error = max_abs_diff(matmul(y.to(DType::f64), t).value(), expected);
        EXPECT_LT(error, (dtype == DType::f32 ? 2e-6 : 1e-2) * max_abs(expected)) << concat(isa, " ", dtype);
      }
    }
  }
}

TEST(Matmul, EmptyAxes) {
  const auto zeros = [](Dims d) { return Var::leaf(Tensor::zeros(d)); };
  EXPECT_EQ(matmul(zeros({0, 4}), zeros({4, 3})).dims(), Dims({0, 3}));
  EXPECT_EQ(matmul(zeros({2, 4}), zeros({4, 0})).dims(), Dims({2, 0}));
  const Var a = zeros({3, 0}), b = zeros({0, 5});
  const Var y = matmul(a, b);
  EXPECT_EQ(max_abs(y.value()), 0.0);
  EXPECT_EQ(y.value().at({2, 4}), 0.0);  // K = 0 gives zeros, not what memory held
  backward(y, {});
  EXPECT_EQ(a.grad().dims(), Dims({3, 0}));
  const Var none = matmul(zeros({0, 2, 4}), zeros({4, 3}));
  EXPECT_EQ(none.dims(), Dims({0, 2, 3}));
  const Var bias(Tensor::full({5}, 0.5));
  const Var z = linear(zeros({2, 0}), zeros({5, 0}), bias, Act::relu);
  EXPECT_EQ(z.value().at({1, 4}), 0.5);  // the epilogue runs on zero sums
}

OpCase linear_case(Dims x, int64_t out, Act act, bool bias, bool residual) {
  OpCase c{
      .name = concat("linear ", x, " to ", out, " ", act, bias ? " bias" : "", residual ? " residual" : ""),
      .inputs = {{normal(x, 1)}, {normal({out, x.back()}, 2), Role::param}},
      .op = {}};
  Dims y = x;
  y[y.size() - 1] = out;
  if (bias) c.inputs.push_back({normal({out}, 3), Role::param});
  if (residual) c.inputs.push_back({normal(y, 4)});
  c.op = [=](std::span<const Var> in) {
    return std::vector<Var>{
        linear(in[0], in[1], bias ? in[2] : Var(), act, residual ? in[in.size() - 1] : Var())};
  };
  return c;
}

TEST(Linear, EveryEpilogue) {
  for (Act act : {Act::none, Act::relu, Act::gelu, Act::silu, Act::tanh, Act::sigmoid}) {
    for (bool bias : {false, true})
      for (bool residual : {false, true}) run_op_case(linear_case({5, 7}, 6, act, bias, residual));
    OpCase wide = linear_case({2, 17, 33}, 67, act, true, true);
    wide.gradcheck.max_elements = 5;
    run_op_case(wide);
  }
}

TEST(Linear, EdgeSizes) {
  for (int64_t n : kSizes) {
    for (OpCase c :
         {linear_case({n, 8}, 5, Act::gelu, true, false), linear_case({3, n}, 4, Act::relu, true, false),
          linear_case({4, 6}, n, Act::none, true, true)}) {
      c.gradcheck.max_elements = 8;
      run_op_case(c);
    }
  }
  run_op_case(linear_case({7}, 3, Act::tanh, true, false));  // a single vector
}

TEST(Linear, ManyRowsCrossChunksAndParts) {
  const ForceMatmulBlocks force(1, 1, 0, 4);
  OpCase c = linear_case({75, 9}, 5, Act::silu, true, false);
  c.gradcheck.max_elements = 8;
  run_op_case(c);
}

TEST(Linear, PacksAgainAfterTheWeightIsWritten) {
  for (DType dtype : {DType::f32, DType::bf16}) {
    const Tensor x = normal({40, 33}, 1).to(dtype);
    Tensor w = normal({17, 33}, 2).to(DType::f32);
    const Tensor first = linear(x, w, Var()).value();
    EXPECT_TRUE(same_bits(linear(x, w, Var()).value(), first));
    w.copy_from(normal({17, 33}, 3).to(DType::f32), "test");
    const Tensor second = linear(x, w, Var()).value();
    EXPECT_FALSE(same_bits(second, first));
    EXPECT_TRUE(same_bits(second, linear(x, w.clone(), Var()).value()));
    // A write through the arena that the weight lies in counts as well.
    Tensor arena = Tensor::empty({2 * 17 * 33}), part = arena.slice(0, 17 * 33, 2 * 17 * 33).detach_version();
    part = part.view({17, 33});
    arena.fill(0.5, "test");
    const Tensor before = linear(x, part, Var()).value();
    arena.fill(0.25, "test");
    const Tensor after = linear(x, part, Var()).value();
    EXPECT_NEAR(after.at({3, 5}), 0.5 * before.at({3, 5}), 1e-2 * std::abs(before.at({3, 5})) + 1e-6);
  }
}

TEST(Linear, TwoThreadsShareOneWeight) {
  const Tensor x = normal({40, 65}, 1).to(DType::f32), w = normal({70, 65}, 2).to(DType::f32);
  const Tensor expected = linear(x, w.clone(), Var()).value();
  std::vector<Tensor> got(2);
  std::vector<std::thread> threads;
  threads.reserve(got.size());
  for (Tensor& y : got) {
    threads.emplace_back([&x, &w, &y] {
      for (int i = 0; i < 20; ++i) y = linear(x, w, Var()).value();
    });
  }
  for (std::thread& t : threads) t.join();
  for (const Tensor& y : got) EXPECT_TRUE(same_bits(y, expected));
}

TEST(Linear, PackedWeightsGoWithTheWeight) {
  const auto live = [] { return allocator(kCpu).stats().live_bytes; };
  const size_t before = live();
  {
    const Tensor x = normal({40, 33}, 1).to(DType::f32), w = normal({17, 33}, 2).to(DType::f32);
    linear(x, w, Var());
    EXPECT_TRUE(static_cast<bool>(w.storage()->derived()));
  }
  EXPECT_EQ(live(), before);
}

TEST(Scratch, SlotsAreDistinctAndKeptUntilTheyMustGrow) {
  auto* a = static_cast<char*>(thread_scratch(Scratch::other, 100));
  auto* b = static_cast<char*>(thread_scratch(Scratch::gemm_tile, 100));
  EXPECT_NE(a, b);
  EXPECT_EQ(thread_scratch(Scratch::other, 50), a);
  char* grown = static_cast<char*>(thread_scratch(Scratch::other, 3 << 20));
  EXPECT_EQ(reinterpret_cast<uintptr_t>(grown) % 64, 0u);
  grown[(3 << 20) - 1] = 1;
  EXPECT_EQ(thread_scratch(Scratch::other, 3 << 20), grown);
}

TEST(Linear, SavesOnlyWhatGradientsNeed) {
  const Tensor x = normal({4, 6}, 1).to(DType::f32);
  const Var w = Var::leaf(normal({5, 6}, 2).to(DType::f32));
  EXPECT_EQ(dump(linear(Var(x), w, Var())).find("weight"), std::string::npos);
  EXPECT_EQ(dump(linear(Var::leaf(x), Var(w.value()), Var())).find(" x "), std::string::npos);
}

TEST(Linear, TransposedWeightAndInputAreReadInPlace) {
  const Tensor x = normal({6, 40}, 1).to(DType::f32), w = normal({6, 9}, 2).to(DType::f32);
  const Tensor xt = x.transpose(0, 1), wt = w.transpose(0, 1);
  EXPECT_TRUE(
      same_bits(linear(xt, wt, Var()).value(), linear(xt.contiguous(), wt.contiguous(), Var()).value()));
}

TEST(Matmul, ErrorsNameOpArgumentAndShapes) {
  const Var a(Tensor::zeros({2, 3})), b(Tensor::zeros({4, 5}));
  expect_error([&] { matmul(a, b); }, {"matmul", "b", "[.., 3, N]", "[4, 5]"});
  expect_error([&] { matmul(a, Var(Tensor::zeros({5, 3}))); }, {"transpose"});
  expect_error([&] { matmul(a, Var(Tensor::zeros({3, 5}, DType::bf16))); }, {"f32", "bf16"});
  expect_error([&] { matmul(Var(Tensor::zeros({3})), b); }, {"matmul", "2 dimensions"});
  expect_error([&] { matmul(Var(Tensor::zeros({2, 4, 3})), Var(Tensor::zeros({3, 3, 5}))); }, {"matmul"});
  expect_error([&] { matmul(Var(Tensor::arange(4)), b); }, {"i64"});
}

// A sum of no products is 0, and its gradients are empty: also where one b serves the whole batch.
TEST(Matmul, NothingToSumOver) {
  for_every_table([](DType d, Device device) {
    const Var a = Var::leaf(Tensor::empty({2, 3, 0}, d, device)),
              b = Var::leaf(Tensor::empty({0, 4}, d, device));
    const Var y = matmul(a, b);
    EXPECT_EQ(y.dims(), Dims({2, 3, 4}));
    EXPECT_EQ(max_abs(y.value()), 0.0);
    backward(y);
    EXPECT_EQ(a.grad().dims(), a.dims());
    EXPECT_EQ(b.grad().dims(), b.dims());
    const Var w = Var::leaf(Tensor::empty({4, 0}, acc_dtype(d), device)),
              shift = Var::leaf(Tensor::full({4}, 1.5, acc_dtype(d), device));
    const Var z = linear(a, w, shift, Act::relu);
    EXPECT_TRUE(same_bits(z.value().to(kCpu), Tensor::full({2, 3, 4}, 1.5, d)));
    backward(z);
    EXPECT_EQ(w.grad().dims(), w.dims());
    EXPECT_TRUE(same_bits(shift.grad().to(kCpu), Tensor::full({4}, 6.0, acc_dtype(d))));
  });
}

TEST(Linear, ErrorsNameOpArgumentAndShapes) {
  const Var x(Tensor::zeros({2, 3})), w(Tensor::zeros({5, 3}));
  expect_error(
      [&] {
        linear(x, Var(Tensor::zeros({3, 5})), Var());
      },
      {"linear", "weight", "[out, 3]", "transpose"});
  expect_error([&] { linear(x, Var(), Var()); }, {"weight", "undefined"});
  expect_error([&] { linear(x, w, Var(Tensor::zeros({4}))); }, {"bias", "[5]", "[4]"});
  expect_error(
      [&] {
        linear(x, w, Var(), Act::none, Var(Tensor::zeros({2, 3})));
      },
      {"residual", "[2, 5]", "[2, 3]"});
  expect_error(
      [&] {
        linear(Var(Tensor::zeros({2, 3}, DType::bf16)), Var(Tensor::zeros({5, 3}, DType::bf16)), Var());
      },
      {"weight", "f32", "bf16"});
}

// The mutant of this file: the gradient of b without the transposition of a.
TEST(Matmul, MutantIsCaught) {
  OpCase c = matmul_case({6, 6}, {6, 6});
  c.op = [](std::span<const Var> in) {
    const Tensor y = matmul(Var(in[0].value()), Var(in[1].value())).value();
    return std::vector<Var>{record("wrong_matmul", {}, {&in[0], &in[1]}, y,
                                   {{"a", in[0].value()}, {"b", in[1].value()}}, [](Backward& b) {
                                     b.set(0, matmul(b.dy(), b.saved(1).transpose(0, 1)).value());
                                     b.set(1, matmul(b.saved(0), b.dy()).value());
                                   })};
  };
  expect_caught(c);
}

}  // namespace
}  // namespace juxta::test

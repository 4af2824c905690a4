#include "kernels/index.h"

#include "tests/harness.h"

namespace juxta::test {
namespace {

Input constant(Tensor t) { return {std::move(t), Role::constant}; }

OpCase embedding_case(int64_t vocabulary, int64_t channels, Dims ids, Role role) {
  return {.name = concat("embedding ", vocabulary, "x", channels, " of ", ids),
          .inputs = {{normal({vocabulary, channels}, 1), role}, constant(indices(ids, 2, vocabulary))},
          .op = [](std::span<const Var> in) { return std::vector<Var>{embedding(in[0], in[1].value())}; }};
}

TEST(Index, EmbeddingAtEveryWidth) {
  for (int64_t channels : edge_sizes()) run_op_case(embedding_case(7, channels, {3, 5}, Role::param));
  run_op_case(embedding_case(5, 24, {11}, Role::activation));  // bf16 weights: the gradient is bf16 too
  run_op_case(embedding_case(300, 150, {2, 3, 4}, Role::param));
  run_op_case(embedding_case(1, 9, {40}, Role::param));  // one segment holds everything
}

OpCase index_select_case(Dims x, int dim, int64_t count) {
  return {.name = concat("index_select ", x, " axis ", dim, " count ", count),
          .inputs = {{normal(x, 1)}, constant(indices({count}, 3, x[dim < 0 ? x.size() + dim : dim]))},
          .op = [dim](std::span<const Var> in) {
            return std::vector<Var>{index_select(in[0], dim, in[1].value())};
          }};
}

TEST(Index, IndexSelectOnEveryAxis) {
  for (int dim : {0, 1, 2, -1}) run_op_case(index_select_case({4, 5, 17}, dim, 6));
  run_op_case(index_select_case({9}, 0, 20));
  run_op_case(index_select_case({3, 65, 33}, 1, 16));  // tokens kept by a mask
}

OpCase gather_case(Dims x, int64_t count) {
  Dims index = x;
  index[x.size() - 1] = count;
  return {.name = concat("gather ", x, " count ", count),
          .inputs = {{normal(x, 1)}, constant(indices(index, 4, x.back()))},
          .op = [](std::span<const Var> in) { return std::vector<Var>{gather(in[0], in[1].value())}; }};
}

TEST(Index, GatherSumsRepeatedIndices) {
  run_op_case(gather_case({7}, 3));
  run_op_case(gather_case({6, 5}, 12));
  run_op_case(gather_case({2, 3, 40}, 1));
  run_op_case(gather_case({4, 1}, 9));
}

OpCase scatter_add_case(Dims x, int64_t rows) {
  return {.name = concat("scatter_add ", x, " to ", rows),
          .inputs = {{normal(x, 1)}, constant(indices({x[0]}, 5, rows))},
          .op = [rows](std::span<const Var> in) {
            return std::vector<Var>{scatter_add(in[0], in[1].value(), rows)};
          }};
}

TEST(Index, ScatterAddAtEveryWidth) {
  for (int64_t cols : edge_sizes()) run_op_case(scatter_add_case({23, cols}, 5));
  run_op_case(scatter_add_case({31}, 4));
  run_op_case(scatter_add_case({10, 2, 9}, 60));  // most rows stay empty
}

// Many threads share the rows of one long sum: the harness compares 1 with 3 threads bit for bit.
TEST(Index, ManyRowsCrossRanges) {
  OpCase sums = scatter_add_case({900, 64}, 700), rows = index_select_case({2, 700, 48}, 1, 800);
  sums.gradcheck.max_elements = rows.gradcheck.max_elements = 20;
  run_op_case(sums);
  run_op_case(rows);
}

TEST(Index, SegmentsAreStable) {
  const Tensor index = Tensor::from<int64_t>({2, 0, 2, 3, 0, 2}, {6});
  Tensor offsets = Tensor::empty({6}, DType::i64), order = Tensor::empty({6}, DType::i64);
  ref::sort_segments(
      {index.data<int64_t>(), offsets.write<int64_t>("test"), order.write<int64_t>("test"), 5, 6}, 0, 1);
  EXPECT_TRUE(same_bits(offsets, Tensor::from<int64_t>({0, 2, 2, 5, 6, 6}, {6})));
  EXPECT_TRUE(same_bits(order, Tensor::from<int64_t>({1, 4, 0, 2, 5, 3}, {6})));
}

// Small numbers vanish beside 256 in bf16: the sum must be kept in f32.
TEST(Index, SumsInBf16AreKeptInF32) {
  const int64_t n = 257;
  Tensor x = Tensor::full({n, 1}, 1.0, DType::bf16);
  const Var v = Var::leaf(x);
  const Tensor zeros = Tensor::zeros({n}, DType::i64);
  EXPECT_EQ(scatter_add(v, zeros, 1).item(), 256.0);  // 257 rounds to even
  const Var row = Var::leaf(Tensor::zeros({1, 2}, DType::bf16));
  backward(gather(row, Tensor::zeros({1, 300}, DType::i64)));
  EXPECT_EQ(row.grad().at({0, 0}), 300.0);
}

OpCase patch_case(Dims image, int64_t patch) {
  return {.name = concat("patchify ", image, " by ", patch),
          .inputs = {{normal(image, 1)}},
          .op = [patch](std::span<const Var> in) { return std::vector<Var>{patchify(in[0], patch)}; }};
}

TEST(Index, PatchesAndBack) {
  run_op_case(patch_case({2, 4, 6, 3}, 2));
  run_op_case(patch_case({1, 8, 8, 40}, 4));
  run_op_case(patch_case({3, 5, 5, 1}, 5));
  run_op_case(patch_case({2, 3, 4, 2}, 1));
  OpCase back{.name = "unpatchify", .inputs = {{normal({2, 6, 12}, 1)}}, .op = {}};
  back.op = [](std::span<const Var> in) { return std::vector<Var>{unpatchify(in[0], 2, 6, 4)}; };
  run_op_case(back);
  const Var x(normal({2, 12, 8, 3}, 9));
  EXPECT_TRUE(same_bits(unpatchify(patchify(x, 4), 4, 12, 8).value(), x.value()));
}

TEST(Index, PatchLayout) {
  const Tensor image = Tensor::arange(2 * 4 * 2).to(DType::f32).view({1, 2, 4, 2});
  const Tensor p = patchify(Var(image), 2).value();
  ASSERT_EQ(p.dims(), Dims({1, 2, 8}));
  const double second[] = {4, 5, 6, 7, 12, 13, 14, 15};  // columns 2 and 3 of both rows
  for (int64_t i = 0; i < 8; ++i) EXPECT_EQ(p.at({0, 1, i}), second[i]);
}

TEST(Index, EmptyIndicesAndRows) {
  const Tensor none = Tensor::empty({0}, DType::i64);
  const Var x = Var::leaf(normal({3, 4}, 1));
  const Var y = index_select(x, 0, none);
  EXPECT_EQ(y.dims(), Dims({0, 4}));
  backward(y);
  EXPECT_EQ(max_abs(x.grad()), 0.0);
  EXPECT_EQ(max_abs(scatter_add(Var(Tensor::empty({0, 4})), none, 2).value()), 0.0);
  EXPECT_EQ(embedding(x, Tensor::empty({2, 0}, DType::i64)).dims(), Dims({2, 0, 4}));
  EXPECT_EQ(gather(x, Tensor::empty({3, 0}, DType::i64)).dims(), Dims({3, 0}));
}

TEST(Index, BadIndicesAreNamedWithTheirPlace) {
  const Var x(Tensor::zeros({4, 5}));
  const auto ids = [](std::initializer_list<int64_t> v, Dims d) { return Tensor::from<int64_t>(v, d); };
  expect_error(
      [&] {
        embedding(x, ids({0, 3, 2, 4, -9, 1}, {2, 3}));
      },
      {"embedding", "ids", "[0, 4)", "got 4", "[1, 0]"});
  expect_error([&] { index_select(x, 1, ids({0, -1}, {2})); }, {"index_select", "got -1", "[1]", "negative"});
  expect_error([&] { gather(x, ids({0, 1, 2, 5}, {4, 1})); }, {"gather", "[0, 5)", "got 5", "[3, 0]"});
  expect_error([&] { scatter_add(x, ids({0, 1, 2, 7}, {4}), 7); }, {"scatter_add", "got 7", "[3]"});
}

TEST(Index, ErrorsNameOpArgumentAndShapes) {
  const Var x(Tensor::zeros({4, 5}));
  const Tensor two = Tensor::zeros({2}, DType::i64);
  expect_error([&] { embedding(Var(Tensor::zeros({3})), two); }, {"embedding", "[3]"});
  expect_error([&] { embedding(x, Tensor::zeros({2})); }, {"embedding", "ids", "i64", "f32"});
  expect_error([&] { embedding(x, Tensor()); }, {"embedding", "ids", "undefined"});
  expect_error([&] { index_select(x, 2, two); }, {"index_select"});
  expect_error([&] { index_select(x, 0, Tensor::zeros({1, 1}, DType::i64)); }, {"index_select", "[M]"});
  expect_error([&] { gather(x, two); }, {"gather", "[4, 5]", "[2]"});
  expect_error([&] { scatter_add(x, two, 9); }, {"scatter_add", "[4]", "[2]"});
  expect_error([&] { scatter_add(x, two, -1); }, {"scatter_add", "rows", "-1"});
  expect_error([&] { patchify(x, 2); }, {"patchify", "[N, H, W, C]"});
  expect_error([&] { patchify(Var(Tensor::zeros({1, 5, 4, 3})), 2); }, {"patchify", "2", "[1, 5, 4, 3]"});
  expect_error([&] { unpatchify(Var(Tensor::zeros({1, 3, 12})), 2, 4, 4); }, {"unpatchify", "[N, 4, 4 C]"});
  expect_error([&] { patchify(Var(Tensor::zeros({1, 4, 4, 3})), 0); }, {"patchify", "0"});
}

// A changed index would scatter the gradient to other rows: it must be noticed.
TEST(Index, WritingTheIndexBeforeBackwardIsAnError) {
  Tensor ids = Tensor::from<int64_t>({0, 1}, {2});
  const Var y = embedding(Var::leaf(Tensor::zeros({3, 2})), ids);
  ids.fill(2, "mine");
  expect_error([&] { backward(y); }, {"embedding", "ids"});
}

// The mutant of this file: an embedding whose gradient keeps one row of those that share an id.
TEST(Index, MutantIsCaught) {
  OpCase c = embedding_case(3, 4, {6}, Role::param);
  c.op = [](std::span<const Var> in) {
    const Tensor ids = in[1].value().contiguous(), y = embedding(Var(in[0].value()), ids).value();
    return std::vector<Var>{record("wrong_embedding", {}, {&in[0]}, y, {{"ids", ids}}, [](Backward& b) {
      Tensor dx = Tensor::zeros({3, 4}, b.dy().dtype());
      for (int64_t i = 0; i < 6; ++i)
        dx.select(0, b.saved(0).data<int64_t>()[i]).copy_from(b.dy().select(0, i), "wrong");
      b.set(0, dx);
    })};
  };
  expect_caught(c);
}

}  // namespace
}  // namespace juxta::test

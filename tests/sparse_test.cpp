// Sparse matrices times dense rows.
#include "autograd/sparse.h"

#include "autograd/ops.h"
#include "tensor/parallel.h"
#include "tests/harness.h"

namespace juxta::test {
namespace {

// A random matrix with about a third of its entries.
Tensor holes(Dims dims, uint64_t seed) {
  Tensor x = normal(dims, seed);
  const Tensor keep = indices(dims, seed + 1, 3);
  for (int64_t i = 0; i < x.numel(); ++i)
    if (keep.data<int64_t>()[i] != 0) x.write<double>("test")[i] = 0;
  return x;
}

TEST(Sparse, EqualsTheDenseProductAndItsGradient) {
  for (const auto& [r, c, d] : {std::array<int64_t, 3>{7, 5, 4}, {1, 1, 1}, {3, 40, 17}, {2, 3, 0}}) {
    const Tensor dense = holes({r, c}, 1);
    const SparseMatrix a = SparseMatrix::from_dense(dense);
    const Var x = Var::leaf(normal({c, d}, 3)), y = Var::leaf(x.value().clone());
    const Var sparse = spmm(a, x), whole = matmul(Var(dense), y);
    EXPECT_LT(max_abs_diff(sparse.value(), whole.value()), 1e-13);
    if (d == 0) continue;
    backward(sum(square(sparse)));
    backward(sum(square(whole)));
    EXPECT_LT(max_abs_diff(x.grad(), y.grad()), 1e-12);
  }
}

TEST(Sparse, GradientMatchesFiniteDifferences) {
  const SparseMatrix a = SparseMatrix::from_dense(holes({6, 5}, 1));
  const OpFn op = [&](std::span<const Var> in) { return std::vector<Var>{spmm(a, in[0])}; };
  const std::vector<Tensor> x{normal({5, 3}, 2)};
  const GradCheckResult g = gradcheck(op, x);
  EXPECT_TRUE(g.ok) << g.message;
}

// The mutant of this file: a gradient by the matrix itself, not by its transpose.
TEST(Sparse, MutantIsCaught) {
  const SparseMatrix a = SparseMatrix::from_dense(holes({5, 5}, 1));
  const OpFn op = [&](std::span<const Var> in) {
    const SparseMatrix* matrix = &a;
    return std::vector<Var>{record("wrong_spmm", {}, {&in[0]}, spmm(a, Var(in[0].value())).value(), {},
                                   [matrix](Backward& b) { b.set(0, spmm(*matrix, Var(b.dy())).value()); })};
  };
  const std::vector<Tensor> x{normal({5, 3}, 2)};
  EXPECT_FALSE(gradcheck(op, x).ok);
}

TEST(Sparse, EqualBitsOnAnyNumberOfThreads) {
  const SparseMatrix a = SparseMatrix::from_dense(holes({300, 200}, 1));
  const Var x(normal({200, 33}, 2).to(DType::f32));
  const int before = num_threads();
  set_num_threads(1);
  const Tensor one = spmm(a, x).value();
  set_num_threads(3);
  EXPECT_TRUE(same_bits(one, spmm(a, x).value()));
  set_num_threads(before);
}

TEST(Sparse, EqualPlacesAreAddedAndEmptyRowsAreZero) {
  const SparseMatrix a(3, 2, {{2, 1, 1.5}, {0, 0, 2}, {2, 1, 0.5}});
  EXPECT_EQ(a.size(), 2);
  const Tensor y = spmm(a, Var(Tensor::from<double>({3, 5}, {2, 1}))).value();
  EXPECT_EQ(y.at({0, 0}), 6);
  EXPECT_EQ(y.at({1, 0}), 0);
  EXPECT_EQ(y.at({2, 0}), 10);
}

TEST(Sparse, RefusesBadInput) {
  expect_error([] { SparseMatrix(2, 2, {{0, 2, 1.0}}); }, {"SparseMatrix", "2 x 2", "(0, 2)"});
  const SparseMatrix a(2, 3, {});
  expect_error([&] { spmm(a, Var(normal({2, 2}, 1))); }, {"spmm", "[3, D]"});
}

}  // namespace
}  // namespace juxta::test

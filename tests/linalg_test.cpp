// Cholesky factors, triangular systems and singular values, with their gradients.
#include <cmath>

#include "tests/harness.h"

namespace juxta::test {
namespace {

Input act(Tensor t) { return {std::move(t), Role::activation}; }

// x x^T / n + 1/2: positive definite and far from singular.
Var gram(const Var& x) {
  const auto n = static_cast<double>(x.size(-1));
  Tensor half = Tensor::zeros({x.size(-2), x.size(-2)}, x.dtype());
  dispatch_float(x.dtype(), "test", [&]<class T>() {
    for (int64_t i = 0; i < half.size(0); ++i)
      half.write<T>("test")[i * half.size(0) + i] = static_cast<T>(0.5);
  });
  return add(affine(matmul(x, transpose(x, -1, -2)), 1 / n, 0.0), Var(half));
}

OpCase one(const char* name, Tensor x, Var (*op)(const Var&)) {
  return {.name = name,
          .inputs = {act(std::move(x))},
          .op = [op](std::span<const Var> in) { return std::vector<Var>{op(in[0])}; },
          .bf16 = false};
}

TEST(Linalg, Gradients) {
  const auto factor = [](const Var& x) { return cholesky(gram(x)); };
  run_op_case(one("cholesky", normal({5, 9}, 1), factor));
  run_op_case(one("cholesky of a batch", normal({3, 4, 6}, 2), factor));
  run_op_case(one("cholesky of 1 x 1", normal({1, 3}, 3), factor));
  // Any matrix: only its symmetric half counts.
  Tensor skewed = normal({4, 4}, 4, 0, 0.3);
  for (int64_t i = 0; i < 4; ++i) skewed.write<double>("test")[i * 5] = 2;
  run_op_case(one("cholesky of a matrix that is not symmetric", skewed, cholesky));
  for (const int64_t m : {1, 3})
    run_op_case(
        {.name = "triangular_solve",
         .inputs = {act(normal({2, 4, 4}, 5, 2, 0.4)), act(normal({2, 4, m}, 6))},
         .op = [](std::span<const Var> in) { return std::vector<Var>{triangular_solve(in[0], in[1])}; },
         .bf16 = false});
  run_op_case(one("singular_values, wide", normal({3, 7}, 7), singular_values));
  run_op_case(one("singular_values, tall", normal({2, 6, 4}, 8), singular_values));
  run_op_case(one("singular_values of a row", normal({1, 5}, 9), singular_values));
}

TEST(Linalg, ClosedForms) {
  const Tensor a = Tensor::from<double>({4, 2, 2, 5}, {2, 2});
  const Tensor l = cholesky(Var(a)).value();
  EXPECT_LT(max_abs_diff(l, Tensor::from<double>({2, 0, 1, 2}, {2, 2})), 1e-15);
  const Tensor x = triangular_solve(Var(l), Var(Tensor::from<double>({2, 5}, {2, 1}))).value();
  EXPECT_LT(max_abs_diff(x, Tensor::from<double>({1, 2}, {2, 1})), 1e-15);
  const Var d = Var::leaf(Tensor::from<double>({3, 0, 0, 0, -4, 0}, {2, 3}));
  const Var s = singular_values(d);
  EXPECT_LT(max_abs_diff(s.value(), Tensor::from<double>({4, 3}, {2})), 1e-14);
  backward(sum(s));  // of the nuclear norm: U V^T
  EXPECT_LT(max_abs_diff(d.grad(), Tensor::from<double>({1, 0, 0, 0, -1, 0}, {2, 3})), 1e-14);
}

TEST(Linalg, ValuesThatAreZeroGetNoGradient) {
  const Var x = Var::leaf(Tensor::from<double>({1, 0, 1, 0}, {2, 2}));  // rank 1
  backward(sum(singular_values(x)));
  const double half = std::sqrt(0.5);
  EXPECT_LT(max_abs_diff(x.grad(), Tensor::from<double>({half, 0, half, 0}, {2, 2})), 1e-14);
}

TEST(Linalg, RefusesBadInput) {
  const Var a(Tensor::from<double>({1, 2, 2, 1}, {2, 2}));
  expect_error([&] { cholesky(a); }, {"cholesky", "a", "not positive definite"});
  expect_error([&] { cholesky(Var(normal({2, 3}, 1))); }, {"cholesky", "square", "[2, 3]"});
  expect_error([&] { cholesky(cast(a, DType::bf16)); }, {"cholesky", "f32 or f64"});
  expect_error([&] { triangular_solve(a, Var(normal({3, 1}, 1))); }, {"triangular_solve", "b"});
  const Var singular(Tensor::from<double>({1, 0, 1, 0}, {2, 2}));
  expect_error([&] { triangular_solve(singular, a); }, {"triangular_solve", "l", "diagonal"});
  expect_error(
      [&] {
        singular_values(Var(Tensor::full({2, 2}, std::nan(""), DType::f64)));
      },
      {"singular_values", "finite"});
}

// The mutant: a factor with the right value and no gradient.
TEST(Linalg, MutantIsCaught) {
  expect_caught(one("cholesky", normal({4, 6}, 1), [](const Var& x) {
    const Var l = cholesky(gram(x));
    return add(l, sub(stop_gradient(l), l));
  }));
}

}  // namespace
}  // namespace juxta::test

// Self-distillation, whitening, nuclear norms and Gram anchoring.
#include <gtest/gtest.h>

#include <cmath>

#include "autograd/ops.h"
#include "ssl/losses/dino.h"
#include "ssl/losses/gram.h"
#include "ssl/losses/isotropic.h"
#include "ssl/losses/masked_siamese.h"
#include "ssl/losses/whitening.h"
#include "tests/support.h"

namespace juxta::test {
namespace {

using namespace ssl;

Var constant(Dims dims, uint64_t seed) { return Var(normal(dims, seed)); }

TEST(Dino, ByHand) {
  // One image, two views, two prototypes: q = softmax(t / 1), p = softmax(s / 1).
  const double l = std::log(3.0);
  const Var student(Tensor::from<double>({l, 0, 0, 0}, {2, 1, 2}));
  const Var teacher(Tensor::from<double>({0, l, l, 0}, {2, 1, 2})), center(Tensor::zeros({2}, DType::f64));
  DinoParams p;
  p.student_temperature = p.teacher_temperature = 1;
  const Loss loss = dino(student, teacher, center, p);
  // (t0, s1): q = 1/4, 3/4 against 1/2, 1/2; (t1, s0): q = 3/4, 1/4 against 3/4, 1/4
  const double second = -0.75 * std::log(0.75) - 0.25 * std::log(0.25);
  EXPECT_NEAR(loss.loss.item(), 0.5 * (std::log(2.0) + second), 1e-14);
  EXPECT_NEAR(loss.term("center").value().at({0}), 0.1 * 0.5 * l, 1e-15);
  // The mutant: pairs of the same view count too.
  const double same = -0.25 * std::log(0.75) - 0.75 * std::log(0.25);
  EXPECT_GT(std::abs(loss.loss.item() - 0.25 * (2 * std::log(2.0) + second + same)), 1e-2);
}

TEST(Dino, TheCentreMovesWithAllRows) {
  const Tensor c = normal({4}, 1), logits = normal({2, 3, 4}, 2);
  const Tensor moved = moved_center(c, logits, 0.9);
  EXPECT_NEAR(moved.at({1}), 0.9 * c.at({1}) + 0.1 * mean(select(reshape(Var(logits), {6, 4}), 1, 1)).item(),
              1e-14);
  EXPECT_LT(max_abs_diff(moved_center(c, logits, 1), c), 1e-15);
}

TEST(Dino, RefusesBadInput) {
  const Var s = constant({2, 3, 4}, 1), t = constant({1, 3, 4}, 2), c = constant({4}, 3);
  expect_error([&] { dino(t, t, c); }, {"dino", "student", "at least 2 crops"});
  expect_error([&] { dino(s, constant({3, 3, 4}, 2), c); }, {"dino", "student"});
  expect_error([&] { dino(s, constant({1, 2, 4}, 2), c); }, {"dino", "teacher", "3, 4"});
  expect_error([&] { dino(s, t, constant({3}, 3)); }, {"dino", "center", "[4]"});
  DinoParams p;
  p.center_momentum = 1.5;
  expect_error([&] { dino(s, t, c, p); }, {"dino", "center_momentum", "1.5"});
  p = {};
  p.centering = Centering::sinkhorn, p.sinkhorn_iterations = 0;
  expect_error([&] { dino(s, t, c, p); }, {"dino", "sinkhorn_iterations"});
}

TEST(Ibot, NothingMaskedIsDino) {
  const Var cls = Var::leaf(normal({2, 3, 4}, 1)), patch = Var::leaf(normal({2, 3, 5, 4}, 2));
  const IbotTokens tokens{cls,
                          constant({2, 3, 4}, 3),
                          patch,
                          constant({2, 3, 5, 4}, 4),
                          Tensor::zeros({2, 3, 5}, DType::i64),
                          constant({4}, 5),
                          constant({4}, 6)};
  const Loss loss = ibot(tokens);
  EXPECT_EQ(loss.term("patch_loss").item(), 0.0);
  EXPECT_NEAR(loss.loss.item(), dino(cls, tokens.teacher_cls, tokens.center).loss.item(), 1e-14);
  backward(loss.loss);
  EXPECT_TRUE(!patch.grad().defined() || max_abs(patch.grad()) == 0.0);
  IbotTokens bad = tokens;
  bad.mask = Tensor::zeros({2, 3, 4}, DType::i64);
  expect_error([&] { ibot(bad); }, {"ibot", "mask", "[2, 3, 5]"});
  bad = tokens;
  bad.teacher_patch = constant({2, 3, 5, 6}, 4);
  expect_error([&] { ibot(bad); }, {"ibot", "teacher_patch"});
  bad = tokens;
  bad.patch_center = constant({5}, 6);
  expect_error([&] { ibot(bad); }, {"ibot", "patch_center", "[4]"});
}

TEST(Msn, BalancedTargetsUseEveryPrototype) {
  const Var z = constant({6, 3}, 1), prototypes = constant({3, 3}, 2);
  MsnParams p;
  p.sinkhorn_iterations = 300, p.target_sharpen = 1;
  const Tensor mass = sum(msn(z, z, prototypes, p).term("target_prob"), {0}).value();
  EXPECT_LT(max_abs_diff(mass, Tensor::full({3}, 2, DType::f64)), 1e-3);
  expect_error(
      [&] {
        msn(constant({5, 3}, 1), constant({2, 3}, 1), prototypes);
      },
      {"msn", "anchors", "multiple"});
  expect_error([&] { msn(z, z, constant({3, 2}, 2)); }, {"msn", "prototypes"});
  p.sinkhorn_iterations = -1;
  expect_error([&] { msn(z, z, prototypes, p); }, {"msn", "iterations"});
}

TEST(LeJepa, OneRowByHand) {
  // One row at 0: the characteristic function is 1, so the integrand is (1 - g)^2 g with g = e^{-t^2/2}.
  const Var z(Tensor::zeros({1, 1, 2}, DType::f64)), a = constant({2, 3}, 1);
  LeJepaParams p;
  p.knots = 2, p.t_max = 1, p.lambd = 1;
  const double g = std::exp(-0.5);
  EXPECT_NEAR(lejepa(z, z, a, p).loss.item(), (1 - g) * (1 - g) * g, 1e-15);
  EXPECT_NEAR(lejepa(z, Var(Tensor::zeros({0, 1, 2}, DType::f64)), a, p).loss.item(), (1 - g) * (1 - g) * g,
              1e-15);  // no local views
  EXPECT_NEAR(lejepa(z, Var(), a, p).loss.item(), (1 - g) * (1 - g) * g, 1e-15);
  p.knots = 1;
  expect_error([&] { lejepa(z, z, a, p); }, {"lejepa", "knots"});
  expect_error([&] { lejepa(z, constant({1, 2, 2}, 1), a); }, {"lejepa", "local_views"});
  expect_error([&] { lejepa(z, z, constant({3, 3}, 1)); }, {"lejepa", "directions", "[2, M]"});
}

TEST(Mmcr, OrthogonalImagesAreBest) {
  // Both views equal: |C|_* is N for orthogonal images, sqrt(N) for equal ones.
  const Var apart(Tensor::from<double>({1, 0, 0, 1}, {2, 1, 2}));
  EXPECT_NEAR(mmcr(apart, apart).loss.item(), 0.005 * std::sqrt(2.0) - 2, 1e-14);
  expect_error([&] { mmcr(apart, constant({2, 2, 2}, 1)); }, {"mmcr", "momentum"});
}

TEST(Whitening, RowsHaveUnitCovariance) {
  const Var w = whiten(constant({40, 3}, 1), 0);
  const Tensor covariance = affine(matmul(transpose(w, 0, 1), w), 1.0 / 39, 0.0).value();
  const Tensor identity = Tensor::from<double>({1, 0, 0, 0, 1, 0, 0, 0, 1}, {3, 3});
  EXPECT_LT(max_abs_diff(covariance, identity), 1e-13);
  EXPECT_GT(max_abs_diff(matmul(transpose(w, 0, 1), w).value(), identity), 1);  // without n - 1: the mutant
}

TEST(Whitening, RefusesBadInput) {
  const Var z = constant({2, 4, 2}, 1);
  const Tensor order = Tensor::arange(4).view({1, 4});
  WMseParams p;
  p.w_size = 3;
  expect_error([&] { w_mse(z, order, p); }, {"w_mse", "w_size", "divisor", "4"});
  p.w_size = 4;
  expect_error([&] { w_mse(z, Tensor::zeros({1, 4}, DType::i64), p); }, {"w_mse", "perm", "permutations"});
  expect_error([&] { w_mse(slice(z, 0, 0, 1), order, p); }, {"w_mse", "z", "two views"});
  // fewer rows than channels: the covariance is singular
  expect_error([&] { w_mse(constant({2, 4, 6}, 1), order, p); }, {"not positive definite"});
}

TEST(GramAnchor, NegativesByHand) {
  // student rows 1 and -1, teacher rows 1 and 1: Gram matrices [1 -1; -1 1] and all ones
  const Var s(Tensor::from<double>({1, -1}, {1, 2, 1})), t(Tensor::from<double>({1, 1}, {1, 2, 1}));
  GramAnchorParams p;
  EXPECT_DOUBLE_EQ(gram_anchor(s, t, p).loss.item(), 2);
  p.negatives = GramNegatives::drop;
  EXPECT_DOUBLE_EQ(gram_anchor(s, t, p).loss.item(), 0.5);
  p.negatives = GramNegatives::drop_teacher;
  EXPECT_DOUBLE_EQ(gram_anchor(s, t, p).loss.item(), 2);
  EXPECT_DOUBLE_EQ(gram_anchor(t, s, p).loss.item(), 0.5);
  expect_error([&] { gram_anchor(s, constant({1, 3, 1}, 1)); }, {"gram_anchor", "teacher"});
}

}  // namespace
}  // namespace juxta::test

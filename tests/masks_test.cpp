// Masked images, attacks on classifiers, codes that separate two sets, figures of continual learning.
#include <gtest/gtest.h>

#include <cmath>

#include "autograd/ops.h"
#include "ssl/eval/continual.h"
#include "ssl/eval/generator_attack.h"
#include "ssl/losses/masked_images.h"
#include "ssl/losses/sepclr.h"
#include "ssl/views/masking.h"
#include "tests/harness.h"

namespace juxta::test {
namespace {

using namespace ssl;

TEST(Masks, SmallestNoiseStays) {
  const MaeMask m = mae_mask(Tensor::from<double>({0.5, 0.1, 0.9, 0.1}, {1, 4}), 0.5);
  EXPECT_EQ(m.ids_keep.at({0, 0}), 1);  // ties by position
  EXPECT_EQ(m.ids_keep.at({0, 1}), 3);
  EXPECT_EQ(m.ids_restore.at({0, 0}), 2);
  EXPECT_EQ(m.mask.at({0, 2}), 1);
  const Var kept = keep_tokens(Var(Tensor::from<double>({10, 11, 12, 13}, {1, 4, 1})), m.ids_keep);
  EXPECT_EQ(kept.value().at({0, 1, 0}), 13);
  const MaeMask none = mae_mask(Tensor::full({1, 3}, 0.5), 0.75);  // int(0.75) = 0 patches stay
  EXPECT_EQ(none.ids_keep.dims(), Dims({1, 0}));
  EXPECT_EQ(none.mask.at({0, 0}), 1);
  EXPECT_EQ(keep_tokens(Var(Tensor::zeros({1, 3, 2})), none.ids_keep).dims(), Dims({1, 0, 2}));
  expect_error([&] { mae_mask(Tensor::full({1, 3}, 0.5), 1.5); }, {"mask_ratio", "0 to 1", "1.5"});
  expect_error([&] { mae_mask(Tensor::full({1, 3}, NAN), 0.5); }, {"noise", "finite"});
}

TEST(Masks, CoarseCellsBecomeFinePatches) {
  const Tensor order = Tensor::from<int64_t>({2, 0, 1, 3}, {1, 4});
  const Tensor m = simmim_mask(order, 8, {.mask_patch_size = 4, .model_patch_size = 2, .mask_ratio = 0.25});
  for (int64_t y = 0; y < 4; ++y)
    for (int64_t x = 0; x < 4; ++x) EXPECT_EQ(m.at({0, y, x}), y >= 2 && x < 2);
  expect_error(
      [&] {
        simmim_mask(Tensor::zeros({1, 4}, DType::i64), 8, {4, 2, 0.5});
      },
      {"order", "permutation"});
  expect_error([&] { simmim_mask(order, 9, {4, 2, 0.5}); }, {"images", "multiples", "got 9"});
}

// A patch of 48 values near 0.7 that differ by 1e-4: the rounding of its mean stays far below 1/sqrt(eps).
TEST(Masks, NearlyFlatPatchesInSinglePrecision) {
  const Tensor image = affine(Var(normal({1, 4, 4, 3}, 1)), 1e-4, 0.7).value().to(DType::f32);
  const auto target = [&](DType dtype) {
    const Tensor x = image.to(dtype);
    return mae_loss(Var(x), Var(Tensor::zeros({1, 1, 48}, dtype)), Tensor::from<int64_t>({1}, {1, 1}),
                    {.patch_size = 4})
        .term("target")
        .value();
  };
  EXPECT_LT(max_abs_diff(target(DType::f32).to(DType::f64), target(DType::f64)), 1e-6);
}

TEST(Masks, OnlyRemovedPatchesCount) {
  const Var image(Tensor::from<double>({1, 3, 0, 0, 5, 7, 0, 0}, {1, 2, 4, 1}));  // two patches of 2 x 2
  const Var pred = Var::leaf(Tensor::zeros({1, 2, 4}, DType::f64));
  MaeLossParams p;
  p.patch_size = 2, p.norm_pix = false;
  const Loss l = mae_loss(image, pred, Tensor::from<int64_t>({1, 0}, {1, 2}), p);
  EXPECT_NEAR(l.loss.item(), (1 + 9 + 25 + 49) / 4.0, 1e-12);
  backward(l.loss);
  EXPECT_NEAR(pred.grad().at({0, 0, 3}), -2 * 7 / 4.0, 1e-12);
  // The mutants of this file: a mask read upside down, and one that is not read at all.
  for (const Tensor& wrong : {Tensor::from<int64_t>({0, 1}, {1, 2}), Tensor::from<int64_t>({1, 1}, {1, 2})})
    EXPECT_GT(std::abs(mae_loss(image, pred, wrong, p).loss.item() - l.loss.item()), 1.0);
  EXPECT_EQ(pred.grad().at({0, 1, 0}), 0);
  expect_error(
      [&] {
        mae_loss(image, pred, Tensor::zeros({1, 2}, DType::i64), p);
      },
      {"mask", "nothing is removed"});
  expect_error(
      [&] {
        mae_loss(image, pred, Tensor::full({1, 2}, 2, DType::i64), p);
      },
      {"mask", "0 or 1", "got 2"});
  p.patch_size = 3;
  expect_error(
      [&] {
        mae_loss(image, pred, Tensor::zeros({1, 2}, DType::i64), p);
      },
      {"patch_size", "divisor"});
}

TEST(SepClr, SetsThatAreMissingGiveZero) {
  const Var c(normal({4, 3}, 1)), s = Var::leaf(normal({4, 2}, 2));
  const Loss background = sepclr(c, c, s, s, Tensor::zeros({4}, DType::i64));
  EXPECT_NEAR(background.term("salient").item(), 0, 1e-12);  // every s' is the null vector
  const Loss targets = sepclr(c, c, s, s, Tensor::full({4}, 1, DType::i64));
  EXPECT_EQ(targets.term("infoless").item(), 0);
  backward(background.loss);
  EXPECT_TRUE(std::isfinite(max_abs(s.grad())));
  expect_error([&] { sepclr(c, c, s, s, Tensor::full({4}, 2, DType::i64)); }, {"sepclr", "target", "got 2"});
  const Var one = slice(c, 0, 0, 1);
  expect_error([&] { sepclr(one, one, one, one, Tensor::zeros({1}, DType::i64)); }, {"sepclr", "N >= 2"});
}

TEST(SepClr, TwoRowsByHand) {
  // one pair at distance 2: both forms of the entropy, which differ by the self pairs
  const Var a(Tensor::from<double>({0, 2}, {2, 1}));
  EXPECT_NEAR(gaussian_uniformity(a, 0.5).item(), -4, 1e-12);
  EXPECT_NEAR(kernel_joint_entropy(a, a, 0.5).item(), std::log((1 + std::exp(-8)) / 2), 1e-12);
}

// f(x) = [x_0, -x_0]: the cross-entropy of label 0 rises as x_0 falls. The generator is the identity.
Var two_logits(const Var& x) { return cat(std::vector{slice(x, 1, 0, 1), neg(slice(x, 1, 0, 1))}, 1); }
Var same(const Var& x) { return x; }

TEST(SdMiae, MovesAgainstTheLabelAndStaysInTheBall) {
  const Tensor e = Tensor::from<double>({0.3, 0.9, -0.2, 0.9}, {2, 2}),
               y = Tensor::from<int64_t>({0, 1}, {2});
  SdMiaeParams p;
  p.phase1_steps = 0, p.phase2_steps = 3, p.step = 0.2, p.radius = 0.5;
  const SdMiae m = sd_miae(same, two_logits, e, y, p);
  EXPECT_NEAR(m.phase2[0].at({0, 0}), 0.1, 1e-12);
  EXPECT_NEAR(m.image.at({0, 0}), -0.2, 1e-12);  // 0.3 - 0.5
  EXPECT_NEAR(m.image.at({1, 0}), 0.3, 1e-12);
  EXPECT_EQ(m.image.at({0, 1}), 0.9);               // no gradient, no step
  EXPECT_NEAR(m.momentum[2].at({0, 0}), -3, 1e-6);  // unit gradients add up at mu = 1
  EXPECT_EQ(m.fooled.at({0}), 1);
  p.phase2 = MiaePhase::pixel;  // steps of 0.5 / 3, within [0, 1]
  const SdMiae pixels = sd_miae(same, two_logits, e, y, p);
  EXPECT_NEAR(pixels.phase2[0].at({0, 0}), 0.3 - 0.5 / 3, 1e-12);
  EXPECT_EQ(pixels.image.at({0, 0}), 0);
}

TEST(SdMiae, PhaseOneKeepsTheEmbeddingNear) {
  const Tensor e = Tensor::from<double>({0.3, 0.9}, {1, 2}), y = Tensor::zeros({1}, DType::i64);
  const auto drift = [&](double reg) {  // 1 - cos(e, e0)
    SdMiaeParams p;
    p.phase1_steps = 8, p.reg = reg;
    const Var moved(sd_miae(same, two_logits, e, y, p).phase1.back());
    return 1 - sum(mul(l2_normalize(moved), l2_normalize(Var(e)))).item();
  };
  EXPECT_LT(drift(50), 0.5 * drift(0));
  SdMiaeParams p;
  p.phase2_steps = 0;
  expect_error([&] { sd_miae(same, two_logits, e, y, p); }, {"sd_miae", "phase2_steps"});
  expect_error(
      [&] {
        sd_miae(same, two_logits, Tensor::full({1, 2}, NAN, DType::f64), y, {});
      },
      {"sd_miae", "e:"});
  expect_error([&] { sd_miae(same, two_logits, e, Tensor::full({1}, 2, DType::i64), {}); },
               {"y", "0 to 1", "got 2"});
}

TEST(ContinualMetrics, ByHand) {
  const Tensor correct = Tensor::from<int64_t>({8, 0, 0, 6, 10, 0, 4, 5, 10}, {3, 3}),
               total = Tensor::from<int64_t>({10, 10, 10}, {3});
  const ContinualMetrics m = continual_metrics(correct, total);
  EXPECT_NEAR(m.acc_after[1], 0.8, 1e-15);
  EXPECT_NEAR(m.last_acc, 19.0 / 30, 1e-15);
  EXPECT_NEAR(m.forgetting, (0.4 + 0.5) / 2, 1e-15);
  EXPECT_NEAR(m.backward_transfer, -0.45, 1e-15);
  expect_error(
      [&] {
        continual_metrics(correct, Tensor::from<int64_t>({10, 9, 10}, {3}));
      },
      {"correct", "0 to 9", "got 10"});
}

}  // namespace
}  // namespace juxta::test

// Image-text losses of momentum models and of pair scorers, their rules and metrics.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "autograd/ops.h"
#include "nn/fusion.h"
#include "ssl/eval/objects.h"
#include "ssl/losses/image_text.h"
#include "ssl/losses/matching.h"
#include "ssl/losses/momentum_pairs.h"
#include "ssl/views/pairing.h"
#include "tests/harness.h"

namespace juxta::test {
namespace {

using namespace ssl;

Tensor unit(const Tensor& x) { return l2_normalize(Var(x)).value(); }
Var one_number(double value) { return Var::leaf(Tensor::full({1}, value, DType::f64)); }

TEST(MomentumPairs, GradientsOfMicroBatchesAddUpToTheBatch) {
  const Tensor v = unit(normal({7, 5}, 1)), t = unit(normal({7, 5}, 2));
  const MomentumKeys keys{unit(normal({7, 5}, 3)), unit(normal({7, 5}, 4)), unit(normal({4, 5}, 5)),
                          unit(normal({4, 5}, 6))};
  MsdParams p;
  const Var image = Var::leaf(v.clone()), text = Var::leaf(t.clone()), tau = one_number(std::log(0.07));
  const Loss whole = msd_loss(image, text, keys, tau, p);
  backward(whole.loss);
  for (const int64_t micro : {1, 2, 3, 7}) {  // 2 and 3 leave a ragged last part
    const Var i = Var::leaf(v.clone()), x = Var::leaf(t.clone()), own_tau = one_number(std::log(0.07));
    double loss = 0;
    for (int64_t begin = 0; begin < 7; begin += micro) {
      const int64_t end = std::min<int64_t>(7, begin + micro);
      const Loss part = msd_micro(slice(i, 0, begin, end), slice(x, 0, begin, end), begin, keys, own_tau, p);
      backward(part.loss);  // before the next part: its graph is gone then
      loss += part.loss.item();
    }
    EXPECT_NEAR(loss, whole.loss.item(), 1e-13);
    EXPECT_LT(max_abs_diff(i.grad(), image.grad()), 1e-13);
    EXPECT_LT(max_abs_diff(x.grad(), text.grad()), 1e-13);
    EXPECT_LT(max_abs_diff(own_tau.grad(), tau.grad()), 1e-12);
  }
  // the mutant: parts that see their own keys only
  p.micro_batch = 2;
  const Loss split = msd_loss(image, text, keys, tau, p);
  EXPECT_GT(std::abs(split.term("ordinary_accumulation_loss").item() - whole.loss.item()), 1e-2);
  EXPECT_EQ(split.term("micro_loss").size(0), 4);
}

TEST(MomentumPairs, ClampedTemperatureKeepsItsGradient) {
  const Tensor v = unit(normal({3, 4}, 1)), t = unit(normal({3, 4}, 2));
  const auto gradient = [&](double value) {
    const Var temp = one_number(value);
    backward(albef_itc(Var(v), Var(t), v, t, temp).loss);
    return temp.grad().item();
  };
  EXPECT_EQ(gradient(0.7), gradient(0.5));  // temp_max
  EXPECT_NE(gradient(0.7), 0.0);
}

TEST(MomentumPairs, EqualIdsShareTheHardTarget) {
  const Var v(normal({3, 4}, 1));
  AlbefItcParams p;
  p.alpha = 0;
  const Tensor ids = Tensor::from<int64_t>({7, 8, 7}, {3}), queue_ids = Tensor::from<int64_t>({-100, 8}, {2});
  const Tensor queue = unit(normal({2, 4}, 2));
  const Loss l = albef_itc(v, v, v.value(), v.value(), one_number(0.1), queue, queue, {ids, queue_ids}, p);
  const Tensor y = l.term("target_i2t").value();
  EXPECT_EQ(y.at({0, 0}), 0.5);
  EXPECT_EQ(y.at({0, 2}), 0.5);
  EXPECT_EQ(y.at({1, 4}), 0.5);
  EXPECT_EQ(y.at({1, 3}), 0.0);
  expect_error(
      [&] {
        albef_itc(v, v, v.value(), v.value(), one_number(0.1), queue, queue, {ids, {}}, p);
      },
      {"albef_itc", "queue_ids"});
  expect_error([&] { albef_itc(v, v, v.value(), v.value(), one_number(0.1), queue, {}, {}, p); },
               {"albef_itc", "text_queue", "missing"});
}

TEST(MomentumPairs, RefuseBadInput) {
  const Var v(normal({3, 4}, 1));
  const MomentumKeys keys{v.value(), v.value()};
  MsdParams p;
  p.micro_batch = 0;
  expect_error([&] { msd_loss(v, v, keys, one_number(0), p); }, {"msd_loss", "micro_batch", "got 0"});
  p.micro_batch = 2, p.temperature_target = 0;
  expect_error([&] { msd_loss(v, v, keys, one_number(0), p); }, {"msd_loss", "temperature_target", "0"});
  expect_error([&] { msd_micro(v, v, 1, keys, one_number(0)); }, {"msd_loss", "begin", "3 keys"});
  AlbefItcParams a;
  a.alpha = 1.5;
  expect_error([&] { albef_itc(v, v, v.value(), v.value(), one_number(0.1), {}, {}, {}, a); },
               {"albef_itc", "alpha", "1.5"});
}

TEST(Matching, NothingMaskedIsZero) {
  const Var logits = Var::leaf(normal({2, 2, 3}, 1));
  const Tensor none = Tensor::from<int64_t>({-100, -100, -100, -100}, {2, 2});
  const Loss l = albef_mlm(logits, logits.value(), none);
  EXPECT_EQ(l.loss.item(), 0.0);
  backward(l.loss);
  EXPECT_EQ(max_abs(logits.grad()), 0.0);
  expect_error(
      [&] {
        albef_mlm(logits, logits.value(), Tensor::from<int64_t>({0, 3, 0, 0}, {2, 2}));
      },
      {"albef_mlm", "labels", "below 3", "got 3"});
  expect_error(
      [&] {
        albef_itm(Var(normal({4, 3}, 1)), Var(normal({2, 3}, 2)), Var(normal({2}, 3)));
      },
      {"albef_itm", "n_positive", "3N"});
}

TEST(Matching, UnifiedRerankingReproducesTheNativeGradients) {
  const Tensor h = normal({3, 4, 5}, 1), yes = normal({5}, 2), no = normal({5}, 3);
  const Tensor mask = Tensor::from<int64_t>({1, 1, 1, 1, 1, 1, 0, 1, 1, 0, 0, 0}, {3, 4});
  const auto gradient = [&](const RerankParams& p) {
    const Var x = Var::leaf(h.clone());
    backward(rerank_loss(x, Var(yes), Var(no), mask, p).loss);
    return x.grad();
  };
  RerankParams native, url;
  native.loss = RerankForm::cl;
  url.weight = RerankWeight::cl, url.direction = RerankDirection::cl;
  EXPECT_LT(max_abs_diff(gradient(native), gradient(url)), 1e-14);
  native.loss = RerankForm::sft;
  url.weight = RerankWeight::sft, url.direction = RerankDirection::sft;
  EXPECT_LT(max_abs_diff(gradient(native), gradient(url)), 1e-14);
  url.direction = RerankDirection::cl;  // the mutant: another direction is another gradient
  EXPECT_GT(max_abs_diff(gradient(native), gradient(url)), 1e-3);
  url.tau = 0.3;
  expect_error([&] { gradient(url); }, {"rerank_loss", "tau", "base"});
  expect_error(
      [&] {
        rerank_loss(Var(h), Var(yes), Var(no), Tensor::zeros({3, 4}, DType::i64));
      },
      {"rerank_loss", "mask", "group 0"});
}

TEST(Matching, CertainTeachersWeighAlike) {
  const Tensor teacher = Tensor::from<double>({5000, 0, 0, 0, 5000, 0}, {2, 3});
  const Loss l = dcd_loss(Var(normal({2, 3}, 1)), teacher);
  EXPECT_EQ(l.term("uncertainty").value().at({0}), 0.5);
  EXPECT_EQ(l.term("distill_weight").value().at({1}), 0.5);
  DcdParams p;
  p.temperature = 0;
  expect_error([&] { dcd_loss(Var(teacher), teacher, p); }, {"dcd_loss", "temperature", "0"});
}

TEST(Matching, StrongViewsNeedTheirScale) {
  const Var z(normal({2, 3}, 1)), h(normal({1, 2, 3}, 2));
  EXPECT_NEAR(cl2l(z, z, one_number(1), {}, {}, {}).loss.item(), clip(z, z, one_number(1)).loss.item(),
              1e-14);
  expect_error([&] { cl2l(z, z, one_number(1), h, h, {}); }, {"cl2l", "h_logit_scale"});
  expect_error([&] { cl2l(z, z, one_number(1), h, {}, one_number(1)); }, {"cl2l", "h_text"});
}

TEST(Pairing, DrawsFollowTheCumulativeWeights) {
  // of row 0: weights 0, 1/3, 2/3 relative to each other
  const Tensor s = Tensor::from<double>({9, 0, std::log(2), 0, 9, 0, 0, 0, 9}, {3, 3});
  const auto text_of_0 = [&](double u) {
    return hard_pairs(s, s, {}, Tensor::full({3}, u, DType::f64), Tensor::zeros({3}, DType::f64))
        .text_of_image.at({0});
  };
  EXPECT_EQ(text_of_0(0.0), 1);
  EXPECT_EQ(text_of_0(0.33), 1);
  EXPECT_EQ(text_of_0(0.34), 2);
  EXPECT_EQ(text_of_0(0.999999999), 2);
  expect_error([&] { text_of_0(1.0); }, {"albef_hard_negative", "u_text", "got 1"});
}

TEST(Pairing, TheTrueCaptionComesFirst) {
  const TeacherPick t = teacher_pick(Tensor::from<double>({0, 5, 7, 7, 1}, {1, 5}), 2);
  EXPECT_EQ(t.index.at({0, 0}), 0);
  EXPECT_EQ(t.index.at({0, 1}), 2);
  EXPECT_EQ(t.index.at({0, 2}), 3);
  EXPECT_EQ(t.sorted.at({0, 2}), 5);
  EXPECT_EQ(t.aligned.at({0, 0}), 0);
  expect_error(
      [&] {
        teacher_pick(Tensor::zeros({1, 3}, DType::f64), 3);
      },
      {"dcd_select", "hard_negative", "F = 2"});
}

TEST(Objects, FourTokensByHand) {
  // two objects of two tokens each: cosines inside 1 and 0, between 1, 0, 1, 0
  const Tensor f = Tensor::from<double>({1, 0, 2, 0, 1, 0, 0, 3}, {4, 2});
  const ObjectSimilarity o = object_similarity(f, Tensor::from<int64_t>({0, 0, 1, 1}, {4}), 2);
  EXPECT_NEAR(o.intra, 0.5, 1e-15);
  EXPECT_NEAR(o.inter, 0.5, 1e-15);
  EXPECT_EQ(o.intra_per_object, (std::vector<double>{1, 0}));
  EXPECT_NEAR(o.overlap, 1, 1e-15);
  EXPECT_NEAR(o.auc, 0.5, 1e-15);
  expect_error(
      [&] {
        object_similarity(f, Tensor::from<int64_t>({0, 0, -1, -1}, {4}));
      },
      {"object_similarity", "between objects"});
}

TEST(Objects, PromptedPatchFindsItsEquals) {
  // patches 0 and 3 of a 2 x 2 grid are alike
  const Tensor f = Tensor::from<double>({1, 0, 0, 1, 0, 1, 1, 0}, {1, 4, 2});
  const Tensor object = Tensor::from<int64_t>({1, 0, 0, 1}, {1, 2, 2});
  const Tensor thresholds = Tensor::from<double>({-0.5, 0.5}, {2});
  PromptPatchParams p;
  p.grid = {2, 2}, p.resize = MapResize::nearest;
  const PromptPatchResult r =
      prompt_patch_segmentation(f, Tensor::zeros({1}, DType::i64), object, thresholds, p);
  EXPECT_EQ(r.iou.at({0, 0}), 0.5);
  EXPECT_EQ(r.iou.at({0, 1}), 1.0);
  EXPECT_EQ(r.best_threshold, 1);
  EXPECT_EQ(r.predicted.at({0, 1, 1}), 1);
  EXPECT_EQ(r.predicted.at({0, 0, 1}), 0);
  p.grid = {3, 2};
  expect_error([&] { prompt_patch_segmentation(f, Tensor::zeros({1}, DType::i64), object, thresholds, p); },
               {"prompt_patch_segmentation", "grid", "4 patches"});
}

// A sentence without any token attends evenly shifted scores: f32 must not drown them in -10,000.
TEST(FusionLayer, AllMaskedIsAsIfNothingWere) {
  const auto given = [](const Dims& dims, uint64_t seed) { return Var(normal(dims, seed).to(DType::f32)); };
  nn::FusionWeights w;
  w.self = {given({4, 4}, 1), given({4}, 2), given({4, 4}, 3), given({4}, 4),
            given({4, 4}, 5), given({4}, 6), given({4, 4}, 7), given({4}, 8)};
  w.w1 = given({6, 4}, 9), w.b1 = given({6}, 10), w.w2 = given({4, 6}, 11), w.b2 = given({4}, 12);
  w.ln1_g = given({4}, 13), w.ln1_b = given({4}, 14), w.ln3_g = given({4}, 15), w.ln3_b = given({4}, 16);
  const Var x = given({1, 3, 4}, 17);
  const Tensor none = Tensor::zeros({1, 3}, DType::i64);
  EXPECT_LT(max_abs_diff(nn::fusion_layer(x, {}, none, {}, w, {}).value(),
                         nn::fusion_layer(x, {}, {}, {}, w, {}).value()),
            1e-6);
}

TEST(FusionLayer, RefusesBadInput) {
  expect_error(
      [&] {
        nn::fusion_layer(Var(normal({1, 2, 4}, 1)), {}, {}, {}, {}, {.heads = 3});
      },
      {"fusion_layer", "heads", "got 3"});
}

}  // namespace
}  // namespace juxta::test

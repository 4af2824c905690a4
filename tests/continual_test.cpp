// Memories, queues per class, exemplars, mixtures of data, losses with a state per sample.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "autograd/contrast.h"
#include "autograd/ops.h"
#include "ssl/data/gridworld.h"
#include "ssl/data/mixture.h"
#include "ssl/data/rehearsal.h"
#include "ssl/losses/continual.h"
#include "ssl/losses/hard_negatives.h"
#include "ssl/losses/temperatures.h"
#include "ssl/momentum/class_queue.h"
#include "ssl/views/crop.h"
#include "tests/harness.h"

namespace juxta::test {
namespace {

using namespace ssl;

// With gamma 1 the moving denominator is the batch's: the gradient is that of mean_i sum_a tau log mean_j
// e^{h/tau}. How far sogclr's gradient with this gamma is from that.
double distance_from_batch_loss(double gamma) {
  const Tensor a = normal({5, 4}, 1), b = normal({5, 4}, 2);
  const Var x = Var::leaf(a.clone()), y = Var::leaf(b.clone()), u = Var::leaf(a.clone()),
            v = Var::leaf(b.clone());
  SogclrParams p;
  p.gamma = gamma, p.temperature = 0.2, p.n_total = 9;
  SampleTable table(9, 0.2);
  table.visited.fill(1, "test");  // each sample has a denominator to average with
  table.u.fill(1, "test");
  backward(sogclr(x, y, Tensor::from<int64_t>({8, 1, 0, 4, 3}, {5}), table, p).loss);
  RgclParams q;
  q.rho = 0;
  backward(rgcl(u, v, Var(Tensor::full({5}, 0.2, DType::f64)), {}, q).loss);
  return std::max(max_abs_diff(x.grad(), u.grad()), max_abs_diff(y.grad(), v.grad()));
}

TEST(SampleTemperatures, GammaOneIsTheBatchLoss) {
  EXPECT_LT(distance_from_batch_loss(1), 1e-12);
  EXPECT_GT(distance_from_batch_loss(0.9), 1e-4);  // the mutant of this file: a denominator that lags
  SogclrParams p;
  p.n_total = 9;
  SampleTable table(9, 0.2);
  const Var x(normal({5, 4}, 1)), y(normal({5, 4}, 2));
  sogclr(x, y, Tensor::from<int64_t>({8, 1, 0, 4, 3}, {5}), table, p);
  EXPECT_EQ(table.visited.at({8}), 1);
  EXPECT_EQ(table.visited.at({2}), 0);
}

TEST(SampleTemperatures, TemperatureGradientIsTheDerivative) {
  // G_i of isogclr at gamma 1 and no clipping is d/dtau of the robust loss, averaged over the two anchors.
  const Tensor a = normal({4, 6}, 1), b = normal({4, 6}, 2);
  IsogclrParams p;
  p.gamma = 1, p.beta = 1, p.grad_clip = 100, p.n_total = 4, p.eta = 0, p.rho = 0.3;
  SampleTable table(4, 0.4);
  isogclr(Var(a), Var(b), Tensor::arange(4), table, p);
  const Var tau = Var::leaf(Tensor::full({4}, 0.4, DType::f64));
  RgclParams q;
  q.rho = 0.3;
  backward(rgcl(Var(a), Var(b), tau, {}, q).loss);
  EXPECT_LT(max_abs_diff(table.u, affine(Var(tau.grad()), 4.0 / 2.0, 0.0).value()), 1e-10);
}

TEST(SampleTemperatures, RefuseBadInput) {
  const Var z(normal({3, 4}, 1));
  SampleTable table(5, 0.1);
  SogclrParams p;
  p.n_total = 5;
  expect_error(
      [&] {
        sogclr(z, z, Tensor::from<int64_t>({0, 1, 5}, {3}), table, p);
      },
      {"sogclr", "index", "got 5"});
  expect_error(
      [&] {
        sogclr(z, z, Tensor::from<int64_t>({0, 1, 1}, {3}), table, p);
      },
      {"index", "1 occurs twice"});
  p.gamma = 0;
  expect_error([&] { sogclr(z, z, Tensor::arange(3), table, p); }, {"sogclr", "gamma"});
  Tensor tau = Tensor::full({3}, 0.1, DType::f64);
  tau.write<double>("test")[2] = 0;
  expect_error([&] { rgcl(z, z, Var(tau), {}); }, {"rgcl", "tau", "positive", "row 2"});
  expect_error(
      [&] { rgcl(slice(z, 0, 0, 1), slice(z, 0, 0, 1), Var(Tensor::full({1}, 0.1, DType::f64)), {}); },
      {"rgcl", "z1", "at least 2"});
  TemperatureFreeParams free;
  free.eps = 0;
  expect_error([&] { temperature_free_nce(z, z, free); }, {"temperature_free_nce", "eps"});
}

TEST(ClassQueue, RingsAreFilledAndOverwrittenPerClass) {
  ClassQueue queue(2, 3, 2);
  const Tensor batch = Tensor::from<float>({3, 4, 0, 2, 6, 8, 5, 0}, {4, 2});
  queue.push(batch, Tensor::from<int64_t>({0, 1, 0, -1}, {4}), 64);
  EXPECT_EQ(queue.rows(0).size(0), 2);
  EXPECT_EQ(queue.rows(1).size(0), 1);
  EXPECT_FLOAT_EQ(static_cast<float>(queue.rows(0).at({0, 0})), 0.6f);  // unit length
  queue.push(batch, Tensor::from<int64_t>({0, 0, 0, 0}, {4}), 2);       // at most two of a class
  EXPECT_EQ(queue.count().at({0}), 3);
  EXPECT_EQ(queue.pointer().at({0}), 1);
  EXPECT_FLOAT_EQ(static_cast<float>(queue.rows(0).at({0, 1})), 1.0f);  // the oldest went first
  expect_error(
      [&] {
        queue.push(batch, Tensor::from<int64_t>({0, 1, 2, 0}, {4}), 1);
      },
      {"labels", "-1 to 1", "got 2"});
  expect_error([&] { ClassQueue(0, 1, 1); }, {"class_queue", "classes"});
}

TEST(Memories, EmptySetsGiveZero) {
  const Var q = Var::leaf(normal({2, 3}, 1));
  const Tensor some = normal({4, 3}, 2), none = Tensor::zeros({0, 3}, DType::f64);
  const Loss empty = hpcl(q, Tensor::from<int64_t>({0, 1}, {2}), some, none);
  EXPECT_EQ(empty.loss.item(), 0.0);
  backward(empty.loss);
  EXPECT_EQ(max_abs(q.grad()), 0.0);
  expect_error([&] { hpcl(q, Tensor::from<int64_t>({0, 2}, {2}), some, some); }, {"hpcl", "labels", "got 2"});
  const Tensor zero = Tensor::zeros({2}, DType::i64);
  EXPECT_EQ(coconut_nspt(q, q, zero, zero).loss.item(), 0.0);
  expect_error([&] { beclr(q, q, q); }, {"beclr", "M >= 2"});
  expect_error(
      [&] {
        hard_contrastive(q, q, some, Tensor::from<int64_t>({0, 4}, {2}));
      },
      {"bank_index", "got 4"});
}

TEST(Memories, TheHardestNegativesAreKeptWithTies) {
  const Var q(Tensor::from<double>({1, 0}, {1, 2}));
  const Tensor bank = Tensor::from<double>({1, 0, 0, 1, 1, 0, -1, 0}, {4, 2});
  HardContrastiveParams p;
  p.top_k = 1, p.temperature = 1;
  const Loss two = hard_contrastive(q, q, bank, {}, p);
  EXPECT_EQ(two.term("kept").value().at({0}), 2);
  EXPECT_NEAR(two.loss.item(), std::log(3.0), 1e-12);
  EXPECT_NEAR(hard_contrastive(q, q, bank, Tensor::zeros({1}, DType::i64), p).loss.item(), std::log(2.0),
              1e-12);
}

TEST(Rehearsal, HerdingFollowsTheMean) {
  // one class at 0, 10 and 100 degrees: the mean lies nearest to 10
  const double r = M_PI / 180;
  const Tensor f = Tensor::from<double>(
      {1, 0, std::cos(10 * r), std::sin(10 * r), std::cos(100 * r), std::sin(100 * r)}, {3, 2});
  const Tensor chosen = herding(f, Tensor::zeros({3}, DType::i64), 2);
  EXPECT_EQ(chosen.size(0), 2);
  EXPECT_EQ(chosen.at({0}), 1);
  expect_error([&] { herding(f, Tensor::zeros({3}, DType::i64), 0); }, {"herding", "per_class"});
}

TEST(Mixture, PlacesAndRepeats) {
  const Mixture m{2, 3, 2};
  EXPECT_EQ(m.size(), 7);
  EXPECT_NEAR(m.real_fraction(), 4.0 / 7, 1e-15);
  const MixedBatches b = mixed_batches(m, Tensor::from<int64_t>({0, 2, 6, 1, 3, 4, 5}, {7}), 3);
  EXPECT_EQ(b.source.size(0), 2);
  EXPECT_EQ(b.repeats.at({0}), 1);  // places 0 and 2 are copies of image 0
  EXPECT_EQ(b.row.at({0, 2}), 2);
  expect_error(
      [&] {
        mixed_batches(m, Tensor::from<int64_t>({0, 0, 6, 1, 3, 4, 5}, {7}), 3);
      },
      {"permutation"});
}

TEST(Crop, SearchAndFallback) {
  std::vector<double> u(40, 0.0);
  u[1] = 0.5;  // the smallest area, aspect 1, top left
  const CropBox box = search_crop(20, 40, {0.125, 1, 0.75}, u);
  EXPECT_EQ(box.height, 10);
  EXPECT_EQ(box.width, 10);
  EXPECT_EQ(box.top + box.left, 0);
  const CropBox wide = search_crop(10, 90, {0.99, 1, 0.75}, u);  // nothing fits: centred, aspect 4 : 3
  EXPECT_EQ(wide.width, 13);
  EXPECT_EQ(wide.left, 38);
  expect_error([&] { search_crop(0, 4, {}, u); }, {"crop", "size"});
  expect_error([&] { search_crop(4, 4, {0, 1, 0.75}, u); }, {"crop", "areas"});
}

TEST(GridWorld, RefusesBadInput) {
  const GridWorld world{3, Tensor::from<int64_t>({0, 3}, {1, 2}), Tensor::full({3}, 1.0),
                        Tensor::full({3}, 1.0)};
  expect_error(
      [&] {
        gridworld_features(world, Tensor::zeros({1, 5, 2}, DType::i64));
      },
      {"objects", "0 to 2", "3"});
}

}  // namespace
}  // namespace juxta::test

// Balanced assignments, k-means, prototypes and clustered memories.
#include <gtest/gtest.h>

#include <cmath>

#include "autograd/ops.h"
#include "ssl/clusters/dyce.h"
#include "ssl/clusters/kmeans.h"
#include "ssl/eval/clustering.h"
#include "ssl/losses/prototypes.h"
#include "ssl/losses/sinkhorn.h"
#include "ssl/losses/swav.h"
#include "ssl/momentum/shift_queue.h"
#include "tests/support.h"

namespace juxta::test {
namespace {

using namespace ssl;

Tensor rows(std::initializer_list<double> v, int64_t columns) {
  return Tensor::from<double>(v, {static_cast<int64_t>(v.size()) / columns, columns});
}
Tensor ids(std::initializer_list<int64_t> v) {
  return Tensor::from<int64_t>(v, {static_cast<int64_t>(v.size())});
}

// Largest distance of the sums along an axis from `wanted`.
double off_by(const Tensor& q, int axis, double wanted) {
  const Tensor sums = sum(Var(q.to(DType::f64)), {axis}).value();
  return max_abs_diff(sums, Tensor::full(sums.dims(), wanted, DType::f64));
}

TEST(Sinkhorn, MarginalsAreMet) {
  const Tensor scores = uniform({12, 5}, 1, -1, 1);
  for (const DType dtype : {DType::f64, DType::f32}) {
    const Tensor q = sinkhorn_knopp(scores.to(dtype), {0.05, 200, 0});
    EXPECT_EQ(q.dtype(), dtype);
    EXPECT_LT(off_by(q, 1, 1.0), 1e-6);
    EXPECT_LT(off_by(q, 0, 12.0 / 5), 1e-4);
  }
  // Three rounds end with the rows: those are exact, the columns are not yet (the mutant of this test).
  const Tensor early = sinkhorn_knopp(scores, {0.05, 3, 0});
  EXPECT_LT(off_by(early, 1, 1.0), 1e-14);
  EXPECT_GT(off_by(early, 0, 12.0 / 5), 1e-3);
}

TEST(Sinkhorn, AnyEpsilonInSinglePrecision) {
  for (const double epsilon : {1e-4, 1e-2, 1.0, 1e3}) {
    const Tensor q = sinkhorn_knopp(uniform({7, 4}, 2, -1, 1).to(DType::f32), {epsilon, 3, 0});
    EXPECT_LT(off_by(q, 1, 1.0), 1e-5) << epsilon;
  }
  const Tensor none = sinkhorn_knopp(rows({0, 0, 0, std::log(3.0)}, 2), {1, 0, 0});  // Q M / sum Q
  EXPECT_LT(max_abs_diff(none, rows({1.0 / 3, 1.0 / 3, 1.0 / 3, 1}, 2)), 1e-15);
  EXPECT_EQ(sinkhorn_knopp(none, {1, 3, 1}).size(0), 1);
}

TEST(Sinkhorn, RefusesBadInput) {
  const Tensor scores = normal({3, 2}, 1);
  expect_error([&] { sinkhorn_knopp(scores, {0, 3, 0}); }, {"sinkhorn_knopp", "epsilon"});
  expect_error([&] { sinkhorn_knopp(scores, {0.1, -1, 0}); }, {"sinkhorn_knopp", "iterations"});
  expect_error([&] { sinkhorn_knopp(scores, {0.1, 3, 4}); }, {"sinkhorn_knopp", "last", "0 to 3"});
  expect_error([&] { sinkhorn_knopp(normal({3}, 1)); }, {"sinkhorn_knopp", "scores"});
}

TEST(KMeans, TwoRoundsByHand) {
  const Tensor x = rows({0, 2, 10, 14}, 1);
  const KMeans k = kmeans(x, rows({0, 2}, 1), 2);
  // round 1: {0} and {2, 10, 14}; round 2: {0, 2} and {10, 14} around 0 and 26/3
  EXPECT_LT(max_abs_diff(k.centroids, rows({1, 12}, 1)), 1e-14);
  EXPECT_EQ(k.label.at({1}), 0);
  EXPECT_DOUBLE_EQ(k.inertia, 10);
  EXPECT_DOUBLE_EQ(k.inertia_before[0], 64 + 144);
  const KMeans far = kmeans(x, rows({0, 100}, 1), 1);  // nobody's: it stays
  EXPECT_DOUBLE_EQ(far.centroids.at({1, 0}), 100);
  Rng rng(1, "kmeans");
  EXPECT_DOUBLE_EQ(best_kmeans(x, 2, 10, 8, rng).inertia, 10);
}

TEST(KMeans, SphericalCentroidsAreUnitAndEmptyOnesStay) {
  const double r = std::sqrt(0.5);
  const Tensor x = rows({1, 0, 0, 1, r, r}, 2);
  const KMeans k = spherical_kmeans(x, rows({r, r, -1, 0}, 2), 3);
  EXPECT_LT(max_abs_diff(k.centroids, rows({r, r, -1, 0}, 2)), 1e-15);
  EXPECT_NEAR(k.inertia, 2 - 2 * r, 1e-15);
  // to the last bit, also where it is of unit length only nearly
  EXPECT_EQ(spherical_kmeans(x, rows({r, r, -1.0000001, 0}, 2), 1).centroids.at({1, 0}), -1.0000001);
}

TEST(KMeans, RefusesBadInput) {
  const Tensor x = normal({4, 2}, 1);
  Rng rng(1, "kmeans");
  expect_error([&] { kmeans(x, normal({2, 3}, 1), 1); }, {"kmeans", "centroids"});
  expect_error([&] { kmeans(x, x, -1); }, {"kmeans", "rounds"});
  expect_error([&] { best_kmeans(x, 5, 1, 1, rng); }, {"kmeans", "k", "1 to 4"});
  expect_error([&] { rows_at("kmeans", x, ids({0, 4})); }, {"start", "0 to 3", "got 4"});
  expect_error([&] { label_means(x, ids({0, 1, 2, 0}), x.slice(0, 0, 2)); }, {"labels", "got 2"});
}

TEST(Clustering, ByHand) {
  // clusters {0: a a b, 1: b b, 2: c}
  const ClusteringMetrics m = clustering_metrics(ids({0, 0, 0, 1, 1, 2}), ids({7, 7, 9, 9, 9, -1}));
  EXPECT_NEAR(m.purity, 5.0 / 6, 1e-15);
  EXPECT_NEAR(m.accuracy, 5.0 / 6, 1e-15);
  // pairs together: clusters 3 + 1, labels 1 + 3, both 1 + 1; 15 pairs
  EXPECT_NEAR(m.ari, (2 - 16.0 / 15) / (4 - 16.0 / 15), 1e-15);
  const ClusteringMetrics same = clustering_metrics(ids({5, 5, 1}), ids({0, 0, 3}));
  EXPECT_NEAR(same.nmi, 1, 1e-14);
  EXPECT_NEAR(same.ari, 1, 1e-14);
  const ClusteringMetrics alone = clustering_metrics(ids({5}), ids({0}));
  EXPECT_EQ(alone.nmi, 1);
  EXPECT_EQ(alone.ari, 1);
  expect_error([&] { clustering_metrics(ids({}), ids({})); }, {"clustering_metrics", "clusters"});
  expect_error([&] { clustering_metrics(ids({1}), ids({1, 2})); }, {"clustering_metrics", "labels"});
}

TEST(Clustering, TheBestMatchingIsNotTheGreedyOne) {
  EXPECT_EQ(best_matching({9, 8, 8, 1}, 2, 2), (std::vector<int64_t>{1, 0}));
  EXPECT_EQ(best_matching({1, 5, 2}, 3, 1), (std::vector<int64_t>{-1, 0, -1}));
  EXPECT_EQ(best_matching({1, 5, 2}, 1, 3), (std::vector<int64_t>{1}));
  EXPECT_TRUE(best_matching({}, 0, 0).empty());
}

TEST(Swav, AQueueCountsOnceItIsFull) {
  const Var z(normal({2, 3, 4}, 1)), c = l2_normalize(Var(normal({5, 4}, 2)));
  Tensor queue = normal({2, 6, 4}, 3);
  const double full = swav(z, c, queue).loss.item(), without = swav(z, c, {}).loss.item();
  EXPECT_GT(std::abs(full - without), 1e-6);
  queue.slice(1, 5, 6).fill(0, "test");
  EXPECT_DOUBLE_EQ(swav(z, c, queue).loss.item(), without);
  EXPECT_DOUBLE_EQ(swav(z, c, normal({2, 0, 4}, 3)).loss.item(), without);
}

TEST(Swav, PrototypesAreRenormalisedInPlace) {
  Tensor c = rows({3, 4, 0, 0, 0, 2}, 2);
  renormalise_rows(c);
  EXPECT_LT(max_abs_diff(c, rows({0.6, 0.8, 0, 0, 0, 1}, 2)), 1e-15);
  expect_error(
      [&] {
        Tensor flat = normal({3}, 1);
        renormalise_rows(flat);
      },
      {"renormalise_rows", "x", "[K, D]"});
}

TEST(Swav, RefusesBadInput) {
  const Var z(normal({2, 3, 4}, 1)), c(normal({5, 4}, 2)), scale(Tensor::zeros({1}, DType::f64));
  expect_error([&] { swav(slice(z, 0, 0, 1), c, {}); }, {"swav", "z", "two views"});
  expect_error([&] { swav(z, Var(normal({5, 3}, 2)), {}); }, {"swav", "prototypes"});
  expect_error([&] { swav(z, c, normal({1, 6, 4}, 3)); }, {"swav", "queue", "[2, L, 4]"});
  SwavParams three;
  three.n_assign = 3;
  expect_error([&] { swav(z, c, {}, three); }, {"swav", "n_assign", "1 to 2"});
  expect_error([&] { swalip_views(Var(normal({3, 2, 4}, 1)), z, scale); }, {"swalip", "h_image"});
  expect_error([&] { swalip_prototypes(c, c, c, {}, scale); }, {"swalip", "p_image_m"});
  SwalipParams sharp;
  sharp.epsilon = 0;
  expect_error([&] { swalip_prototypes(c, c, {}, {}, scale, sharp); }, {"swalip", "epsilon"});
}

TEST(ShiftQueue, NewestFirst) {
  ShiftQueue queue(1, 3, 1, DType::f64);
  queue.push(rows({1, 2}, 1).unsqueeze(0));
  EXPECT_EQ(queue.active().at({0}), 0);
  queue.push(rows({3, 4}, 1).unsqueeze(0));
  EXPECT_EQ(queue.active().at({0}), 1);
  EXPECT_LT(max_abs_diff(queue.rows(), rows({3, 4, 1}, 1).unsqueeze(0)), 1e-15);
  expect_error([&] { queue.push(normal({1, 4, 1}, 1)); }, {"swav_queue", "embeddings", "B <= 3"});
  expect_error([&] { ShiftQueue(1, 0, 1); }, {"swav_queue", "size"});
}

TEST(Prototypes, RefuseBadInput) {
  const Var z(normal({2, 3, 4}, 1)), q(normal({3, 4}, 1));
  const Tensor c = normal({5, 4}, 2), assign = Tensor::zeros({1, 3}, DType::i64);
  expect_error([&] { deepcluster_v2(z, Tensor::full({1, 3}, 5, DType::i64), {c}); }, {"assign", "got 5"});
  expect_error([&] { deepcluster_v2(z, assign, {c, c}); }, {"assign", "[2, 3]"});
  expect_error([&] { deepcluster_v2(z, assign, {}); }, {"prototypes0"});
  const Var leaf = Var::leaf(normal({2, 3, 4}, 1));
  const Loss ignored = deepcluster_v2(leaf, Tensor::full({1, 3}, -1, DType::i64), {c});
  EXPECT_EQ(ignored.loss.item(), 0.0);
  backward(ignored.loss);
  EXPECT_EQ(max_abs(leaf.grad()), 0.0);
  const Tensor index = ids({0, 1, 6});
  Clustering one{ids({0, 1, 2, 3, 4, 0}), c, Tensor::full({5}, 0.1, DType::f64), ids({0})};
  expect_error([&] { proto_nce(q, q, c, index, {one}); }, {"proto_nce", "index", "got 6"});
  one.density.write<double>("test")[3] = 0;
  expect_error([&] { proto_nce(q, q, c, ids({0, 1, 2}), {one}); }, {"density0", "positive", "cluster 3"});
  expect_error([&] { proto_nce(q, q, c, index, {}); }, {"proto_nce", "centroid0"});
}

TEST(Prototypes, NoSampledNegatives) {
  // One sample, no queue, no other prototype: nothing repels.
  const Var q(normal({1, 4}, 1));
  const Clustering one{ids({0, 1}), normal({2, 4}, 2), Tensor::full({2}, 0.1, DType::f64), ids({})};
  const Loss loss = proto_nce(q, q, normal({0, 4}, 3), ids({1}), {one});
  EXPECT_NEAR(loss.loss.item(), 0, 1e-15);
}

TEST(KMeans, FarFromTheOriginAndTies) {
  // Products of rows and centroids lose all digits of distances near 1 at 1e4 in single precision; the
  // nearest centroid is still found, and ties go to the first.
  Tensor x = normal({300, 3}, 1), c = normal({7, 3}, 2);
  for (Tensor* t : {&x, &c}) *t = affine(Var(*t), 1.0, 1e4).value();
  const Tensor xf = x.to(DType::f32), cf = c.to(DType::f32);
  const Tensor wanted =
      argmax(neg(pairwise_sq_distance(Var(xf.to(DType::f64)), Var(cf.to(DType::f64)))).value(), -1);
  const Tensor label = kmeans(xf, cf, 0).label;
  for (int64_t i = 0; i < 300; ++i) EXPECT_EQ(label.at({i}), wanted.at({i})) << i;
  const Tensor same = rows({1, 2, 1, 2, 1, 2}, 2);
  for (int64_t i = 0; i < 3; ++i) EXPECT_EQ(kmeans(same, same, 1).label.at({i}), 0);
}

TEST(Dyce, FillsClustersAndEnhances) {
  DyceMemory memory(5, 2, 2, {}, DType::f64);
  const Tensor batch = rows({1, 0, 2, 0.1, 0, 1, 0.1, 3}, 2);
  EXPECT_FALSE(memory.fill(batch));
  EXPECT_TRUE(memory.fill(batch));  // one row fits
  EXPECT_EQ(memory.pointer(), 0);
  Rng rng(3, "dyce");
  ASSERT_TRUE(memory.recluster(rng));
  EXPECT_EQ(memory.labels().at({0}), memory.labels().at({1}));
  EXPECT_NE(memory.labels().at({0}), memory.labels().at({2}));
  const Var z = Var::leaf(rows({5, 0, 0, 7}, 2));
  const DyceMemory::Enhanced e = memory.enhance(z, 1);
  EXPECT_EQ(e.neighbours.at({0, 0}), 0);
  EXPECT_EQ(e.neighbours.at({1, 0}), 2);
  EXPECT_LT(max_abs_diff(e.rows.value(), rows({1, 0, 1, 0, 0, 1, 0, 1}, 2)), 1e-15);
  EXPECT_EQ(memory.enhance(z, 3).neighbours.size(1), 3);
  const DyceMemory::Assigned a = memory.update(batch);
  EXPECT_EQ(a.label.at({0}), a.label.at({1}));
  EXPECT_EQ(memory.pointer(), 4);
}

// More rows than the bank holds: truncated, the first stay; wrapped, the last.
TEST(Dyce, BatchMayExceedTheBank) {
  const Tensor bank = normal({4, 3}, 1), prototypes = normal({2, 3}, 2), z = normal({6, 3}, 3);
  for (const auto overflow : {QueueOverflow::truncate, QueueOverflow::wrap}) {
    const bool wrap = overflow == QueueOverflow::wrap;
    DyceMemory memory = DyceMemory::from(bank, ids({0, 1, 0, 1}), prototypes, 0, {.overflow = overflow});
    memory.update(z);
    EXPECT_EQ(memory.pointer(), wrap ? 2 : 0);
    EXPECT_EQ(memory.bank().at({0, 0}), z.at({wrap ? 4 : 0, 0}));
    EXPECT_EQ(memory.bank().at({3, 0}), z.at({3, 0}));
    EXPECT_EQ(memory.enhance(Var(z), 1).rows.size(0), 12);
  }
}

TEST(Dyce, RefusesBadInput) {
  const Tensor bank = normal({4, 3}, 1), labels = ids({0, 1, -1, 0}), p = normal({2, 3}, 2);
  expect_error([&] { DyceMemory::from(bank, ids({0, 2, 0, 0}), p, 0, {}); }, {"dyce", "labels", "got 2"});
  expect_error([&] { DyceMemory::from(bank, labels, p, 4, {}); }, {"dyce", "ptr", "0 to 3"});
  expect_error([&] { DyceMemory::from(bank, labels, normal({2, 2}, 1), 0, {}); }, {"dyce", "prototypes"});
  DyceMemory memory = DyceMemory::from(bank, labels, p, 0, {});
  expect_error([&] { memory.enhance(Var(normal({3, 3}, 1)), 1); }, {"dyce", "z", "even"});
  expect_error([&] { memory.enhance(Var(normal({2, 3}, 1)), 5); }, {"dyce", "k", "1 to 4"});
}

}  // namespace
}  // namespace juxta::test

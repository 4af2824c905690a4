// Losses between cells of maps, labels of cells, and what lies between stages: small cases by hand, errors.
#include <algorithm>
#include <cmath>

#include "autograd/ops.h"
#include "ssl/clusters/density.h"
#include "ssl/data/hyper_pixels.h"
#include "ssl/data/multi_stage.h"
#include "ssl/losses/pixels.h"
#include "ssl/losses/vicregl.h"
#include "tests/harness.h"

namespace juxta::test {
namespace {

using namespace juxta::ssl;

Tensor whole() { return Tensor::from<double>({0, 0, 1, 1}, {1, 4}); }

// Error of the distances [1, 4, 4] between the cells of the whole image and of its upper left quarter.
double cell_error(const Tensor& d) {
  const double unit = std::sqrt(0.5);  // cells of 1/2 x 1/2
  // (0.25, 0.25) and (0.125, 0.125); (0.75, 0.25) and (0.125, 0.375)
  return std::max(std::abs(d.at({0, 0, 0}) - std::hypot(0.125, 0.125) / unit),
                  std::abs(d.at({0, 1, 2}) - std::hypot(0.625, 0.125) / unit));
}

TEST(Pixels, DistancesAreInDiagonalsOfTheLargerCell) {
  const Tensor half = Tensor::from<double>({0, 0, 0.5, 0.5}, {1, 4});
  const Tensor d = cell_distances("test", whole(), half, 2, 2);
  EXPECT_LT(cell_error(d), 1e-14);
  // The mutants of this file: the smaller cell's diagonal as the unit, and no unit at all.
  EXPECT_GT(cell_error(affine(Var(d), 2.0, 0.0).value()), 1e-3);
  EXPECT_GT(cell_error(affine(Var(d), std::sqrt(0.5), 0.0).value()), 1e-3);
  const Tensor flipped = Tensor::from<double>({1, 0, 0, 1}, {1, 4});
  EXPECT_NEAR(cell_distances("test", whole(), flipped, 2, 2).at({0, 0, 1}), 0, 1e-14);
}

TEST(Pixels, EqualMapsOfOneCrop) {
  // Every cell is its own and only positive: orthogonal cells give log(1 + 3 e^{-1/t}).
  Tensor eye = Tensor::zeros({1, 2, 2, 4}, DType::f64);
  for (int64_t i = 0; i < 4; ++i) eye.write<double>("test")[5 * i] = 3;
  const Var x(eye);
  const PixelViews same{x, x, x, x, whole(), whole()};
  EXPECT_NEAR(pixcontrast(same, {.temperature = 0.5}).loss.item(), std::log(1 + 3 * std::exp(-2.0)), 1e-12);
  // Orthogonal cells do not propagate: y = x, both ways -2.
  const Loss l = pixpro(same, {}, {}, {.transform_layers = 0});
  EXPECT_NEAR(l.loss.item(), -4 * 4 / (4 + 1e-6), 1e-12);
  EXPECT_EQ(l.term("pairs").value().at({0}), 4);
  const Tensor away = Tensor::from<double>({5, 5, 6, 6}, {1, 4});
  EXPECT_EQ(pixpro({x, x, x, x, whole(), away}, {}, {}, {.transform_layers = 0}).loss.item(), 0);
  EXPECT_EQ(pixcontrast({x, x, x, x, whole(), away}).loss.item(), 0);
}

TEST(Pixels, Errors) {
  const Var x(normal({1, 2, 2, 4}, 1)), other(normal({1, 2, 3, 4}, 2));
  expect_error([&] { pixcontrast({x, other, x, x, whole(), whole()}); }, {"pixcontrast", "proj2"});
  expect_error([&] { pixcontrast({x, x, x, x, whole(), whole()}, {.temperature = 0}); }, {"temperature"});
  expect_error([&] { pixcontrast({x, x, x, x, whole(), Tensor::zeros({1, 4}, DType::i64)}); }, {"coord2"});
  const Tensor point = Tensor::zeros({1, 4}, DType::f64);
  expect_error([&] { pixcontrast({x, x, x, x, point, point}); }, {"no extent"});
  expect_error([&] { pixel_propagation(x, {}, {}); }, {"pixel_propagation", "weight"});
  expect_error([&] { pixel_propagation(x, {}, {}, {.transform_layers = 2}); }, {"transform_layers", "2"});
  expect_error([&] { pixel_propagation(x, {}, {}, {.gamma = 0, .transform_layers = 0}); }, {"gamma"});
}

TEST(VicRegL, Errors) {
  const Var g(normal({2, 3}, 1)), map(normal({2, 4, 3}, 2));
  const Tensor grid = normal({2, 4, 2}, 3), other = normal({2, 3, 2}, 3);
  EXPECT_TRUE(std::isfinite(vicregl({g, g, map, map, grid, grid}).loss.item()));  // fewer cells than matches
  expect_error([&] { vicregl({g, g, map, map, grid, other}); }, {"vicregl", "grid2"});
  expect_error([&] { vicregl({g, g, map, g, grid, grid}); }, {"vicregl", "map2"});
  expect_error([&] { vicregl({g, g, map, map, grid, grid}, {.num_matches = {3}}); }, {"num_matches", "two"});
  expect_error([&] { vicregl({g, g, map, map, grid, grid}, {.alpha = 2}); }, {"alpha", "2"});
}

TEST(HyperPixels, Errors) {
  const Tensor mask = Tensor::from<int64_t>({1, 0, -1, -1}, {1, 2, 2});
  const HyperPixels r = hyper_pixel_labels(mask, {.stride = 2});
  EXPECT_EQ(r.frac.item(), 0.5);
  EXPECT_EQ(r.label.to(DType::f64).item(), -1);
  EXPECT_EQ(hyper_pixel_labels(mask, {.stride = 2, .boundary_label = BoundaryLabel::majority})
                .label.to(DType::f64)
                .item(),
            1);
  // equal limits leave nothing between them
  EXPECT_EQ(hyper_pixel_labels(mask, {.stride = 2, .low = 0.5, .high = 0.5}).label.to(DType::f64).item(), 1);
  EXPECT_EQ(hyper_pixel_labels(mask, {.stride = 2, .low = 0.6, .high = 0.6}).label.to(DType::f64).item(), 0);
  expect_error([&] { hyper_pixel_labels(mask, {.stride = 3}); }, {"stride", "3"});
  expect_error([&] { hyper_pixel_labels(mask, {.stride = 1, .low = 1, .high = 0.5}); }, {"low"});
  expect_error(
      [&] {
        hyper_pixel_labels(Tensor::from<int64_t>({2}, {1, 1, 1}), {.stride = 1});
      },
      {"mask", "2"});
}

TEST(Density, SmallCaseByHand) {
  // Cluster 0: two rows at distance 1; cluster 1 twice that; cluster 2 has one row and takes the largest.
  const Tensor x = Tensor::from<double>({1, -1, 12, 8, 50}, {5, 1}),
               c = Tensor::from<double>({0, 10, 49}, {3, 1});
  const Tensor assign = Tensor::from<int64_t>({0, 0, 1, 1, 2}, {5});
  const Tensor phi =
      pcl_density(x, c, assign, {.temperature = 0.5, .low_percentile = 0, .high_percentile = 100});
  EXPECT_NEAR(phi.at({0}), 0.3, 1e-14);  // 1 : 2 : 2 with mean 1/2
  EXPECT_NEAR(phi.at({1}), 0.6, 1e-14);
  EXPECT_NEAR(phi.at({2}), 0.6, 1e-14);
  expect_error([&] { pcl_density(x, c, Tensor::full({5}, 3, DType::i64)); }, {"pcl_density", "assign", "3"});
  // log(n_c + 0) is that of two rows at least
  EXPECT_NEAR(pcl_density(x, c, assign, {.temperature = 0.5, .smooth = 0, .low_percentile = 0}).at({0}), 0.3,
              1e-14);
  expect_error([&] { pcl_density(x, c, assign, {.temperature = 0}); }, {"temperature"});
  expect_error([&] { pcl_density(x, c, assign, {.smooth = -1}); }, {"smooth"});
  expect_error([&] { pcl_density(x, x, Tensor::arange(5)); }, {"cluster of two rows"});
}

TEST(MultiStage, Errors) {
  const Tensor clusters = Tensor::from<int64_t>({0, 1, 2, 0}, {2, 2});
  EXPECT_EQ(mcl_pseudo_labels(clusters, 3).pseudo.at({1, 0}), 2);  // 0 * 3 + 2
  EXPECT_EQ(mcl_pseudo_labels(clusters, 3).pseudo.at({1, 1}), 3);  // 1 * 3 + 0
  expect_error([&] { mcl_pseudo_labels(clusters, 2); }, {"mcl_pseudo_labels", "stage 1", "2"});
  const Tensor many = Tensor::full({70, 1}, 1, DType::i64);
  expect_error([&] { mcl_pseudo_labels(many, 2); }, {"more cells"});
  const Tensor labels = Tensor::from<int64_t>({0, 2, 0}, {3});
  const CellBatches b = mcl_batches(labels, Tensor::from<double>({1, 2, 3}, {3}), 2);
  EXPECT_EQ(b.batches.at({0, 0}), 2);
  EXPECT_EQ(b.batches.at({0, 1}), 0);
  EXPECT_EQ(b.dropped.at({2}), 1);
  EXPECT_EQ(mcl_batches(labels, Tensor::from<double>({1, 2, 3}, {3}), 4).batches.size(0), 0);
  expect_error([&] { mcl_batches(labels, Tensor::zeros({2}, DType::f64), 2); }, {"key"});
  expect_error([&] { mcl_batches(labels, Tensor::zeros({3}, DType::f64), 0); }, {"batch"});
  const Tensor f = normal({2, 3, 4}, 1);
  expect_error([&] { mcl_integrate(f, normal({1, 3, 4}, 1), false); }, {"mcl_integrate", "other"});
}

}  // namespace
}  // namespace juxta::test

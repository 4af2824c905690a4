// Views and the loader.
#include "ssl/data/loader.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "tensor/parallel.h"
#include "tests/harness.h"

namespace juxta::test {
namespace {

using namespace juxta::ssl;

ImageSet some_images(int64_t n = 40) {
  ImageSet s;
  s.images = indices({n, 10, 12, 3}, 5, 256).to(DType::u8);
  s.labels = Tensor::zeros({n}, DType::i64);
  s.source = "test";
  return s;
}

TEST(Views, WholeImagesHaveTheSideOfEvaluation) {
  const ImageSet set = some_images();
  ViewConfig config;
  EXPECT_EQ(plain_images(set, 2, 5, config).dims(), Dims({3, 10, 12, 3}));
  config.size = 8;
  EXPECT_EQ(plain_images(set, 2, 5, config).dims(), Dims({3, 8, 8, 3}));
  const Tensor small = plain_images(set, 2, 5, config);
  config.eval_size = 9;
  EXPECT_EQ(plain_images(set, 2, 5, config).dims(), Dims({3, 9, 9, 3}));
  const std::vector<int64_t> samples{3}, first{0};
  EXPECT_EQ(make_views(set, samples, first, config, 1, 2, 0).dims(), Dims({1, 8, 8, 3}));
  config.size = 0, config.eval_size = 8;
  EXPECT_TRUE(same_bits(plain_images(set, 2, 5, config), small));
}

TEST(Views, AreKeyedByEpochSampleOccurrenceAndView) {
  const ImageSet set = some_images();
  const ViewConfig config;
  const std::vector<int64_t> samples{3, 7, 3}, first{0, 0, 0}, repeat{0, 0, 1};
  const Tensor a = make_views(set, samples, repeat, config, 1, 2, 0);
  EXPECT_TRUE(same_bits(a, make_views(set, samples, repeat, config, 1, 2, 0)));
  EXPECT_TRUE(same_bits(
      a.select(0, 1),
      make_views(set, std::vector<int64_t>{7}, std::vector<int64_t>{0}, config, 1, 2, 0).select(0, 0)));
  EXPECT_FALSE(same_bits(a.select(0, 0), a.select(0, 2)));  // a sample drawn twice
  const Tensor same = make_views(set, samples, first, config, 1, 2, 0);
  EXPECT_TRUE(same_bits(same.select(0, 0), same.select(0, 2)));
  EXPECT_FALSE(same_bits(a.select(0, 0), make_views(set, samples, first, config, 1, 2, 1).select(0, 0)));
  EXPECT_FALSE(same_bits(a.select(0, 0), make_views(set, samples, first, config, 1, 3, 0).select(0, 0)));
  const int threads = num_threads();
  set_num_threads(3);
  EXPECT_TRUE(same_bits(a, make_views(set, samples, repeat, config, 1, 2, 0)));
  set_num_threads(threads);
}

TEST(Views, DrawsFollowTheStatedDistribution) {
  ViewConfig c;
  c.solarize = 0.2;
  const std::vector<uint8_t> pixels(32 * 32 * 3);
  int flips = 0, greys = 0, jitters = 0, blurs = 0, solarized = 0;
  double area = 0, brightness = 0, smallest = 1;
  const int n = 4000;
  for (int i = 0; i < n; ++i) {
    const ViewParams v = draw_view(c, {1, 0, i, 0, 0}, pixels.data(), 32, 32, 3, 32, 32);
    flips += v.flip, greys += v.grey, jitters += v.jitter, blurs += v.blur > 0, solarized += v.solarize < 1;
    const double a = static_cast<double>(v.w) * static_cast<double>(v.h) / 1024.0;
    area += a / n;
    smallest = std::min(smallest, a);
    brightness += static_cast<double>(v.brightness) / n;
    ASSERT_GE(v.x, 0.0f);
    ASSERT_LE(v.x + v.w, 32.001f);
  }
  EXPECT_NEAR(flips, 0.5 * n, 130);
  EXPECT_NEAR(greys, 0.2 * n, 110);
  EXPECT_NEAR(jitters, 0.8 * n, 110);
  EXPECT_NEAR(blurs, 0.5 * n, 130);
  EXPECT_NEAR(solarized, 0.2 * n, 110);
  EXPECT_NEAR(area, 0.59, 0.02);  // clipping to the image takes a little from the mean 0.6
  EXPECT_GT(smallest, 0.18);
  EXPECT_NEAR(brightness, 1.0, 0.02);
}

TEST(Loader, WorkersChangeNothingAndAnyBatchCanBeTheFirst) {
  const ImageSet set = some_images();
  const std::vector<ViewSpec> views{{"view1", {}}, {"view2", {}}};
  Loader alone(set, views, {.batch = 16, .seed = 3, .workers = 0}),
      pool(set, views, {.batch = 16, .seed = 3, .workers = 3});
  EXPECT_EQ(alone.batches_per_epoch(), 2);
  std::set<int64_t> seen;
  for (int i = 0; i < 5; ++i) {
    const Batch a = alone.next(), b = pool.next();
    EXPECT_EQ(a.epoch, i / 2);
    EXPECT_TRUE(same_bits(a.ids, b.ids));
    EXPECT_TRUE(same_bits(a["view2"], b["view2"]));
    EXPECT_FALSE(same_bits(a["view1"], a["view2"]));
    for (int64_t k = 0; i < 2 && k < 16; ++k) seen.insert(a.ids.data<int64_t>()[k]);
  }
  EXPECT_EQ(seen.size(), 32u);  // no sample twice in an epoch
  const Batch sixth = pool.next();
  pool.seek(2, 1);
  alone.seek(2, 1);
  EXPECT_TRUE(same_bits(pool.next()["view1"], sixth["view1"]));
  EXPECT_TRUE(same_bits(alone.next()["view1"], sixth["view1"]));
  // The mutant of this file: an epoch taken for another must not look the same.
  pool.seek(3, 1);
  EXPECT_FALSE(same_bits(pool.next()["view1"], sixth["view1"]));
  expect_error([&] { sixth["view3"]; }, {"view3", "view1, view2"});
  expect_error([&] { Loader(set, views, {.batch = 41}); }, {"train.batch", "41", "40"});
}

}  // namespace
}  // namespace juxta::test

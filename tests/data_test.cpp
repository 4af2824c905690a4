// Data sets in every format, hostile files, views and the loader.
#include <zlib.h>

#include <filesystem>
#include <set>

#include "ssl/data/image.h"
#include "ssl/data/loader.h"
#include "tensor/file.h"
#include "tensor/npy.h"
#include "tensor/parallel.h"
#include "tests/harness.h"

namespace juxta::test {
namespace {

using namespace juxta::ssl;
namespace fs = std::filesystem;

std::string idx_bytes(std::initializer_list<int> dims, const std::string& data) {
  std::string s{'\0', '\0', '\x08', static_cast<char>(dims.size())};
  for (int d : dims)
    for (int shift : {24, 16, 8, 0}) s += static_cast<char>(d >> shift);
  return s + data;
}

void write_gz(const std::string& path, const std::string& content) {
  gzFile f = gzopen(path.c_str(), "wb");
  gzwrite(f, content.data(), static_cast<unsigned>(content.size()));
  gzclose(f);
}

// Two 2x2 images per split, labels 7 and 3.
void write_idx_folder(const TempDir& dir) {
  write_file(dir / "train-images-idx3-ubyte", idx_bytes({2, 2, 2}, "abcdefgh"));
  write_gz(dir / "train-labels-idx1-ubyte.gz", idx_bytes({2}, "\x07\x03"));
  write_gz(dir / "t10k-images-idx3-ubyte.gz", idx_bytes({2, 2, 2}, "ijklmnop"));
  write_file(dir / "t10k-labels-idx1-ubyte", idx_bytes({2}, "\x03\x03"));
}

TEST(Data, IdxPlainAndGzipWithLabelsFromAnyOrigin) {
  const TempDir dir;
  write_idx_folder(dir);
  const ImageData d = load_images(dir.path());
  EXPECT_EQ(d.format, "idx");
  EXPECT_EQ(d.train.images.dims(), Dims({2, 2, 2, 1}));
  EXPECT_EQ(d.train.images.at({1, 0, 1, 0}), 'f');
  EXPECT_EQ(d.train.labels.at({0}), 1.0);  // 7 is the larger of {3, 7}
  EXPECT_EQ(d.test.labels.at({0}), 0.0);
  EXPECT_EQ(d.train.classes, (std::vector<std::string>{"3", "7"}));
}

TEST(Data, IdxFaultsAreNamed) {
  const TempDir dir;
  write_idx_folder(dir);
  const std::string images = dir / "train-images-idx3-ubyte";
  const auto bad = [&](const std::string& bytes, std::initializer_list<const char*> parts) {
    write_file(images, bytes);
    expect_error([&] { load_images(dir.path()); }, parts);
  };
  bad("", {"train-images", "magic"});
  bad("PK\x03\x04 something", {"magic"});
  bad(idx_bytes({2, 2, 2}, "abc"), {"truncated", "8"});
  bad(idx_bytes({200000, 200000, 200000}, ""), {"train-images"});
  bad(std::string("\x1f\x8b\x08\x00 broken", 11), {"gzip"});
  bad(idx_bytes({3, 2, 2}, "abcdefghijkl"), {"3 images", "2"});
  fs::remove(images);
  write_file(dir / "train-images-idx3-ubyte.gz", "x");
  fs::remove(dir / "train-labels-idx1-ubyte.gz");
  expect_error([&] { load_images(dir.path()); }, {"train-labels", "missing"});
  write_idx_folder(dir);
  fs::remove(dir / "train-images-idx3-ubyte.gz");
  write_file(dir / "t10k-labels-idx1-ubyte", idx_bytes({2}, "\x03\x09"));
  expect_error([&] { load_images(dir.path()); }, {"label 9", "training set"});
  expect_error([] { load_images("/no/such/place"); }, {"/no/such/place", "no such"});
}

TEST(Data, CifarBinaryPlanesBecomeInterleaved) {
  const TempDir dir;
  std::string record(1, '\x04');
  for (int i = 0; i < 3072; ++i) record += static_cast<char>(i / 1024 * 50 + i % 7);
  for (int i = 1; i <= 5; ++i) write_file(dir / ("data_batch_" + std::to_string(i) + ".bin"), record);
  write_file(dir / "test_batch.bin", record + record);
  const ImageData d = load_images(dir.path());
  EXPECT_EQ(d.format, "cifar10");
  EXPECT_EQ(d.train.images.dims(), Dims({5, 32, 32, 3}));
  EXPECT_EQ(d.test.size(), 2);
  EXPECT_EQ(d.train.images.at({0, 0, 1, 0}), 1.0);
  EXPECT_EQ(d.train.images.at({0, 0, 1, 2}), 2048 / 1024 * 50 + 2049 % 7);
  write_file(dir / "data_batch_3.bin", record.substr(0, 3000));
  expect_error([&] { load_images(dir.path()); }, {"data_batch_3.bin", "3000", "3073"});
}

void write_png(const std::string& path, const Tensor& image) {
  const auto bytes = encode_png(image);
  write_file(path, std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

TEST(Data, FoldersOfImagesSkipOrRefuseCorruptOnes) {
  const TempDir dir;
  for (const char* c : {"cat", "dog"}) {
    fs::create_directories(dir / c);
    for (int i = 0; i < 3; ++i)
      write_png(dir / (std::string(c) + "/" + std::to_string(i) + ".png"),
                indices({8, 8, 3}, static_cast<uint64_t>(i), 256).to(DType::u8));
  }
  write_file(dir / "dog/broken.jpg", "\xff\xd8\xff\xe0 not a jpeg at all");
  const ImageData d = load_images(dir.path());
  EXPECT_EQ(d.train.size(), 6);
  EXPECT_EQ(d.train.skipped, 1);
  EXPECT_EQ(d.train.classes, (std::vector<std::string>{"cat", "dog"}));
  EXPECT_EQ(d.train.images.dims(), Dims({6, 8, 8, 3}));
  EXPECT_TRUE(same_bits(d.train.images.select(0, 1), indices({8, 8, 3}, 1, 256).to(DType::u8)));
  expect_error([&] { load_images(dir.path(), {.strict = true}); }, {"broken.jpg", "JPEG", "--strict"});
  const TempDir empty;
  expect_error([&] { load_images(empty.path()); }, {"data", "folders of images"});
}

TEST(Data, OddImagesAreReadOrRefusedBySize) {
  const TempDir dir;
  fs::create_directories(dir / "a");
  write_png(dir / "a/one.png", Tensor::full({1, 1, 3}, 9, DType::u8));
  const ImageData d = load_images(dir.path(), {.image_size = 4});
  EXPECT_EQ(d.train.images.at({0, 3, 3, 1}), 9.0);
  write_png(dir / "a/wide.png", Tensor::full({1, 20000, 1}, 9, DType::u8));
  expect_error([&] { load_image(dir / "a/wide.png"); }, {"wide.png", "20000", "16384"});
  EXPECT_EQ(load_images(dir.path(), {.image_size = 4}).train.skipped, 1);
  const std::vector<unsigned char> png = encode_png(indices({16, 16, 3}, 1, 256).to(DType::u8));
  for (size_t n = 0; n + 12 < png.size(); n += 11)  // the last 12 bytes are the empty end chunk
    EXPECT_THROW(decode_image(std::span(png).first(n), "cut.png"), Error) << n;
}

TEST(Data, NpyFoldersAndFloats) {
  const TempDir dir;
  save_npy(dir / "train.npy", uniform({4, 5, 5, 3}, 1).to(DType::f32));
  save_npy(dir / "train_labels.npy", Tensor::from<int32_t>({-1, 5, 5, 2}, {4}));
  const ImageData d = load_images(dir.path());
  EXPECT_EQ(d.train.images.dims(), Dims({4, 5, 5, 3}));
  EXPECT_EQ(d.train.labels.at({3}), 1.0);
  EXPECT_EQ(d.test.size(), 0);
  save_npy(dir / "train.npy", Tensor::full({1, 2, 2}, NAN));
  save_npy(dir / "train_labels.npy", Tensor::from<int32_t>({0}, {1}));
  expect_error([&] { load_images(dir.path()); }, {"train.npy", "[0, 1]"});
}

ImageSet some_images(int64_t n = 40) {
  ImageSet s;
  s.images = indices({n, 10, 12, 3}, 5, 256).to(DType::u8);
  s.labels = Tensor::zeros({n}, DType::i64);
  s.source = "test";
  return s;
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
  expect_error([&] { sixth["view3"]; }, {"view3", "view1, view2"});
  expect_error([&] { Loader(set, views, {.batch = 41}); }, {"train.batch", "41", "40"});
}

}  // namespace
}  // namespace juxta::test

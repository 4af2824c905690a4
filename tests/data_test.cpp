// Data sets in every format, and hostile files.
#include <zlib.h>

#include <filesystem>
#include <set>

#include "ssl/data/dataset.h"
#include "ssl/data/image.h"
#include "ssl/data/sample.h"
#include "tensor/file.h"
#include "tensor/npy.h"
#include "tensor/parallel.h"
#include "tests/support.h"

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

// A PNG by its parts: rows of big-endian samples without their filter bytes, and a chunk "gAMA" of 1.0 where
// asked for.
std::string png_bytes(int width, int height, int depth, int colour_type, const std::string& rows,
                      bool linear_gamma) {
  const auto be32 = [](uint32_t v) {
    std::string s;
    for (int shift : {24, 16, 8, 0}) s += static_cast<char>(v >> shift);
    return s;
  };
  const auto chunk = [&](const std::string& body) {
    const auto* p = reinterpret_cast<const Bytef*>(body.data());
    return be32(static_cast<uint32_t>(body.size() - 4)) + body +
           be32(static_cast<uint32_t>(crc32(0, p, static_cast<uInt>(body.size()))));
  };
  std::string filtered;
  const size_t stride = rows.size() / static_cast<size_t>(height);
  for (size_t at = 0; at < rows.size(); at += stride) filtered += '\0' + rows.substr(at, stride);
  std::string packed(compressBound(filtered.size()), '\0');
  uLongf size = packed.size();
  compress(reinterpret_cast<Bytef*>(packed.data()), &size, reinterpret_cast<const Bytef*>(filtered.data()),
           filtered.size());
  std::string s = "\x89PNG\r\n\x1a\n" +
                  chunk("IHDR" + be32(static_cast<uint32_t>(width)) + be32(static_cast<uint32_t>(height)) +
                        static_cast<char>(depth) + static_cast<char>(colour_type) + std::string(3, '\0'));
  if (linear_gamma) s += chunk("gAMA" + be32(100000));
  return s + chunk("IDAT" + packed.substr(0, size)) + chunk("IEND");
}

Tensor decode_text(const std::string& bytes, const std::string& what) {
  return decode_image({reinterpret_cast<const unsigned char*>(bytes.data()), bytes.size()}, what);
}

// The bytes that a viewer shows: 64 is 64 in 8 and in 16 bits, whatever a file says of its gamma.
TEST(Data, PngsOf8And16BitsGiveTheSameBytes) {
  const Tensor values =
      indices({3, 2, 4}, 5, 256).to(DType::u8);  // grey, alpha, RGB and RGBA take what they need
  const std::pair<int, int> types[] = {{0, 1}, {2, 3}, {4, 2}, {6, 4}};  // colour type, samples a pixel
  for (const auto& [type, samples] : types) {
    std::string narrow, wide;
    for (int i = 0; i < 6; ++i)
      for (int c = 0; c < samples; ++c) {
        const char v = static_cast<char>(values.data<uint8_t>()[4 * i + c]);
        narrow += v;
        wide += {v, v};  // 257 v
      }
    const Tensor plain = decode_text(png_bytes(2, 3, 8, type, narrow, false), "8 bits");
    EXPECT_EQ(plain.dims(), Dims({3, 2, samples >= 3 ? 3 : 1})) << type;
    for (int i = 0; i < 6; ++i)
      for (int c = 0; c < plain.size(2); ++c) {
        const uint8_t* v = values.data<uint8_t>() + 4 * i;
        const double alpha = samples % 2 ? 1.0 : v[samples - 1] / 255.0;
        EXPECT_NEAR(plain.data<uint8_t>()[i * plain.size(2) + c], alpha * v[c], 0.51) << type;
      }
    EXPECT_TRUE(same_bits(plain, decode_text(png_bytes(2, 3, 8, type, narrow, true), "8 bits"))) << type;
    for (bool gamma : {false, true})
      EXPECT_TRUE(same_bits(plain, decode_text(png_bytes(2, 3, 16, type, wide, gamma), "16 bits"))) << type;
  }
  // 805 MB of pixels in a hundred bytes.
  expect_error([] { decode_text(png_bytes(16384, 16384, 8, 2, std::string(16384, 'x'), false), "bomb.png"); },
               {"bomb.png", "too short"});
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

TEST(Data, ClassFoldersByLinkAreReadOnceAndNamed) {
  const TempDir dir, elsewhere;
  const Tensor pixels = Tensor::full({2, 2, 1}, 9, DType::u8);
  for (const char* c : {"train/a", "train/b", "test/a", "test/bird"}) {
    fs::create_directories(dir / c);
    write_png(dir / (std::string(c) + "/0.png"), pixels);
  }
  fs::remove_all(dir / "test/bird");
  fs::create_directory_symlink(".", dir / "train/c");
  fs::create_directory_symlink("..", dir / "train/d");
  fs::create_directory_symlink("e", dir / "train/e");  // leads nowhere
  write_png(elsewhere / "1.png", pixels);
  fs::create_directory_symlink(elsewhere.path(), dir / "train/far");
  const ImageData d = load_images(dir.path());
  EXPECT_EQ(d.train.size(), 3);
  EXPECT_EQ(d.train.classes, (std::vector<std::string>{"a", "b", "far"}));
  fs::create_directories(dir / "test/bird");
  write_png(dir / "test/bird/0.png", pixels);
  expect_error([&] { load_images(dir.path()); }, {"test", "class 'bird'", "training set"});
}

// Do 2,000 of 10,000 rows show all ten classes about equally, where the labels are 0, .., 0, 1, .., 1, ..
// (repeat 1,000) or 0, 1, .., 9, 0, .. (repeat 1)?
bool shows_every_class(const std::vector<int64_t>& rows, int64_t repeat) {
  std::vector<int> taken(10, 0);
  for (const int64_t row : rows) ++taken[static_cast<size_t>(row / repeat % 10)];
  return std::all_of(taken.begin(), taken.end(), [](int n) { return std::abs(n - 200) <= 60; });
}

TEST(Data, SamplesAreSpreadOverTheSet) {
  const std::vector<int64_t> rows = spread_sample(10000, 2000);
  ASSERT_EQ(rows.size(), 2000u);
  EXPECT_TRUE(std::adjacent_find(rows.begin(), rows.end(), std::greater_equal<>()) == rows.end());
  EXPECT_EQ(rows, spread_sample(10000, 2000));
  EXPECT_TRUE(shows_every_class(rows, 1));
  EXPECT_TRUE(shows_every_class(rows, 1000));
  std::vector<int64_t> first, every_fifth_row;  // the mutants of this file
  for (int64_t i = 0; i < 2000; ++i) first.push_back(i), every_fifth_row.push_back(5 * i);
  EXPECT_FALSE(shows_every_class(first, 1000));
  EXPECT_FALSE(shows_every_class(every_fifth_row, 1));
  EXPECT_EQ(spread_sample(3, 5), (std::vector<int64_t>{0, 1, 2}));
  EXPECT_TRUE(spread_sample(0, 5).empty() && spread_sample(5, 0).empty());
  const HeldOut split = every_fifth(11);
  EXPECT_EQ(split.held, (std::vector<int64_t>{4, 9}));
  EXPECT_EQ(split.keep.size(), 9u);
  ImageSet set;
  set.images = Tensor::from<uint8_t>({1, 2, 3, 4, 5, 6}, {3, 1, 2, 1});
  set.labels = Tensor::from<int64_t>({7, 8, 9}, {3});
  const std::vector<int64_t> two{2, 0};
  const ImageSet some = take_images(set, two);
  EXPECT_TRUE(same_bits(some.images, Tensor::from<uint8_t>({5, 6, 1, 2}, {2, 1, 2, 1})));
  EXPECT_TRUE(same_bits(some.labels, Tensor::from<int64_t>({9, 7}, {2})));
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
  save_npy(dir / "train_labels.npy", Tensor::from<float>({-1, 5, 5, 2}, {4}));  // whole as well
  EXPECT_TRUE(same_bits(load_images(dir.path()).train.labels, d.train.labels));
  save_npy(dir / "test.npy", uniform({4, 5, 5, 3}, 1).to(DType::f32));
  expect_error([&] { load_images(dir.path()); }, {"test_labels.npy is missing"});
  fs::remove(dir / "test.npy");
  save_npy(dir / "train.npy", Tensor::full({1, 2, 2}, NAN));
  save_npy(dir / "train_labels.npy", Tensor::from<int32_t>({0}, {1}));
  expect_error([&] { load_images(dir.path()); }, {"train.npy", "[0, 1]"});
}

}  // namespace
}  // namespace juxta::test

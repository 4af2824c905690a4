// Data of every kind in the juxta program's hands: what it warns of, what it refuses in one line with status
// 2, and what its monitors and pictures say of data in the order of its classes.
#include <gtest/gtest-spi.h>

#include <cmath>
#include <filesystem>
#include <fstream>
#include <nlohmann/json.hpp>

#include "ssl/data/image.h"
#include "tests/program.h"

namespace juxta::test {
namespace {

namespace fs = std::filesystem;

// Status 2, and nothing on stderr but one line.
void expect_one_line(const TempDir& dir, const std::string& arguments,
                     std::initializer_list<const char*> parts) {
  expect_bad_input(dir, arguments, parts);
  const std::string err = text_of(dir / "err.txt");
  EXPECT_EQ(std::count(err.begin(), err.end(), '\n'), 1) << err;
}

void write_png(const std::string& path, const Tensor& image) {
  const auto bytes = ssl::encode_png(image);
  write_file(path, std::string_view(reinterpret_cast<const char*>(bytes.data()), bytes.size()));
}

// DATA/cat and DATA/dog with 12 images of 8 x 8 each.
void write_folder(const TempDir& dir) {
  for (const char* c : {"cat", "dog"}) {
    fs::create_directories(dir / ("data/" + std::string(c)));
    for (int i = 0; i < 12; ++i)
      write_png(dir / ("data/" + std::string(c) + "/" + std::to_string(i) + ".png"),
                indices({8, 8, 3}, static_cast<uint64_t>(i), 256).to(DType::u8));
  }
}

// Images [n, 8, 8, channels] of five noisy patterns, all of one class before those of the next, with labels.
void write_ordered(const std::string& folder, const std::string& split, int64_t n, int64_t channels,
                   uint64_t seed) {
  fs::create_directories(folder);
  const int64_t size = 64 * channels;
  const Tensor pattern = uniform({5, size}, 1), noise = uniform({n, size}, seed);
  Tensor x = Tensor::empty({n, 8, 8, channels}), y = Tensor::empty({n}, DType::i64);
  for (int64_t i = 0; i < n; ++i) {
    const int64_t c = i * 5 / n;
    y.write<int64_t>("test")[i] = c;
    for (int64_t p = 0; p < size; ++p)
      x.write<float>("test")[i * size + p] = static_cast<float>(0.9 * pattern.data<double>()[c * size + p] +
                                                                0.1 * noise.data<double>()[i * size + p]);
  }
  save_npy(folder + "/" + split + ".npy", x);
  save_npy(folder + "/" + split + "_labels.npy", y);
}

const std::string kOneStep = "--set train.max_steps=1 --set view.size=0 --set view.eval_size=0";

// The last line of metrics.jsonl about an epoch.
nlohmann::json last_epoch(const std::string& run) {
  std::ifstream in(run + "/metrics.jsonl");
  nlohmann::json last;
  for (std::string line; std::getline(in, line);)
    if (nlohmann::json j = nlohmann::json::parse(line); j.value("kind", "") == "epoch") last = j;
  return last;
}

TEST(ProgramData, OneBadImageIsCountedAndStrictRefusesIt) {
  const TempDir dir;
  write_folder(dir);
  const auto warned = [&](const std::string& run, std::initializer_list<const char*> parts) {
    const Outcome o = juxta_shell(dir, run_arguments(dir, run, kOneStep));
    EXPECT_EQ(o.status, 0) << o.err;
    EXPECT_EQ(std::count(o.err.begin(), o.err.end(), '\n'), 1) << o.err;
    for (const char* p : parts) EXPECT_NE(o.err.find(p), std::string::npos) << p << " in " << o.err;
  };
  write_file(dir / "data/dog/broken.jpg", "\xff\xd8\xff\xe0 not a jpeg at all");
  warned("a", {"warning", "1 of 25 images", "broken.jpg", "left out"});
  expect_one_line(dir, run_arguments(dir, "s", kOneStep + " --strict"), {"broken.jpg", "--strict"});
  fs::remove(dir / "data/dog/broken.jpg");
  write_png(dir / "data/dog/wide.png", Tensor::full({1, 20000, 1}, 9, DType::u8));
  warned("b", {"1 of 25 images", "wide.png", "20000", "16384"});
  expect_one_line(dir, run_arguments(dir, "s", kOneStep + " --strict"), {"wide.png", "20000"});
}

TEST(ProgramData, FolderMistakesAreOneLineAndStatus2) {
  const TempDir dir;
  write_folder(dir);
  for (const char* size : {"-3", "1000000"})
    expect_one_line(dir, run_arguments(dir, "r", "--set data.image_size=" + std::string(size)),
                    {"data.image_size", "16384", size});
  fs::create_directories(dir / "bad/cat");
  write_file(dir / "bad/cat/a.png", "no image");
  write_file(dir / "bad/cat/b.png", "none either");
  expect_one_line(dir, "train simclr_fashion_mnist --data " + (dir / "bad") + " --out " + (dir / "r"),
                  {"none of 2 images", "a.png"});
}

TEST(ProgramData, IdxMistakesAreOneLineAndStatus2) {
  const TempDir dir;
  fs::create_directories(dir / "data");
  const std::string images = dir / "data/train-images-idx3-ubyte";
  const auto header = [](char type, std::initializer_list<int> dims) {
    std::string s{'\0', '\0', type, static_cast<char>(dims.size())};
    for (int d : dims)
      for (int shift : {24, 16, 8, 0}) s += static_cast<char>(d >> shift);
    return s;
  };
  write_file(dir / "data/train-labels-idx1-ubyte", header(8, {2}) + "ab");
  write_file(images, header(8, {2, 4, 4}) + "too short");
  expect_one_line(dir, run_arguments(dir, "r", ""), {"train-images", "32 bytes", "truncated"});
  write_file(images, header(8, {2, 4}).substr(0, 7));
  expect_one_line(dir, run_arguments(dir, "r", ""), {"train-images", "truncated"});
  write_file(images, "PK\x03\x04 something else");
  expect_one_line(dir, run_arguments(dir, "r", ""), {"train-images", "wrong magic"});
  write_file(images, header(8, {0x7fffffff, 0x7fffffff, 0x7fffffff}));
  expect_one_line(dir, run_arguments(dir, "r", ""), {"train-images", "overflows"});
  write_file(images, header(8, {2, 0, 4}));
  write_file(dir / "data/t10k-images-idx3-ubyte", header(8, {2, 0, 4}));
  write_file(dir / "data/t10k-labels-idx1-ubyte", header(8, {2}) + "ab");
  expect_one_line(dir, run_arguments(dir, "r", ""), {"train-images", "H and W of at least 1"});
}

TEST(ProgramData, NpyMistakesAreOneLineAndStatus2) {
  const TempDir dir;
  write_ordered(dir / "data", "train", 80, 1, 2);
  const std::string train = run_arguments(dir, "r", kOneStep), labels = dir / "data/train_labels.npy";
  const auto refuses = [&](const Tensor& bad, std::initializer_list<const char*> parts) {
    save_npy(labels, bad);
    expect_one_line(dir, train, parts);
  };
  refuses(Tensor::zeros({80, 1}, DType::i64), {"train_labels.npy", "[80]", "[80, 1]"});
  refuses(Tensor::zeros({79}, DType::i64), {"train_labels.npy", "[80]", "[79]"});
  refuses(Tensor::full({80}, 0.5), {"train_labels.npy", "0.5", "whole"});
  refuses(Tensor::full({80}, NAN), {"train_labels.npy", "whole"});
  save_npy(labels, Tensor::zeros({80}, DType::i64));
  save_npy(dir / "data/train.npy", Tensor::full({80, 4, 4, 17}, 0, DType::u8));
  expect_one_line(dir, train, {"train.npy", "C from 1 to 16", "[80, 4, 4, 17]"});
  save_npy(dir / "data/train.npy", Tensor::zeros({80, 4, 4, 0}));
  expect_one_line(dir, train, {"train.npy", "C from 1 to 16", "[80, 4, 4, 0]"});
  save_npy(dir / "data/train.npy", Tensor::full({80, 4, 4}, NAN));
  expect_one_line(dir, train, {"train.npy", "[0, 1]"});
}

TEST(ProgramData, TooFewImagesToHoldOneOutAreRefused) {
  const TempDir dir;
  fs::create_directories(dir / "data");
  save_npy(dir / "data/train.npy", uniform({4, 8, 8, 1}, 1).to(DType::f32));
  save_npy(dir / "data/train_labels.npy", Tensor::from<int32_t>({0, 0, 1, 1}, {4}));
  const Outcome o = juxta_shell(dir, run_arguments(dir, "run", kOneStep + " --set train.batch=4"));
  ASSERT_EQ(o.status, 0) << o.err;
  EXPECT_FALSE(last_epoch(dir / "run").contains("knn_top1"));  // no image is left to ask about
  expect_one_line(dir, "eval " + (dir / "run"), {"train.npy", "at least 5 images"});
}

TEST(ProgramData, MonitorsSeeEveryClassOfOrderedData) {
  const TempDir dir;
  write_ordered(dir / "data", "train", 80, 1, 2);
  ASSERT_EQ(juxta_shell(dir, run_arguments(dir, "a", kOneStep)).status, 0) << text_of(dir / "err.txt");
  EXPECT_GT(last_epoch(dir / "a").at("knn_top1"), 0.8);
}

// The map of 2,000 points takes seconds.
TEST(ProgramDataSlow, PicturesShowEveryClassOfOrderedData) {
  const TempDir dir;
  write_ordered(dir / "data", "train", 80, 1, 2);
  write_ordered(dir / "data", "test", 2500, 1, 3);
  ASSERT_EQ(juxta_shell(dir, run_arguments(dir, "run", kOneStep)).status, 0) << text_of(dir / "err.txt");
  EXPECT_GT(last_epoch(dir / "run").at("knn_top1"), 0.8);
  const int64_t height = ssl::load_image(dir / "run/neighbours.png").size(0) / 2;
  EXPECT_EQ((height - 28) / 64, 5);  // a row for each class
}

TEST(ProgramData, OneClassHasNoKnn) {
  const TempDir dir;
  fs::create_directories(dir / "data");
  save_npy(dir / "data/train.npy", uniform({32, 8, 8, 1}, 1).to(DType::f32));
  std::string arguments = run_arguments(dir, "run", kOneStep);
  arguments.erase(arguments.find(" --quiet"), 8);
  const Outcome o = juxta_shell(dir, arguments);
  ASSERT_EQ(o.status, 0) << o.err;
  EXPECT_NE(o.err.find("RankMe"), std::string::npos) << o.err;
  EXPECT_EQ(o.err.find("kNN"), std::string::npos) << o.err;
  EXPECT_FALSE(last_epoch(dir / "run").contains("knn_top1"));
  EXPECT_NE(text_of(dir / "run/report.html").find("two classes"), std::string::npos);
}

TEST(ProgramData, ImagesOfAnyChannelsTrainEvaluateAndEmbed) {
  const TempDir dir;
  const std::string colour =
      " --set view.hue=0.1 --set view.grey=0.5 --set view.gain=0.2 --set view.blur=0.5 --set "
      "train.max_steps=";
  for (const int64_t channels : {2, 16, 4}) {
    write_ordered(dir / "data", "train", 80, channels, 2);
    fs::remove_all(dir / "run");
    ASSERT_EQ(juxta_shell(dir, run_arguments(dir, "run", colour + (channels == 4 ? "2" : "1"))).status, 0)
        << channels << text_of(dir / "err.txt");
    for (const char* picture : {"views", "neighbours", "map"})
      EXPECT_GT(ssl::load_image(dir / ("run/" + std::string(picture) + ".png")).size(0), 50) << picture;
  }
  ASSERT_EQ(juxta_shell(dir, "eval " + (dir / "run") + " --json").status, 0) << text_of(dir / "err.txt");
  EXPECT_GT(nlohmann::json::parse(text_of(dir / "out.txt"))["raw_pixels"]["knn_top1"], 0.9);
  const std::string features = dir / "f.npy";
  ASSERT_EQ(
      juxta_shell(dir, "embed " + (dir / "run") + " --data " + (dir / "data") + " -o " + features).status, 0);
  EXPECT_EQ(load_npy(features).dims(), Dims({80, 16}));
}

// There is hardly anything to learn from one pixel, but the run ends well.
TEST(ProgramData, ImagesOfOnePixelTrain) {
  const TempDir dir;
  fs::create_directories(dir / "data");
  save_npy(dir / "data/train.npy", uniform({32, 1, 1, 1}, 1).to(DType::f32));
  save_npy(dir / "data/train_labels.npy", indices({32}, 2, 2));
  const Outcome o = juxta_shell(dir, run_arguments(dir, "run", kOneStep));
  EXPECT_EQ(o.status, 0) << o.err;
  EXPECT_TRUE(o.err.empty()) << o.err;
}

// The mutant of this file: a mistake that is told in a second line.
TEST(ProgramData, MutantIsCaught) {
  const auto told_after_a_warning = [] {
    const TempDir dir;
    write_folder(dir);
    write_file(dir / "data/cat/bad.png", "no picture");
    expect_one_line(dir, run_arguments(dir, "run", "--set train.batch=1000"), {"train.batch", "1000"});
  };
  EXPECT_NONFATAL_FAILURE(told_after_a_warning(), "left out 1 of 25 images");
}

}  // namespace
}  // namespace juxta::test

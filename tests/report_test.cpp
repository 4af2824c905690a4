// Charts, raster, map and page of a run's report.
#include "ssl/report/report.h"

#include <gtest/gtest-spi.h>

#include <cmath>
#include <filesystem>

#include "ssl/data/image.h"
#include "ssl/report/chart.h"
#include "ssl/report/embedding_map.h"
#include "tensor/file.h"
#include "tensor/parallel.h"
#include "tests/harness.h"

namespace juxta::test {
namespace {

using namespace juxta::ssl;

std::string text_of(const std::string& path) {
  const auto bytes = read_file(path);
  return {bytes.begin(), bytes.end()};
}

ReportInput sample_input(const TempDir& dir, int64_t channels) {
  ReportInput in;
  in.run = dir.path();
  in.title = "a <b> & \"c\"";
  in.recipe = "[train]\nepochs = 1 # <script>\n";
  in.scores = ReportScores{{0.9, 0.8, 0.7}, {0.5, 0.4, 0.3}, {0.95, 0.2, 0.1}};
  in.view1 = uniform({7, 9, 9, channels}, 1).to(DType::f32);
  in.view2 = uniform({7, 9, 9, channels}, 2).to(DType::f32);
  in.images = indices({60, 9, 9, channels}, 3, 256).to(DType::u8);
  in.labels = indices({60}, 4, 3);
  in.classes = {"cat", "dog", "<bird>"};
  in.features = normal({60, 5}, 5).to(DType::f32);
  std::string log;
  for (int i = 1; i <= 20; ++i)
    log += concat("{\"kind\":\"step\",\"step\":", i, ",\"loss\":", 5.0 / i, ",\"lr\":0.01}\n");
  log +=
      "{\"kind\":\"epoch\",\"step\":20,\"knn_top1\":0.7,\"rankme\":9,\"feature_std\":0.1,\"alignment\":0.2,"
      "\"uniformity\":null}\n{\"kin";
  write_file(dir / "metrics.jsonl", log);
  return in;
}

void expect_offline(const std::string& html) {
  for (const char* outside : {"http://", "https://", "<script", "<link", "src=\"/"})
    EXPECT_EQ(html.find(outside), std::string::npos) << outside;
}

// The mutant of this file: a page that asks for a file beside it.
TEST(Report, MutantIsCaught) { EXPECT_NONFATAL_FAILURE(expect_offline("<img src=\"/map.png\">"), "src="); }

TEST(Report, OnePageWorksOfflineAndPicturesDecode) {
  for (int64_t channels : {1, 3, 5}) {
    const TempDir dir;
    write_report(sample_input(dir, channels));
    const std::string html = text_of(dir / "report.html");
    expect_offline(html);
    EXPECT_NE(html.find("a &lt;b&gt; &amp; &quot;c&quot;"), std::string::npos);
    EXPECT_NE(html.find("<b>95.0</b>"), std::string::npos);  // the best kNN is that of raw pixels
    EXPECT_EQ(html.find("<b>90.0</b>"), std::string::npos);
    EXPECT_NE(html.find("<svg"), std::string::npos);
    for (const char* picture : {"loss", "knn", "health", "views", "neighbours", "map"}) {
      const Tensor t = load_image(dir / (std::string(picture) + ".png"));
      EXPECT_GT(t.size(0), 50) << picture;
      EXPECT_GT(t.size(1), 100) << picture;
    }
  }
}

TEST(Report, ACollapseIsAWarning) {
  const TempDir dir;
  const ReportInput in = sample_input(dir, 1);
  write_report(in);
  EXPECT_EQ(text_of(dir / "report.html").find("Warning"), std::string::npos);
  std::string log = "{\"kind\":\"step\",\"step\":5,\"loss\":1,\"lr\":0.01}\n";
  for (const char* line : {"10,\"collapsed\":0", "20,\"collapsed\":1", "30,\"collapsed\":1"})
    log += concat("{\"kind\":\"epoch\",\"step\":", line, "}\n");
  write_file(dir / "metrics.jsonl", log);
  write_report(in);
  EXPECT_NE(text_of(dir / "report.html").find("Warning: the representation had collapsed by step 20"),
            std::string::npos);
}

TEST(Report, MissingPartsAreASentence) {
  const TempDir dir;
  ReportInput in;
  in.run = dir.path();
  in.title = "bare";
  write_report(in);
  const std::string html = text_of(dir / "report.html");
  for (const char* said : {"Not evaluated yet", "No steps were logged", "No views", "No features"})
    EXPECT_NE(html.find(said), std::string::npos) << said;
  in.run = "/nonexistent-folder";
  expect_error([&] { write_report(in); }, {"/nonexistent-folder"});
}

TEST(Report, TheMapKeepsGroupsTogetherWhateverTheThreads) {
  Tensor x = normal({90, 8}, 1, 0, 0.1).to(DType::f32);
  for (int64_t i = 0; i < 90; ++i) x.write<float>("test")[i * 8 + i % 3] += 5;  // three groups
  const int threads = num_threads();
  set_num_threads(1);
  const Tensor one = embedding_map(x, {.iterations = 400});
  set_num_threads(3);
  EXPECT_TRUE(same_bits(one, embedding_map(x, {.iterations = 400})));
  set_num_threads(threads);
  const auto distance = [&](int64_t a, int64_t b) {
    return std::hypot(one.at({a, 0}) - one.at({b, 0}), one.at({a, 1}) - one.at({b, 1}));
  };
  for (int64_t i = 3; i < 90; ++i) {  // nearer to the own group's first point than to the others'
    const double own = distance(i, i % 3);
    EXPECT_LT(own, distance(i, (i + 1) % 3)) << i;
    EXPECT_LT(own, distance(i, (i + 2) % 3)) << i;
  }
  expect_error([] { embedding_map(Tensor::full({3, 2}, NAN)); }, {"finite"});
}

TEST(Report, TicksAreRoundAndBase64IsRfc4648) {
  const std::vector<double> ticks = nice_ticks(0, 1, 5);
  ASSERT_EQ(ticks.size(), 6u);
  for (size_t i = 0; i < 6; ++i) EXPECT_NEAR(ticks[i], 0.2 * static_cast<double>(i), 1e-12);
  EXPECT_EQ(nice_ticks(3, 3, 5), std::vector<double>{3});
  expect_error([] { nice_ticks(0, INFINITY, 5); }, {"finite"});
  const auto encoded = [](std::string s) {
    return base64(std::span(reinterpret_cast<const unsigned char*>(s.data()), s.size()));
  };
  EXPECT_EQ(encoded(""), "");
  EXPECT_EQ(encoded("f"), "Zg==");
  EXPECT_EQ(encoded("fo"), "Zm8=");
  EXPECT_EQ(encoded("foobar"), "Zm9vYmFy");
}

TEST(Report, StepsAreLabelledAsWholeNumbers) {
  EXPECT_EQ(tick_text(150, 0, 150), "150");
  EXPECT_EQ(tick_text(3, 0, 3), "3");
  EXPECT_EQ(tick_text(0.25, 0, 0.25), "0.250");
  EXPECT_EQ(tick_text(0.4, 0.2, 1), "0.4");
  Chart c;
  c.series.push_back({.name = "epochs", .x = {1, 2, 3}, .y = {5, 6, 7}});
  const std::string three = chart_svg(c, 900, 260);
  EXPECT_NE(three.find(">2<"), std::string::npos) << three;
  EXPECT_EQ(three.find(">2.0<"), std::string::npos) << three;
  EXPECT_EQ(three.find(">1.5<"), std::string::npos) << three;
  c.series[0].x = {0.1, 0.2, 0.3};
  EXPECT_NE(chart_svg(c, 900, 260).find(">0.12<"), std::string::npos);
}

TEST(Report, ChartsWithoutDataOrWithGapsDraw) {
  Chart c;
  c.title = "empty";
  EXPECT_NE(chart_svg(c, 300, 200).find("no data"), std::string::npos);
  c.series.push_back({.name = "gap", .x = {1, 2, 3}, .y = {1, NAN, 3}});
  EXPECT_NE(chart_svg(c, 300, 200).find("<path"), std::string::npos);
  EXPECT_GT(chart_canvas({c}, 1, 300, 200).width(), 0);
}

}  // namespace
}  // namespace juxta::test

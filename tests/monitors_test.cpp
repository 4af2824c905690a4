#include "ssl/eval/monitors.h"

#include <gtest/gtest-spi.h>

#include <cmath>
#include <nlohmann/json.hpp>

#include "tensor/parallel.h"
#include "tensor/safetensors.h"
#include "tests/harness.h"

namespace juxta::test {
namespace {

using namespace ssl;

struct Golden {
  SafeTensors file;
  explicit Golden(const std::string& name)
      : file(load_safetensors(std::string(JUXTA_TEST_DATA) + "/golden/" + name + ".safetensors")) {}
  const Tensor& in(const std::string& c, const std::string& name) const { return file.at(c + "/in/" + name); }
  void expect(const std::string& c, const std::string& name, double got) const {
    const double wanted = file.at(c + "/out/" + name).item();
    EXPECT_NEAR(got, wanted, 1e-8 * std::abs(wanted) + 1e-12) << c << " " << name;
  }
  double param(const std::string& c, const char* name) const {
    return nlohmann::json::parse(file.metadata.at(c)).at(name).get<double>();
  }
};

TEST(Monitors, EmbeddingGeometryGoldenCases) {
  const Golden g("embedding_geometry");
  ASSERT_EQ(g.file.metadata.size(), 5u);
  for (const auto& [c, params] : g.file.metadata) {
    const Tensor &z1 = g.in(c, "z1"), &z2 = g.in(c, "z2"), &labels = g.in(c, "labels");
    g.expect(c, "alignment_loss", alignment(z1, z2, g.param(c, "alpha")));
    g.expect(c, "uniformity_loss", uniformity(z1, g.param(c, "t")));
    g.expect(c, "tolerance", tolerance(z1, labels));
    g.expect(c, "tolerance_all", tolerance_all(z1, labels));
    g.expect(c, "mean_cosine", mean_cosine(z1));
    g.expect(c, "rankme", rankme(z1, g.param(c, "eps")));
    g.expect(c, "effective_rank", effective_rank(z1));
    g.expect(c, "participation_ratio", participation_ratio(z1));
    g.expect(c, "std_unit", feature_std(z1));
    g.expect(c, "collapse", collapse(z1));
  }
}

TEST(Monitors, UniformityToleranceGoldenCases) {  // there the uniformity is negated
  const Golden g("uniformity_tolerance");
  ASSERT_EQ(g.file.metadata.size(), 6u);
  for (const auto& [c, params] : g.file.metadata) {
    g.expect(c, "uniformity", -uniformity(g.in(c, "z"), g.param(c, "t")));
    g.expect(c, "tolerance", tolerance(g.in(c, "z"), g.in(c, "labels")));
    g.expect(c, "tolerance_all", tolerance_all(g.in(c, "z"), g.in(c, "labels")));
  }
}

// The mutants of this file: figures that are nearly right.
TEST(Monitors, MutantsAreCaught) {
  const Golden g("embedding_geometry");
  int caught = 0;
  for (const auto& [c, params] : g.file.metadata) {
    const Tensor &z1 = g.in(c, "z1"), &z2 = g.in(c, "z2");
    const double uniform = uniformity(z1, g.param(c, "t") * (1 + 1e-6)),
                 aligned = alignment(z1, z2, g.param(c, "alpha")) * (1 + 1e-6);
    // Where all rows are equal these are 0 whatever the parameter.
    if (std::abs(uniform) > 1e-3)
      EXPECT_NONFATAL_FAILURE(g.expect(c, "uniformity_loss", uniform), "uniformity_loss");
    if (aligned > 1e-3) EXPECT_NONFATAL_FAILURE(g.expect(c, "alignment_loss", aligned), "alignment_loss");
    caught += std::abs(uniform) > 1e-3 && aligned > 1e-3;
  }
  EXPECT_GT(caught, 0);
}

TEST(Monitors, CollapsedAndHealthy) {
  const Tensor same = Tensor::full({50, 16}, 0.3), random = normal({2000, 16}, 1);
  EXPECT_NEAR(rankme(same), 1.0, 1e-4);
  EXPECT_NEAR(feature_std(same), 0.0, 1e-7);
  EXPECT_NEAR(collapse(same), 1.0, 1e-6);
  EXPECT_NEAR(uniformity(same), 0.0, 1e-6);
  EXPECT_EQ(alignment(same, same), 0.0);
  EXPECT_GT(rankme(random), 15.5);
  EXPECT_NEAR(feature_std(random), 0.25, 0.01);  // 1 / sqrt(16)
  EXPECT_LT(uniformity(random), -3.0);
  EXPECT_EQ(rankme(Tensor::zeros({4, 3})), 0.0);
}

TEST(Monitors, TallAndWideHaveTheSameSingularValues) {
  const Tensor z = normal({200, 12}, 3);
  EXPECT_NEAR(rankme(z), rankme(z.transpose(0, 1)), 1e-9);
  EXPECT_NEAR(rankme(normal({14, 12}, 4)), rankme(normal({14, 12}, 4).transpose(0, 1)), 1e-9);
}

TEST(Monitors, SameBitsForAnyNumberOfThreads) {
  const Tensor z = normal({300, 8}, 5);
  const int before = num_threads();
  set_num_threads(1);
  const double one = uniformity(z), cos = mean_cosine(z);
  set_num_threads(3);
  EXPECT_EQ(one, uniformity(z));
  EXPECT_EQ(cos, mean_cosine(z));
  set_num_threads(before);
}

TEST(Monitors, Errors) {
  expect_error([] { rankme(Tensor::zeros({3})); }, {"rankme", "[N, D]", "[3]"});
  expect_error([] { uniformity(Tensor::zeros({1, 3})); }, {"uniformity", "at least 2"});
  expect_error([] { rankme(Tensor::full({2, 2}, std::nan(""))); }, {"rankme", "finite"});
  expect_error(
      [] {
        alignment(Tensor::zeros({2, 3}), Tensor::zeros({3, 3}));
      },
      {"alignment", "[2, 3]", "[3, 3]"});
  expect_error([] { tolerance(Tensor::zeros({2, 3}), Tensor::arange(3)); }, {"tolerance", "labels", "[2]"});
}

}  // namespace
}  // namespace juxta::test

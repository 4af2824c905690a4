// The README's walk-through "Add your loss": its four pieces, as they stand there. The property tests try the
// loss as every other (losses_test.cpp); here is what is its own.
#include <algorithm>
#include <cctype>
#include <cmath>
#include <fstream>
#include <sstream>

#include "autograd/ops.h"
#include "ssl/objectives/registry.h"
#include "tests/harness.h"
#include "tests/loss_properties.h"

namespace juxta::ssl {

namespace {

struct CosineHuberParams {
  double delta = 0.5;
  void fields(Params& f) { f("delta", delta); }
};

// Your paper, equation 1. z1, z2 [N, D]. With d_i = 1 - cos(z1_i, z2_i),
//   L = mean_i (d_i^2 / 2 where d_i <= delta, else delta (d_i - delta / 2))
Loss cosine_huber(const Var& z1, const Var& z2, const CosineHuberParams& p = {});

Loss cosine_huber(const Var& z1, const Var& z2, const CosineHuberParams& p) {
  check_embeddings("cosine_huber", {{"z1", z1}, {"z2", z2}});
  JX_CHECK(p.delta > 0, "cosine_huber: delta: expected a positive number, got ", p.delta);
  const Var cosine = sum(mul(l2_normalize(at_least_f32(z1)), l2_normalize(at_least_f32(z2))), {1});
  const Var d = affine(cosine, -1.0, 1.0), near = clamp(d, 0.0, p.delta);  // [N]
  const Var each = add(affine(square(near), 0.5, 0.0), affine(sub(d, near), p.delta, 0.0));
  return {mean(each), {}, stop_gradient(each)};
}

constexpr InputRow kTwoViews[] = {{"z1", "[N, D]"}, {"z2", "[N, D]"}};

constexpr Objective kRows[] = {
    {"cosine_huber", "Your system", "You 2026", "L = mean_i huber(1 - cos(z1_i, z2_i); delta)", Kind::loss,
     Across::local, kTwoViews, list_params<CosineHuberParams>,
     [](const Inputs& in, Params& f) {
       return cosine_huber(in["z1"], in["z2"], f.read<CosineHuberParams>());
     }},
};

}  // namespace

}  // namespace juxta::ssl

namespace juxta::test {

std::vector<Property> your_loss_properties() {
  std::vector<Property> rows{
      {.loss = "cosine_huber",
       .batch = {"z1", "z2"},
       .swaps = {{"z1", "z2"}},
       .scale_free = {"z1", "z2"},
       .temperatures = {},
       .equal_rows = [](double, double) { return 0.0; }},
  };
  for (Property& p : rows) p.row = ssl::kRows;  // the README's stands in a family's table
  return rows;
}

namespace {

using namespace juxta::ssl;

std::string read(const std::string& path) {
  std::ifstream f(path);
  EXPECT_TRUE(f) << path;
  std::stringstream s;
  s << f.rdbuf();
  return s.str();
}

std::string without_blanks(std::string s) {
  s.erase(std::remove_if(s.begin(), s.end(), [](unsigned char c) { return std::isspace(c); }), s.end());
  return s;
}

// Error of a loss on two pairs, one on either side of delta.
template <class F>
double formula_error(F loss) {
  const Var a(Tensor::from<double>({1, 0, 1, 0}, {2, 2})), b(Tensor::from<double>({1, 1, 0, 1}, {2, 2}));
  const double d = 1 - std::sqrt(0.5);  // d = {0.29, 1}
  return std::abs(loss(a, b) - (d * d / 2 + 0.5 * (1 - 0.25)) / 2);
}

TEST(YourLoss, FollowsItsFormula) {
  const Var a(Tensor::from<double>({1, 0, 1, 0}, {2, 2})), b(Tensor::from<double>({1, 1, 0, 1}, {2, 2}));
  EXPECT_LT(formula_error([](const Var& x, const Var& y) { return cosine_huber(x, y).loss.item(); }), 1e-14);
  // The mutant of this file: squares on both sides of delta.
  EXPECT_GT(
      formula_error([](const Var& x, const Var& y) { return cosine_huber(x, y, {.delta = 10}).loss.item(); }),
      1e-3);
  expect_error([&] { cosine_huber(a, b, {.delta = 0}); }, {"cosine_huber", "delta", "0"});
}

// Every line of code in the README's section is a line of this file.
TEST(YourLoss, IsWhatTheReadmeShows) {
  const std::string readme = read(JUXTA_TEST_DATA "/../README.md");
  const std::string here = without_blanks(read(JUXTA_TEST_DATA "/your_loss_test.cpp"));
  const size_t begin = readme.find("## Add your loss");
  ASSERT_NE(begin, std::string::npos);
  std::stringstream section(readme.substr(begin, readme.find("\n## ", begin + 1) - begin));
  int lines = 0;
  for (std::string line; std::getline(section, line);) {
    if (line.rfind("    ", 0) != 0 || line.find("juxta ") != std::string::npos) continue;
    ++lines;
    EXPECT_NE(here.find(without_blanks(line)), std::string::npos) << line;
  }
  EXPECT_GT(lines, 20);
}

}  // namespace
}  // namespace juxta::test

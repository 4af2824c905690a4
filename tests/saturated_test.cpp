// Losses of well aligned pairs at small temperatures in f32: similarities near 1/temperature cancel, and
// what is left is far below their rounding.
#include <cmath>
#include <functional>

#include "autograd/ops.h"
#include "ssl/losses/image_text.h"
#include "ssl/losses/scores.h"
#include "ssl/losses/tiled.h"
#include "tests/harness.h"

namespace juxta::test {
namespace {

using LossOf = std::function<ssl::Loss(const Var& a, const Var& b)>;

// Where |loss(f32) - loss(f64)| > 2e-6, or the gradients differ alike, for rows that differ from their
// partners by `noise`; empty when nowhere.
std::string inexact(const char* name, const LossOf& loss_of, double noise) {
  const Tensor a = l2_normalize(Var(normal({24, 8}, 5))).value().to(DType::f32);
  const Tensor b = add(Var(a), affine(Var(normal({24, 8}, 6).to(DType::f32)), noise, 0.0)).value();
  std::vector<std::vector<Tensor>> runs;
  for (const DType dtype : {DType::f64, DType::f32}) {
    const Var x = Var::leaf(a.to(dtype)), y = Var::leaf(b.to(dtype));
    const std::vector<Var> loss{loss_of(x, y).loss}, wanted{x, y};
    runs.push_back(grad(loss, wanted));
    runs.back().push_back(loss[0].value());
  }
  for (size_t k = 0; k < runs[0].size(); ++k) {
    const double error = max_abs_diff(runs[0][k], runs[1][k].to(DType::f64));
    if (!(error <= 2e-6 + 2e-4 * max_abs(runs[0][k])))
      return concat(name, ", noise ", noise, ", tensor ", k, ": ", error);
  }
  return "";
}

void expect_exact(const char* name, const LossOf& loss_of, double noise) {
  EXPECT_EQ(inexact(name, loss_of, noise), "");
}

// The mutant of this file: log sum e^s - s_ii from similarities as they are.
TEST(Saturated, MutantIsCaught) {
  const LossOf naive = [](const Var& a, const Var& b) {
    const Var s = affine(matmul(a, transpose(b, 0, 1)), 1 / 0.002, 0.0);
    const Var own = affine(sum(mul(a, b), {1}), 1 / 0.002, 0.0);
    return ssl::Loss{mean(sub(logsumexp(s), own)), {}, {}};
  };
  EXPECT_NE(inexact("naive", naive, 0.01), "");
}

TEST(Saturated, LossesNearZeroStayExact) {
  Tensor cell = Tensor::zeros({24}, DType::i64);
  cell.slice(0, 0, 9).fill(1, "cell");
  const auto scale = [](double temperature, const Var& beside) {
    return Var(Tensor::full({1}, -std::log(temperature), beside.dtype()));
  };
  for (const double noise : {0.0, 0.01, 0.05}) {
    for (const double temperature : {0.002, 0.01, 0.03}) {
      for (const bool two_sided : {true, false})
        expect_exact(
            "mcl_infonce",
            [&](const Var& a, const Var& b) {
              return ssl::mcl_infonce(a, b, cell, {.temperature = temperature, .two_sided = two_sided});
            },
            noise);
      expect_exact(
          "clip", [&](const Var& a, const Var& b) { return ssl::clip(a, b, scale(temperature, a)); }, noise);
      expect_exact(
          "tiled_contrastive",
          [&](const Var& a, const Var& b) {
            return ssl::tiled_contrastive(a, l2_normalize(b), Tensor::arange(24), scale(temperature, a),
                                          {.row_tile = 7, .col_tile = 10});
          },
          noise);
    }
  }
}

}  // namespace
}  // namespace juxta::test

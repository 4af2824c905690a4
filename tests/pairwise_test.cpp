// Losses that are sums over pairs: where single precision could lose them.
#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>

#include "autograd/ops.h"
#include "ssl/losses/pairwise.h"
#include "tests/harness.h"

namespace juxta::test {
namespace {

using namespace ssl;

using LossOf = double (*)(const Var& z1, const Var& z2, const AlignUniformParams& p);

double loss_of(const Var& z1, const Var& z2, const AlignUniformParams& p) {
  return align_uniform(z1, z2, p).loss.item();
}

// Largest error in f32, relative to max(1, |loss|), on rows near to each other, far from 0: their distances
// are small differences of large numbers.
double single_precision_error(LossOf single, bool normalize) {
  const auto near = [](uint64_t seed) {
    return affine(Var(normal({12, 6}, seed)), 0.03, 2.0).value().to(DType::f32);
  };
  const Tensor z1 = near(1), z2 = near(2);
  double worst = 0;
  for (const double t : {2.0, 400.0, 5000.0}) {
    const AlignUniformParams p{.t = t, .normalize = normalize};
    const double exact = loss_of(Var(z1.to(DType::f64)), Var(z2.to(DType::f64)), p);
    worst = std::max(worst, std::abs(single(Var(z1), Var(z2), p) - exact) / std::max(1.0, std::abs(exact)));
  }
  return worst;
}

TEST(AlignUniform, NearbyRowsInSinglePrecision) {
  for (const bool normalize : {true, false}) EXPECT_LT(single_precision_error(loss_of, normalize), 1e-5);
}

// The mutant of this file: |a - b|^2 as |a|^2 + |b|^2 - 2 a b.
TEST(AlignUniform, MutantIsCaught) {
  const LossOf expanded = [](const Var& z1, const Var& z2, const AlignUniformParams& p) {
    double uniform = 0;
    for (const Var& z : {z1, z2}) {
      const Var squares = sum(square(z), {1}, true);
      const Tensor d =
          sub(add(squares, transpose(squares, 0, 1)), affine(matmul(z, transpose(z, 0, 1)), 2.0, 0.0))
              .value();
      double total = 0;
      const int64_t n = z.size(0);
      for (int64_t i = 0; i < n; ++i)
        for (int64_t j = 0; j < i; ++j) total += std::exp(-p.t * d.at({i, j}));
      uniform += std::log(total / static_cast<double>(n * (n - 1) / 2)) / 2;
    }
    return mean(sum(square(sub(z1, z2)), {1})).item() + uniform;
  };
  EXPECT_GT(single_precision_error(expanded, false), 1e-5);
}

}  // namespace
}  // namespace juxta::test

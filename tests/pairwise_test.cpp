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

// Rows near to each other, far from 0: their distances are small differences of large numbers.
TEST(AlignUniform, NearbyRowsInSinglePrecision) {
  const auto near = [](uint64_t seed) {
    return affine(Var(normal({12, 6}, seed)), 0.03, 2.0).value().to(DType::f32);
  };
  const Tensor z1 = near(1), z2 = near(2);
  const auto loss = [&](DType dtype, const AlignUniformParams& p) {
    return align_uniform(Var(z1.to(dtype)), Var(z2.to(dtype)), p).loss.item();
  };
  AlignUniformParams p;
  for (const bool normalize : {true, false})
    for (const double t : {2.0, 400.0, 5000.0}) {
      p.normalize = normalize, p.t = t;
      const double exact = loss(DType::f64, p);
      EXPECT_NEAR(loss(DType::f32, p), exact, 1e-5 * std::max(1.0, std::abs(exact))) << normalize << " " << t;
    }
}

}  // namespace
}  // namespace juxta::test

// The elementary functions of kernels/simd_math.h against libm in double, on every table this host runs, over
// floats of every exponent. They are reached through the element-wise entries that consist of them.
#include <cmath>
#include <cstring>
#include <limits>

#include "kernels/elementwise.h"
#include "tests/harness.h"

namespace juxta::test {
namespace {

struct Row {
  const char* name;
  Unary op;
  double p;
  double (*truth)(double);
  double ulp;       // largest error in units in the last place of the result ...
  double absolute;  // ... or this much, whichever is larger
};

double sigmoid_of(double x) { return 1.0 / (1.0 + std::exp(-x)); }
double softplus_of(double x) { return std::fmax(x, 0.0) + std::log1p(std::exp(-std::abs(x))); }
double cdf_of(double x) { return 0.5 * std::erfc(-x / std::sqrt(2.0)); }
double gelu_tanh_of(double x) { return x * sigmoid_of(1.5957691216057308 * (x + 0.044715 * x * x * x)); }

constexpr double kTiny = 0x1p-126;
const Row kRows[] = {
    {"exp", Unary::exp, 0, std::exp, 1.25, 0},
    {"expm1", Unary::expm1, 0, std::expm1, 1.6, 0},
    {"log", Unary::log, 0, std::log, 1.0, 0},
    {"log1p", Unary::log1p, 0, std::log1p, 1.5, 0},
    {"tanh", Unary::tanh, 0, std::tanh, 2.5, 0},
    {"sigmoid", Unary::sigmoid, 0, sigmoid_of, 2.5, 2 * kTiny},  // 0 below -88.7
    {"softplus", Unary::softplus, 0, softplus_of, 2.0, 0},
    {"erf", Unary::erf, 0, std::erf, 1.5, 0},
    {"sin", Unary::sin, 0, std::sin, 1.75, 0x1p-31},
    {"cos", Unary::cos, 0, std::cos, 1.75, 0x1p-31},
    {"acos", Unary::acos, 0, std::acos, 1.5, 0},
    {"atanh", Unary::atanh, 0, std::atanh, 2.5, 0},
    {"gelu", Unary::gelu, 0, [](double x) { return x * cdf_of(x); }, 2.5, 3e-7},
    {"gelu_tanh", Unary::gelu_tanh, 0, gelu_tanh_of, 2.5, 3e-7},
    {"silu", Unary::silu, 0, [](double x) { return x * sigmoid_of(x); }, 3, 256 * kTiny},
    {"sqrt", Unary::sqrt, 0, std::sqrt, 0.5, 0},
    {"pow 2.5", Unary::pow, 2.5, [](double x) { return std::pow(x, 2.5); }, 1, 0},
    {"pow -0.75", Unary::pow, -0.75, [](double x) { return std::pow(x, -0.75); }, 1, 0},
    {"pow 3", Unary::pow, 3, [](double x) { return x * x * x; }, 1, 0},
    {"pow -4", Unary::pow, -4, [](double x) { return 1.0 / (x * x * x * x); }, 1, 0},
};

// About `count` floats spread evenly over all bit patterns (hence over all exponents and both signs), then
// numbers of ordinary size, then the special ones.
std::vector<float> inputs(int64_t count) {
  std::vector<float> x;
  for (uint64_t b = 0; b < uint64_t{1} << 32; b += (uint64_t{1} << 32) / static_cast<uint64_t>(count)) {
    const auto u = static_cast<uint32_t>(b * 2654435761u);
    float f;
    std::memcpy(&f, &u, sizeof f);
    x.push_back(f);
  }
  for (int64_t i = 0; i < count; ++i)
    x.push_back(static_cast<float>(-20.0 + 40.0 * static_cast<double>(i) / static_cast<double>(count)));
  constexpr float kInf = std::numeric_limits<float>::infinity();
  for (float f : {0.0f, 1.0f, 0x1p-149f, 0x1.8p-127f, 0x1p-126f, 0.5f, 2.0f, 88.7228f, 88.7229f, 89.0f,
                  103.0f, 104.5f, 8192.0f, 8193.0f, 1e10f, 3.4028235e38f, kInf}) {
    x.push_back(f);
    x.push_back(-f);
  }
  x.push_back(std::numeric_limits<float>::quiet_NaN());
  return x;
}

double ulp_of(double y) {
  int exponent;
  std::frexp(y, &exponent);
  return std::max(std::ldexp(1.0, exponent - 24), 0x1p-149);
}

// Error of `got` against `want` in units of what the row allows; above 1 it is wrong. Infinities and NaN must
// agree, but within the allowed error of the largest float either of it and infinity will do.
double badness(const Row& row, float got, double want) {
  const auto rounded = static_cast<float>(want);
  if (std::isnan(want) || std::isnan(got)) return std::isnan(want) == std::isnan(got) ? 0 : 1e9;
  if (std::isinf(rounded) != std::isinf(got)) {
    const double edge = 3.4028236e38;  // 2^128 and a little less
    return std::abs(want) < edge * (1 + 1e-6) && std::abs(want) > edge * (1 - 1e-6) ? 0 : 1e9;
  }
  if (std::isinf(got)) return std::signbit(got) == std::signbit(want) ? 0 : 1e9;
  return std::abs(got - want) / std::max(row.ulp * ulp_of(want), row.absolute);
}

// The worst badness of one row under the tables in force, and where it lies.
double worst(const Row& row, const std::vector<float>& x, float& where) {
  std::vector<float> y(x.size());
  const auto n = static_cast<int64_t>(x.size());
  elementwise_tables<float>().on(kCpu).unary_fwd({row.op, x.data(), y.data(), row.p, 0.0}, 0, n);
  double bad = 0;
  for (size_t i = 0; i < x.size(); ++i) {
    const double b = badness(row, y[i], row.truth(x[i]));
    if (b > bad) {
      bad = b;
      where = x[i];
    }
  }
  return bad;
}

TEST(SimdMath, AgreesWithLibmWithinTheStatedErrors) {
  const std::vector<float> x = inputs(100000);
  for (Isa isa : host_isas()) {
    const ForceTable force(isa);
    for (const Row& row : kRows) {
      float where = 0;
      EXPECT_LE(worst(row, x, where), 1.0) << row.name << " on " << name_of(isa) << " at " << where;
    }
  }
}

TEST(SimdMath, ErfIsOddAndKeepsRelativeAccuracyNearZero) {
  for (Isa isa : host_isas()) {
    const ForceTable force(isa);
    const std::vector<float> x{1e-30f, -1e-30f, 1e-6f, -1e-6f, 0.01f, -0.01f, 1.5f, -1.5f};
    std::vector<float> y(x.size());
    elementwise_tables<float>().on(kCpu).unary_fwd({Unary::erf, x.data(), y.data(), 0, 0}, 0, 8);
    for (size_t i = 0; i < x.size(); ++i) EXPECT_NEAR(y[i] / std::erf(double{x[i]}), 1.0, 1.5e-7) << x[i];
    for (size_t i = 0; i < x.size(); i += 2) EXPECT_EQ(y[i], -y[i + 1]);
  }
}

TEST(SimdMath, GeluAndItsGradientKeepSevenDigits) {
  std::vector<float> x, y, dx;
  for (float v = -12.0f; v < 12.0f; v += 0.0007f) x.push_back(v);
  y.resize(x.size());
  dx.resize(x.size());
  const std::vector<float> ones(x.size(), 1.0f);
  const auto n = static_cast<int64_t>(x.size());
  for (Isa isa : host_isas()) {
    const ForceTable force(isa);
    const ElementwiseTable<float>& table = elementwise_tables<float>().on(kCpu);
    table.unary_fwd({Unary::gelu, x.data(), y.data(), 0, 0}, 0, n);
    table.unary_bwd({Unary::gelu, x.data(), ones.data(), dx.data(), 0, 0}, 0, n);
    for (size_t i = 0; i < x.size(); ++i) {
      const double v = x[i], cdf = cdf_of(v);
      // Relative: also in the lower tail, where x Phi(x) falls below 1e-30.
      ASSERT_NEAR(y[i], v * cdf, std::abs(v * cdf) * (4e-7 + 1.2e-7 * v * v)) << v;
      ASSERT_NEAR(dx[i], cdf + v * 0.3989422804014327 * std::exp(-0.5 * v * v), 3e-7) << v;
    }
  }
}

// The mutant of this file: a truth that is off by 1e-6 must be noticed on every table.
TEST(SimdMath, MutantIsCaught) {
  const std::vector<float> x = inputs(1000);
  const Row wrong{"wrong exp", Unary::exp, 0, [](double v) { return std::exp(v) * (1 + 1e-6); }, 1.25, 0};
  for (Isa isa : host_isas()) {
    const ForceTable force(isa);
    float where = 0;
    EXPECT_GT(worst(wrong, x, where), 1.0);
  }
}

}  // namespace
}  // namespace juxta::test

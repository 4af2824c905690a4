#include "tests/support.h"

#include <cmath>
#include <cstring>
#include <filesystem>
#include <limits>

#include "tensor/rng.h"

namespace juxta::test {

Tensor normal(Dims dims, uint64_t seed, double mean, double stddev) {
  Tensor t = Tensor::empty(dims, DType::f64);
  const Draw d{mix_key(seed, stream_id("test")), 0};
  auto* p = t.write<double>("normal");
  for (int64_t i = 0; i < t.numel(); ++i) p[i] = mean + stddev * d.normal(static_cast<uint64_t>(i));
  return t;
}

Tensor uniform(Dims dims, uint64_t seed, double low, double high) {
  Tensor t = Tensor::empty(dims, DType::f64);
  const Draw d{mix_key(seed, stream_id("test")), 1};
  auto* p = t.write<double>("uniform");
  for (int64_t i = 0; i < t.numel(); ++i) p[i] = low + (high - low) * d.uniform(static_cast<uint64_t>(i));
  return t;
}

Tensor indices(Dims dims, uint64_t seed, int64_t n) {
  Tensor t = Tensor::empty(dims, DType::i64);
  const Draw d{mix_key(seed, stream_id("test")), 2};
  auto* p = t.write<int64_t>("indices");
  for (int64_t i = 0; i < t.numel(); ++i)
    p[i] = static_cast<int64_t>(d.bits(static_cast<uint64_t>(i)) % static_cast<uint64_t>(n));
  return t;
}

double max_abs_diff(const Tensor& a, const Tensor& b) {
  const Tensor x = a.to(kCpu).to(DType::f64).contiguous(), y = b.to(kCpu).to(DType::f64).contiguous();
  if (!(x.dims() == y.dims())) return std::numeric_limits<double>::infinity();
  double worst = 0;
  for (int64_t i = 0; i < x.numel(); ++i) {
    const double p = x.data<double>()[i], q = y.data<double>()[i];
    if (p == q || (std::isnan(p) && std::isnan(q))) continue;
    const double d = std::abs(p - q);
    worst = std::isnan(d) ? std::numeric_limits<double>::infinity() : std::max(worst, d);
  }
  return worst;
}

double max_abs(const Tensor& a) {
  const Tensor x = a.to(kCpu).to(DType::f64).contiguous();
  double m = 0;
  for (int64_t i = 0; i < x.numel(); ++i)
    if (std::isfinite(x.data<double>()[i])) m = std::max(m, std::abs(x.data<double>()[i]));
  return m;
}

bool same_bits(const Tensor& a, const Tensor& b) {
  if (!(a.dims() == b.dims()) || a.dtype() != b.dtype()) return false;
  const Tensor x = a.to(kCpu).contiguous(), y = b.to(kCpu).contiguous();
  return x.numel() == 0 || std::memcmp(x.raw(), y.raw(), static_cast<size_t>(x.bytes())) == 0;
}

void expect_error(const std::function<void()>& call, std::initializer_list<const char*> parts) {
  try {
    call();
  } catch (const Error& e) {
    for (const char* part : parts)
      EXPECT_NE(std::string(e.what()).find(part), std::string::npos)
          << "'" << part << "' is missing in: " << e.what();
    return;
  }
  ADD_FAILURE() << "expected an Error, got none";
}

TempDir::TempDir() {
  std::string pattern = (std::filesystem::temp_directory_path() / "juxta_test_XXXXXX").string();
  JX_CHECK(mkdtemp(pattern.data()), "cannot make a temporary folder");
  path_ = pattern;
}
TempDir::~TempDir() {
  std::error_code ignored;
  std::filesystem::remove_all(path_, ignored);
}

}  // namespace juxta::test

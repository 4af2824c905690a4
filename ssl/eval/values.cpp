#include "ssl/eval/values.h"

#include <algorithm>
#include <cmath>

namespace juxta::ssl {

std::vector<double> doubles_of(const char* who, const Tensor& x) {
  JX_CHECK(x.defined() && is_float(x.dtype()), who, ": expected a float tensor, got ",
           x.defined() ? to_text(x) : "an undefined tensor");
  const Tensor wide = x.to(kCpu).to(DType::f64).contiguous();
  const auto* p = wide.data<double>();
  std::vector<double> v(p, p + wide.numel());
  JX_CHECK(std::all_of(v.begin(), v.end(), [](double a) { return std::isfinite(a); }), who,
           ": expected finite values");
  return v;
}

std::vector<int64_t> integers_of(const char* who, const Tensor& x, const Dims& dims) {
  JX_CHECK(x.defined() && x.dtype() == DType::i64 && x.dims() == dims, who, ": expected i64 ", dims, ", got ",
           x.defined() ? to_text(x) : "an undefined tensor");
  const Tensor flat = x.to(kCpu).contiguous();
  const auto* p = flat.data<int64_t>();
  return {p, p + flat.numel()};
}

Tensor tensor_of(std::span<const double> v) { return Tensor::from(v, {static_cast<int64_t>(v.size())}); }
Tensor tensor_of(std::span<const int64_t> v) { return Tensor::from(v, {static_cast<int64_t>(v.size())}); }

}  // namespace juxta::ssl

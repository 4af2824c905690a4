#include "ssl/losses/loss.h"

#include <cmath>

#include "autograd/ops.h"

namespace juxta::ssl {

const Var& Loss::term(const std::string& name) const {
  std::string all;
  for (const auto& [key, value] : terms) {
    if (key == name) return value;
    all += (all.empty() ? "" : ", ") + std::string(key);
  }
  JX_FAIL("loss: no term named ", name, "; there are: ", all);
}

namespace {

// Position of the first element that is not finite, or -1. x - x is 0 for finite x and NaN otherwise, so the
// usual answer needs no branch per element.
template <class T>
int64_t first_bad(const T* x, int64_t n) {
  constexpr int64_t kChunk = 4096;
  for (int64_t begin = 0; begin < n; begin += kChunk) {
    const int64_t end = std::min(begin + kChunk, n);
    Acc<T> sum = 0;
    for (int64_t i = begin; i < end; ++i) sum += static_cast<Acc<T>>(x[i]) - static_cast<Acc<T>>(x[i]);
    if (sum == 0) continue;
    for (int64_t i = begin; i < end; ++i)
      if (!std::isfinite(static_cast<Acc<T>>(x[i]))) return i;
  }
  return -1;
}

}  // namespace

void check_finite(const char* loss, Named input) {
  if (!input.value.defined()) return;
  const Tensor x = input.value.value().to(kCpu).contiguous();
  const int64_t bad =
      dispatch_float(x.dtype(), loss, [&]<class T>() { return first_bad(x.data<T>(), x.numel()); });
  JX_CHECK(bad < 0, loss, ": ", input.name, ": expected finite values, got ",
           x.view({x.numel()}).to(DType::f64).at({bad}), " in row ",
           bad / std::max<int64_t>(1, x.ndim() ? x.size(-1) : 1), "; look for the first op that makes it");
}

void check_embeddings(const char* loss, std::initializer_list<Named> inputs) {
  const Named& first = *inputs.begin();  // the others are compared with it
  for (const Named& in : inputs) {
    JX_CHECK(in.value.defined(), loss, ": ", in.name, ": it is missing; expected [N, D]");
    JX_CHECK(
        is_float(in.value.dtype()) && in.value.ndim() == 2 && in.value.size(0) >= 1 && in.value.size(1) >= 1,
        loss, ": ", in.name, ": expected a float [N, D] with N, D >= 1, got ", in.value);
    JX_CHECK(in.value.dims() == first.value.dims() && in.value.dtype() == first.value.dtype() &&
                 in.value.device() == first.value.device(),
             loss, ": ", in.name, ": expected ", first.value, " like ", first.name, ", got ", in.value);
    check_finite(loss, in);
  }
}

std::vector<int64_t> integers_for(const char* loss, const char* name, const Tensor& t, const Dims& dims) {
  JX_CHECK(t.defined() && t.dtype() == DType::i64 && t.dims() == dims, loss, ": ", name, ": expected i64 ",
           dims, ", got ", t);
  const Tensor flat = t.to(kCpu).contiguous();
  return {flat.data<int64_t>(), flat.data<int64_t>() + flat.numel()};
}

void check_indices(const char* loss, const char* name, const Tensor& t, const Dims& dims, int64_t n) {
  const std::vector<int64_t> values = integers_for(loss, name, t, dims);
  for (size_t i = 0; i < values.size(); ++i)
    JX_CHECK(values[i] >= 0 && values[i] < n, loss, ": ", name, ": expected values in [0, ", n, "), got ",
             values[i], " at ", i);
}

Var at_least_f32(const Var& x) { return x.dtype() == DType::bf16 ? cast(x, DType::f32) : x; }

void check_temperature(const char* loss, double temperature, const char* name) {
  JX_CHECK(temperature > 0 && std::isfinite(temperature), loss, ": ", name,
           ": expected a positive number, got ", temperature);
}

}  // namespace juxta::ssl

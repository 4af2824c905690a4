#include "tensor/copy.h"

#include <algorithm>
#include <cstddef>
#include <cstring>

#include "tensor/cuda.h"
#include "tensor/parallel.h"

namespace juxta {

namespace {

struct Axes {  // dimensions of a copy, outermost first, size-1 axes dropped and mergeable neighbours merged
  int n = 0;
  int64_t size[kMaxDims], src[kMaxDims], dst[kMaxDims];
};

Axes collapse(const Tensor& src, const Tensor& dst) {
  Axes a;
  for (int i = 0; i < src.ndim(); ++i) {
    const int64_t n = src.dims()[i], s = src.strides()[i], d = dst.strides()[i];
    if (n == 1) continue;
    const int last = a.n - 1;
    if (a.n && a.src[last] == s * n && a.dst[last] == d * n) {
      a.size[last] *= n;
      a.src[last] = s;
      a.dst[last] = d;
    } else {
      a.size[a.n] = n;
      a.src[a.n] = s;
      a.dst[a.n++] = d;
    }
  }
  return a;
}

// n elements from s to d, each converted; the steps are in elements.
using CopyRow = void (*)(const std::byte* s, int64_t s_step, std::byte* d, int64_t d_step, int64_t n);

template <class S, class D>
void copy_row(const std::byte* from, int64_t s_step, std::byte* to, int64_t d_step, int64_t n) {
  const auto* s = reinterpret_cast<const S*>(from);
  auto* d = reinterpret_cast<D*>(to);
  if (s_step == 1 && d_step == 1) {
    if constexpr (std::is_same_v<S, D>)
      std::memcpy(d, s, static_cast<size_t>(n) * sizeof(S));
    else
      for (int64_t i = 0; i < n; ++i) d[i] = static_cast<D>(s[i]);
  } else {
    for (int64_t i = 0; i < n; ++i) d[i * d_step] = static_cast<D>(s[i * s_step]);
  }
}

// All rows of a copy from s to d, whose elements have these sizes in bytes.
void copy_rows(CopyRow copy, const std::byte* s, int64_t s_size, std::byte* d, int64_t d_size,
               const Axes& a) {
  if (a.n == 0) return copy(s, 1, d, 1, 1);
  if (a.n == 1) {
    parallel_for(a.size[0], 1 << 16, [&](int64_t b, int64_t e) {
      copy(s + b * a.src[0] * s_size, a.src[0], d + b * a.dst[0] * d_size, a.dst[0], e - b);
    });
    return;
  }
  const int inner = a.n - 1;
  int64_t rows = 1;
  for (int i = 0; i < inner; ++i) rows *= a.size[i];
  parallel_for(rows, grain_for(a.size[inner]), [&](int64_t b, int64_t e) {
    for (int64_t r = b; r < e; ++r) {
      int64_t rest = r, so = 0, d_o = 0;
      for (int i = inner - 1; i >= 0; --i) {
        so += rest % a.size[i] * a.src[i];
        d_o += rest % a.size[i] * a.dst[i];
        rest /= a.size[i];
      }
      copy(s + so * s_size, a.src[inner], d + d_o * d_size, a.dst[inner], a.size[inner]);
    }
  });
}

// The memory from the first to the last element of t, gaps included, as a contiguous tensor that shares it.
Tensor span_of(const Tensor& t) {
  int64_t n = 1;
  for (int i = 0; i < t.ndim(); ++i) n += (t.dims()[i] - 1) * t.strides()[i];
  return Tensor(t.storage(), t.dtype(), {n}, {1}, t.offset());
}

// t, with its strides, in host memory.
Tensor on_host(const Tensor& t) {
  if (t.device().on_host()) return t;
  return Tensor(span_of(t).to(kCpu).storage(), t.dtype(), t.dims(), t.strides(), 0);
}

void copy_through_host(const Tensor& src, Tensor& dst, const char* who) {
  if (dst.device().on_host()) return copy_elements(on_host(src), dst, who);
  // A strided destination comes along, so that what lies in its gaps goes back unchanged.
  Tensor to = dst.is_contiguous() ? Tensor::empty(dst.dims(), dst.dtype()) : on_host(dst);
  copy_elements(on_host(src), to, who);
  Tensor span = span_of(dst);
  copy_bytes(span_of(to), span, who);
}

}  // namespace

void copy_elements(const Tensor& src, Tensor& dst, const char* who) {
  JX_CHECK(src.dims() == dst.dims(), who, ": cannot copy ", src, " into ", dst);
  if (src.numel() == 0) return;
  if (!src.device().on_host() || !dst.device().on_host()) {
    const bool plain = src.dtype() == dst.dtype() && src.is_contiguous() && dst.is_contiguous();
    return plain ? copy_bytes(src, dst, who) : copy_through_host(src, dst, who);
  }
  const Axes axes = collapse(src, dst);
  CopyRow copy = nullptr;
  dispatch_any(src.dtype(),
               [&]<class S>() { dispatch_any(dst.dtype(), [&]<class D>() { copy = copy_row<S, D>; }); });
  copy_rows(copy, static_cast<const std::byte*>(src.raw()), size_of(src.dtype()),
            static_cast<std::byte*>(dst.write(who)), size_of(dst.dtype()), axes);
}

void copy_bytes(const Tensor& src, Tensor& dst, const char* who) {
  const auto bytes = static_cast<size_t>(src.bytes());
  const void* from = src.raw();
  void* to = dst.write(who);
  if (bytes == 0) return;
  if (src.device().on_host() && dst.device().on_host())
    std::memcpy(to, from, bytes);
  else if (src.device().on_host())
    cuda::copy_to_device(to, from, bytes);
  else if (dst.device().on_host())
    cuda::copy_to_host(to, from, bytes);
  else
    cuda::copy_on_device(to, from, bytes);
}

void fill_elements(Tensor& dst, double value, const char* who) {
  dispatch_any(dst.dtype(), [&]<class T>() {
    Tensor one = Tensor::empty({}, dst.dtype());
    *one.write<T>(who) = static_cast<T>(value);
    if (!dst.device().on_host()) one = one.expand(dst.dims()).contiguous().to(dst.device());
    copy_elements(one.expand(dst.dims()), dst, who);
  });
}

}  // namespace juxta

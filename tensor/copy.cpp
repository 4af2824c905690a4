#include "tensor/copy.h"

#include <algorithm>
#include <cstring>

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

template <class S, class D>
void copy_row(const S* s, int64_t s_step, D* d, int64_t d_step, int64_t n) {
  if constexpr (std::is_same_v<S, D>) {
    if (s_step == 1 && d_step == 1) {
      std::memcpy(d, s, static_cast<size_t>(n) * sizeof(S));
      return;
    }
  }
  if (s_step == 1 && d_step == 1) {
    for (int64_t i = 0; i < n; ++i) d[i] = static_cast<D>(s[i]);
  } else {
    for (int64_t i = 0; i < n; ++i) d[i * d_step] = static_cast<D>(s[i * s_step]);
  }
}

template <class S, class D>
void copy_all(const S* s, D* d, const Axes& a) {
  if (a.n == 0) {
    *d = static_cast<D>(*s);
    return;
  }
  if (a.n == 1) {
    parallel_for(a.size[0], 1 << 16, [&](int64_t b, int64_t e) {
      copy_row(s + b * a.src[0], a.src[0], d + b * a.dst[0], a.dst[0], e - b);
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
      copy_row(s + so, a.src[inner], d + d_o, a.dst[inner], a.size[inner]);
    }
  });
}

}  // namespace

void copy_elements(const Tensor& src, Tensor& dst, const char* who) {
  JX_CHECK(src.dims() == dst.dims(), who, ": cannot copy ", src, " into ", dst);
  if (src.numel() == 0) return;
  if (!src.device().on_host() || !dst.device().on_host()) {
    JX_CHECK(src.dtype() == dst.dtype() && src.is_contiguous() && dst.is_contiguous(), who, ": copying ", src,
             " into ", dst, " on a device needs contiguous tensors of one dtype");
    copy_bytes(src, dst, who);
    return;
  }
  const Axes axes = collapse(src, dst);
  dispatch_any(src.dtype(), [&]<class S>() {
    const S* s = src.data<S>();
    dispatch_any(dst.dtype(), [&]<class D>() { copy_all<S, D>(s, dst.write<D>(who), axes); });
  });
}

void copy_bytes(const Tensor& src, Tensor& dst, const char* who) {
  JX_CHECK(src.device().on_host() && dst.device().on_host(), who, ": copying ", src, " to ", dst.device(),
           " is not available in this process");
  std::memcpy(dst.write(who), src.raw(), static_cast<size_t>(src.bytes()));
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

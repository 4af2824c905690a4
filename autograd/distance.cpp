// Distances between all pairs of rows, and functions whose derivative comes with their value.
#include <algorithm>
#include <utility>

#include "autograd/ops.h"
#include "autograd/rule.h"
#include "tensor/parallel.h"

namespace juxta {

namespace {

// sum_k (x_k - y_k)^2 in lanes, so that the compiler may use vectors and the order is fixed.
template <class T>
Acc<T> sq_distance(const T* x, const T* y, int64_t d) {
  constexpr int kLanes = 16;
  Acc<T> lane[kLanes] = {};
  int64_t k = 0;
  for (; k + kLanes <= d; k += kLanes)
    for (int l = 0; l < kLanes; ++l) {
      const Acc<T> e = static_cast<Acc<T>>(x[k + l]) - static_cast<Acc<T>>(y[k + l]);
      lane[l] += e * e;
    }
  Acc<T> total = 0;
  for (; k < d; ++k) {
    const Acc<T> e = static_cast<Acc<T>>(x[k]) - static_cast<Acc<T>>(y[k]);
    total += e * e;
  }
  for (const Acc<T> l : lane) total += l;
  return total;
}

// dx_i = 2 sum_j g_ij (x_i - y_j); g has strides, so that the same loop serves both operands.
template <class T>
Tensor sq_distance_gradient(const Tensor& x, const Tensor& y, const T* g, int64_t row_stride,
                            int64_t column_stride) {
  const int64_t m = x.size(0), n = y.size(0), d = x.size(1);
  Tensor dx = Tensor::empty(x.dims(), x.dtype());
  T* to = dx.write<T>("pairwise_sq_distance");
  const T *px = x.data<T>(), *py = y.data<T>();
  parallel_for(m, grain_for(n * d), [&](int64_t begin, int64_t end) {
    std::vector<Acc<T>> sum(static_cast<size_t>(d));
    for (int64_t i = begin; i < end; ++i) {
      std::fill(sum.begin(), sum.end(), Acc<T>(0));
      for (int64_t j = 0; j < n; ++j) {
        const Acc<T> w = 2 * static_cast<Acc<T>>(g[i * row_stride + j * column_stride]);
        if (w == 0) continue;
        for (int64_t k = 0; k < d; ++k)
          sum[static_cast<size_t>(k)] +=
              w * (static_cast<Acc<T>>(px[i * d + k]) - static_cast<Acc<T>>(py[j * d + k]));
      }
      for (int64_t k = 0; k < d; ++k) to[i * d + k] = static_cast<T>(sum[static_cast<size_t>(k)]);
    }
  });
  return dx;
}

}  // namespace

Var pairwise_sq_distance(const Var& a, const Var& b) {
  constexpr const char* kOp = "pairwise_sq_distance";
  check_input(kOp, a, 2);
  check_input(kOp, b, 2);
  JX_CHECK(a.ndim() == 2 && b.ndim() == 2 && a.size(1) == b.size(1) && a.dtype() == b.dtype() &&
               a.device() == kCpu && b.device() == kCpu,
           kOp, ": b: expected rows like ", a, " on the CPU, got ", b);
  const Tensor x = a.value().contiguous(), y = b.value().contiguous();
  const int64_t m = a.size(0), n = b.size(0), d = a.size(1);
  Tensor out = Tensor::empty({m, n}, a.dtype());
  dispatch_float(a.dtype(), kOp, [&]<class T>() {
    T* to = out.write<T>(kOp);
    const T *px = x.data<T>(), *py = y.data<T>();
    parallel_for(m, grain_for(n * d), [&](int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end; ++i)
        for (int64_t j = 0; j < n; ++j)
          to[i * n + j] = static_cast<T>(sq_distance(px + i * d, py + j * d, d));
    });
  });
  return record(kOp, {}, {&a, &b}, out, {{"a", x}, {"b", y}}, [n](Backward& back) {
    const Tensor& dy = back.dy();
    dispatch_float(dy.dtype(), kOp, [&]<class T>() {
      const T* g = dy.data<T>();
      if (back.needs(0)) back.set(0, sq_distance_gradient<T>(back.saved(0), back.saved(1), g, n, 1));
      if (back.needs(1)) back.set(1, sq_distance_gradient<T>(back.saved(1), back.saved(0), g, 1, n));
    });
  });
}

Var with_gradient(const Tensor& value, std::span<const Var> xs, std::span<const Tensor> dxs) {
  JX_CHECK(value.defined() && value.numel() == 1 && xs.size() == dxs.size() && !xs.empty() && xs.size() <= 4,
           "with_gradient: expected a value of one element and a gradient for each of 1 to 4 inputs, got ",
           xs.size(), " inputs and ", dxs.size(), " gradients");
  InlineVector<const Var*, 4> inputs;
  InlineVector<Saved, 6> saved;
  for (size_t i = 0; i < xs.size(); ++i) {
    JX_CHECK(dxs[i].dims() == xs[i].dims() && dxs[i].dtype() == xs[i].dtype(), "with_gradient: dxs[", i,
             "]: expected ", xs[i], ", got ", dxs[i]);
    inputs.push_back(&xs[i]);
    saved.push_back({"dx", dxs[i]});
  }
  const int count = static_cast<int>(xs.size());
  return record("with_gradient", {}, std::span(inputs.begin(), inputs.size()), value.view({}),
                std::span(std::as_const(saved).begin(), saved.size()), [count](Backward& back) {
                  for (int i = 0; i < count; ++i)
                    if (back.needs(i)) back.set(i, mul(Var(back.saved(i)), Var(back.dy())).value());
                });
}

}  // namespace juxta

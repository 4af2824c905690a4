#include "kernels/pool.h"

#include "autograd/ops.h"
#include "autograd/rule.h"

namespace juxta {

namespace {

PoolShape check_pool(const char* op, const Var& x, int64_t kernel, int64_t stride, int64_t padding) {
  check_input(op, x, 0);
  JX_CHECK(x.ndim() == 4, op, ": x: expected [N, H, W, C], got ", x);
  JX_CHECK(kernel >= 1 && kernel <= 1 << 12, op, ": kernel: expected 1 to 4096, got ", kernel);
  JX_CHECK(stride >= 1, op, ": stride: expected at least 1, got ", stride);
  // More padding would let a window lie outside x altogether.
  JX_CHECK(padding >= 0 && padding <= kernel / 2, op, ": padding: expected 0 to half the kernel (",
           kernel / 2, "), got ", padding);
  const int64_t h = x.size(1), w = x.size(2);
  JX_CHECK(h + 2 * padding >= kernel && w + 2 * padding >= kernel && h > 0 && w > 0, op, ": kernel ", kernel,
           " is larger than x ", x.dims(), " with padding ", padding);
  return {h,
          w,
          x.size(3),
          (h + 2 * padding - kernel) / stride + 1,
          (w + 2 * padding - kernel) / stride + 1,
          kernel,
          stride,
          padding};
}

int64_t row_grain(const PoolShape& s, int64_t width) {
  return grain_for(width * s.channels * s.kernel * s.kernel);
}

template <class T>
void max_pool_backward(Backward& b, const PoolShape& s, int64_t batch) {
  const Tensor &winner = b.saved(0), &dy = b.dy();
  Tensor dx = Tensor::empty({batch, s.height, s.width, s.channels}, dy.dtype(), dy.device());
  const MaxPoolBwd<T> args{s, dy.data<T>(), winner.data<int32_t>(), dx.write<T>("max_pool2d")};
  run(dy.device(), pool_tables<T>().on(dy.device()).max_bwd, args, batch * s.height, row_grain(s, s.width));
  b.set(0, dx);
}

template <class T>
void avg_pool_backward(Backward& b, const PoolShape& s, int64_t batch) {
  const Tensor& dy = b.dy();
  Tensor dx = Tensor::empty({batch, s.height, s.width, s.channels}, dy.dtype(), dy.device());
  const AvgPoolBwd<T> args{s, dy.data<T>(), dx.write<T>("avg_pool2d")};
  run(dy.device(), pool_tables<T>().on(dy.device()).avg_bwd, args, batch * s.height, row_grain(s, s.width));
  b.set(0, dx);
}

template <class T>
void global_avg_backward(Backward& b, const Dims& dims) {
  const Tensor& dy = b.dy();
  Tensor dx = Tensor::empty(dims, dy.dtype(), dy.device());
  const int64_t channels = dims.back(), samples = dims[0],
                pixels = dx.numel() / std::max<int64_t>(1, dy.numel());
  const GlobalAvgBwd<T> args{dy.data<T>(), dx.write<T>("global_avg_pool"), pixels, channels};
  run(dy.device(), pool_tables<T>().on(dy.device()).global_avg_bwd, args, samples,
      grain_for(pixels * channels));
  b.set(0, dx);
}

}  // namespace

Var max_pool2d(const Var& x, int64_t kernel, int64_t stride, int64_t padding) {
  const PoolShape s = check_pool("max_pool2d", x, kernel, stride, padding);
  const Tensor in = x.value().contiguous();
  const Dims dims{x.size(0), s.out_height, s.out_width, s.channels};
  Tensor y = Tensor::empty(dims, x.dtype(), x.device()), winner = Tensor::empty(dims, DType::i32, x.device());
  return dispatch_float(x.dtype(), "max_pool2d", [&]<class T>() {
    const MaxPoolFwd<T> args{s, in.data<T>(), y.write<T>("max_pool2d"), winner.write<int32_t>("max_pool2d")};
    run(x.device(), pool_tables<T>().on(x.device()).max_fwd, args, dims[0] * s.out_height,
        row_grain(s, s.out_width));
    return record("max_pool2d",
                  {{"kernel", static_cast<double>(kernel)},
                   {"stride", static_cast<double>(stride)},
                   {"padding", static_cast<double>(padding)}},
                  {&x}, y, {{"winner", winner}},
                  [s, batch = x.size(0)](Backward& b) { max_pool_backward<T>(b, s, batch); });
  });
}

Var avg_pool2d(const Var& x, int64_t kernel, int64_t stride, int64_t padding) {
  const PoolShape s = check_pool("avg_pool2d", x, kernel, stride, padding);
  const Tensor in = x.value().contiguous();
  Tensor y = Tensor::empty({x.size(0), s.out_height, s.out_width, s.channels}, x.dtype(), x.device());
  return dispatch_float(x.dtype(), "avg_pool2d", [&]<class T>() {
    const AvgPoolFwd<T> args{s, in.data<T>(), y.write<T>("avg_pool2d")};
    run(x.device(), pool_tables<T>().on(x.device()).avg_fwd, args, x.size(0) * s.out_height,
        row_grain(s, s.out_width));
    return record("avg_pool2d",
                  {{"kernel", static_cast<double>(kernel)},
                   {"stride", static_cast<double>(stride)},
                   {"padding", static_cast<double>(padding)}},
                  {&x}, y, {}, [s, batch = x.size(0)](Backward& b) { avg_pool_backward<T>(b, s, batch); });
  });
}

Var global_avg_pool(const Var& x) {
  check_input("global_avg_pool", x, 3);
  int64_t pixels = 1;
  for (int axis = 1; axis + 1 < x.ndim(); ++axis) pixels *= x.size(axis);
  JX_CHECK(pixels > 0, "global_avg_pool: x: expected at least one position per sample, got ", x);
  const Tensor in = x.value().contiguous();
  Tensor y = Tensor::empty({x.size(0), x.size(-1)}, x.dtype(), x.device());
  return dispatch_float(x.dtype(), "global_avg_pool", [&]<class T>() {
    const GlobalAvgFwd<T> args{in.data<T>(), y.write<T>("global_avg_pool"), pixels, x.size(-1)};
    run(x.device(), pool_tables<T>().on(x.device()).global_avg_fwd, args, x.size(0),
        grain_for(pixels * x.size(-1)));
    return record("global_avg_pool", {}, {&x}, y, {},
                  [dims = x.dims()](Backward& b) { global_avg_backward<T>(b, dims); });
  });
}

}  // namespace juxta

#include "kernels/resize.h"

#include "autograd/ops.h"
#include "autograd/rule.h"

namespace juxta {

namespace {

constexpr int64_t kMaxSide = (1 << 28) - 1;  // positions are 32-bit in the tables

// The tables behind a ResizeAxis.
struct AxisTables {
  Tensor index;     // i32: low [out], high [out], first [in], last [in]
  Tensor fraction;  // f64 [out]
  int64_t in, out;

  ResizeAxis axis() const {
    const auto* p = index.data<int32_t>();
    return {in, out, p, p + out, fraction.data<double>(), p + 2 * out, p + 2 * out + in};
  }
};

AxisTables make_axis(int64_t in, int64_t out) {
  AxisTables t{Tensor::empty({2 * (in + out)}, DType::i32), Tensor::empty({out}, DType::f64), in, out};
  auto* low = t.index.write<int32_t>("resize_bilinear");
  int32_t *high = low + out, *first = high + out, *last = first + in;
  auto* fraction = t.fraction.write<double>("resize_bilinear");
  for (int64_t i = 0; i < in; ++i) first[i] = last[i] = 0;
  for (int64_t o = 0; o < out; ++o) {
    const double p = std::max(
        0.0, (static_cast<double>(o) + 0.5) * static_cast<double>(in) / static_cast<double>(out) - 0.5);
    low[o] = static_cast<int32_t>(std::min(static_cast<int64_t>(p), in - 1));
    high[o] = static_cast<int32_t>(std::min<int64_t>(low[o] + 1, in - 1));
    fraction[o] = std::min(1.0, p - low[o]);
    for (int32_t i : {low[o], high[o]}) {
      if (last[i] == 0) first[i] = static_cast<int32_t>(o);
      last[i] = static_cast<int32_t>(o) + 1;
    }
  }
  return t;
}

template <class T>
void resize_backward(Backward& b, const Dims& dims) {
  const Tensor& dy = b.dy();
  const AxisTables rows = make_axis(dims[1], dy.size(1)), cols = make_axis(dims[2], dy.size(2));
  Tensor dx = Tensor::empty(dims, dy.dtype(), dy.device());
  const ResizeBwd<T> args{rows.axis(), cols.axis(), dims[3], dy.data<T>(), dx.write<T>("resize_bilinear")};
  run(dy.device(), resize_tables<T>().on(dy.device()).bilinear_bwd, args, dims[0] * dims[1],
      grain_for(4 * dims[2] * dims[3]));
  b.set(0, dx);
}

}  // namespace

Var resize_bilinear(const Var& x, int64_t height, int64_t width) {
  check_input("resize_bilinear", x, 0);
  JX_CHECK(x.ndim() == 4 && x.size(1) > 0 && x.size(2) > 0, "resize_bilinear: x: expected [N, H, W, C], got ",
           x);
  JX_CHECK(height >= 1 && width >= 1 && std::max(height, width) <= kMaxSide,
           "resize_bilinear: size: expected sides from 1 to ", kMaxSide, ", got ", height, "x", width);
  const Tensor in = x.value().contiguous();
  Tensor y = Tensor::empty({x.size(0), height, width, x.size(3)}, x.dtype(), x.device());
  const AxisTables rows = make_axis(x.size(1), height), cols = make_axis(x.size(2), width);
  return dispatch_float(x.dtype(), "resize_bilinear", [&]<class T>() {
    const ResizeFwd<T> args{rows.axis(), cols.axis(), x.size(3), in.data<T>(), y.write<T>("resize_bilinear")};
    run(x.device(), resize_tables<T>().on(x.device()).bilinear_fwd, args, x.size(0) * height,
        grain_for(4 * width * x.size(3)));
    return record("resize_bilinear",
                  {{"height", static_cast<double>(height)}, {"width", static_cast<double>(width)}}, {&x}, y,
                  {}, [dims = x.dims()](Backward& b) { resize_backward<T>(b, dims); });
  });
}

}  // namespace juxta

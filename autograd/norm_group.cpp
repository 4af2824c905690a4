// RMS norm and group norm: see kernels/norm_group.h.
#include "autograd/ops.h"
#include "autograd/rule.h"
#include "kernels/norm.h"

namespace juxta {

namespace {

template <class T>
Tensor sum_rows(const Tensor& part) {  // [chunks, C] -> [C]
  Tensor out = Tensor::empty({part.size(1)}, part.dtype(), part.device());
  run(part.device(), norm_tables<T>().on(part.device()).column_sum,
      {part.data<Acc<T>>(), out.write<Acc<T>>("norm"), part.size(0), part.size(1)}, part.size(1), 256);
  return out;
}

template <class T>
void rms_norm_backward(Backward& b) {
  const Tensor &x = b.saved(0), &weight = b.saved(1), &rstd = b.saved(2), &dy = b.dy();
  const Tensor rows = as_rows(x);
  const int64_t n = rows.size(0), cols = rows.size(1), chunk = rows_per_chunk(n),
                chunks = (n + chunk - 1) / chunk;
  Tensor dx, dw;
  if (b.needs(0)) dx = Tensor::empty(x.dims(), x.dtype(), x.device());
  if (b.needs(1)) dw = Tensor::empty({chunks, cols}, acc_dtype(x.dtype()), x.device());
  run(x.device(), norm_tables<T>().on(x.device()).rms_norm_bwd,
      {rows.data<T>(), dy.data<T>(), data_or_null<Acc<T>>(weight), rstd.data<Acc<T>>(),
       write_or_null<T>(dx, "rms_norm"), write_or_null<Acc<T>>(dw, "rms_norm"), n, cols, rows.stride(0),
       chunk},
      chunks, 1);
  if (dx) b.set(0, dx);
  if (dw) b.set(1, sum_rows<T>(dw));
}

template <class T>
void group_norm_backward(Backward& b, int64_t groups) {
  const Tensor &x = b.saved(0), &weight = b.saved(1), &mean = b.saved(2), &rstd = b.saved(3), &dy = b.dy();
  const int64_t n = x.size(0), channels = x.size(-1);
  Tensor dx, dw = Tensor::empty({n, channels}, acc_dtype(x.dtype()), x.device());
  Tensor db = Tensor::empty(dw.dims(), dw.dtype(), x.device());
  if (b.needs(0)) dx = Tensor::empty(x.dims(), x.dtype(), x.device());
  run(x.device(), norm_tables<T>().on(x.device()).group_norm_bwd,
      {x.data<T>(), dy.data<T>(), data_or_null<Acc<T>>(weight), mean.data<Acc<T>>(), rstd.data<Acc<T>>(),
       write_or_null<T>(dx, "group_norm"), dw.write<Acc<T>>("group_norm"), db.write<Acc<T>>("group_norm"),
       n ? x.numel() / (n * channels) : 0, channels, groups},
      n, 1);
  if (dx) b.set(0, dx);
  if (b.needs(1)) b.set(1, sum_rows<T>(dw));
  if (b.needs(2)) b.set(2, sum_rows<T>(db));
}

}  // namespace

Var rms_norm(const Var& x, const Var& weight, double eps) {
  check_input("rms_norm", x, 1);
  check_eps("rms_norm", eps);
  const int64_t cols = x.size(-1);
  const Tensor w = checked_param("rms_norm", "weight", weight, {cols}, acc_dtype(x.dtype()), x.device());
  const Tensor rows = as_rows(x.value());
  Tensor y = Tensor::empty(x.dims(), x.dtype(), x.device());
  Tensor rstd = Tensor::empty({rows.size(0)}, acc_dtype(x.dtype()), x.device());
  return dispatch_float(x.dtype(), "rms_norm", [&]<class T>() {
    run(x.device(), norm_tables<T>().on(x.device()).rms_norm_fwd,
        {rows.data<T>(), data_or_null<Acc<T>>(w), y.write<T>("rms_norm"), rstd.write<Acc<T>>("rms_norm"),
         cols, rows.stride(0), eps},
        rows.size(0), grain_for(4 * cols));
    return record("rms_norm", {{"eps", eps}}, {&x, &weight}, y,
                  {{"x", x.value()}, {"weight", w}, {"rstd", rstd}},
                  [](Backward& b) { rms_norm_backward<T>(b); });
  });
}

Var group_norm(const Var& x, int64_t groups, const Var& weight, const Var& bias, double eps) {
  check_input("group_norm", x, 2);
  check_eps("group_norm", eps);
  const int64_t channels = x.size(-1), n = x.size(0);
  JX_CHECK(groups >= 1 && channels % groups == 0, "group_norm: groups: ", groups, " do not divide ", channels,
           " channels");
  const DType acc = acc_dtype(x.dtype());
  const Tensor w = checked_param("group_norm", "weight", weight, {channels}, acc, x.device());
  const Tensor b = checked_param("group_norm", "bias", bias, {channels}, acc, x.device());
  const Tensor in = x.value().contiguous();
  Tensor y = Tensor::empty(x.dims(), x.dtype(), x.device());
  Tensor mean = Tensor::empty({n, groups}, acc, x.device()),
         rstd = Tensor::empty({n, groups}, acc, x.device());
  return dispatch_float(x.dtype(), "group_norm", [&]<class T>() {
    run(x.device(), norm_tables<T>().on(x.device()).group_norm_fwd,
        {in.data<T>(), data_or_null<Acc<T>>(w), data_or_null<Acc<T>>(b), y.write<T>("group_norm"),
         mean.write<Acc<T>>("group_norm"), rstd.write<Acc<T>>("group_norm"),
         n ? x.numel() / (n * channels) : 0, channels, groups, eps},
        n, 1);
    return record("group_norm", {{"groups", static_cast<double>(groups)}, {"eps", eps}}, {&x, &weight, &bias},
                  y, {{"x", in}, {"weight", w}, {"mean", mean}, {"rstd", rstd}},
                  [groups](Backward& back) { group_norm_backward<T>(back, groups); });
  });
}

}  // namespace juxta

#include "kernels/norm.h"

#include <cmath>

#include "autograd/ops.h"
#include "autograd/rule.h"

namespace juxta {

namespace {

// dweight or dbias from its partial sums [chunks, C].
template <class T>
Tensor sum_chunks(const NormTable<T>& table, const Tensor& part) {
  Tensor out = Tensor::empty({part.size(1)}, part.dtype(), part.device());
  run(part.device(), table.column_sum,
      {part.data<Acc<T>>(), out.write<Acc<T>>("norm"), part.size(0), part.size(1)}, part.size(1), 256);
  return out;
}

template <class T>
void layer_norm_backward(Backward& b) {
  const Tensor x = b.saved(0), &weight = b.saved(1), &mean = b.saved(2), &rstd = b.saved(3), &dy = b.dy();
  const Tensor rows = as_rows(x);
  const int64_t n = rows.size(0), cols = rows.size(1), chunk = rows_per_chunk(n),
                chunks = (n + chunk - 1) / chunk;
  const NormTable<T>& table = norm_tables<T>().on(x.device());
  Tensor dx, dw, db;
  if (b.needs(0)) dx = Tensor::empty(x.dims(), x.dtype(), x.device());
  if (b.needs(1)) dw = Tensor::empty({chunks, cols}, acc_dtype(x.dtype()), x.device());
  if (b.needs(2)) db = Tensor::empty({chunks, cols}, acc_dtype(x.dtype()), x.device());
  const LayerNormBwd<T> args{rows.data<T>(),
                             dy.data<T>(),
                             data_or_null<Acc<T>>(weight),
                             mean.data<Acc<T>>(),
                             rstd.data<Acc<T>>(),
                             write_or_null<T>(dx, "layer_norm"),
                             write_or_null<Acc<T>>(dw, "layer_norm"),
                             write_or_null<Acc<T>>(db, "layer_norm"),
                             n,
                             cols,
                             rows.stride(0),
                             chunk};
  run(x.device(), table.layer_norm_bwd, args, chunks, 1);
  if (dx) b.set(0, dx);
  if (dw) b.set(1, sum_chunks(table, dw));
  if (db) b.set(2, sum_chunks(table, db));
}

template <class T>
void l2_normalize_backward(Backward& b, double eps) {
  const Tensor &y = b.saved(0), &inv = b.saved(1), &dy = b.dy();
  Tensor dx = Tensor::empty(y.dims(), y.dtype(), y.device());
  const int64_t cols = y.size(-1);
  const L2NormalizeBwd<T> args{y.data<T>(), dy.data<T>(), inv.data<Acc<T>>(), dx.write<T>("l2_normalize"),
                               cols,        eps};
  run(y.device(), norm_tables<T>().on(y.device()).l2_normalize_bwd, args, inv.numel(), grain_for(cols));
  b.set(0, dx);
}

}  // namespace

Var layer_norm(const Var& x, const Var& weight, const Var& bias, double eps) {
  check_input("layer_norm", x, 1);
  check_eps("layer_norm", eps);
  const int64_t cols = x.size(-1);
  const DType acc = acc_dtype(x.dtype());
  const Tensor w = checked_param("layer_norm", "weight", weight, {cols}, acc, x.device());
  const Tensor b = checked_param("layer_norm", "bias", bias, {cols}, acc, x.device());
  const Tensor rows = as_rows(x.value());
  Tensor y = Tensor::empty(x.dims(), x.dtype(), x.device());
  Tensor mean = Tensor::empty({rows.size(0)}, acc, x.device()),
         rstd = Tensor::empty({rows.size(0)}, acc, x.device());
  return dispatch_float(x.dtype(), "layer_norm", [&]<class T>() {
    const LayerNormFwd<T> args{rows.data<T>(),
                               data_or_null<Acc<T>>(w),
                               data_or_null<Acc<T>>(b),
                               y.write<T>("layer_norm"),
                               mean.write<Acc<T>>("layer_norm"),
                               rstd.write<Acc<T>>("layer_norm"),
                               cols,
                               rows.stride(0),
                               eps};
    run(x.device(), norm_tables<T>().on(x.device()).layer_norm_fwd, args, rows.size(0), grain_for(4 * cols));
    return record("layer_norm", {{"eps", eps}}, {&x, &weight, &bias}, y,
                  {{"x", x.value()}, {"weight", w}, {"mean", mean}, {"rstd", rstd}},
                  [](Backward& b) { layer_norm_backward<T>(b); });
  });
}

Var l2_normalize(const Var& x, double eps) {
  check_input("l2_normalize", x, 1);
  JX_CHECK(eps > 0 && std::isfinite(eps), "l2_normalize: eps: expected a positive number, got ", eps);
  const int64_t cols = x.size(-1);
  const Tensor rows = as_rows(x.value());
  Tensor y = Tensor::empty(x.dims(), x.dtype(), x.device());
  Tensor inv = Tensor::empty({rows.size(0)}, acc_dtype(x.dtype()), x.device());
  return dispatch_float(x.dtype(), "l2_normalize", [&]<class T>() {
    const L2NormalizeFwd<T> args{rows.data<T>(),
                                 y.write<T>("l2_normalize"),
                                 inv.write<Acc<T>>("l2_normalize"),
                                 cols,
                                 rows.stride(0),
                                 eps};
    run(x.device(), norm_tables<T>().on(x.device()).l2_normalize_fwd, args, rows.size(0),
        grain_for(2 * cols));
    return record("l2_normalize", {{"eps", eps}}, {&x}, y, {{"y", y}, {"inv", inv}},
                  [eps](Backward& b) { l2_normalize_backward<T>(b, eps); });
  });
}

}  // namespace juxta

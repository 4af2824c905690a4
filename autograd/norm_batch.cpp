// Batch norm: see kernels/norm_batch.h.
#include <algorithm>

#include "autograd/ops.h"
#include "autograd/rule.h"
#include "kernels/norm.h"

namespace juxta {

namespace {

// Chunks of one group: at most 64, at least 32 rows each, from the shape alone.
BatchRows rows_of(const Tensor& x, int64_t groups) {
  const int64_t channels = x.size(-1), rows = channels ? x.numel() / channels : 0, group_rows = rows / groups;
  return {rows, channels, groups, std::max<int64_t>(32, (group_rows + 63) / 64)};
}

int64_t row_grain(const BatchRows& s) { return grain_for(s.channels, 1 << 14); }

// Statistics [groups, C] of x into mean and rstd. In training they come from x and move the running ones.
template <class T>
void batch_statistics(const BatchRows& s, const Tensor& x, BatchNormState& state, bool training, double eps,
                      Tensor& mean, Tensor& rstd) {
  using A = Acc<T>;
  const NormTable<T>& table = norm_tables<T>().on(x.device());
  Tensor part_mean, part_m2;
  if (training) {
    part_mean = Tensor::empty({s.chunks(), s.channels}, dtype_of<A>, x.device());
    part_m2 = Tensor::empty(part_mean.dims(), dtype_of<A>, x.device());
    run(x.device(), table.batch_moments,
        {s, x.data<T>(), part_mean.write<A>("batch_norm"), part_m2.write<A>("batch_norm")}, s.chunks(), 1);
  }
  BatchCombine<A> args{s,
                       data_or_null<A>(part_mean),
                       data_or_null<A>(part_m2),
                       mean.write<A>("batch_norm"),
                       rstd.write<A>("batch_norm"),
                       nullptr,
                       nullptr,
                       eps,
                       state.momentum};
  if (!training) {  // read only: their versions stay
    args.running_mean = const_cast<A*>(state.running_mean.data<A>());
    args.running_var = const_cast<A*>(state.running_var.data<A>());
  } else if (state.running_mean.defined() && !ReplayDraws::active()) {
    args.running_mean = state.running_mean.write<A>("batch_norm");
    args.running_var = state.running_var.write<A>("batch_norm");
  }
  run(x.device(), table.batch_combine, args, s.channels, 256);
}

// Column sums of each group's chunks: [chunks, C] -> [groups, C].
template <class T>
Tensor sum_groups(const BatchRows& s, const Tensor& part) {
  using A = Acc<T>;
  Tensor out = Tensor::empty({s.groups, s.channels}, part.dtype(), part.device());
  const int64_t per = s.chunks_per_group();
  A* to = out.write<A>("batch_norm");
  for (int64_t g = 0; g < s.groups; ++g)
    run(part.device(), norm_tables<T>().on(part.device()).column_sum,
        {part.data<A>() + g * per * s.channels, to + g * s.channels, per, s.channels}, s.channels, 256);
  return out;
}

template <class T>
Tensor sum_over_groups(const Tensor& sums) {  // [groups, C] -> [C]
  using A = Acc<T>;
  Tensor out = Tensor::empty({sums.size(1)}, sums.dtype(), sums.device());
  run(sums.device(), norm_tables<T>().on(sums.device()).column_sum,
      {sums.data<A>(), out.write<A>("batch_norm"), sums.size(0), sums.size(1)}, sums.size(1), 256);
  return out;
}

struct Plan {
  BatchRows shape;
  bool training, relu;
};

// Inputs: x, weight, bias, residual. Saved: x, weight, mean, rstd, bias, y (see norm_batch.h for the last
// two).
template <class T>
void batch_norm_backward(Backward& b, const Plan& p) {
  using A = Acc<T>;
  const Tensor &x = b.saved(0), &weight = b.saved(1), &mean = b.saved(2), &rstd = b.saved(3), &dy = b.dy();
  const Tensor &bias = b.saved(4), &y = b.saved(5);
  const BatchRows& s = p.shape;
  const NormTable<T>& table = norm_tables<T>().on(x.device());
  Tensor sum_g, sum_gx, dx, dresidual;
  if (b.needs(1) || b.needs(2) || (p.training && b.needs(0))) {
    Tensor part_g = Tensor::empty({s.chunks(), s.channels}, dtype_of<A>, x.device());
    Tensor part_gx = Tensor::empty(part_g.dims(), dtype_of<A>, x.device());
    run(x.device(), table.batch_grad_sums,
        {s, x.data<T>(), dy.data<T>(), data_or_null<T>(y), mean.data<A>(), rstd.data<A>(),
         data_or_null<A>(weight), data_or_null<A>(bias), p.relu, part_g.write<A>("batch_norm"),
         part_gx.write<A>("batch_norm")},
        s.chunks(), 1);
    sum_g = sum_groups<T>(s, part_g);
    sum_gx = sum_groups<T>(s, part_gx);
    if (b.needs(1)) b.set(1, sum_over_groups<T>(sum_gx));
    if (b.needs(2)) b.set(2, sum_over_groups<T>(sum_g));
  }
  if (!b.needs(0) && !b.needs(3)) return;
  if (b.needs(0)) dx = Tensor::empty(x.dims(), x.dtype(), x.device());
  if (b.needs(3)) dresidual = Tensor::empty(x.dims(), x.dtype(), x.device());
  const bool centred = p.training && b.needs(0);
  run(x.device(), table.batch_grad,
      {s, x.data<T>(), dy.data<T>(), data_or_null<T>(y), mean.data<A>(), rstd.data<A>(),
       data_or_null<A>(weight), data_or_null<A>(bias), p.relu, centred ? sum_g.data<A>() : nullptr,
       centred ? sum_gx.data<A>() : nullptr, write_or_null<T>(dx, "batch_norm"),
       write_or_null<T>(dresidual, "batch_norm")},
      s.rows, row_grain(s));
  if (dx) b.set(0, dx);
  if (dresidual) b.set(3, dresidual);
}

template <class T>
Var batch_norm_typed(const Var& x, const Var& weight, const Var& bias, BatchNormState& state, bool training,
                     double eps, bool relu, const Var& residual, int64_t groups, const Tensor& w,
                     const Tensor& bias_values) {
  using A = Acc<T>;
  const Tensor in = x.value().contiguous(),
               add = residual.defined() ? residual.value().contiguous() : Tensor();
  const BatchRows s = rows_of(in, groups);
  Tensor mean = Tensor::empty({groups, s.channels}, dtype_of<A>, x.device());
  Tensor rstd = Tensor::empty(mean.dims(), dtype_of<A>, x.device());
  batch_statistics<T>(s, in, state, training, eps, mean, rstd);
  Tensor y = Tensor::empty(x.dims(), x.dtype(), x.device());
  run(x.device(), norm_tables<T>().on(x.device()).batch_apply,
      {s, in.data<T>(), mean.data<A>(), rstd.data<A>(), data_or_null<A>(w), data_or_null<A>(bias_values),
       data_or_null<T>(add), relu, y.write<T>("batch_norm")},
      s.rows, row_grain(s));
  const Plan plan{s, training, relu};
  const bool keep_y = relu && residual.defined();
  return record(
      "batch_norm",
      {{"training", static_cast<double>(training)}, {"eps", eps}, {"relu", static_cast<double>(relu)}},
      {&x, &weight, &bias, &residual}, y,
      {{"x", in},
       {"weight", w},
       {"mean", mean},
       {"rstd", rstd},
       {"bias", relu && !keep_y ? bias_values : Tensor()},
       {"y", keep_y ? y : Tensor()}},
      [plan](Backward& b) { batch_norm_backward<T>(b, plan); });
}

}  // namespace

Var batch_norm(const Var& x, const Var& weight, const Var& bias, BatchNormState& state, bool training,
               double eps, Act act, const Var& residual, int64_t groups) {
  check_input("batch_norm", x, 2);
  check_eps("batch_norm", eps);
  const int64_t channels = x.size(-1), rows = channels ? x.numel() / channels : 0;
  const DType acc = acc_dtype(x.dtype());
  const Tensor w = checked_param("batch_norm", "weight", weight, {channels}, acc, x.device());
  const Tensor b = checked_param("batch_norm", "bias", bias, {channels}, acc, x.device());
  checked_param("batch_norm", "running_mean", Var(state.running_mean), {channels}, acc, x.device());
  checked_param("batch_norm", "running_var", Var(state.running_var), {channels}, acc, x.device());
  JX_CHECK(training || state.running_mean.defined(), "batch_norm: evaluation needs running statistics");
  if (!training) groups = 1;
  JX_CHECK(groups >= 1 && x.size(0) % groups == 0, "batch_norm: groups: ", groups, " equal parts of ",
           x.size(0), " samples");
  JX_CHECK(!training || rows / groups > 1, "batch_norm: training needs more than one value per channel, got ",
           x, groups > 1 ? concat(" in ", groups, " groups") : "",
           "; use a larger batch, or evaluation mode");
  if (residual.defined())
    JX_CHECK(residual.dims() == x.dims() && residual.dtype() == x.dtype(), "batch_norm: residual: expected ",
             x, ", got ", residual);
  const bool fused =
      act == Act::none || act == Act::relu;  // other activations need the sum before them: an op of their own
  const Var y = dispatch_float(x.dtype(), "batch_norm", [&]<class T>() {
    return batch_norm_typed<T>(x, weight, bias, state, training, eps, act == Act::relu, residual, groups, w,
                               b);
  });
  return fused ? y : activate(y, act);
}

}  // namespace juxta

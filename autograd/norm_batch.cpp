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

// Mean and biased variance [groups, C] of x.
template <class T>
void batch_statistics(const BatchRows& s, const Tensor& x, Tensor& mean, Tensor& var) {
  using A = Acc<T>;
  const NormTable<T>& table = norm_tables<T>().on(x.device());
  Tensor part_mean = Tensor::empty({s.chunks(), s.channels}, dtype_of<A>, x.device());
  Tensor part_m2 = Tensor::empty(part_mean.dims(), dtype_of<A>, x.device());
  run(x.device(), table.batch_moments,
      {s, x.data<T>(), part_mean.write<A>("batch_norm"), part_m2.write<A>("batch_norm")}, s.chunks(), 1);
  run(x.device(), table.batch_combine,
      {s, part_mean.data<A>(), part_m2.data<A>(), mean.write<A>("batch_norm"), var.write<A>("batch_norm")},
      s.groups * s.channels, 256);
}

// running = (1 - momentum) running + momentum batch, with the unbiased variance; groups count one after the
// other.
template <class A>
void update_running(BatchNormState& state, const BatchRows& s, const Tensor& mean, const Tensor& var) {
  const double n = static_cast<double>(s.group_rows()), unbias = n > 1 ? n / (n - 1) : 1;
  A* rm = state.running_mean.write<A>("batch_norm");
  A* rv = state.running_var.write<A>("batch_norm");
  const A keep = static_cast<A>(1.0 - state.momentum), take = static_cast<A>(state.momentum);
  for (int64_t i = 0; i < s.groups * s.channels; ++i) {
    const int64_t c = i % s.channels;
    rm[c] = keep * rm[c] + take * mean.data<A>()[i];
    rv[c] = keep * rv[c] + take * static_cast<A>(static_cast<double>(var.data<A>()[i]) * unbias);
  }
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

// Inputs: x, weight, bias, residual. Saved: x, weight, mean, rstd, y (relu).
template <class T>
void batch_norm_backward(Backward& b, const Plan& p) {
  using A = Acc<T>;
  const Tensor &x = b.saved(0), &weight = b.saved(1), &mean = b.saved(2), &rstd = b.saved(3), &y = b.saved(4);
  const Tensor& dy = b.dy();
  const BatchRows& s = p.shape;
  const NormTable<T>& table = norm_tables<T>().on(x.device());
  const T* mask = p.relu ? y.data<T>() : nullptr;
  Tensor sum_g, sum_gx;
  const bool need_sums = b.needs(1) || b.needs(2) || (p.training && b.needs(0));
  if (need_sums) {
    Tensor part_g = Tensor::empty({s.chunks(), s.channels}, dtype_of<A>, x.device());
    Tensor part_gx = Tensor::empty(part_g.dims(), dtype_of<A>, x.device());
    run(x.device(), table.batch_grad_sums,
        {s, x.data<T>(), dy.data<T>(), mask, mean.data<A>(), rstd.data<A>(), part_g.write<A>("batch_norm"),
         part_gx.write<A>("batch_norm")},
        s.chunks(), 1);
    sum_g = sum_groups<T>(s, part_g);
    sum_gx = sum_groups<T>(s, part_gx);
    if (b.needs(1)) b.set(1, sum_over_groups<T>(sum_gx));
    if (b.needs(2)) b.set(2, sum_over_groups<T>(sum_g));
  }
  if (!b.needs(0) && !b.needs(3)) return;
  Tensor mean_g, mean_gx, dx, dresidual;
  if (p.training && b.needs(0)) {
    const A inv = static_cast<A>(1.0 / static_cast<double>(s.group_rows()));
    mean_g = sum_g.clone(), mean_gx = sum_gx.clone();
    A *g = mean_g.write<A>("batch_norm"), *gx = mean_gx.write<A>("batch_norm");
    for (int64_t i = 0; i < mean_g.numel(); ++i) g[i] *= inv, gx[i] *= inv;
  }
  if (b.needs(0)) dx = Tensor::empty(x.dims(), x.dtype(), x.device());
  if (b.needs(3)) dresidual = Tensor::empty(x.dims(), x.dtype(), x.device());
  run(x.device(), table.batch_grad,
      {s, x.data<T>(), dy.data<T>(), mask, mean.data<A>(), rstd.data<A>(), data_or_null<A>(weight),
       data_or_null<A>(mean_g), data_or_null<A>(mean_gx), write_or_null<T>(dx, "batch_norm"),
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
  Tensor mean = Tensor::empty({training ? groups : 1, s.channels}, dtype_of<A>, x.device());
  Tensor rstd = Tensor::empty(mean.dims(), dtype_of<A>, x.device());
  if (training) {
    batch_statistics<T>(s, in, mean, rstd);  // rstd holds the variance until the loop below
    if (state.running_mean.defined() && !ReplayDraws::active()) update_running<A>(state, s, mean, rstd);
  } else {
    mean.copy_from(state.running_mean.view({1, s.channels}), "batch_norm");
    rstd.copy_from(state.running_var.view({1, s.channels}), "batch_norm");
  }
  A* r = rstd.write<A>("batch_norm");
  for (int64_t i = 0; i < rstd.numel(); ++i) r[i] = A(1) / std::sqrt(r[i] + static_cast<A>(eps));
  Tensor y = Tensor::empty(x.dims(), x.dtype(), x.device());
  run(x.device(), norm_tables<T>().on(x.device()).batch_apply,
      {s, in.data<T>(), mean.data<A>(), rstd.data<A>(), data_or_null<A>(w), data_or_null<A>(bias_values),
       data_or_null<T>(add), relu, y.write<T>("batch_norm")},
      s.rows, row_grain(s));
  const Plan plan{s, training, relu};
  return record(
      "batch_norm",
      {{"training", static_cast<double>(training)}, {"eps", eps}, {"relu", static_cast<double>(relu)}},
      {&x, &weight, &bias, &residual}, y,
      {{"x", in}, {"weight", w}, {"mean", mean}, {"rstd", rstd}, {"y", relu ? y : Tensor()}},
      [plan](Backward& b) { batch_norm_backward<T>(b, plan); });
}

}  // namespace

Var batch_norm(const Var& x, const Var& weight, const Var& bias, BatchNormState& state, bool training,
               double eps, Act act, const Var& residual, int64_t groups) {
  check_input("batch_norm", x, 2);
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

#include "kernels/matmul.h"

#include "autograd/act_gradient.h"
#include "autograd/ops.h"
#include "autograd/rule.h"

namespace juxta {

namespace {

Dims leading(const Tensor& t) {
  Dims d = t.dims();
  d.erase(d.size() - 1);
  d.erase(d.size() - 1);
  return d;
}

int64_t product(const Dims& d, int begin, int end) {
  int64_t n = 1;
  for (int i = begin; i < end; ++i) n *= d[i];
  return n;
}

// Stride of batch axis `d` (of `ndim` axes) in operand t: 0 where t lacks the axis or repeats along it.
int64_t batch_stride(const Tensor& t, int d, int ndim) {
  const int own = d - (ndim - (t.ndim() - 2));
  return own < 0 || t.dims()[own] == 1 ? 0 : t.strides()[own];
}

// The product of a [.., M, K] and b [.., K, N] but for its output.
template <class T>
MatmulArgs<T> operands(const Tensor& a, const Tensor& b, const Dims& batch) {
  MatmulArgs<T> g{a.size(-2),   b.size(-1),   a.size(-1),   a.data<T>(), b.data<T>(),
                  a.stride(-2), a.stride(-1), b.stride(-2), b.stride(-1)};
  g.batch.ndim = batch.size();
  g.batch.count = numel(batch);
  for (int d = 0; d < batch.size(); ++d) {
    g.batch.dims[d] = batch[d];
    g.batch.a[d] = batch_stride(a, d, batch.size());
    g.batch.b[d] = batch_stride(b, d, batch.size());
  }
  g.out_row = g.n;
  return g;
}

template <class T>
Tensor multiply(const Tensor& a, const Tensor& b, const Dims& batch) {
  MatmulArgs<T> g = operands<T>(a, b, batch);
  Dims dims = batch;
  dims.push_back(g.m);
  dims.push_back(g.n);
  Tensor out = Tensor::empty(dims, a.dtype(), a.device());
  const Dims strides = out.strides();
  for (int d = 0; d < batch.size(); ++d) g.batch.out[d] = strides[d];
  g.out = out.write<T>("matmul");
  matmul_run(a.device(), g);
  return out;
}

// The product summed over the batch axes that `target` (an operand's dims) lacks or has 1 of: the products
// are laid out with the summed axes first, in the accumulation type, and added in order.
template <class T>
Tensor multiply_to(const Tensor& a, const Tensor& b, const Dims& batch, const Dims& target) {
  MatmulArgs<T> g = operands<T>(a, b, batch);
  const int lacking = batch.size() + 2 - target.size();
  int64_t summed = 1, stride = g.m * g.n;
  const auto is_summed = [&](int d) { return batch[d] != 1 && (d < lacking || target[d - lacking] == 1); };
  for (int d = batch.size() - 1; d >= 0; --d) {
    if (is_summed(d)) continue;
    g.batch.out[d] = stride;
    stride *= batch[d];
  }
  const int64_t kept = stride;
  for (int d = batch.size() - 1; d >= 0; --d) {
    if (!is_summed(d)) continue;
    g.batch.out[d] = stride;
    stride *= batch[d];
    summed *= batch[d];
  }
  Tensor out = Tensor::empty(target, a.dtype(), a.device());
  if (summed == 1) {
    g.out = out.write<T>("matmul");
    matmul_run(a.device(), g);
    return out;
  }
  Tensor parts = Tensor::empty({summed, kept}, acc_dtype(a.dtype()), a.device());
  g.out_acc = parts.write<Acc<T>>("matmul");
  matmul_run(a.device(), g);
  if (kept > 0)
    matmul_add_parts<T>(a.device(), parts.data<Acc<T>>(), summed, kept / g.n, g.n, out.write<T>("matmul"),
                        nullptr);
  return out;
}

template <class T>
void matmul_backward(Backward& b, const Dims& a_dims, const Dims& b_dims) {
  const Tensor &a = b.saved(0), &w = b.saved(1), &dy = b.dy();
  const Dims batch = leading(dy);
  if (b.needs(0)) b.set(0, multiply_to<T>(dy, w.transpose(-1, -2), batch, a_dims));
  if (!b.needs(1)) return;
  if (b_dims.size() == 2 && a_dims.size() > 2) {
    // One b for the whole batch: its gradient is one product over all rows.
    const Tensor rows = as_rows(a), dy_rows = dy.view({rows.size(0), dy.size(-1)});
    b.set(1, multiply<T>(rows.transpose(0, 1), dy_rows, {}));
  } else {
    b.set(1, multiply_to<T>(a.transpose(-1, -2), dy, batch, b_dims));
  }
}

// x weight^T (forward) or dz weight (backward, `transposed` false), rows from `x` [R, I], with the weight's
// panels from the cache.
template <class T>
MatmulArgs<T> with_weight(const Tensor& x, const Tensor& weight, bool transposed) {
  const int in = transposed ? 1 : 0, out = 1 - in;
  MatmulArgs<T> g{x.size(0),   weight.size(out), x.size(1),         x.data<T>(),       nullptr,
                  x.stride(0), x.stride(1),      weight.stride(in), weight.stride(out)};
  if constexpr (std::is_same_v<T, Acc<T>>)
    g.b = weight.data<T>();
  else
    g.b_wide = weight.data<Acc<T>>();
  g.out_row = g.n;
  return g;
}
template <class T>
void run_with_weight(const Tensor& weight, MatmulArgs<T>& g) {
  const Tensor panels = matmul_pack_weights(weight, g);
  if (panels) g.packed_b = panels.raw();
  matmul_run(weight.device(), g);
}

// x [.., I] as rows: a matrix keeps its strides whatever they are.
Tensor rows_of(const Tensor& x) { return x.ndim() == 2 ? x : as_rows(x); }

template <class T>
void linear_backward(Backward& b, const Dims& x_dims, Act act) {
  const Tensor &x = b.saved(0), &weight = b.saved(1), &dy = b.dy();
  const int64_t rows = product(x_dims, 0, x_dims.size() - 1), out = dy.size(-1), in = x_dims.back();
  const Tensor dz = act_gradient<T>("linear", b, dy.view({rows, out}), b.saved(2), act);
  if (b.needs(0)) {
    Tensor dx = Tensor::empty(x_dims, dy.dtype(), dy.device());
    MatmulArgs<T> g = with_weight<T>(dz, weight, false);
    g.out = dx.write<T>("linear");
    run_with_weight(weight, g);
    b.set(0, dx);
  }
  if (b.needs(1)) {
    Tensor dw = Tensor::empty({out, in}, acc_dtype(dy.dtype()), dy.device());
    const Tensor x_rows = rows_of(x);  // args hold pointers: what they point to must outlive the run
    MatmulArgs<T> g = operands<T>(dz.transpose(0, 1), x_rows, {});
    g.out_acc = dw.write<Acc<T>>("linear");
    matmul_run(dy.device(), g);
    b.set(1, dw);
  }
  if (b.needs(3)) b.set(3, dy);
}

void check_weight(const Var& x, const Var& weight) {
  const DType dtype = acc_dtype(x.dtype());
  JX_CHECK(weight.defined(), "linear: weight: it is undefined");
  JX_CHECK(weight.ndim() == 2 && weight.size(1) == x.size(-1) && weight.dtype() == dtype &&
               weight.device() == x.device(),
           "linear: weight: expected ", dtype, " [out, ", x.size(-1), "] on ", x.device(), " for x ", x,
           ", got ", weight,
           weight.ndim() == 2 && weight.size(0) == x.size(-1) ? "; pass its transpose" : "");
}

}  // namespace

Var matmul(const Var& a, const Var& b) {
  check_input("matmul", a, 2);
  check_input("matmul", b, 2);
  JX_CHECK(a.dtype() == b.dtype() && a.device() == b.device(), "matmul: b: expected ", a.dtype(), " on ",
           a.device(), " as a, got ", b, "; cast one of them");
  JX_CHECK(a.size(-1) == b.size(-2), "matmul: b: expected [.., ", a.size(-1), ", N] for a ", a, ", got ", b,
           a.size(-1) == b.size(-1) ? "; transpose its last two axes" : "");
  const Dims batch = broadcast(leading(a.value()), leading(b.value()), "matmul");
  return dispatch_float(a.dtype(), "matmul", [&]<class T>() {
    const Tensor y = multiply<T>(a.value(), b.value(), batch);
    const Dims a_dims = a.dims(), b_dims = b.dims();
    const bool a_grad = wants_grad({&a}), b_grad = wants_grad({&b});
    return record("matmul", {}, {&a, &b}, y,
                  {{"a", b_grad ? a.value() : Tensor()}, {"b", a_grad ? b.value() : Tensor()}},
                  [a_dims, b_dims](Backward& back) { matmul_backward<T>(back, a_dims, b_dims); });
  });
}

Var linear(const Var& x, const Var& weight, const Var& bias, Act act, const Var& residual) {
  check_input("linear", x, 1);
  check_weight(x, weight);
  const int64_t out = weight.size(0);
  Dims dims = x.dims();
  dims[dims.size() - 1] = out;
  const Tensor shift = checked_param("linear", "bias", bias, {out}, acc_dtype(x.dtype()), x.device());
  const Tensor added = checked_param("linear", "residual", residual, dims, x.dtype(), x.device());
  return dispatch_float(x.dtype(), "linear", [&]<class T>() {
    Tensor y = Tensor::empty(dims, x.dtype(), x.device()), saved;
    const bool act_grad = act != Act::none && wants_grad({&x, &weight, &bias});
    if (act_grad && (act_needs_input(act) || added)) saved = Tensor::empty(dims, x.dtype(), x.device());
    const Tensor x_rows = rows_of(x.value());
    MatmulArgs<T> g = with_weight<T>(x_rows, weight.value(), true);
    g.bias = data_or_null<Acc<T>>(shift);
    g.act = act;
    g.residual = data_or_null<T>(added);
    g.saved = write_or_null<T>(saved, "linear");
    g.out = y.write<T>("linear");
    run_with_weight(weight.value(), g);
    if (act_grad && !saved) saved = y;  // the gradient of this activation is a function of its output
    const Dims x_dims = x.dims();
    return record("linear", {{"act", static_cast<double>(act)}}, {&x, &weight, &bias, &residual}, y,
                  {{"x", wants_grad({&weight}) ? x.value() : Tensor()},
                   {"weight", wants_grad({&x}) ? weight.value() : Tensor()},
                   {"act", saved}},
                  [x_dims, act](Backward& b) { linear_backward<T>(b, x_dims, act); });
  });
}

}  // namespace juxta

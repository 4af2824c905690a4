// Binary ops with broadcasting, where, and the sums of gradients over broadcast axes.
#include <algorithm>

#include "autograd/elementwise.h"
#include "autograd/ops.h"
#include "autograd/rule.h"
#include "kernels/elementwise.h"

namespace juxta {

namespace {

using Axes = BroadcastAxes;

// Appends one axis, merged into the one before where every operand runs on evenly.
void push_axis(Axes& axes, int64_t size, const int64_t (&step)[Axes::kOperands]) {
  if (axes.n > 0) {
    const int last = axes.n - 1;
    bool even = true;
    for (int k = 0; k < Axes::kOperands; ++k) even = even && axes.step[k][last] == step[k] * size;
    if (even) {
      axes.size[last] *= size;
      for (int k = 0; k < Axes::kOperands; ++k) axes.step[k][last] = step[k];
      return;
    }
  }
  axes.size[axes.n] = size;
  for (int k = 0; k < Axes::kOperands; ++k) axes.step[k][axes.n] = step[k];
  ++axes.n;
}

// Axes of a result of shape `dims`. Undefined operands get steps 0. `target`, if not null, is the shape that
// a gradient is summed to.
Axes axes_of(const Dims& dims, const Tensor& a, const Tensor& b, const Tensor& mask,
             const Dims* target = nullptr) {
  Dims strides[Axes::kOperands];
  const Tensor* operands[] = {&a, &b, &mask};
  for (int k = 0; k < 3; ++k)
    if (operands[k]->defined()) strides[k] = operands[k]->expand(dims).strides();
  Axes axes{};
  const Dims compact = target ? contiguous_strides(*target) : Dims();
  for (int i = 0; i < dims.size(); ++i) {
    if (dims[i] == 1) continue;
    int64_t step[Axes::kOperands] = {};
    for (int k = 0; k < 3; ++k) step[k] = strides[k].empty() ? 0 : strides[k][i];
    const int t = i - (dims.size() - compact.size());
    if (target && t >= 0 && (*target)[t] == dims[i]) step[Axes::kTarget] = compact[t];
    push_axis(axes, dims[i], step);
  }
  if (axes.n == 0) push_axis(axes, 1, {});
  return axes;
}

const bool* mask_or_null(const Tensor& mask) { return data_or_null<bool>(mask); }

// How many chunks a sum over the outermost axis takes: partial sums must stay small beside what is summed.
int64_t reduce_chunks(int64_t n, int64_t kept) {
  return std::clamp<int64_t>(std::min(n / kElementGrain, n / (2 * kept)), 1, 16);
}

// What the backward of a binary op has at hand.
struct Operands {
  Binary op;
  Tensor a, b, mask, dy;
};

// The gradient of one operand of shape `target`, summed over the axes along which it was broadcast. Strided
// operands are copied first: their strides would change which axes merge, hence the order of the sums.
template <class T>
Tensor reduced(Operands o, bool second, const Dims& target) {
  for (Tensor* t : {&o.a, &o.b, &o.mask})
    if (t->defined()) *t = t->contiguous();
  const char* name = kBinaryNames[static_cast<int>(o.op)];
  const Tensor& dy = o.dy;
  Tensor out = Tensor::empty(target, dy.dtype(), dy.device());
  const int64_t n = dy.numel(), kept = out.numel();
  if (n == 0 || kept == 0) {
    out.fill(0.0, name);
    return out;
  }
  const Axes axes = axes_of(dy.dims(), o.a, o.b, o.mask, &target);
  int64_t rows = 1, chunk = n, owned = kept, base = 0;
  if (axes.step[Axes::kTarget][0] == 0) {
    const int64_t chunks = reduce_chunks(n, kept);
    chunk = (n + chunks - 1) / chunks;
    rows = (n + chunk - 1) / chunk;
    base = kept;
  } else {  // whole outer indices, about kElementGrain elements each
    const int64_t inner = n / axes.size[0], per = grain_for(inner, kElementGrain);
    chunk = std::min(per, axes.size[0]) * inner;
    owned = std::min(per, axes.size[0]) * (kept / axes.size[0]);
  }
  const ElementwiseTable<T>& table = elementwise_tables<T>().on(dy.device());
  const bool direct = rows == 1 && acc_dtype(dy.dtype()) == dy.dtype();
  Tensor partial = direct ? out : Tensor::empty({rows, kept}, acc_dtype(dy.dtype()), dy.device());
  run(dy.device(), table.binary_reduce,
      BinaryReduce<T>{o.op, second, data_or_null<T>(o.a), data_or_null<T>(o.b), mask_or_null(o.mask),
                      dy.data<T>(), partial.write<Acc<T>>(name), axes, n, chunk, owned, base, rows * kept},
      (n + chunk - 1) / chunk, 1);
  if (!direct)
    run(dy.device(), table.sum_partials,
        SumPartials<T>{partial.data<Acc<T>>(), out.write<T>(name), rows, kept}, kept,
        grain_for(rows, kElementGrain));
  return out;
}

// Gradients that have the shape of dy, in one pass.
template <class T>
void same_shape(const Operands& o, Tensor& da, Tensor& db) {
  const char* name = kBinaryNames[static_cast<int>(o.op)];
  const Axes axes = axes_of(o.dy.dims(), o.a, o.b, o.mask);
  run(o.dy.device(), elementwise_tables<T>().on(o.dy.device()).binary_bwd,
      BinaryBwd<T>{o.op, data_or_null<T>(o.a), data_or_null<T>(o.b), mask_or_null(o.mask), o.dy.data<T>(),
                   write_or_null<T>(da, name), write_or_null<T>(db, name), axes},
      o.dy.numel(), kElementGrain);
}

template <class T>
void binary_backward(Backward& b, Binary op, const Dims& a_dims, const Dims& b_dims) {
  Operands o{op, b.saved(0), b.saved(1), b.saved(2), b.dy()};
  // An operand that no wanted gradient reads was not saved; the kernel may load it all the same.
  if (kBinaryKeeps[static_cast<int>(op)] == Keeps::ab) {
    if (!o.a) o.a = o.b;
    if (!o.b) o.b = o.a;
  }
  const bool a_full = a_dims == o.dy.dims(), b_full = b_dims == o.dy.dims();
  // add and sub hand dy on; the engine copies only where a sum is due.
  const bool a_is_dy = a_full && (op == Binary::add || op == Binary::sub),
             b_is_dy = b_full && op == Binary::add;
  Tensor da, db;
  if (b.needs(0) && a_is_dy) b.set(0, o.dy);
  if (b.needs(1) && b_is_dy) b.set(1, o.dy);
  if (b.needs(0) && a_full && !a_is_dy) da = Tensor::empty(a_dims, o.dy.dtype(), o.dy.device());
  if (b.needs(1) && b_full && !b_is_dy) db = Tensor::empty(b_dims, o.dy.dtype(), o.dy.device());
  if (da || db) same_shape<T>(o, da, db);
  if (b.needs(0) && !a_full) da = reduced<T>(o, false, a_dims);
  if (b.needs(1) && !b_full) db = reduced<T>(o, true, b_dims);
  if (da) b.set(0, da);
  if (db) b.set(1, db);
}

Var binary(Binary op, const Var& a, const Var& b, const Tensor& mask = {}) {
  const char* name = kBinaryNames[static_cast<int>(op)];
  check_input(name, a, 0);
  check_input(name, b, 0);
  JX_CHECK(a.dtype() == b.dtype() && a.device() == b.device(), name, ": b: expected ", a.dtype(), " on ",
           a.device(), " as a, got ", b, " on ", b.device(), "; cast or move one of them");
  Dims dims = broadcast(a.dims(), b.dims(), name);
  if (mask) dims = broadcast(mask.dims(), dims, name);
  Tensor y = Tensor::empty(dims, a.dtype(), a.device());
  // What the gradients read: of a product only the other factor.
  const bool keeps = kBinaryKeeps[static_cast<int>(op)] == Keeps::ab;
  const bool only_other = op == Binary::mul || op == Binary::div;
  const bool want_a = wants_grad({&a}), want_b = wants_grad({&b});
  const bool keep_a = keeps && (want_b || (want_a && !only_other));
  const bool keep_b = keeps && (want_a || (want_b && op != Binary::mul));
  return dispatch_float(a.dtype(), name, [&]<class T>() {
    run(a.device(), elementwise_tables<T>().on(a.device()).binary_fwd,
        BinaryFwd<T>{op, a.value().data<T>(), b.value().data<T>(), mask_or_null(mask), y.write<T>(name),
                     axes_of(dims, a.value(), b.value(), mask)},
        y.numel(), kElementGrain);
    return record(
        name, {}, {&a, &b}, y,
        {{"a", keep_a ? a.value() : Tensor()}, {"b", keep_b ? b.value() : Tensor()}, {"mask", mask}},
        [op, a_dims = a.dims(), b_dims = b.dims()](Backward& g) {
          binary_backward<T>(g, op, a_dims, b_dims);
        });
  });
}

}  // namespace

Tensor sum_to(const Tensor& dy, const Dims& dims) {
  if (dy.dims() == dims) return dy;
  return dispatch_float(dy.dtype(), "sum_to", [&]<class T>() {
    return reduced<T>({Binary::add, {}, {}, {}, dy.contiguous()}, false, dims);
  });
}

Var add(const Var& a, const Var& b) { return binary(Binary::add, a, b); }
Var sub(const Var& a, const Var& b) { return binary(Binary::sub, a, b); }
Var mul(const Var& a, const Var& b) { return binary(Binary::mul, a, b); }
Var div(const Var& a, const Var& b) { return binary(Binary::div, a, b); }
Var minimum(const Var& a, const Var& b) { return binary(Binary::minimum, a, b); }
Var maximum(const Var& a, const Var& b) { return binary(Binary::maximum, a, b); }
Var where(const Tensor& mask, const Var& a, const Var& b) {
  JX_CHECK(mask.defined() && mask.dtype() == DType::boolean, "where: mask: expected a bool tensor, got ",
           mask);
  JX_CHECK(!a.defined() || mask.device() == a.device(), "where: mask: expected it on ", a.device(), ", got ",
           mask.device());
  return binary(Binary::where, a, b, mask);
}

}  // namespace juxta

// Unary ops, casts, dropout. Every unary op passes through unary(): its row in kernels/elementwise.h says
// what it computes and what backward keeps.
#include "kernels/elementwise.h"

#include "autograd/ops.h"
#include "autograd/rule.h"

namespace juxta {

namespace {

template <class T>
void unary_backward(Backward& b, Unary op, double p, double q) {
  const Tensor &kept = b.saved(0), &dy = b.dy();
  Tensor dx = Tensor::empty(dy.dims(), dy.dtype(), dy.device());
  run(dy.device(), elementwise_tables<T>().on(dy.device()).unary_bwd,
      UnaryBwd<T>{op, data_or_null<T>(kept), dy.data<T>(), dx.write<T>(kUnaryNames[static_cast<int>(op)]), p,
                  q},
      dy.numel(), kElementGrain);
  b.set(0, dx);
}

// One unary op; its parameters p and q are attributes where they have a name.
Var unary(Unary op, const Var& x, Attr p = {nullptr, 0}, Attr q = {nullptr, 0}) {
  const char* name = kUnaryNames[static_cast<int>(op)];
  check_input(name, x, 0);
  const Tensor in = x.value().contiguous();
  Tensor y = Tensor::empty(in.dims(), in.dtype(), in.device());
  const Keeps keeps = kUnaryKeeps[static_cast<int>(op)];
  return dispatch_float(in.dtype(), name, [&]<class T>() {
    run(in.device(), elementwise_tables<T>().on(in.device()).unary_fwd,
        UnaryFwd<T>{op, in.data<T>(), y.write<T>(name), p.value, q.value}, in.numel(), kElementGrain);
    const Saved kept{keeps == Keeps::y ? "y" : "x", keeps == Keeps::none ? Tensor()
                                                    : keeps == Keeps::y  ? y
                                                                         : in};
    const BackwardFn backward = [op, p = p.value, q = q.value](Backward& b) {
      unary_backward<T>(b, op, p, q);
    };
    if (q.name) return record(name, {p, q}, {&x}, y, {kept}, backward);
    if (p.name) return record(name, {p}, {&x}, y, {kept}, backward);
    return record(name, {}, {&x}, y, {kept}, backward);
  });
}

template <class T>
Tensor drop(const Tensor& x, Draw draw, int64_t group, double p) {
  Tensor y = Tensor::empty(x.dims(), x.dtype(), x.device());
  run(x.device(), elementwise_tables<T>().on(x.device()).dropout,
      Dropout<T>{x.data<T>(), y.write<T>("dropout"), draw, 0, group, p}, x.numel(), kElementGrain);
  return y;
}

Var drop_groups(const char* op, const Var& x, double p, Rng& rng, bool training, int64_t group) {
  JX_CHECK(p >= 0 && p <= 1, op, ": p: expected a probability in [0, 1], got ", p);
  if (!training || p == 0 || x.numel() == 0) return x;
  const Draw draw = rng.next();
  const Tensor in = x.value().contiguous();
  return dispatch_float(in.dtype(), op, [&]<class T>() {
    return record(op, {{"p", p}}, {&x}, drop<T>(in, draw, group, p), {},
                  [=](Backward& b) { b.set(0, drop<T>(b.dy(), draw, group, p)); });
  });
}

// x in another dtype. Only f32 beside bf16 or f64 has kernels; bf16 <-> f64 is for tests and files.
Tensor converted(const Tensor& x, DType dtype) {
  if (x.dtype() == dtype) return x;
  if (x.dtype() != DType::f32 && dtype != DType::f32) return x.to(dtype);
  const Tensor in = x.contiguous();
  Tensor y = Tensor::empty(in.dims(), dtype, in.device());
  const bool widen = dtype == DType::f32;
  dispatch_float(widen ? in.dtype() : dtype, "cast", [&]<class T>() {
    const ElementwiseTable<T>& table = elementwise_tables<T>().on(in.device());
    if (widen)
      run(in.device(), table.to_f32, Cast<T, float>{in.data<T>(), y.write<float>("cast")}, in.numel(),
          kElementGrain);
    else
      run(in.device(), table.from_f32, Cast<float, T>{in.data<float>(), y.write<T>("cast")}, in.numel(),
          kElementGrain);
  });
  return y;
}

}  // namespace

Var affine(const Var& x, double scale, double shift) {
  return unary(Unary::affine, x, {"scale", scale}, {"shift", shift});
}
Var neg(const Var& x) { return unary(Unary::affine, x, {"scale", -1.0}); }
Var exp(const Var& x) { return unary(Unary::exp, x); }
Var log(const Var& x) { return unary(Unary::log, x); }
Var log1p(const Var& x) { return unary(Unary::log1p, x); }
Var expm1(const Var& x) { return unary(Unary::expm1, x); }
Var sqrt(const Var& x) { return unary(Unary::sqrt, x); }
Var rsqrt(const Var& x) { return unary(Unary::rsqrt, x); }
Var square(const Var& x) { return unary(Unary::square, x); }
Var reciprocal(const Var& x) { return unary(Unary::reciprocal, x); }
Var abs(const Var& x) { return unary(Unary::abs, x); }
Var pow(const Var& x, double p) { return unary(Unary::pow, x, {"p", p}); }
Var sin(const Var& x) { return unary(Unary::sin, x); }
Var cos(const Var& x) { return unary(Unary::cos, x); }
Var tanh(const Var& x) { return unary(Unary::tanh, x); }
Var atanh(const Var& x) { return unary(Unary::atanh, x); }
Var acos(const Var& x) { return unary(Unary::acos, x); }
Var erf(const Var& x) { return unary(Unary::erf, x); }
Var sigmoid(const Var& x) { return unary(Unary::sigmoid, x); }
Var log_sigmoid(const Var& x) { return unary(Unary::log_sigmoid, x); }
Var softplus(const Var& x) { return unary(Unary::softplus, x); }
Var relu(const Var& x) { return unary(Unary::relu, x); }
Var leaky_relu(const Var& x, double slope) {
  JX_CHECK(slope >= 0, "leaky_relu: slope: expected a number >= 0, got ",
           slope);  // backward reads the sign of y
  return unary(Unary::leaky_relu, x, {"slope", slope});
}
Var elu(const Var& x, double alpha) {
  JX_CHECK(alpha >= 0, "elu: alpha: expected a number >= 0, got ", alpha);
  return unary(Unary::elu, x, {"alpha", alpha});
}
Var gelu(const Var& x) { return unary(Unary::gelu, x); }
Var gelu_tanh(const Var& x) { return unary(Unary::gelu_tanh, x); }
Var silu(const Var& x) { return unary(Unary::silu, x); }
Var clamp(const Var& x, double low, double high) {
  JX_CHECK(low <= high, "clamp: expected low <= high, got ", low, " and ", high);
  return unary(Unary::clamp, x, {"low", low}, {"high", high});
}

Var activate(const Var& x, Act act) {
  switch (act) {
    case Act::none:
      return x;
    case Act::relu:
      return relu(x);
    case Act::gelu:
      return gelu(x);
    case Act::silu:
      return silu(x);
    case Act::tanh:
      return tanh(x);
    case Act::sigmoid:
      return sigmoid(x);
  }
  JX_FAIL("activate: unknown activation ", static_cast<int>(act));
}

Var cast(const Var& x, DType dtype) {
  check_input("cast", x, 0);
  JX_CHECK(dtype == DType::f32 || dtype == DType::bf16 || dtype == DType::f64,
           "cast: dtype: expected f32, bf16 or f64, got ", dtype);
  if (x.dtype() == dtype) return x;
  return record("cast", {}, {&x}, converted(x.value(), dtype), {},
                [from = x.dtype()](Backward& b) { b.set(0, converted(b.dy(), from)); });
}

Var stop_gradient(const Var& x) {
  JX_CHECK(x.defined(), "stop_gradient: the input is undefined");
  // Recorded for observers; the input enters as a constant, so there is no edge and backward never comes.
  const Var constant(x.value());
  return record("stop_gradient", {}, {&constant}, x.value(), {}, [](Backward&) {});
}

Var dropout(const Var& x, double p, Rng& rng, bool training) {
  check_input("dropout", x, 0);
  return drop_groups("dropout", x, p, rng, training, 1);
}

Var drop_path(const Var& x, double p, Rng& rng, bool training) {
  check_input("drop_path", x, 1);
  return drop_groups("drop_path", x, p, rng, training, x.size(0) ? x.numel() / x.size(0) : 1);
}

}  // namespace juxta

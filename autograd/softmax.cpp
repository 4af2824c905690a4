#include "kernels/softmax.h"

#include "autograd/ops.h"
#include "autograd/rule.h"

namespace juxta {

namespace {

int64_t rows_of(const Dims& dims) {
  int64_t rows = 1;
  for (int i = 0; i + 1 < dims.size(); ++i) rows *= dims[i];
  return rows;
}

Dims without_last(Dims dims) {
  dims.erase(dims.size() - 1);
  return dims;
}

// Error unless `mask` is absent or a bool tensor that broadcasts to x.
void check_mask(const char* op, const Var& x, const Tensor& mask) {
  if (!mask) return;
  JX_CHECK(mask.dtype() == DType::boolean && mask.device() == x.device(), op, ": mask: expected bool on ",
           x.device(), ", got ", mask);
  bool fits = mask.ndim() <= x.ndim();
  for (int i = 1; fits && i <= mask.ndim(); ++i) fits = mask.size(-i) == 1 || mask.size(-i) == x.size(-i);
  JX_CHECK(fits, op, ": mask: expected a shape that broadcasts to ", x.dims(), ", got ", mask.dims());
}

// How the mask lies along the rows of a tensor of shape `dims`. A mask whose last axis is strided is first
// made contiguous (`mask` then holds the copy).
MaskRows mask_rows(Tensor& mask, const Dims& dims) {
  MaskRows m{};
  if (!mask) return m;
  const int last = dims.size() - 1;
  const int64_t step = mask.expand(dims).strides()[last];
  if (step != 0 && step != 1) mask = mask.contiguous();
  const Dims strides = mask.expand(dims).strides();
  m.data = mask.data<bool>();
  m.col_step = strides[last];
  for (int i = 0; i < last; ++i) {
    if (dims[i] == 1) continue;
    if (m.n > 0 && m.step[m.n - 1] == strides[i] * dims[i]) {  // runs on from the axis before
      m.size[m.n - 1] *= dims[i];
      m.step[m.n - 1] = strides[i];
      continue;
    }
    m.size[m.n] = dims[i];
    m.step[m.n++] = strides[i];
  }
  return m;
}

template <class T>
const SoftmaxTable<T>& table_of(const Tensor& x) {
  return softmax_tables<T>().on(x.device());
}

template <class T>
void softmax_backward(Backward& b, bool log) {
  const Tensor &y = b.saved(0), &dy = b.dy();
  Tensor dx = Tensor::empty(y.dims(), y.dtype(), y.device());
  const int64_t cols = y.size(-1);
  run(y.device(), table_of<T>(y).softmax_bwd,
      SoftmaxBwd<T>{y.data<T>(), dy.data<T>(), dx.write<T>("softmax"), cols, log}, rows_of(y.dims()),
      grain_for(4 * cols));
  b.set(0, dx);
}

Var softmax_or_log(const char* op, const Var& x, const Tensor& mask_in, bool log) {
  check_input(op, x, 1);
  check_mask(op, x, mask_in);
  Tensor mask = mask_in;
  const int64_t cols = x.size(-1);
  const Tensor rows = as_rows(x.value());
  Tensor y = Tensor::empty(x.dims(), x.dtype(), x.device());
  return dispatch_float(x.dtype(), op, [&]<class T>() {
    const SoftmaxFwd<T> args{rows.data<T>(), y.write<T>(op), mask_rows(mask, x.dims()),
                             cols,           rows.stride(0), log};
    if (cols > 0) run(x.device(), table_of<T>(y).softmax_fwd, args, rows_of(x.dims()), grain_for(8 * cols));
    return record(op, {}, {&x}, y, {{"y", y}}, [log](Backward& b) { softmax_backward<T>(b, log); });
  });
}

template <class T>
void logsumexp_backward(Backward& b) {
  const Tensor &x = b.saved(0), &stats = b.saved(1);
  Tensor mask = b.saved(2);
  const Tensor rows = as_rows(x);
  Tensor dx = Tensor::empty(x.dims(), x.dtype(), x.device());
  const int64_t cols = x.size(-1);
  const LogSumExpBwd<T> args{rows.data<T>(),
                             stats.data<Acc<T>>(),
                             b.dy().data<Acc<T>>(),
                             dx.write<T>("logsumexp"),
                             mask_rows(mask, x.dims()),
                             cols,
                             rows.stride(0)};
  run(x.device(), table_of<T>(x).logsumexp_bwd, args, rows_of(x.dims()), grain_for(8 * cols));
  b.set(0, dx);
}

// Names the first row whose target is no class.
void check_targets(const Var& logits, const Tensor& target, int64_t ignore_index) {
  const int64_t classes = logits.size(-1);
  const Tensor host = target.to(kCpu).contiguous();
  const auto* t = host.data<int64_t>();
  for (int64_t r = 0; r < host.numel(); ++r)
    JX_CHECK((t[r] >= 0 && t[r] < classes) || t[r] == ignore_index, "cross_entropy: target: row ", r,
             ": expected a class in [0, ", classes, ") or ignore_index ", ignore_index, ", got ", t[r],
             "; do labels start at 0 and does the head have as many classes as the data?");
}

template <class T>
void cross_entropy_backward(Backward& b, double smoothing, int64_t ignore) {
  const Tensor &x = b.saved(0), &target = b.saved(1), &stats = b.saved(2);
  const Tensor rows = as_rows(x);
  Tensor dx = Tensor::empty(x.dims(), x.dtype(), x.device());
  const int64_t cols = x.size(-1);
  const CrossEntropyBwd<T> args{rows.data<T>(),
                                target.data<int64_t>(),
                                stats.data<Acc<T>>(),
                                b.dy().data<Acc<T>>(),
                                dx.write<T>("cross_entropy"),
                                cols,
                                rows.stride(0),
                                ignore,
                                smoothing};
  run(x.device(), table_of<T>(x).cross_entropy_bwd, args, rows_of(x.dims()), grain_for(8 * cols));
  b.set(0, dx);
}

template <class T>
void soft_cross_entropy_backward(Backward& b) {
  const Tensor &x = b.saved(0), &q = b.saved(1), &stats = b.saved(2);
  const Tensor rows = as_rows(x), q_rows = as_rows(q);
  Tensor dx = Tensor::empty(x.dims(), x.dtype(), x.device());
  const int64_t cols = x.size(-1);
  const SoftCrossEntropyBwd<T> args{rows.data<T>(),
                                    q_rows.data<Acc<T>>(),
                                    stats.data<Acc<T>>(),
                                    b.dy().data<Acc<T>>(),
                                    dx.write<T>("soft_cross_entropy"),
                                    cols,
                                    rows.stride(0),
                                    q_rows.stride(0)};
  run(x.device(), table_of<T>(x).soft_cross_entropy_bwd, args, rows_of(x.dims()), grain_for(8 * cols));
  b.set(0, dx);
}

}  // namespace

Var softmax(const Var& x, const Tensor& mask) { return softmax_or_log("softmax", x, mask, false); }
Var log_softmax(const Var& x, const Tensor& mask) { return softmax_or_log("log_softmax", x, mask, true); }

Var logsumexp(const Var& x, const Tensor& mask_in) {
  check_input("logsumexp", x, 1);
  check_mask("logsumexp", x, mask_in);
  Tensor mask = mask_in;
  const int64_t cols = x.size(-1), n = rows_of(x.dims());
  const DType acc = acc_dtype(x.dtype());
  const Tensor rows = as_rows(x.value());
  Tensor y = Tensor::empty(without_last(x.dims()), acc, x.device());
  Tensor stats = Tensor::empty({n, 2}, acc, x.device());
  return dispatch_float(x.dtype(), "logsumexp", [&]<class T>() {
    const LogSumExpFwd<T> args{rows.data<T>(),
                               y.write<Acc<T>>("logsumexp"),
                               stats.write<Acc<T>>("logsumexp"),
                               mask_rows(mask, x.dims()),
                               cols,
                               rows.stride(0)};
    run(x.device(), table_of<T>(rows).logsumexp_fwd, args, n, grain_for(8 * cols));
    return record("logsumexp", {}, {&x}, y, {{"x", x.value()}, {"max_and_log_sum", stats}, {"mask", mask}},
                  [](Backward& b) { logsumexp_backward<T>(b); });
  });
}

Var cross_entropy(const Var& logits, const Tensor& target_in, double label_smoothing, int64_t ignore_index) {
  const char* op = "cross_entropy";
  check_input(op, logits, 1);
  JX_CHECK(label_smoothing >= 0.0 && label_smoothing <= 1.0, op,
           ": label_smoothing: expected a number in [0, 1], got ", label_smoothing);
  const Dims dims = without_last(logits.dims());
  JX_CHECK(target_in.defined() && target_in.dtype() == DType::i64 && target_in.dims() == dims &&
               target_in.device() == logits.device(),
           op, ": target: expected i64 ", dims, " on ", logits.device(), ", got ", target_in,
           "; for probabilities as targets there is soft_cross_entropy");
  check_targets(logits, target_in, ignore_index);
  const Tensor target = target_in.contiguous(), rows = as_rows(logits.value());
  const int64_t cols = logits.size(-1), n = rows_of(logits.dims());
  const DType acc = acc_dtype(logits.dtype());
  Tensor y = Tensor::empty(dims, acc, logits.device()), stats = Tensor::empty({n, 2}, acc, logits.device());
  return dispatch_float(logits.dtype(), op, [&]<class T>() {
    const CrossEntropyFwd<T> args{
        rows.data<T>(), target.data<int64_t>(), y.write<Acc<T>>(op), stats.write<Acc<T>>(op),
        cols,           rows.stride(0),         ignore_index,        label_smoothing};
    run(logits.device(), table_of<T>(rows).cross_entropy_fwd, args, n, grain_for(8 * cols));
    return record(op, {{"label_smoothing", label_smoothing}}, {&logits}, y,
                  {{"logits", logits.value()}, {"target", target}, {"max_and_log_sum", stats}},
                  [label_smoothing, ignore_index](Backward& b) {
                    cross_entropy_backward<T>(b, label_smoothing, ignore_index);
                  });
  });
}

Var soft_cross_entropy(const Var& logits, const Tensor& target) {
  const char* op = "soft_cross_entropy";
  check_input(op, logits, 1);
  const DType acc = acc_dtype(logits.dtype());
  JX_CHECK(target.defined() && target.dims() == logits.dims() && target.device() == logits.device() &&
               (target.dtype() == acc || target.dtype() == logits.dtype()),
           op, ": target: expected probabilities ", acc, " ", logits.dims(), " on ", logits.device(),
           ", got ", target);
  const Tensor q = as_rows(target.to(acc)), rows = as_rows(logits.value());
  const int64_t cols = logits.size(-1), n = rows_of(logits.dims());
  Tensor y = Tensor::empty(without_last(logits.dims()), acc, logits.device());
  Tensor stats = Tensor::empty({n, 3}, acc, logits.device());
  return dispatch_float(logits.dtype(), op, [&]<class T>() {
    const SoftCrossEntropyFwd<T> args{
        rows.data<T>(), q.data<Acc<T>>(), y.write<Acc<T>>(op), stats.write<Acc<T>>(op),
        cols,           rows.stride(0),   q.stride(0)};
    run(logits.device(), table_of<T>(rows).soft_cross_entropy_fwd, args, n, grain_for(8 * cols));
    return record(op, {}, {&logits}, y,
                  {{"logits", logits.value()}, {"target", q}, {"max_log_sum_and_mass", stats}},
                  [](Backward& b) { soft_cross_entropy_backward<T>(b); });
  });
}

}  // namespace juxta

// Reductions over any set of axes. Axes are gathered into one middle axis: in place when they are neighbours
// in memory, else after one copy.
#include "kernels/reduce.h"

#include <algorithm>

#include "autograd/ops.h"
#include "autograd/rule.h"

namespace juxta {

namespace {

// What a reduction over `dims` looks like.
struct Layout {
  Dims kept;       // result shape with the reduced axes removed
  Dims kept_ones;  // with the reduced axes as 1
  Dims order;      // axes permuted: kept before, reduced, kept behind
  int64_t outer = 1, reduce = 1, inner = 1;
  bool permuted = false;  // the reduced axes are no neighbours
};

Layout layout_of(const char* op, const Dims& x, const std::vector<int>& dims) {
  bool reduced[kMaxDims] = {};
  for (int d : dims) {
    bool& one = reduced[wrap_dim(d, x.size(), op)];
    JX_CHECK(!one, op, ": dims: dimension ", d, " of ", x, " is given twice");
    one = true;
  }
  if (dims.empty()) std::fill(reduced, reduced + x.size(), true);
  int first = -1, last = -1;
  for (int i = 0; i < x.size(); ++i) {
    if (!reduced[i]) continue;
    if (first < 0) first = i;
    last = i;
  }
  Layout l;
  for (int i = first; i >= 0 && i <= last; ++i) l.permuted |= !reduced[i] && x[i] != 1;
  for (int i = 0; i < x.size(); ++i) {
    l.kept_ones.push_back(reduced[i] ? 1 : x[i]);
    if (!reduced[i]) l.kept.push_back(x[i]);
    int64_t& part = reduced[i] ? l.reduce : l.permuted || i < first ? l.outer : i > last ? l.inner : l.outer;
    part *= x[i];
  }
  if (l.permuted) {  // reduced axes go last
    for (int i = 0; i < x.size(); ++i)
      if (!reduced[i]) l.order.push_back(i);
    for (int i = 0; i < x.size(); ++i)
      if (reduced[i]) l.order.push_back(i);
  }
  return l;
}

Tensor arranged(const Tensor& x, const Layout& l) {
  return (l.permuted ? x.permute(l.order) : x).contiguous();
}

// Elements of the reduced axis per chunk: pieces of at least 4096 values in all, at most 64 of them.
int64_t chunk_of(const Layout& l) {
  const int64_t least = std::max<int64_t>(1, 4096 / l.inner);
  return std::max(least, (l.reduce + 63) / 64);
}

template <class T>
using ReduceEntry = void (*)(const ReduceArgs<T>&, int64_t, int64_t);

// One reduction in two steps; the result is in Acc<T>, [outer, inner].
template <class T, class Pick>
Tensor reduce_typed(const Tensor& x, const Layout& l, Pick pick, const char* op) {
  using A = Acc<T>;
  const int64_t chunk = chunk_of(l), chunks = (l.reduce + chunk - 1) / chunk;
  Tensor part = Tensor::empty({l.outer, chunks, l.inner}, dtype_of<A>, x.device());
  run(x.device(), pick(reduce_tables<T>().on(x.device())),
      ReduceArgs<T>{x.data<T>(), part.write<A>(op), l.reduce, l.inner, chunk}, l.outer * chunks,
      grain_for(std::min(chunk, l.reduce) * l.inner));
  if (chunks == 1) return part.view({l.outer, l.inner});
  Tensor y = Tensor::empty({l.outer, l.inner}, dtype_of<A>, x.device());
  run(x.device(), pick(reduce_tables<A>().on(x.device())),
      ReduceArgs<A>{part.data<A>(), y.write<A>(op), chunks, l.inner, chunks}, l.outer,
      grain_for(chunks * l.inner));
  return y;
}

// dy of the reduced shape spread over x's shape, times `scale`.
Tensor spread(const Tensor& dy, const Dims& kept_ones, const Dims& x, double scale) {
  const NoGrad no_grad;
  const Tensor d = scale == 1.0 ? dy : affine(Var(dy), scale, 0.0).value();
  return d.reshape(kept_ones).expand(x).contiguous();
}

// scale * sum over dims.
Var scaled_sum(const char* op, const Var& x, const std::vector<int>& dims, bool keepdim, bool average) {
  check_input(op, x, 0);
  const Layout l = layout_of(op, x.dims(), dims);
  const double scale = average ? 1.0 / static_cast<double>(l.reduce) : 1.0;
  JX_CHECK(!average || l.reduce > 0, op, ": the mean of no elements, ", x);
  Tensor y = dispatch_float(x.dtype(), op, [&]<class T>() {
    if (x.numel() == 0) return Tensor::zeros({l.outer, l.inner}, acc_dtype(x.dtype()), x.device());
    return reduce_typed<T>(
        arranged(x.value(), l), l, [](const auto& t) { return t.sum; }, op);
  });
  {
    const NoGrad inside;
    if (scale != 1.0) y = affine(Var(y), scale, 0.0).value();
  }
  y = y.to(x.dtype()).view(keepdim ? l.kept_ones : l.kept);
  const Dims full = x.dims(), ones = l.kept_ones;
  return record(op, {{"reduced", static_cast<double>(l.reduce)}}, {&x}, y, {},
                [full, ones, scale](Backward& b) { b.set(0, spread(b.dy(), ones, full, scale)); });
}

template <class T>
void extreme_backward(Backward& b, const Layout& l) {
  const Tensor &x = b.saved(0), &y = b.saved(1), &dy = b.dy();  // x arranged
  Tensor dx = Tensor::empty(x.dims(), x.dtype(), x.device());
  run(x.device(), reduce_tables<T>().on(x.device()).extreme_bwd,
      ExtremeBwd<T>{x.data<T>(), y.data<T>(), dy.data<T>(), dx.write<T>("extreme"), l.reduce, l.inner},
      l.outer, grain_for(2 * l.reduce * l.inner));
  if (l.permuted) {  // back to the order of the input
    Dims inverse = l.order;
    for (int i = 0; i < l.order.size(); ++i) inverse[static_cast<int>(l.order[i])] = i;
    dx = dx.permute(inverse).contiguous();
  }
  b.set(0, dx);
}

Var extreme(const char* op, const Var& x, const std::vector<int>& dims, bool keepdim, bool largest) {
  check_input(op, x, 0);
  const Layout l = layout_of(op, x.dims(), dims);
  JX_CHECK(x.numel() > 0, op, ": no elements to choose from, ", x);
  const Tensor in = arranged(x.value(), l);
  return dispatch_float(x.dtype(), op, [&]<class T>() {
    Tensor y = reduce_typed<T>(
        in, l, [largest](const auto& t) { return largest ? t.maximum : t.minimum; }, op);
    y = y.to(x.dtype()).view(keepdim ? l.kept_ones : l.kept);
    return record(op, {{"reduced", static_cast<double>(l.reduce)}}, {&x}, y, {{"x", in}, {"y", y}},
                  [l](Backward& b) { extreme_backward<T>(b, l); });
  });
}

template <class T>
Tensor scan(const Tensor& x, bool reverse) {  // along the last axis
  const Tensor in = x.contiguous();
  Tensor y = Tensor::empty(in.dims(), in.dtype(), in.device());
  const int64_t cols = in.size(-1), rows = cols ? in.numel() / cols : 0;
  run(in.device(), reduce_tables<T>().on(in.device()).cumsum,
      RowScan<T>{in.data<T>(), y.write<T>("cumsum"), cols, reverse}, rows, grain_for(4 * cols));
  return y;
}

}  // namespace

Var sum(const Var& x, const std::vector<int>& dims, bool keepdim) {
  return scaled_sum("sum", x, dims, keepdim, false);
}
Var mean(const Var& x, const std::vector<int>& dims, bool keepdim) {
  return scaled_sum("mean", x, dims, keepdim, true);
}
Var amax(const Var& x, const std::vector<int>& dims, bool keepdim) {
  return extreme("amax", x, dims, keepdim, true);
}
Var amin(const Var& x, const std::vector<int>& dims, bool keepdim) {
  return extreme("amin", x, dims, keepdim, false);
}

// About the mean, in two passes: the difference of large squares would lose the digits when |mean| >> std.
Var variance(const Var& x, const std::vector<int>& dims, bool keepdim, bool unbiased) {
  check_input("variance", x, 0);
  const int64_t n = layout_of("variance", x.dims(), dims).reduce;
  JX_CHECK(n > (unbiased ? 1 : 0), "variance: ", n, " elements, expected at least ", unbiased ? 2 : 1, "; ",
           x);
  const Var centred = sub(x, mean(x, dims, true));
  return affine(sum(square(centred), dims, keepdim), 1.0 / static_cast<double>(unbiased ? n - 1 : n), 0.0);
}

Var norm(const Var& x, const std::vector<int>& dims, bool keepdim) {
  return sqrt(sum(square(x), dims, keepdim));
}

Var cumsum(const Var& x, int dim) {
  check_input("cumsum", x, 1);
  dim = wrap_dim(dim, x.ndim(), "cumsum");
  if (dim != x.ndim() - 1) return transpose(cumsum(transpose(x, dim, -1), -1), dim, -1);
  return dispatch_float(x.dtype(), "cumsum", [&]<class T>() {
    return record("cumsum", {}, {&x}, scan<T>(x.value(), false), {},
                  [](Backward& b) { b.set(0, scan<T>(b.dy(), true)); });
  });
}

Tensor argmax(const Tensor& x, int dim, bool keepdim) {
  const NoGrad no_grad;
  const int d = wrap_dim(dim, x.ndim(), "argmax");
  JX_CHECK(x.size(d) > 0, "argmax: no elements along dimension ", dim, " of ", x);
  const Tensor best =
      topk(Var(x.transpose(d, x.ndim() - 1).contiguous()), 1).indices.transpose(d, x.ndim() - 1);
  return keepdim ? best.contiguous() : best.squeeze(d).contiguous();
}

TopK topk(const Var& x, int64_t k) {
  check_input("topk", x, 1);
  const int64_t cols = x.size(-1), rows = cols ? x.numel() / cols : 0;
  JX_CHECK(k >= 1 && k <= cols, "topk: k: expected 1 to ", cols, " for ", x, ", got ", k);
  const Tensor in = x.value().contiguous();
  Dims dims = x.dims();
  dims[x.ndim() - 1] = k;
  Tensor values = Tensor::empty(dims, x.dtype(), x.device()),
         indices = Tensor::empty(dims, DType::i64, x.device());
  dispatch_float(x.dtype(), "topk", [&]<class T>() {
    run(x.device(), reduce_tables<T>().on(x.device()).topk,
        TopKArgs<T>{in.data<T>(), values.write<T>("topk"), indices.write<int64_t>("topk"), cols, k}, rows,
        grain_for(cols));
  });
  const Dims full = x.dims();
  const Var out = record("topk", {{"k", static_cast<double>(k)}}, {&x}, values, {{"indices", indices}},
                         [full, k](Backward& b) {
                           const Tensor &index = b.saved(0), &dy = b.dy();
                           Tensor dx = Tensor::zeros(full, dy.dtype(), dy.device());
                           dispatch_float(dy.dtype(), "topk", [&]<class T>() {
                             T* to = dx.write<T>("topk");
                             const int64_t cols_in = full.back();
                             for (int64_t i = 0; i < index.numel(); ++i)
                               to[i / k * cols_in + index.data<int64_t>()[i]] = dy.data<T>()[i];
                           });
                           b.set(0, dx);
                         });
  return {out, indices};
}

}  // namespace juxta

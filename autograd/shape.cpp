// Ops that move elements: views with gradients, joins and splits. Most forward passes cost nothing; those
// that copy use the one strided copy of tensor/copy.h. Gradients may be views: the engine makes them
// contiguous where it keeps them.
#include <vector>

#include "autograd/elementwise.h"
#include "autograd/ops.h"
#include "autograd/rule.h"

namespace juxta {

namespace {

void check_defined(const char* op, const Var& x) { JX_CHECK(x.defined(), op, ": the input is undefined"); }

// An attribute holding a size, an index or an axis.
Attr attr(const char* name, int64_t value) { return {name, static_cast<double>(value)}; }

// A view op whose gradient has dy's elements in dy's order.
Var reshaped(const char* op, const Var& x, Tensor y) {
  return record(op, {}, {&x}, std::move(y), {},
                [dims = x.dims()](Backward& b) { b.set(0, b.dy().view(dims)); });
}

// A view of x with the elements of axis `dim` in reverse order.
Tensor reversed(const Tensor& x, int dim) {
  if (x.numel() == 0) return x;
  Dims strides = x.strides();
  strides[dim] = -strides[dim];
  const int64_t last = (x.size(dim) - 1) * x.stride(dim);
  return Tensor(x.storage(), x.dtype(), x.dims(), strides, x.offset() + last);
}

// Sizes along an axis as a tensor: backward functions hold plain data, and there may be many parts.
Tensor saved_sizes(std::span<const int64_t> sizes) {
  return Tensor::from(sizes, {static_cast<int64_t>(sizes.size())});
}

void split_backward(Backward& b, const Dims& dims, int dim) {
  const Tensor& sizes = b.saved(0);
  Tensor dx;
  int64_t begin = 0;
  for (int64_t k = 0; k < sizes.numel(); ++k) {
    const int64_t size = sizes.data<int64_t>()[k];
    const Tensor& dy = b.dy(static_cast<int>(k));
    if (dy.defined()) {
      if (!dx) dx = Tensor::zeros(dims, dy.dtype(), dy.device());
      dx.slice(dim, begin, begin + size).copy_from(dy, "split");
    }
    begin += size;
  }
  b.set(0, dx);
}

}  // namespace

Var reshape(const Var& x, Dims dims) {
  check_defined("reshape", x);
  return reshaped("reshape", x, x.value().reshape(infer_dims(dims, x.numel(), "reshape")));
}

Var flatten(const Var& x) {
  check_defined("flatten", x);
  JX_CHECK(x.ndim() >= 2, "flatten: expected [N, .., C], got ", x);
  Dims order{0, x.ndim() - 1};  // channels first, as PyTorch's classifiers expect
  for (int i = 1; i < x.ndim() - 1; ++i) order.push_back(i);
  const Tensor first = x.value().permute(order);
  Dims back{0};
  for (int i = 2; i < x.ndim(); ++i) back.push_back(i);
  back.push_back(1);
  int64_t features = 1;  // not by division: N may be 0
  for (int i = 1; i < x.ndim(); ++i) features *= x.size(i);
  return record("flatten", {}, {&x}, first.reshape({x.size(0), features}), {},
                [dims = first.dims(), back](Backward& b) { b.set(0, b.dy().view(dims).permute(back)); });
}

Var transpose(const Var& x, int a, int b) {
  check_defined("transpose", x);
  return record("transpose", {attr("a", a), attr("b", b)}, {&x}, x.value().transpose(a, b), {},
                [a, b](Backward& g) { g.set(0, g.dy().transpose(a, b)); });
}

Var permute(const Var& x, Dims order) {
  check_defined("permute", x);
  Tensor y = x.value().permute(order);
  Dims inverse = order;
  for (int i = 0; i < order.size(); ++i)
    inverse[wrap_dim(static_cast<int>(order[i]), x.ndim(), "permute")] = i;
  return record("permute", {}, {&x}, std::move(y), {},
                [inverse](Backward& b) { b.set(0, b.dy().permute(inverse)); });
}

Var slice(const Var& x, int dim, int64_t begin, int64_t end) {
  check_defined("slice", x);
  Tensor y = x.value().slice(dim, begin, end);
  return record("slice", {attr("dim", dim), attr("begin", begin), attr("end", end)}, {&x}, std::move(y), {},
                [=, dims = x.dims()](Backward& b) {
                  Tensor dx = Tensor::zeros(dims, b.dy().dtype(), b.dy().device());
                  dx.slice(dim, begin, end).copy_from(b.dy(), "slice");
                  b.set(0, dx);
                });
}

Var select(const Var& x, int dim, int64_t index) {
  check_defined("select", x);
  Tensor y = x.value().select(dim, index);
  return record("select", {attr("dim", dim), attr("index", index)}, {&x}, std::move(y), {},
                [=, dims = x.dims()](Backward& b) {
                  Tensor dx = Tensor::zeros(dims, b.dy().dtype(), b.dy().device());
                  dx.select(dim, index).copy_from(b.dy(), "select");
                  b.set(0, dx);
                });
}

Var unsqueeze(const Var& x, int dim) {
  check_defined("unsqueeze", x);
  return reshaped("unsqueeze", x, x.value().unsqueeze(dim));
}

Var squeeze(const Var& x, int dim) {
  check_defined("squeeze", x);
  return reshaped("squeeze", x, x.value().squeeze(dim));
}

Var expand(const Var& x, Dims dims) {
  check_defined("expand", x);
  return record("expand", {}, {&x}, x.value().expand(dims), {},
                [from = x.dims()](Backward& b) { b.set(0, sum_to(b.dy(), from)); });
}

Var cat(std::span<const Var> parts, int dim) {
  JX_CHECK(!parts.empty(), "cat: expected at least one tensor");
  for (const Var& p : parts) check_defined("cat", p);
  const Var& first = parts[0];
  dim = wrap_dim(dim, first.ndim(), "cat");
  std::vector<const Var*> inputs;
  std::vector<int64_t> sizes;
  Dims dims = first.dims();
  dims[dim] = 0;
  for (const Var& p : parts) {
    Dims expected = first.dims();
    if (p.ndim() == first.ndim()) expected[dim] = p.size(dim);
    JX_CHECK(p.dims() == expected && p.dtype() == first.dtype() && p.device() == first.device(), "cat: part ",
             sizes.size(), ": expected ", first, " but for axis ", dim, ", got ", p);
    inputs.push_back(&p);
    sizes.push_back(p.size(dim));
    dims[dim] += p.size(dim);
  }
  Tensor y = Tensor::empty(dims, first.dtype(), first.device());
  int64_t begin = 0;
  for (const Var& p : parts) {
    y.slice(dim, begin, begin + p.size(dim)).copy_from(p.value(), "cat");
    begin += p.size(dim);
  }
  const Saved saved{"sizes", saved_sizes(sizes)};
  return record("cat", {attr("dim", dim)}, inputs, std::move(y), std::span(&saved, 1), [dim](Backward& b) {
    const Tensor& part_sizes = b.saved(0);
    int64_t from = 0;
    for (int64_t k = 0; k < part_sizes.numel(); ++k) {
      const int64_t to = from + part_sizes.data<int64_t>()[k];
      if (b.needs(static_cast<int>(k))) b.set(static_cast<int>(k), b.dy().slice(dim, from, to));
      from = to;
    }
  });
}

Var stack(std::span<const Var> parts, int dim) {
  JX_CHECK(!parts.empty(), "stack: expected at least one tensor");
  std::vector<Var> columns;
  for (const Var& p : parts) {
    check_defined("stack", p);
    JX_CHECK(p.dims() == parts[0].dims(), "stack: part ", columns.size(), ": expected ", parts[0], ", got ",
             p);
    columns.push_back(unsqueeze(p, dim));
  }
  return cat(columns, dim);
}

std::vector<Var> split(const Var& x, int dim, std::span<const int64_t> sizes) {
  check_defined("split", x);
  dim = wrap_dim(dim, x.ndim(), "split");
  int64_t total = 0;
  for (int64_t s : sizes) {
    JX_CHECK(s >= 0, "split: sizes must not be negative, got ", s);
    total += s;
  }
  JX_CHECK(total == x.size(dim), "split: the sizes add up to ", total, ", but axis ", dim, " of ", x, " has ",
           x.size(dim));
  std::vector<Tensor> parts;
  int64_t begin = 0;
  for (int64_t s : sizes) {
    parts.push_back(x.value().slice(dim, begin, begin + s));
    begin += s;
  }
  const Var* const inputs[] = {&x};
  const Saved saved{"sizes", saved_sizes(sizes)};
  return record_n("split", {attr("dim", dim)}, inputs, parts, std::span(&saved, 1),
                  [dims = x.dims(), dim](Backward& b) { split_backward(b, dims, dim); });
}

Var pad(const Var& x, int dim, int64_t before, int64_t after, double value) {
  check_defined("pad", x);
  dim = wrap_dim(dim, x.ndim(), "pad");
  JX_CHECK(before >= 0 && after >= 0, "pad: expected widths >= 0, got ", before, " and ", after);
  Dims dims = x.dims();
  dims[dim] += before + after;
  const int64_t end = before + x.size(dim);
  Tensor y = Tensor::empty(dims, x.dtype(), x.device());
  y.slice(dim, 0, before).fill(value, "pad");
  y.slice(dim, end, end + after).fill(value, "pad");
  y.slice(dim, before, end).copy_from(x.value(), "pad");
  return record("pad", {attr("dim", dim), attr("before", before), attr("after", after), {"value", value}},
                {&x}, std::move(y), {}, [=](Backward& b) { b.set(0, b.dy().slice(dim, before, end)); });
}

Var flip(const Var& x, int dim) {
  check_defined("flip", x);
  dim = wrap_dim(dim, x.ndim(), "flip");
  return record("flip", {attr("dim", dim)}, {&x}, reversed(x.value(), dim).contiguous(), {},
                [dim](Backward& b) { b.set(0, reversed(b.dy(), dim)); });
}

}  // namespace juxta

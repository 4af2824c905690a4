#include "kernels/index.h"

#include "autograd/ops.h"
#include "autograd/rule.h"

namespace juxta {

namespace {

// The place of element i in a tensor of these dims, as "[1, 2]".
Dims place_of(int64_t i, const Dims& dims) {
  Dims place = dims;
  for (int d = dims.size() - 1; d >= 0; --d) {
    place[d] = i % dims[d];
    i /= dims[d];
  }
  return place;
}

// Error unless all indices lie in [0, n); names the first that does not.
void check_range(const char* op, const char* what, const Tensor& index, int64_t n) {
  const Tensor host = index.to(kCpu);
  const auto* p = host.data<int64_t>();
  const auto bad = [n](int64_t v) { return static_cast<uint64_t>(v) >= static_cast<uint64_t>(n); };
  bool any = false;
  for (int64_t i = 0; i < host.numel(); ++i) any |= bad(p[i]);
  if (!any) return;
  int64_t first = 0;
  while (!bad(p[first])) ++first;
  JX_CHECK(false, op, ": ", what, ": expected values in [0, ", n, "), got ", p[first], " at ",
           place_of(first, index.dims()), " of ", index.dims(),
           p[first] < 0 ? "; negative indices do not count from the end" : "");
}

// The index, contiguous; Error unless it is i64 on the device of x and within [0, n).
Tensor checked_index(const char* op, const char* what, const Tensor& index, const Var& x, int64_t n) {
  JX_CHECK(index.defined(), op, ": ", what, " is undefined");
  JX_CHECK(index.dtype() == DType::i64 && index.device() == x.device(), op, ": ", what,
           ": expected an i64 tensor on ", x.device(), ", got ", index);
  Tensor flat = index.contiguous();
  check_range(op, what, flat, n);
  return flat;
}

// A tensor seen as [outer, axis, inner] about one of its axes.
struct Axis {
  int64_t outer = 1, size = 1, inner = 1;
};
Axis axis_of(const Dims& dims, int dim) {
  Axis a;
  for (int d = 0; d < dim; ++d) a.outer *= dims[d];
  a.size = dims[dim];
  for (int d = dim + 1; d < dims.size(); ++d) a.inner *= dims[d];
  return a;
}

// out[o, i, :] = x[o, index[i], :]; x [axis.outer, axis.size, axis.inner] contiguous.
template <class T>
void take_rows(const Tensor& x, const Tensor& index, Tensor& out, const Axis& axis, const char* op) {
  const int64_t count = index.numel();
  run(x.device(), index_tables<T>().on(x.device()).take_rows,
      {x.data<T>(), index.data<int64_t>(), out.write<T>(op), axis.size, count, axis.inner},
      axis.outer * count, grain_for(axis.inner));
}

// out[o, r, :] = sum of the x[o, i, :] with index[i] = r; out [axis.outer, axis.size, axis.inner] contiguous.
template <class T>
void segment_sum(const Tensor& x, const Tensor& index, Tensor& out, const Axis& axis, const char* op) {
  const IndexTable<T>& table = index_tables<T>().on(x.device());
  const int64_t count = index.numel();
  Tensor offsets = Tensor::empty({axis.size + 1}, DType::i64, x.device());
  Tensor order = Tensor::empty({count}, DType::i64, x.device());
  run(x.device(), table.sort_segments,
      {index.data<int64_t>(), offsets.write<int64_t>(op), order.write<int64_t>(op), axis.size, count}, 1, 1);
  run(x.device(), table.segment_sum,
      {x.data<T>(), offsets.data<int64_t>(), order.data<int64_t>(), out.write<T>(op), axis.size, count,
       axis.inner},
      axis.outer * axis.size, grain_for(axis.inner * (1 + count / std::max<int64_t>(axis.size, 1))));
}

// The common gradient of embedding and index_select.
template <class T>
void take_rows_backward(Backward& b, const char* op, const Dims& dims, int dim) {
  const Tensor& dy = b.dy();
  Tensor dx = Tensor::empty(dims, dy.dtype(), dy.device());
  segment_sum<T>(dy, b.saved(0), dx, axis_of(dims, dim), op);
  b.set(0, dx);
}

template <class T>
void gather_backward(Backward& b, const Dims& dims) {
  const Tensor &index = b.saved(0), &dy = b.dy();
  Tensor dx = Tensor::empty(dims, acc_dtype(dy.dtype()), dy.device());
  const int64_t cols = dims.back(), count = index.size(-1), rows = cols ? dx.numel() / cols : 0;
  run(dy.device(), index_tables<T>().on(dy.device()).gather_bwd,
      {dy.data<T>(), index.data<int64_t>(), dx.write<Acc<T>>("gather"), cols, count}, rows,
      grain_for(cols + 4 * count));
  b.set(0, dx.to(dy.dtype()));
}

template <class T>
Tensor cut_patches(const Tensor& image, int64_t patch, bool forward, const Dims& out_dims,
                   const Dims& image_dims, const char* op) {
  Tensor out = Tensor::empty(out_dims, image.dtype(), image.device());
  const IndexTable<T>& table = index_tables<T>().on(image.device());
  const int64_t height = image_dims[1], width = image_dims[2], channels = image_dims[3];
  run(image.device(), forward ? table.patchify : table.unpatchify,
      {image.data<T>(), out.write<T>(op), height, width, channels, patch}, image_dims[0] * (height / patch),
      grain_for(patch * width * channels));
  return out;
}

// [N, (H/p)(W/p), p p C] for an image [N, H, W, C].
Dims patch_dims(const Dims& image, int64_t p) {
  return {image[0], (image[1] / p) * (image[2] / p), p * p * image[3]};
}

}  // namespace

Var embedding(const Var& weight, const Tensor& ids) {
  check_input("embedding", weight, 0);
  JX_CHECK(weight.ndim() == 2, "embedding: weight: expected [V, C], got ", weight);
  const Tensor w = weight.value().contiguous();
  const Tensor index = checked_index("embedding", "ids", ids, weight, w.size(0));
  Dims dims = index.dims();
  dims.push_back(w.size(1));
  Tensor y = Tensor::empty(dims, w.dtype(), w.device());
  return dispatch_float(w.dtype(), "embedding", [&]<class T>() {
    take_rows<T>(w, index, y, axis_of(w.dims(), 0), "embedding");
    return record("embedding", {}, {&weight}, y, {{"ids", index}},
                  [dims = w.dims()](Backward& b) { take_rows_backward<T>(b, "embedding", dims, 0); });
  });
}

Var index_select(const Var& x, int dim, const Tensor& index) {
  check_input("index_select", x, 1);
  const int axis = wrap_dim(dim, x.ndim(), "index_select");
  const Tensor i = checked_index("index_select", "index", index, x, x.size(axis));
  JX_CHECK(i.ndim() == 1, "index_select: index: expected [M], got ", index, "; embedding takes any shape");
  Dims dims = x.dims();
  dims[axis] = i.numel();
  const Tensor source = x.value().contiguous();
  Tensor y = Tensor::empty(dims, x.dtype(), x.device());
  return dispatch_float(x.dtype(), "index_select", [&]<class T>() {
    take_rows<T>(source, i, y, axis_of(x.dims(), axis), "index_select");
    return record(
        "index_select", {{"dim", static_cast<double>(axis)}}, {&x}, y, {{"index", i}},
        [dims = x.dims(), axis](Backward& b) { take_rows_backward<T>(b, "index_select", dims, axis); });
  });
}

Var gather(const Var& x, const Tensor& index) {
  check_input("gather", x, 1);
  const int64_t cols = x.size(-1);
  const Tensor i = checked_index("gather", "index", index, x, cols);
  Dims expected = x.dims();
  expected[x.ndim() - 1] = i.ndim() ? i.size(-1) : 0;
  JX_CHECK(i.dims() == expected, "gather: index: expected the leading dimensions of x ", x.dims(),
           " and any last one, got ", index);
  const Tensor source = x.value().contiguous();
  Tensor y = Tensor::empty(i.dims(), x.dtype(), x.device());
  const int64_t count = i.size(-1), rows = count ? i.numel() / count : 0;
  return dispatch_float(x.dtype(), "gather", [&]<class T>() {
    run(x.device(), index_tables<T>().on(x.device()).gather_fwd,
        {source.data<T>(), i.data<int64_t>(), y.write<T>("gather"), cols, count}, rows, grain_for(4 * count));
    return record("gather", {}, {&x}, y, {{"index", i}},
                  [dims = x.dims()](Backward& b) { gather_backward<T>(b, dims); });
  });
}

Var scatter_add(const Var& x, const Tensor& index, int64_t rows) {
  check_input("scatter_add", x, 1);
  JX_CHECK(rows >= 0, "scatter_add: rows: expected at least 0, got ", rows);
  const Tensor i = checked_index("scatter_add", "index", index, x, rows);
  JX_CHECK(i.ndim() == 1 && i.numel() == x.size(0), "scatter_add: index: expected [", x.size(0),
           "], one per row of x ", x.dims(), ", got ", index);
  Dims dims = x.dims();
  dims[0] = rows;
  const Tensor source = x.value().contiguous();
  Tensor y = Tensor::empty(dims, x.dtype(), x.device());
  return dispatch_float(x.dtype(), "scatter_add", [&]<class T>() {
    segment_sum<T>(source, i, y, axis_of(dims, 0), "scatter_add");
    return record("scatter_add", {{"rows", static_cast<double>(rows)}}, {&x}, y, {{"index", i}},
                  [dims, count = x.size(0)](Backward& b) {
                    Dims x_dims = dims;
                    x_dims[0] = count;
                    Tensor dx = Tensor::empty(x_dims, b.dy().dtype(), b.dy().device());
                    take_rows<T>(b.dy(), b.saved(0), dx, axis_of(dims, 0), "scatter_add");
                    b.set(0, dx);
                  });
  });
}

Var patchify(const Var& x, int64_t patch) {
  check_input("patchify", x, 0);
  JX_CHECK(x.ndim() == 4, "patchify: expected an image [N, H, W, C], got ", x);
  JX_CHECK(patch > 0 && x.size(1) % patch == 0 && x.size(2) % patch == 0, "patchify: patch: ", patch,
           " does not divide height and width of ", x, "; pad or resize first");
  const Tensor image = x.value().contiguous();
  return dispatch_float(x.dtype(), "patchify", [&]<class T>() {
    const Tensor y = cut_patches<T>(image, patch, true, patch_dims(x.dims(), patch), x.dims(), "patchify");
    return record("patchify", {{"patch", static_cast<double>(patch)}}, {&x}, y, {},
                  [dims = x.dims(), patch](Backward& b) {
                    b.set(0, cut_patches<T>(b.dy(), patch, false, dims, dims, "patchify"));
                  });
  });
}

Var unpatchify(const Var& x, int64_t patch, int64_t height, int64_t width) {
  check_input("unpatchify", x, 0);
  JX_CHECK(patch > 0 && height >= 0 && width >= 0 && height % patch == 0 && width % patch == 0,
           "unpatchify: patch: ", patch, " does not divide height ", height, " and width ", width);
  const int64_t tokens = (height / patch) * (width / patch);
  JX_CHECK(x.ndim() == 3 && x.size(1) == tokens && x.size(2) % (patch * patch) == 0,
           "unpatchify: expected [N, ", tokens, ", ", patch * patch, " C] for a ", height, " x ", width,
           " image of patches of ", patch, ", got ", x);
  const Dims dims{x.size(0), height, width, x.size(2) / (patch * patch)};
  const Tensor patches = x.value().contiguous();
  return dispatch_float(x.dtype(), "unpatchify", [&]<class T>() {
    const Tensor y = cut_patches<T>(patches, patch, false, dims, dims, "unpatchify");
    return record(
        "unpatchify", {{"patch", static_cast<double>(patch)}}, {&x}, y, {}, [dims, patch](Backward& b) {
          b.set(0, cut_patches<T>(b.dy(), patch, true, patch_dims(dims, patch), dims, "unpatchify"));
        });
  });
}

}  // namespace juxta

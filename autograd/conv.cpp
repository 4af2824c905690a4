#include "kernels/conv.h"

#include <type_traits>

#include "autograd/act_gradient.h"
#include "autograd/ops.h"
#include "autograd/rule.h"
#include "kernels/conv_plan.h"
#include "kernels/packed.h"

namespace juxta {

namespace {

// Which way a tap convolution reads the weight [O, I/g, k..]: from I to O, or from O back to I.
enum class Way { forward, back };

// What a packing depends on besides the contents of the weight. Sizes of images enter only as the number of
// phases.
PackKey pack_key(const void* layout, const ConvShape& s, const Tensor& weight, Way way) {
  const auto phases = [&](int axis) { return way == Way::back ? std::min(s.stride[axis], s.in[axis]) : 1; };
  const int64_t flags = (way == Way::back ? 1 : 0) + (s.stride[1] == s.stride[2] ? 2 : 0) +
                        (s.padding[1] == s.padding[2] ? 4 : 0);
  return {layout,
          {weight.offset(), s.out_channels << 32 | s.in_channels,
           flags << 48 | s.kernel[0] << 32 | s.kernel[1] << 16 | s.kernel[2], s.stride[2],
           s.dilation[2] << 32 | s.padding[2], s.groups << 40 | phases(1) << 20 | phases(2)}};
}

// The weights of all calls, one packing after the other, each from `offset` bytes on.
template <class T>
Tensor pack_weights(const ConvTable<T>& table, const ConvShape& s, const Tensor& weight, Way way,
                    const std::vector<ConvCall>& calls, std::vector<int64_t>& offset) {
  int64_t bytes = 0;
  for (const ConvCall& c : calls) {
    const ConvGeometry& g = c.geometry;
    offset.push_back(bytes);
    bytes += (conv_packed_bytes<T>(g.tap_count, g.groups, g.in_group, g.out_group) + 63) / 64 * 64;
  }
  const int64_t k = s.kernel_size(), row = s.in_channels / s.groups * k;
  const auto pack = [&](float* to) {
    for (size_t i = 0; i < calls.size(); ++i) {
      const ConvGeometry& g = calls[i].geometry;
      const ConvPack<T> args{weight.data<Acc<T>>(),
                             to + offset[i] / 4,
                             g.taps,
                             g.tap_count,
                             g.groups,
                             g.in_group,
                             g.out_group,
                             s.out_channels / s.groups * row,
                             way == Way::forward ? row : k,
                             way == Way::forward ? k : row};
      run(weight.device(), table.pack, args, conv_pack_items(g.groups, g.in_group, g.out_group), 1);
    }
  };
  if constexpr (std::is_same_v<T, double>) {  // gradient checks write through a pointer, without new versions
    Tensor packed = Tensor::empty({bytes / 4}, DType::f32, weight.device());
    pack(packed.write<float>("conv"));
    return packed;
  }
  return packed_weights(weight, pack_key(reinterpret_cast<const void*>(table.pack), s, weight, way),
                        bytes / 4, pack);
}

// y (forward) or dx (back) from x or dy; `bias` may be undefined.
template <class T>
void convolve(const ConvShape& s, Way way, const Tensor& x, const Tensor& weight, const Tensor& bias,
              Tensor& y, const ConvEpilogue<T>& epilogue = {}) {
  const ConvTable<T>& table = conv_tables<T>().on(x.device());
  std::vector<ConvCall> calls;
  if (way == Way::forward)
    calls.push_back(plan_conv(s));
  else
    calls = plan_conv_data(s);
  std::vector<int64_t> offset;
  const Tensor packed = pack_weights(table, s, weight, way, calls, offset);
  for (size_t i = 0; i < calls.size(); ++i) {
    const ConvCall& c = calls[i];
    TapConv<T> args{.g = c.geometry,
                    .x = x.data<T>(),
                    .packed = packed.data<float>() + offset[i] / 4,
                    .bias = data_or_null<Acc<T>>(bias),
                    .y = y.write<T>("conv"),
                    .epilogue = epilogue};
    for (int axis = 0; axis < 3; ++axis) {
      args.y_size[axis] = c.y_size[axis];
      args.out_step[axis] = c.out_step[axis];
      args.out_first[axis] = c.out_first[axis];
    }
    // Several tasks in a row, so that each can fetch the memory of the next.
    const int64_t tasks = conv_tasks(c.geometry);
    run(x.device(), table.conv, args, tasks, std::max<int64_t>(1, tasks / 64));
  }
}

// dw [O, I/g, k..] from the image of I channels and the cotangent of O channels.
template <class T>
Tensor weight_gradient(const ConvShape& s, const Tensor& x, const Tensor& dy, const Dims& dims) {
  const ConvTable<T>& table = conv_tables<T>().on(x.device());
  const ConvGradCall p = plan_conv_weight(s);
  const ConvGeometry& g = p.call.geometry;
  const DType acc = acc_dtype(x.dtype());
  Tensor part = Tensor::empty({p.parts, g.groups * g.tap_count * g.in_group * g.out_group}, acc, x.device());
  const ConvWeightGrad<T> args{g, x.data<T>(), dy.data<T>(), part.write<Acc<T>>("conv"), p.parts, p.channels};
  run(x.device(), table.weight_grad, args, conv_grad_items(g, p.parts, p.channels), 1);
  Tensor dw = Tensor::empty(dims, acc, x.device());
  const ConvWeightSum<Acc<T>> sum{
      part.data<Acc<T>>(), dw.write<Acc<T>>("conv"), g.taps, p.parts, g.groups, g.tap_count, g.in_group,
      g.out_group};
  run(x.device(), table.weight_sum, sum, g.groups * g.out_group, 16);
  return dw;
}

template <class T>
Tensor bias_gradient(const Tensor& dy) {
  const ConvTable<T>& table = conv_tables<T>().on(dy.device());
  const int64_t channels = dy.size(-1), pixels = dy.numel() / channels, chunk = rows_per_chunk(pixels),
                runs = (pixels + chunk - 1) / chunk;
  const DType acc = acc_dtype(dy.dtype());
  Tensor part = Tensor::empty({runs, channels}, acc, dy.device()),
         db = Tensor::empty({channels}, acc, dy.device());
  run(dy.device(), table.bias_grad, {dy.data<T>(), part.write<Acc<T>>("conv"), pixels, channels, chunk}, runs,
      1);
  static constexpr ConvTap kOne{{0, 0, 0}, 0};
  run(dy.device(), table.weight_sum,
      {part.data<Acc<T>>(), db.write<Acc<T>>("conv"), &kOne, runs, 1, 1, 1, channels}, channels, 64);
  return db;
}

template <class T>
void conv_backward(Backward& b, const ConvShape& s, Way way, Act act) {
  if (b.needs(3)) b.set(3, b.dy());
  const Tensor x = b.saved(0).contiguous(), &weight = b.saved(1);
  Tensor dy = b.dy();
  if (act != Act::none) {
    const Tensor rows = dy.view({dy.numel() / dy.size(-1), dy.size(-1)});
    dy = act_gradient<T>("conv", b, rows, b.saved(2), act).view(dy.dims());
  } else if (b.needs(2)) {
    b.set(2, bias_gradient<T>(dy));
  }
  if (b.needs(0)) {
    Tensor dx = Tensor::empty(b.saved(0).dims(), x.dtype(), x.device());
    convolve<T>(s, way == Way::forward ? Way::back : Way::forward, dy, weight, Tensor(), dx);
    b.set(0, dx);
  }
  if (b.needs(1))
    b.set(1, way == Way::forward ? weight_gradient<T>(s, x, dy, weight.dims())
                                 : weight_gradient<T>(s, dy, x, weight.dims()));
}

// What every form of convolution asks of its arguments. `axes` spatial axes; weight [rows, cols, k..] where
// x has `rows` channels (transposed) or `cols` times groups.
void check_conv(const char* op, const Var& x, const Var& weight, const ConvOptions& o, int axes,
                bool transposed) {
  check_input(op, x, 0);
  JX_CHECK(x.ndim() == axes + 2, op, ": x: expected ", axes == 1 ? "[N, T, C]" : "[N, H, W, C]", ", got ", x);
  JX_CHECK(weight.defined(), op, ": weight is undefined");
  JX_CHECK(weight.ndim() == axes + 2 && weight.numel() > 0, op, ": weight: expected ",
           transposed ? "[I, O / groups" : "[O, I / groups", axes == 1 ? ", k]" : ", kH, kW]", ", got ",
           weight);
  JX_CHECK(weight.dtype() == acc_dtype(x.dtype()) && weight.device() == x.device(), op, ": weight: expected ",
           acc_dtype(x.dtype()), " on ", x.device(), " beside ", x, ", got ", weight);
  JX_CHECK(o.stride >= 1, op, ": stride: expected at least 1, got ", o.stride);
  JX_CHECK(o.dilation >= 1, op, ": dilation: expected at least 1, got ", o.dilation);
  JX_CHECK(o.padding >= 0 && o.padding <= 1 << 20, op, ": padding: expected 0 to 2^20, got ", o.padding);
  const int64_t channels = x.size(-1), out = transposed ? weight.size(1) : weight.size(0);
  JX_CHECK(o.groups >= 1 && channels % o.groups == 0 && (transposed || out % o.groups == 0), op,
           ": groups: ", o.groups, " does not divide the channels of x ", x.dims(), " and of weight ",
           weight.dims());
  const int64_t wanted = transposed ? channels : channels / o.groups, got = weight.size(transposed ? 0 : 1);
  JX_CHECK(wanted == got, op, ": weight ", weight.dims(), " expects ", transposed ? got : got * o.groups,
           " input channels with groups = ", o.groups, ", x ", x.dims(), " has ", channels,
           "; images are channels last");
  const int64_t taps = weight.numel() / (weight.size(0) * weight.size(1));
  JX_CHECK(taps <= kConvMaxTaps, op, ": weight: expected a kernel of at most ", kConvMaxTaps,
           " elements, got ", weight.dims());
}

// Sizes that are known before the output's: axes fill D, H, W from the right.
ConvShape base_shape(const Var& x, const Var& weight, const ConvOptions& o, int axes) {
  ConvShape s;
  s.batch = x.size(0);
  s.groups = o.groups;
  s.out_channels = weight.size(0);
  s.in_channels = weight.size(1) * o.groups;
  for (int k = 0; k < axes; ++k) {
    const int axis = 3 - axes + k;
    s.kernel[axis] = weight.size(2 + k);
    s.stride[axis] = o.stride;
    s.padding[axis] = o.padding;
    s.dilation[axis] = o.dilation;
  }
  return s;
}

Var run_conv(const char* op, const Var& x, const Var& weight, const Var& bias, const ConvOptions& o,
             const Var& residual, const ConvShape& s, Way way, const Dims& y_dims) {
  const Tensor w = weight.value().contiguous(), in = x.value().contiguous();
  const Tensor b = checked_param(op, "bias", bias, {y_dims.back()}, acc_dtype(x.dtype()), x.device());
  const Tensor added = checked_param(op, "residual", residual, y_dims, x.dtype(), x.device());
  Tensor y = Tensor::empty(y_dims, x.dtype(), x.device()), saved;
  const bool act_grad = o.act != Act::none && wants_grad({&x, &weight, &bias});
  if (act_grad && (act_needs_input(o.act) || added)) saved = Tensor::empty(y_dims, x.dtype(), x.device());
  return dispatch_float(x.dtype(), op, [&]<class T>() {
    convolve<T>(s, way, in, w, b, y, {o.act, data_or_null<T>(added), write_or_null<T>(saved, op)});
    if (act_grad && !saved) saved = y;  // the gradient of this activation is a function of its output
    return record(op,
                  {{"stride", static_cast<double>(o.stride)},
                   {"padding", static_cast<double>(o.padding)},
                   {"dilation", static_cast<double>(o.dilation)},
                   {"groups", static_cast<double>(o.groups)},
                   {"output_padding", static_cast<double>(o.output_padding)},
                   {"act", static_cast<double>(o.act)}},
                  {&x, &weight, &bias, &residual}, y, {{"x", x.value()}, {"weight", w}, {"act", saved}},
                  [s, way, act = o.act](Backward& backward) { conv_backward<T>(backward, s, way, act); });
  });
}

Var conv_nd(const char* op, const Var& x, const Var& weight, const Var& bias, const ConvOptions& o,
            const Var& residual, int axes) {
  check_conv(op, x, weight, o, axes, false);
  JX_CHECK(o.output_padding == 0, op, ": output_padding: only the transposed convolution takes it, got ",
           o.output_padding);
  ConvShape s = base_shape(x, weight, o, axes);
  Dims y_dims{x.size(0)};
  for (int k = 0; k < axes; ++k) {
    const int axis = 3 - axes + k;
    s.in[axis] = x.size(1 + k);
    s.out[axis] = conv_out_size(s.in[axis], s.kernel[axis], o.stride, o.padding, o.dilation);
    JX_CHECK(s.out[axis] >= 1, op, ": weight ", weight.dims(), " with dilation ", o.dilation,
             " is larger than x ", x.dims(), " with padding ", o.padding);
    y_dims.push_back(s.out[axis]);
  }
  y_dims.push_back(s.out_channels);
  return run_conv(op, x, weight, bias, o, residual, s, Way::forward, y_dims);
}

}  // namespace

Var conv2d(const Var& x, const Var& weight, const Var& bias, const ConvOptions& options,
           const Var& residual) {
  return conv_nd("conv2d", x, weight, bias, options, residual, 2);
}

Var conv1d(const Var& x, const Var& weight, const Var& bias, const ConvOptions& options,
           const Var& residual) {
  return conv_nd("conv1d", x, weight, bias, options, residual, 1);
}

Var conv_transpose2d(const Var& x, const Var& weight, const Var& bias, const ConvOptions& o,
                     const Var& residual) {
  const char* op = "conv_transpose2d";
  check_conv(op, x, weight, o, 2, true);
  JX_CHECK(o.output_padding >= 0 && o.output_padding < std::max(o.stride, o.dilation), op,
           ": output_padding: expected 0 to ", std::max(o.stride, o.dilation) - 1, ", got ",
           o.output_padding);
  // The shape is that of the convolution whose gradient this is: `in` is our output, `out` our input.
  ConvShape s = base_shape(x, weight, o, 2);
  Dims y_dims{x.size(0)};
  for (int axis = 1; axis < 3; ++axis) {
    s.out[axis] = x.size(axis);
    s.in[axis] = (s.out[axis] - 1) * o.stride - 2 * o.padding + o.dilation * (s.kernel[axis] - 1) +
                 o.output_padding + 1;
    JX_CHECK(s.out[axis] >= 1 && s.in[axis] >= 1, op, ": x ", x.dims(), " and weight ", weight.dims(),
             " with padding ", o.padding, " leave an output of size ", s.in[axis]);
    y_dims.push_back(s.in[axis]);
  }
  y_dims.push_back(s.in_channels);
  return run_conv(op, x, weight, bias, o, residual, s, Way::back, y_dims);
}

}  // namespace juxta

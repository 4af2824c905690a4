#include "nn/mbconv1d.h"

namespace juxta::nn {

namespace {

void check_weight(const char* name, const Var& w, const Dims& dims, const Var& x) {
  JX_CHECK(w.defined() && w.dims() == dims && w.dtype() == x.dtype(), "mbconv1d: ", name, ": expected ",
           x.dtype(), " ", dims, ", got ", w);
}

void check_norm(const char* name, const Norm1d& norm, int64_t channels, const Var& x) {
  check_weight(concat(name, ".gain").c_str(), norm.gain, {channels}, x);
  check_weight(concat(name, ".shift").c_str(), norm.shift, {channels}, x);
}

void check(const Var& x, const MbConv1dWeights& w, const MbConv1dOptions& o) {
  JX_CHECK(x.defined() && is_float(x.dtype()) && x.ndim() == 3 && x.numel() > 0,
           "mbconv1d: x: expected a float [N, T, C], got ", x);
  JX_CHECK(o.kernel >= 1 && o.kernel % 2 == 1, "mbconv1d: kernel: expected an odd number, got ", o.kernel);
  JX_CHECK(o.stride >= 1, "mbconv1d: stride: expected 1 or more, got ", o.stride);
  JX_CHECK(o.expansion >= 1, "mbconv1d: expansion: expected 1 or more, got ", o.expansion);
  const int64_t wide = x.size(2) * o.expansion;
  if (o.expansion > 1) {
    check_weight("expand", w.expand, {wide, x.size(2)}, x);
    check_norm("expand_norm", w.expand_norm, wide, x);
  } else {
    JX_CHECK(!w.expand.defined(), "mbconv1d: expand: an expansion of 1 has no expanding convolution, got ",
             w.expand);
  }
  check_weight("depthwise", w.depthwise, {wide, o.kernel}, x);
  check_norm("depthwise_norm", w.depthwise_norm, wide, x);
  JX_CHECK(w.squeeze.defined() && w.squeeze.ndim() == 2, "mbconv1d: squeeze: expected [R, ", wide, "], got ",
           w.squeeze);
  const int64_t narrow = w.squeeze.size(0);
  check_weight("squeeze", w.squeeze, {narrow, wide}, x);
  check_weight("squeeze_bias", w.squeeze_bias, {narrow}, x);
  check_weight("excite", w.excite, {wide, narrow}, x);
  check_weight("excite_bias", w.excite_bias, {wide}, x);
  JX_CHECK(w.project.defined() && w.project.ndim() == 2, "mbconv1d: project: expected [O, ", wide, "], got ",
           w.project);
  check_weight("project", w.project, {w.project.size(0), wide}, x);
  check_norm("project_norm", w.project_norm, w.project.size(0), x);
}

}  // namespace

Var mbconv1d(const Var& x, MbConv1dWeights& w, const MbConv1dOptions& o, bool training) {
  check(x, w, o);
  const auto norm = [&](const Var& h, Norm1d& n, Act act, const Var& residual = {}) {
    return batch_norm(h, n.gain, n.shift, n.running, training, o.eps, act, residual);
  };
  Var h = x;
  if (o.expansion > 1) h = norm(linear(h, w.expand, {}), w.expand_norm, Act::silu);
  const ConvOptions depthwise{.stride = o.stride, .padding = (o.kernel - 1) / 2, .groups = h.size(2)};
  h = norm(conv1d(h, unsqueeze(w.depthwise, 1), {}, depthwise), w.depthwise_norm, Act::silu);
  const Var squeezed = linear(mean(h, {1}), w.squeeze, w.squeeze_bias, Act::silu);
  const Var gate = linear(squeezed, w.excite, w.excite_bias, Act::sigmoid);
  h = mul(h, unsqueeze(gate, 1));
  const bool skip = o.stride == 1 && w.project.size(0) == x.size(2);
  return norm(linear(h, w.project, {}), w.project_norm, Act::none, skip ? x : Var());
}

}  // namespace juxta::nn

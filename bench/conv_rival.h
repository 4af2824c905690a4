#pragma once
// The convolution layers of conv_bench, and oneDNN on them.
#include <algorithm>
#include <string>
#include <unordered_map>
#if defined(JUXTA_HAVE_ONEDNN)
#include <dnnl.hpp>
#endif

#include "bench/peak.h"

namespace juxta::bench {

// A square layer with padding kernel / 2.
struct ConvLayer {
  const char* name;
  int64_t batch, size, in, out, kernel, stride, groups = 1;

  int64_t out_size() const { return (size + 2 * (kernel / 2) - kernel) / stride + 1; }
  double flops() const {
    return 2.0 * static_cast<double>(batch * out_size() * out_size() * kernel * kernel * out * (in / groups));
  }
};

#if defined(JUXTA_HAVE_ONEDNN)

struct ConvRival {
  dnnl::engine engine{dnnl::engine::kind::cpu, 0};
  dnnl::stream stream{engine};

  dnnl::memory make(const dnnl::memory::desc& d) const {
    dnnl::memory m(d, engine);
    auto* bytes = static_cast<unsigned char*>(m.get_data_handle());
    std::fill(bytes, bytes + d.get_size(), 0x3c);  // small positive numbers as f32 and bf16
    return m;
  }
};

inline void rival_pass(benchmark::State& state, const ConvLayer& l, int pass, bool bf16) {
  using dnnl::memory;
  ConvRival r;
  const auto type = bf16 ? memory::data_type::bf16 : memory::data_type::f32;
  const auto w_type = bf16 && pass == 2 ? memory::data_type::f32 : type;
  using Tag = memory::format_tag;
  const memory::dims pad{l.kernel / 2, l.kernel / 2}, stride{l.stride, l.stride};
  const memory::desc x({l.batch, l.in, l.size, l.size}, type, Tag::nhwc),
      y({l.batch, l.out, l.out_size(), l.out_size()}, type, Tag::nhwc);
  const memory::dims w_dims =
      l.groups > 1 ? memory::dims{l.groups, l.out / l.groups, l.in / l.groups, l.kernel, l.kernel}
                   : memory::dims{l.out, l.in, l.kernel, l.kernel};
  const memory::desc w(w_dims, w_type, Tag::any), w_forward(w_dims, type, Tag::any);
  const auto direct = dnnl::algorithm::convolution_direct;
  const dnnl::convolution_forward::primitive_desc forward(
      {pass == 0 ? dnnl::prop_kind::forward_inference : dnnl::prop_kind::forward_training, direct, x,
       w_forward, y, stride, pad, pad},
      r.engine);
  std::unordered_map<int, memory> args;
  dnnl::primitive primitive;
  if (pass == 0) {
    primitive = dnnl::convolution_forward(forward);
    args = {{DNNL_ARG_SRC, r.make(x)},
            {DNNL_ARG_WEIGHTS, r.make(forward.weights_desc())},
            {DNNL_ARG_DST, r.make(y)}};
  } else if (pass == 1) {
    const dnnl::convolution_backward_data::primitive_desc d({direct, x, w, y, stride, pad, pad}, r.engine,
                                                            forward);
    primitive = dnnl::convolution_backward_data(d);
    args = {{DNNL_ARG_DIFF_SRC, r.make(x)},
            {DNNL_ARG_WEIGHTS, r.make(d.weights_desc())},
            {DNNL_ARG_DIFF_DST, r.make(y)}};
  } else {
    const dnnl::convolution_backward_weights::primitive_desc d({direct, x, w, y, stride, pad, pad}, r.engine,
                                                               forward);
    primitive = dnnl::convolution_backward_weights(d);
    args = {{DNNL_ARG_SRC, r.make(x)},
            {DNNL_ARG_DIFF_WEIGHTS, r.make(d.diff_weights_desc())},
            {DNNL_ARG_DIFF_DST, r.make(y)}};
  }
  for (auto _ : state) {
    primitive.execute(r.stream, args);
    r.stream.wait();
  }
  report_flops(state, l.flops(), bf16);
}

// Adds oneDNN's benchmark (pass 0 forward, 1 backward-data, 2 backward-weights).
inline void register_rival(const std::string& name, const ConvLayer& layer, int pass, bool bf16) {
  benchmark::RegisterBenchmark(name.c_str(), rival_pass, layer, pass, bf16)->UseRealTime();
}

#else

inline void register_rival(const std::string&, const ConvLayer&, int, bool) {}

#endif

}  // namespace juxta::bench

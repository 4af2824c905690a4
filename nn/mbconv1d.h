#pragma once
// The inverted bottleneck block of EfficientNet along time.
#include "autograd/ops.h"

namespace juxta::nn {

// A batch norm of a functional layer: gain and shift [C], running statistics updated in training.
struct Norm1d {
  Var gain, shift;
  BatchNormState running{};
};

struct MbConv1dWeights {
  Var expand;                                      // [E, C]; undefined when the expansion is 1 (E = C)
  Norm1d expand_norm;                              // [E]
  Var depthwise;                                   // [E, k]
  Norm1d depthwise_norm;                           // [E]
  Var squeeze, squeeze_bias, excite, excite_bias;  // [R, E], [R], [E, R], [E]
  Var project;                                     // [O, E]
  Norm1d project_norm;                             // [O]
};

struct MbConv1dOptions {
  int64_t kernel = 3, stride = 1, expansion = 6;  // odd kernel
  double eps = 1e-3;                              // of the batch norms
};

// MBConv with squeeze-and-excitation (Tan & Le 2019, arXiv 1905.11946) on [N, T, C], as in Abbaspourazad et
// al., arXiv 2312.05409: 1x1 expansion, BN, swish; depthwise convolution of the kernel with "same" padding
// (k - 1) / 2 and the stride, BN, swish; gate sigmoid(We swish(Wr mean_t h + br) + be) of every channel; 1x1
// projection, BN; plus x where the stride is 1 and the widths agree. Result [N, (T - 1) / stride + 1, O].
// Error naming mbconv1d and the weight whose shape does not fit.
Var mbconv1d(const Var& x, MbConv1dWeights& weights, const MbConv1dOptions& options, bool training);

}  // namespace juxta::nn

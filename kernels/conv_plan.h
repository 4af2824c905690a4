#pragma once
// From the sizes of a convolution to tap convolutions (conv.h): tap lists, phases, tiles and splits. All of
// it is a function of the shape alone.
#include <vector>

#include "kernels/conv.h"

namespace juxta {

// A convolution in the user's terms; axes are D, H, W (1, stride 1, padding 0 where unused).
struct ConvShape {
  int64_t batch = 1;
  int64_t in[3] = {1, 1, 1}, out[3] = {1, 1, 1}, kernel[3] = {1, 1, 1};
  int64_t stride[3] = {1, 1, 1}, padding[3] = {0, 0, 0}, dilation[3] = {1, 1, 1};
  int64_t in_channels = 1, out_channels = 1, groups = 1;

  int64_t kernel_size() const { return kernel[0] * kernel[1] * kernel[2]; }
};

// (in + 2 padding - dilation (kernel - 1) - 1) / stride + 1; not positive when the kernel does not fit.
int64_t conv_out_size(int64_t in, int64_t kernel, int64_t stride, int64_t padding, int64_t dilation);

// One tap convolution; geometry.taps points into `taps`, which moves along but must not be copied.
struct ConvCall {
  ConvCall() = default;
  ConvCall(ConvCall&&) = default;
  ConvCall& operator=(ConvCall&&) = default;
  ConvGeometry geometry;
  std::vector<ConvTap> taps;
  int64_t y_size[3] = {1, 1, 1}, out_step[3] = {1, 1, 1}, out_first[3] = {0, 0, 0};
};

ConvCall plan_conv(const ConvShape& shape);  // y from x
// dx from dy: one call per phase of the stride, together writing every element of dx. `in` may be any size
// (a transposed convolution chooses it): elements that no tap reaches become 0 (+ bias).
std::vector<ConvCall> plan_conv_data(const ConvShape& shape);
struct ConvGradCall {
  ConvCall call;
  int64_t parts = 1, channels = 16;
};
ConvGradCall plan_conv_weight(const ConvShape& shape);  // dw from x and dy

}  // namespace juxta

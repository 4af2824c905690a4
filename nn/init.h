#pragma once
// Initialisers. Each takes one draw of `rng` (the "init" stream), so a model's weights depend on the seed and
// the order of construction alone.
#include "tensor/rng.h"
#include "tensor/tensor.h"

namespace juxta::nn {

Tensor normal(Dims dims, double stddev, Rng& rng, double mean = 0.0);
Tensor uniform(Dims dims, double low, double high, Rng& rng);
// Normal(0, stddev) restricted to [-cut, cut] (absolute, as torch.nn.init.trunc_normal_), by inversion of its
// distribution. At stddev 0.02 the default cut never binds.
Tensor truncated_normal(Dims dims, double stddev, Rng& rng, double cut = 2.0);
// He et al., arXiv 1502.01852: Normal(0, sqrt(2 / fan_out)); dims [O, I, kH, kW]. torchvision's ResNet
// convolutions.
Tensor kaiming_normal_fan_out(Dims dims, Rng& rng);
// Uniform(+-1/sqrt(fan_in)): the default of torch.nn.Linear and Conv2d, for weights and biases.
Tensor torch_default(Dims dims, int64_t fan_in, Rng& rng);
// Glorot & Bengio 2010: Uniform(+-sqrt(6 / (fan_in + fan_out))); dims [O, I].
Tensor xavier_uniform(Dims dims, Rng& rng);

}  // namespace juxta::nn

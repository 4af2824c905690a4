#include "nn/resnet.h"

#include "nn/init.h"

namespace juxta::nn {

namespace {
// Weights of a convolution, as ModelConfig::init says.
Tensor conv_weight(Dims dims, ResNetInit init, Rng& rng) {
  if (init == ResNetInit::uniform) return torch_default(dims, dims[1] * dims[2] * dims[3], rng);
  return kaiming_normal_fan_out(dims, rng);
}

Conv2d conv(int64_t in, int64_t out, int64_t kernel, int64_t stride, ResNetInit init, Rng& rng) {
  Conv2d c;
  c.options = {.stride = stride, .padding = kernel / 2};
  c.weight = Parameter(conv_weight({out, in, kernel, kernel}, init, rng));
  return c;
}
}  // namespace

ResNetBlock::ResNetBlock(int64_t in, int64_t width, int64_t stride, bool is_bottleneck, ResNetInit init,
                         Rng& rng)
    : bottleneck(is_bottleneck) {
  const int64_t out = bottleneck ? 4 * width : width;
  if (bottleneck) {
    conv1 = conv(in, width, 1, 1, init, rng);
    conv2 = conv(width, width, 3, stride, init, rng);
    conv3 = conv(width, out, 1, 1, init, rng);
    bn3 = BatchNorm(out);
  } else {
    conv1 = conv(in, width, 3, stride, init, rng);
    conv2 = conv(width, width, 3, 1, init, rng);
  }
  bn1 = BatchNorm(width);
  bn2 = BatchNorm(width);
  if (stride != 1 || in != out) downsample = Downsample{conv(in, out, 1, stride, init, rng), BatchNorm(out)};
}

Var ResNetBlock::operator()(const Var& x, const Ctx& ctx) {
  const Var shortcut = downsample ? downsample->bn(downsample->conv(x), ctx) : x;
  Var y = bn1(conv1(x), ctx, Act::relu);
  if (!bottleneck) return bn2(conv2(y), ctx, Act::relu, shortcut);
  y = bn2(conv2(y), ctx, Act::relu);
  return bn3(conv3(y), ctx, Act::relu, shortcut);
}

void ResNetBlock::visit(Visitor& v) {
  v("conv1", conv1), v("bn1", bn1), v("conv2", conv2), v("bn2", bn2);
  if (bottleneck) v("conv3", conv3), v("bn3", bn3);
  v("downsample", downsample);
}

ResNet::ResNet(const ModelConfig& config, const ResNetShape& shape, Rng& rng)
    : Encoder(config), shape_(shape) {
  if (config.width > 0) shape_.width = config.width;
  JX_CHECK(config.stem.empty() || config.stem == "cifar" || config.stem == "imagenet",
           "model.stem: expected 'cifar' or 'imagenet', got '", config.stem, "'");
  if (!config.stem.empty()) shape_.cifar_stem = config.stem == "cifar";
  JX_CHECK(config.init == "he" || config.init == "uniform", "model.init: expected 'he' or 'uniform', got '",
           config.init, "'");
  const ResNetInit init = config.init == "he" ? ResNetInit::he : ResNetInit::uniform;
  int64_t channels = shape_.width;
  conv1_ = shape_.cifar_stem ? conv(config.in_channels, channels, 3, 1, init, rng)
                             : conv(config.in_channels, channels, 7, 2, init, rng);
  bn1_ = BatchNorm(channels);
  for (size_t s = 0; s < shape_.blocks.size(); ++s) {
    std::vector<ResNetBlock> stage;
    for (int64_t b = 0; b < shape_.blocks[s]; ++b) {
      stage.emplace_back(channels, shape_.width << s, s > 0 && b == 0 ? 2 : 1, shape_.bottleneck, init, rng);
      channels = stage.back().out_channels();
      if (config.zero_init_residual) stage.back().zero_init_last();
    }
    stages_.push_back(std::move(stage));
  }
  feature_dim_ = channels;
}

Var ResNet::feature_map(const Var& x, const Ctx& ctx) {
  JX_CHECK(x.ndim() == 4 && x.size(3) == config_.in_channels, config_.name, ": expected images [N, H, W, ",
           config_.in_channels, "], got ", x);
  Var y = bn1_(conv1_(cast(x, config_.compute)), ctx, Act::relu);
  if (!shape_.cifar_stem) y = max_pool2d(y, 3, 2, 1);
  for (auto& stage : stages_)
    for (ResNetBlock& block : stage) y = block(y, ctx);
  return y;  // [N, H', W', C]
}

Var ResNet::features(const Var& x, const Ctx& ctx) {
  const Var pooled = global_avg_pool(feature_map(x, ctx));  // [N, C]
  return cast(pooled, acc_dtype(config_.compute));
}

void ResNet::visit(Visitor& v) {
  v("conv1", conv1_), v("bn1", bn1_);
  for (size_t s = 0; s < stages_.size(); ++s) v("layer" + std::to_string(s + 1), stages_[s]);
}

}  // namespace juxta::nn

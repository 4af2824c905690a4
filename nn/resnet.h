#pragma once
// ResNets (He et al., arXiv 1512.03385) with torchvision's names: conv1, bn1, layer1.0.conv1,
// layer1.0.downsample.0, ... ResNet-20 is the paper's CIFAR network (three stages of three basic blocks,
// width 16) with projection shortcuts.
#include "nn/encoder.h"
#include "nn/layers.h"

namespace juxta::nn {

enum class ResNetInit { he, uniform };  // ModelConfig::init

struct ResNetShape {
  bool bottleneck = false;
  std::vector<int64_t> blocks;  // per stage
  int64_t width = 64;           // channels of the first stage; doubles with each stage
  bool cifar_stem = false;  // 3x3 stride 1 without max pooling, instead of 7x7 stride 2 and 3x3 max pooling
};

// conv-bn-relu-conv-bn (+ shortcut) -relu, or the bottleneck 1x1, 3x3, 1x1 with the stride in the 3x3 (ResNet
// v1.5).
struct ResNetBlock {
  Conv2d conv1, conv2, conv3;
  BatchNorm bn1, bn2, bn3;
  bool bottleneck = false;
  struct Downsample {
    Conv2d conv;
    BatchNorm bn;
    void visit(Visitor& v) { v("0", conv), v("1", bn); }
  };
  std::optional<Downsample> downsample;

  ResNetBlock(int64_t in, int64_t width, int64_t stride, bool bottleneck, ResNetInit init, Rng& rng);
  Var operator()(const Var& x, const Ctx& ctx);  // [N, H, W, in] -> [N, H/stride, W/stride, out]
  int64_t out_channels() const { return (bottleneck ? conv3 : conv2).weight.var().size(0); }
  void zero_init_last() { (bottleneck ? bn3 : bn2).weight.var().set_value(Tensor::zeros({out_channels()})); }
  void visit(Visitor& v);
};

class ResNet : public Encoder {
 public:
  ResNet(const ModelConfig& config, const ResNetShape& shape, Rng& rng);
  Var features(const Var& x, const Ctx& ctx) override;
  Var feature_map(const Var& x, const Ctx& ctx) override;
  int64_t feature_dim() const override { return feature_dim_; }
  void visit(Visitor& v) override;

 private:
  ResNetShape shape_;
  Conv2d conv1_;
  BatchNorm bn1_;
  std::vector<std::vector<ResNetBlock>> stages_;
  int64_t feature_dim_ = 0;
};

}  // namespace juxta::nn

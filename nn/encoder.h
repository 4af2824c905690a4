#pragma once
// Encoder: a backbone as methods, evaluation and the program see it. Its pooled features before any head are
// what evaluation uses.
#include <memory>
#include <span>
#include <string>

#include "nn/module.h"

namespace juxta::nn {

struct ModelConfig {
  std::string name = "resnet20";
  int64_t in_channels = 3;
  int64_t image_size = 32;  // ViT: sides of the image; ResNets take any
  int64_t width = 0;        // 0: the model's own (ResNet: channels of the first stage; ViT, text: dim)
  int64_t depth = 0;        // ViT, text: blocks
  int64_t heads = 0;        // ViT, text
  int64_t patch = 0;        // ViT
  int64_t registers = 0;    // ViT
  std::string pool{};       // ViT: "token" or "avg"; text: "cls" or "mean"; empty: the model's own
  std::string stem{};       // ResNet: "cifar" or "imagenet"; empty: the model's own
  double drop_path = 0;     // stochastic depth of the last block, rising linearly from 0
  double layer_scale = 0;   // ViT: initial LayerScale, 0: none
  double dropout = 0;
  // ResNet convolutions: "he" (normal by fan-out, as torchvision) or "uniform" (+-1/sqrt(fan_in), the default
  // of PyTorch's Conv2d: a third of the size, so that Adam's steps are three times as large beside the
  // weights)
  std::string init = "he";
  bool zero_init_residual = false;          // ResNet: last BN of each block starts at 0
  int64_t vocab = 30522, max_tokens = 512;  // text
  bool pre_norm = false;                    // text
  DType compute = DType::f32;               // dtype of activations: f32, bf16 (parameters stay f32) or f64
};

class Encoder {
 public:
  virtual ~Encoder() = default;
  // Images [N, H, W, C] (or token ids [N, T] for text encoders) to pooled features [N, feature_dim()], in f32
  // (f64 when computing in f64) whatever the compute dtype.
  virtual Var features(const Var& x, const Ctx& ctx) = 0;
  // The last feature map before pooling: [N, H', W', C] of a ResNet, all tokens [N, T, C] of a transformer.
  virtual Var feature_map(const Var& x, const Ctx& ctx) = 0;
  virtual int64_t feature_dim() const = 0;
  virtual void visit(Visitor& v) = 0;
  const ModelConfig& config() const { return config_; }

 protected:
  explicit Encoder(ModelConfig config) : config_(std::move(config)) {}
  ModelConfig config_;
};

struct ModelRow {
  const char* name;
  const char* family;  // "resnet", "vit", "text"
  const char* about;
};
std::span<const ModelRow> models();

// Builds an encoder by name; Error with the nearest name when unknown. `init` is the "init" stream.
std::unique_ptr<Encoder> make_encoder(const ModelConfig& config, Rng& init);

}  // namespace juxta::nn

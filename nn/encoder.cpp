#include "nn/encoder.h"

#include "nn/resnet.h"
#include "nn/text.h"
#include "nn/vit.h"
#include "tensor/file.h"

namespace juxta::nn {

namespace {

constexpr ModelRow kModels[] = {
    {"resnet20", "resnet", "CIFAR ResNet-20, width 16: 64 features"},
    {"resnet18", "resnet", "basic blocks 2-2-2-2, ImageNet stem unless stem = cifar: 512 features"},
    {"resnet34", "resnet", "basic blocks 3-4-6-3: 512 features"},
    {"resnet50", "resnet", "bottleneck blocks 3-4-6-3: 2048 features"},
    {"vit_tiny_patch16_224", "vit", "ViT-Ti/16: 192 features"},
    {"vit_small_patch16_224", "vit", "ViT-S/16: 384 features"},
    {"vit_base_patch16_224", "vit", "ViT-B/16: 768 features"},
    {"vit_tiny", "vit", "ViT-Ti with free image size and patch (4 below 96 pixels)"},
    {"vit_small", "vit", "ViT-S with free image size and patch"},
    {"vit_base", "vit", "ViT-B with free image size and patch"},
    {"vit", "vit", "ViT with free width, depth, heads and patch"},
    {"bert_mini", "text", "text encoder, width 256, 4 layers, 4 heads"},
    {"bert_base", "text", "text encoder, width 768, 12 layers, 12 heads"},
};

ResNetShape resnet_shape(const std::string& name) {
  if (name == "resnet20") return {.blocks = {3, 3, 3}, .width = 16, .cifar_stem = true};
  if (name == "resnet18") return {.blocks = {2, 2, 2, 2}};
  if (name == "resnet34") return {.blocks = {3, 4, 6, 3}};
  return {.bottleneck = true, .blocks = {3, 4, 6, 3}};
}

}  // namespace

std::span<const ModelRow> models() { return kModels; }

std::unique_ptr<Encoder> make_encoder(const ModelConfig& config, Rng& init) {
  std::vector<std::string> names;
  for (const ModelRow& row : kModels) {
    names.emplace_back(row.name);
    if (config.name != row.name) continue;
    const std::string family = row.family;
    if (family == "resnet") return std::make_unique<ResNet>(config, resnet_shape(config.name), init);
    if (family == "text") return std::make_unique<TextEncoder>(config, init);
    ModelConfig c = config;
    if (c.name.find("patch16_224") != std::string::npos) c.patch = 16, c.image_size = 224;
    return std::make_unique<Vit>(c, init);
  }
  const std::string near = nearest_name(config.name, names);
  JX_FAIL("model.name: '", config.name, "' is unknown", near.empty() ? "" : "; did you mean '" + near + "'?",
          " (juxta models lists all)");
}

}  // namespace juxta::nn

#include "nn/encoder.h"

#include <cmath>
#include <utility>

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

void check_at_least(const char* field, int64_t value, int64_t least, const char* hint = "") {
  JX_CHECK(value >= least, "model.", field, ": expected at least ", least, ", got ", value, hint);
}
void check_rate(const char* field, double rate) {
  JX_CHECK(rate >= 0.0 && rate < 1.0, "model.", field, ": expected a number in [0, 1), got ", rate);
}

// What every family takes for granted; each then checks what only it reads.
void check_config(const ModelConfig& c, const std::string& family) {
  check_at_least("in_channels", c.in_channels, 1);
  if (family == "vit") check_at_least("image_size", c.image_size, 1);
  const std::pair<const char*, int64_t> own[] = {
      {"width", c.width}, {"depth", c.depth}, {"heads", c.heads}, {"patch", c.patch}};
  for (const auto& [field, value] : own) check_at_least(field, value, 0, "; 0 means the model's own");
  check_at_least("registers", c.registers, 0);
  if (family == "text") check_at_least("vocab", c.vocab, 1), check_at_least("max_tokens", c.max_tokens, 1);
  check_rate("drop_path", c.drop_path), check_rate("dropout", c.dropout);
  JX_CHECK(c.layer_scale >= 0.0 && std::isfinite(c.layer_scale),
           "model.layer_scale: expected a finite number of at least 0, got ", c.layer_scale);
  JX_CHECK(c.compute == DType::f32 || c.compute == DType::bf16 || c.compute == DType::f64,
           "model.compute: expected f32, bf16 or f64, got ", c.compute);
}

}  // namespace

std::span<const ModelRow> models() { return kModels; }

std::unique_ptr<Encoder> make_encoder(const ModelConfig& config, Rng& init) {
  std::vector<std::string> names;
  for (const ModelRow& row : kModels) {
    names.emplace_back(row.name);
    if (config.name != row.name) continue;
    const std::string family = row.family;
    check_config(config, family);
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

#pragma once
// Heads on top of pooled features. All take [N, D] in f32.
#include "nn/layers.h"

namespace juxta::nn {

// What stands between and behind the linear layers of an MLP head.
struct HeadOptions {
  bool batch_norm = false;       // after each hidden layer
  bool last_batch_norm = false;  // after the output
  bool last_affine = true;       // of that batch norm
  bool hidden_bias = true;       // biases of hidden layers (usually off before batch norm)
  bool last_bias = true;
};

// Linear(-BN)-ReLU, ..., Linear(-BN): SimCLR and MoCo v2 (two layers, no BN), BYOL (4096-256 with BN),
// SimSiam, MoCo v3. Names: layers.0.weight, norms.0.weight, ...
struct MlpHead {
  std::vector<Linear> layers;
  std::vector<BatchNorm> norms;
  HeadOptions options;
  MlpHead() = default;
  // sizes: input, hidden, ..., output
  MlpHead(std::span<const int64_t> sizes, const HeadOptions& options, Rng& init);
  MlpHead(std::initializer_list<int64_t> sizes, const HeadOptions& options, Rng& init)
      : MlpHead(std::span(sizes.begin(), sizes.size()), options, init) {}
  Var operator()(const Var& x, const Ctx& ctx);
  void visit(Visitor& v) { v("layers", layers), v("norms", norms); }
};

// K prototypes as unit rows (SwAV, arXiv 2006.09882): scores x^ w^T with both normalised.
struct PrototypeHead {
  Parameter weight;  // [K, D]
  PrototypeHead() = default;
  PrototypeHead(int64_t dim, int64_t prototypes, Rng& init);
  Var operator()(const Var& x) const { return linear(l2_normalize(x), l2_normalize(weight), Var()); }
  void visit(Visitor& v) { v("weight", weight); }
};

// DINO's head (Caron et al., arXiv 2104.14294): three-layer GELU MLP to a bottleneck, L2 normalisation,
// weight-normalised output layer. Its gain weight_g stays 1 (norm_last_layer), so only the direction weight_v
// is a parameter.
struct DinoHead {
  std::vector<Linear> mlp;
  Parameter weight_v;  // [K, bottleneck]
  DinoHead() = default;
  DinoHead(int64_t dim, int64_t prototypes, int64_t hidden, int64_t bottleneck, Rng& init);
  Var operator()(const Var& x) const;
  void visit(Visitor& v) { v("mlp", mlp), v("last_layer.weight_v", weight_v); }
};

}  // namespace juxta::nn

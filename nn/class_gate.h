#pragma once
// Gates of pairs of classes: which features two classes are compared by.
#include "autograd/ops.h"

namespace juxta::nn {

struct ClassGateWeights {
  Var embedding;               // [C, E], one row per class
  Var scale0, shift0;          // [E], batch norm of the embedding
  Var w1, b1, scale1, shift1;  // [H, E], [H], [H], [H]
  Var w2, b2;                  // [D, H], [D]
};

// Running statistics of the two batch norms, [E] and [H].
struct ClassGateState {
  BatchNormState input, hidden;
};

// Hydra's gates (Wu et al. 2024, arXiv 2410.18200). y1, y2 i64 [B] -> gate [B, D] in (0, 1).
//   mlp(e) = W2 BN(ReLU(W1 BN(ReLU(e)) + b1)) + b2
//   fuse: sigmoid(mlp((E[y1] + E[y2]) / 2)), symmetric in the pair; else sigmoid(mlp(E[y1]))
//   sigmoid(mlp(E[y2]))
// In training the norms take the statistics of the pairs of this batch. Error on labels outside [0, C).
Var class_gate(const Tensor& y1, const Tensor& y2, const ClassGateWeights& weights, bool fuse,
               ClassGateState& state, bool training);

// For logs: the mean over rows of the sum of a row's gates, and the mean entropy of a gate as a coin, in
// nats.
struct GateFigures {
  Var activation, entropy;
};
GateFigures gate_figures(const Var& gate);

}  // namespace juxta::nn

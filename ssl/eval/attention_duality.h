#pragma once
// Attention read as learning: its weights as updates of a linear layer, and its momentum as a filter.
#include "tensor/tensor.h"

namespace juxta::ssl {

struct DualFormInputs {
  Tensor wq, wk, wv;  // [E, D]: projections of one head
  Tensor demo, seen,
      x;      // [M, D] demonstrations (M may be 0), [S, D] the query's own tokens, [D] the last of them
  Tensor w0;  // [O, D]: a linear layer,
  Tensor inputs, grads;  // [T, D], [T, O]: its inputs and the gradients at its output, step by step
};
struct DualForm {
  Tensor w_zsl, dw_icl;             // [E, E]
  Tensor linear_zero_shot, linear;  // [E]: linear attention without and with the demonstrations
  Tensor softmax;                   // [E]: ordinary attention with them
  Tensor dw_gd, w_heavy_ball;       // [O, D]
  Tensor gd_output;                 // [O]
};
// The dual form of linear attention and gradient descent (Dai et al. 2023, arXiv 2212.10559). q = W_Q x:
//   W_ZSL = sum_s (W_V x_s)(W_K x_s)^T,  dW_ICL = sum_m (W_V x'_m)(W_K x'_m)^T
//   linear = (W_ZSL + dW_ICL) q,   softmax = W_V X softmax((W_K X)^T q / sqrt(E)),  X = [x'; x]
//   dW_GD = -lr sum_i g_i x_i^T,   gd_output = (W_0 + dW_GD) x
//   heavy ball: v_i = eta v_{i-1} + g_i x_i^T,  W_i = W_{i-1} - lr v_i
// Exact for linear attention alone; with a softmax it is an analogy. f64.
DualForm dual_form_attention(const DualFormInputs& in, double lr, double eta);

struct KinematicFilter {
  Tensor magnitude, decibel, phase;  // [G, W]: |H|, 20 log10 |H|, arg H
  Tensor rope_gain, rope_turn;       // [G, D/2]: |H| and arg H at the rotary frequencies
  Tensor filtered;                   // [G, T, C]
  Tensor gamma_star;                 // [N]
};
// The kinematic shear as a two-tap filter along time (Maitra 2026, arXiv 2602.04902):
//   H(w) = 1 + gamma (1 - e^{-iw}),  |H|^2 = 1 + 2 gamma (1 + gamma)(1 - cos w)
// at the frequencies omega [W] (radians per sample) and theta_m = base^(-2m / head_dim), for every gamma [G];
// x [T, C] through it, with no momentum at the start; and the best gamma of models of layers i64 [N] layers,
// 4.17 N^-0.74 (published fit). f64.
KinematicFilter kinematic_filter(const Tensor& gamma, const Tensor& omega, const Tensor& x,
                                 const Tensor& layers, int64_t head_dim, double base);

}  // namespace juxta::ssl

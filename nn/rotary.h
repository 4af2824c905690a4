#pragma once
// Rotary positions and the momentum of queries and keys along time. All on [B, T, H, D].
#include "autograd/ops.h"

namespace juxta::nn {

// How coordinates pair up: m with m + D/2, or 2m with 2m + 1.
enum class RotaryLayout { half, interleaved };

// Rotary position embedding (Su et al. 2021, arXiv 2104.09864): pair m of position t turns by t base^(-2m /
// D). D even.
Var rotary(const Var& x, double base = 10000, RotaryLayout layout = RotaryLayout::half);

// What stands before the first position: the first position itself (no momentum), or zero.
enum class ShearBoundary { zero_momentum, zero_state };

// Kinematic momentum p_t = x_t - x_{t-1} added to the state (Maitra 2026, arXiv 2602.04902): x_t + gamma p_t,
// a shear of (x, p) with determinant 1. gamma [1] or [H].
Var kinematic_shear(const Var& x, const Var& gamma, ShearBoundary boundary = ShearBoundary::zero_momentum);

// Where the shear stands: behind the rotary embedding, before it, or with no rotary embedding at all.
enum class ShearPlacement { post_rope, pre_rope, none };
struct KinematicOptions {
  ShearPlacement placement = ShearPlacement::post_rope;
  ShearBoundary boundary = ShearBoundary::zero_momentum;
  double base = 10000;
  RotaryLayout layout = RotaryLayout::half;
};
// Causal attention with sheared queries and keys; values as they are.
Var kinematic_attention(const Var& q, const Var& k, const Var& v, const Var& gamma,
                        const KinematicOptions& options = {});

// m_t = eta (m_{t-1} + x_{t-1}), m_0 = 0: sum_{i < t} eta^(t - i) x_i over time. eta [1] or [H], each in (0,
// 1). Memory is O(T D): a scan over chunks of time.
Var decaying_sum(const Var& x, const Var& eta);
// Momentum-based attention (Dai et al. 2023, arXiv 2212.10559): causal attention plus the decaying sum of the
// values before each position, not normalised.
Var momentum_attention(const Var& q, const Var& k, const Var& v, const Var& eta);

}  // namespace juxta::nn

#pragma once
// Activations that ride in the epilogue of another kernel (matmul, conv, batch norm), and their gradients.
//
//   relu max(z, 0) · gelu z Phi(z), exact (Hendrycks & Gimpel, arXiv 1606.08415) · silu z sigmoid(z)
//   (Elfwing et al., arXiv 1702.03118) · tanh · sigmoid
//
// The gradient is a function of what the forward pass keeps anyway where that is possible: relu, tanh and
// sigmoid are differentiated from their output y, gelu and silu need the pre-activation z.
#include <cmath>
#include <cstdint>

namespace juxta {

// Activation of a fused epilogue and of activate().
enum class Act : uint8_t { none, relu, gelu, silu, tanh, sigmoid };

constexpr const char* to_text(Act act) {
  constexpr const char* kNames[] = {"none", "relu", "gelu", "silu", "tanh", "sigmoid"};
  return kNames[static_cast<int>(act)];
}

// Does the gradient need z (true) or is y = act(z) enough?
constexpr bool act_needs_input(Act act) { return act == Act::gelu || act == Act::silu; }

namespace ref {

template <class A>
A act(Act act, A z) {
  switch (act) {
    case Act::relu:
      return z < A(0) ? A(0) : z;  // NaN passes
    case Act::gelu:
      return A(0.5) * z * std::erfc(-z * A(0.70710678118654752440));
    case Act::silu:
      return z / (A(1) + std::exp(-z));
    case Act::tanh:
      return std::tanh(z);
    case Act::sigmoid:
      return A(1) / (A(1) + std::exp(-z));
    case Act::none:
      break;
  }
  return z;
}

// d act / dz, from z where act_needs_input(act), else from y.
template <class A>
A act_grad(Act act, A saved) {
  switch (act) {
    case Act::relu:
      return saved > A(0) ? A(1) : A(0);
    case Act::gelu:
      return A(0.5) * std::erfc(-saved * A(0.70710678118654752440)) +
             saved * A(0.39894228040143267794) * std::exp(A(-0.5) * saved * saved);
    case Act::silu: {
      const A s = A(1) / (A(1) + std::exp(-saved));
      return s * (A(1) + saved * (A(1) - s));
    }
    case Act::tanh:
      return A(1) - saved * saved;
    case Act::sigmoid:
      return saved * (A(1) - saved);
    case Act::none:
      break;
  }
  return A(1);
}

}  // namespace ref
}  // namespace juxta

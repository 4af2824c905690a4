#pragma once
// Optimiser steps, EMA and gradient norms over many tensors at once.
//
// A list of tensors is cut into chunks of kOptimChunk elements; an entry works on a range of chunks, so one
// parallel loop covers a model of any shape. All hyper-parameters of a tensor (its weight decay, its bias
// corrections, its trust ratio) stand in its row: values that change with the step come from outside
// (schedules), nothing is hidden here.
//
// Recurrences, elementwise, w the weight decay, t the tensor's step count from 1:
//   sgd     g += w p;  buf = g (first step) | mu buf + (1 - damp) g;  u = nesterov ? g + mu buf : buf;  p -=
//   lr u      (mu = 0: u = g) adam    g += w p;  m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2;  p -= lr /
//   (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) + eps) adamw   p *= 1 - lr w, then adam without w amsgrad: the
//   running maximum of v (uncorrected) in the denominator lion    p *= 1 - lr w;  p -= lr sign(b1 m + (1 -
//   b1) g);  m = b2 m + (1 - b2) g                      sign(0) = 0 lars    d = ratio (g + w p)  or d = g; mu
//   = m mu + d;  u = nesterov ? d + m mu : mu;  p -= lr u     ratio per tensor, from norms lamb    u = (m /
//   c1) / (sqrt(v / c2) + eps) + w p, then p -= lr ratio u, ratio = |p| / |u| per tensor ema     p = m p + (1
//   - m) q, with 1 - m computed in double
// Sources: torch.optim's documentation (SGD, Adam, AdamW); Loshchilov & Hutter 1711.05101; Chen et al.
// 2302.06675 (Lion); You et al. 1708.03888 (LARS) and 1904.00962 (LAMB).
#include <array>
#include <cmath>
#include <span>
#include <vector>

#include "kernels/table.h"

namespace juxta {

inline constexpr int64_t kOptimChunk = 1 << 14;

template <class T>
struct OptimTensor {
  T* p = nullptr;                // parameter, [n]; of ema: the teacher
  const T* g = nullptr;          // gradient; of ema: the student
  T *m = nullptr, *v = nullptr;  // first and second moment (sgd, lars: m is the momentum buffer)
  T* vmax = nullptr;             // amsgrad
  T* u = nullptr;                // lamb's direction
  int64_t n = 0;
  double weight_decay = 0;
  bool first = false;                       // sgd: the buffer starts as the gradient
  double correction1 = 1, correction2 = 1;  // adam family: 1 - b1^t, 1 - b2^t
  double ratio = 1;                         // lars, lamb: trust ratio
};

struct OptimChunk {
  int32_t tensor;
  int64_t begin, end;
};

template <class T>
struct OptimArgs {
  const OptimTensor<T>* tensors;
  const OptimChunk* chunks;
  double lr = 0;
  double momentum = 0, dampening = 0;
  bool nesterov = false;
  double beta1 = 0.9, beta2 = 0.999, eps = 1e-8;
  bool decoupled = false;  // adamw: decay multiplies the parameter
  double scale = 1;        // scale: factor of the gradients; ema: the teacher's momentum
  double* sums = nullptr;  // sum_squares: per chunk {|p|^2, |g|^2, |u|^2}
};

template <class T>
struct OptimTable {
  static constexpr const char* kFamily = "optim";
  static constexpr std::array kNames{"sgd",        "adam", "lion",        "lars", "lamb_direction",
                                     "lamb_apply", "ema",  "sum_squares", "scale"};
  using Entry = void (*)(const OptimArgs<T>&, int64_t chunk, int64_t chunk_end);
  Entry sgd, adam, lion, lars, lamb_direction, lamb_apply, ema, sum_squares;
  Entry scale;  // g *= scale (through p: the row's p is the gradient)
};

template <class T>
const TableChoice<OptimTable<T>>& optim_tables();  // T: float, double

std::vector<OptimChunk> optim_chunks(std::span<const int64_t> sizes);

namespace ref {

// Calls f(tensor, i) for every element of the chunks.
template <class T, class F>
void for_elements(const OptimArgs<T>& a, int64_t chunk, int64_t chunk_end, F f) {
  for (int64_t k = chunk; k < chunk_end; ++k) {
    const OptimTensor<T>& t = a.tensors[a.chunks[k].tensor];
    for (int64_t i = a.chunks[k].begin; i < a.chunks[k].end; ++i) f(t, i);
  }
}

template <class T>
void sgd(const OptimArgs<T>& a, int64_t chunk, int64_t chunk_end) {
  const T mu = static_cast<T>(a.momentum), keep = static_cast<T>(1.0 - a.dampening),
          lr = static_cast<T>(a.lr);
  for_elements(a, chunk, chunk_end, [&](const OptimTensor<T>& t, int64_t i) {
    const T g = t.g[i] + static_cast<T>(t.weight_decay) * t.p[i];
    T u = g;
    if (t.m) {
      t.m[i] = t.first ? g : mu * t.m[i] + keep * g;
      u = a.nesterov ? g + mu * t.m[i] : t.m[i];
    }
    t.p[i] -= lr * u;
  });
}

template <class T>
void adam(const OptimArgs<T>& a, int64_t chunk, int64_t chunk_end) {
  const T b1 = static_cast<T>(a.beta1), c1 = static_cast<T>(1.0 - a.beta1);
  const T b2 = static_cast<T>(a.beta2), c2 = static_cast<T>(1.0 - a.beta2), eps = static_cast<T>(a.eps);
  for_elements(a, chunk, chunk_end, [&](const OptimTensor<T>& t, int64_t i) {
    T p = t.p[i], g = t.g[i];
    if (a.decoupled)
      p *= static_cast<T>(1.0 - a.lr * t.weight_decay);
    else
      g += static_cast<T>(t.weight_decay) * p;
    t.m[i] = b1 * t.m[i] + c1 * g;
    t.v[i] = b2 * t.v[i] + c2 * g * g;
    T second = t.v[i];
    if (t.vmax) second = t.vmax[i] = t.vmax[i] > second ? t.vmax[i] : second;
    const T denominator = std::sqrt(second) * static_cast<T>(1.0 / std::sqrt(t.correction2)) + eps;
    t.p[i] = p - static_cast<T>(a.lr / t.correction1) * (t.m[i] / denominator);
  });
}

template <class T>
void lion(const OptimArgs<T>& a, int64_t chunk, int64_t chunk_end) {
  const T b1 = static_cast<T>(a.beta1), c1 = static_cast<T>(1.0 - a.beta1);
  const T b2 = static_cast<T>(a.beta2), c2 = static_cast<T>(1.0 - a.beta2), lr = static_cast<T>(a.lr);
  for_elements(a, chunk, chunk_end, [&](const OptimTensor<T>& t, int64_t i) {
    const T update = b1 * t.m[i] + c1 * t.g[i];
    const T sign = static_cast<T>((update > T(0)) - (update < T(0)));
    t.p[i] = t.p[i] * static_cast<T>(1.0 - a.lr * t.weight_decay) - lr * sign;
    t.m[i] = b2 * t.m[i] + c2 * t.g[i];
  });
}

template <class T>
void lars(const OptimArgs<T>& a, int64_t chunk, int64_t chunk_end) {
  const T mu = static_cast<T>(a.momentum), lr = static_cast<T>(a.lr);
  for_elements(a, chunk, chunk_end, [&](const OptimTensor<T>& t, int64_t i) {
    const T d = static_cast<T>(t.ratio) * (t.g[i] + static_cast<T>(t.weight_decay) * t.p[i]);
    T u = d;
    if (t.m) {
      t.m[i] = t.first ? d : mu * t.m[i] + d;
      u = a.nesterov ? d + mu * t.m[i] : t.m[i];
    }
    t.p[i] -= lr * u;
  });
}

template <class T>
void lamb_direction(const OptimArgs<T>& a, int64_t chunk, int64_t chunk_end) {
  const T b1 = static_cast<T>(a.beta1), c1 = static_cast<T>(1.0 - a.beta1);
  const T b2 = static_cast<T>(a.beta2), c2 = static_cast<T>(1.0 - a.beta2), eps = static_cast<T>(a.eps);
  for_elements(a, chunk, chunk_end, [&](const OptimTensor<T>& t, int64_t i) {
    t.m[i] = b1 * t.m[i] + c1 * t.g[i];
    t.v[i] = b2 * t.v[i] + c2 * t.g[i] * t.g[i];
    const T m = t.m[i] * static_cast<T>(1.0 / t.correction1);
    const T v = std::sqrt(t.v[i]) * static_cast<T>(1.0 / std::sqrt(t.correction2));
    t.u[i] = m / (v + eps) + static_cast<T>(t.weight_decay) * t.p[i];
  });
}

template <class T>
void lamb_apply(const OptimArgs<T>& a, int64_t chunk, int64_t chunk_end) {
  for_elements(a, chunk, chunk_end, [&](const OptimTensor<T>& t, int64_t i) {
    t.p[i] -= static_cast<T>(a.lr * t.ratio) * t.u[i];
  });
}

template <class T>
void ema(const OptimArgs<T>& a, int64_t chunk, int64_t chunk_end) {
  const T keep = static_cast<T>(a.scale), take = static_cast<T>(1.0 - a.scale);
  for_elements(a, chunk, chunk_end,
               [&](const OptimTensor<T>& t, int64_t i) { t.p[i] = keep * t.p[i] + take * t.g[i]; });
}

// Sums of squares in double: the norm of a model is a few hundred chunk sums.
template <class T>
void sum_squares(const OptimArgs<T>& a, int64_t chunk, int64_t chunk_end) {
  const auto sum = [](const T* x, const OptimChunk& c) {
    double s = 0;
    for (int64_t i = c.begin; x && i < c.end; ++i) s += static_cast<double>(x[i]) * static_cast<double>(x[i]);
    return s;
  };
  for (int64_t k = chunk; k < chunk_end; ++k) {
    const OptimTensor<T>& t = a.tensors[a.chunks[k].tensor];
    a.sums[3 * k] = sum(t.p, a.chunks[k]);
    a.sums[3 * k + 1] = sum(t.g, a.chunks[k]);
    a.sums[3 * k + 2] = sum(t.u, a.chunks[k]);
  }
}

template <class T>
void scale(const OptimArgs<T>& a, int64_t chunk, int64_t chunk_end) {
  for_elements(a, chunk, chunk_end,
               [&](const OptimTensor<T>& t, int64_t i) { t.p[i] *= static_cast<T>(a.scale); });
}

template <class T>
inline constexpr OptimTable<T> optim_table{sgd<T>,        adam<T>, lion<T>,        lars<T>, lamb_direction<T>,
                                           lamb_apply<T>, ema<T>,  sum_squares<T>, scale<T>};

}  // namespace ref
}  // namespace juxta

#pragma once
// Optimiser steps, EMA and gradient norms over many tensors at once.
//
// A list of tensors is cut into chunks of kOptimChunk elements; an entry works on a range of chunks, so one
// parallel loop covers a model of any shape. All hyper-parameters of a tensor (its weight decay, its bias
// corrections, its trust ratio) stand in its row: values that change with the step come from outside
// (schedules), nothing is hidden here.
//
// Recurrences, elementwise, w the weight decay, t the tensor's step count from 1:
//   sgd      g += w p;  buf = g (first step) | mu buf + (1 - damp) g;  u = nesterov ? g + mu buf : buf
//            (mu = 0: u = g);  p -= lr u
//   adam     g += w p;  m = b1 m + (1 - b1) g;  v = b2 v + (1 - b2) g^2
//            p -= lr / (1 - b1^t) m / (sqrt(v) / sqrt(1 - b2^t) + eps)
//            amsgrad: the running maximum of v (uncorrected) in the denominator
//   adamw    p *= 1 - lr w, then adam without w
//   lion     p *= 1 - lr w;  p -= lr sign(b1 m + (1 - b1) g), sign(0) = 0;  m = b2 m + (1 - b2) g
//   lars     d = ratio (g + w p);  mu = m mu + d;  u = nesterov ? d + m mu : mu;  p -= lr u;  ratio per
//            tensor, from norms
//   lamb     u = (m / c1) / (sqrt(v / c2) + eps) + w p, then p -= lr ratio u, ratio = |p| / |u| per tensor
//   am_sgd   g += w p;  d = g (first step);  beta from sums over one tensor or all;
//            d = ((beta + lambda) d + (1 - beta) g) / (1 + lambda);  p -= lr d
//   am_adamw v = b2 v + (1 - b2) g^2;  P = c1 (sqrt(v / c2) + eps), c1 = 1 - b1 prod_{i<t} beta_i
//            d = ((1 - beta) g + (lambda P + beta) d) / (1 + lambda P);  p = (1 - lr w) p - lr d / P
//   ema      p = m p + (1 - m) q, with 1 - m computed in double
// The coefficient beta of adaptive memory momentum is num / den, clipped to [0, cap], of the sums
//   am_sgd   num = <g, g> + 2 lambda <g, d> - lambda <d, d>,  den = |d - g|^2
//   am_adamw num = gap <g, d / P + w p> - <d - g, g + lambda P d>_M - w <p, d - g>,  den = |d - g|^2_M,
//            M = 1 / (P (1 + lambda P)),  gap = (1 + w lr) lr_{t-1} / lr
// Sources: torch.optim's documentation (SGD, Adam, AdamW); Loshchilov & Hutter 1711.05101; Chen et al.
// 2302.06675 (Lion); You et al. 1708.03888 (LARS) and 1904.00962 (LAMB); Topollai & Choromanska 2510.04988
// (adaptive memory momentum).
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
  T *m = nullptr, *v = nullptr;  // first and second moment (sgd, lars: m is the momentum buffer; am: d)
  T* vmax = nullptr;             // amsgrad
  T* u = nullptr;                // lamb's direction
  int64_t n = 0;
  double weight_decay = 0;
  bool first = false;                       // sgd, am_sgd: the buffer starts as the gradient
  double correction1 = 1, correction2 = 1;  // adam family: 1 - b1^t, 1 - b2^t
  double ratio = 1;                         // lars, lamb: trust ratio
  double beta = 0, gap = 0;                 // am: the coefficient; the factor of its function gap
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
  bool decoupled = false;   // adamw: decay multiplies the parameter
  double model_lambda = 0;  // am: weight of the second proximal term
  double scale = 1;         // scale: factor of the gradients; ema: the teacher's momentum
  double* sums = nullptr;   // per chunk: sum_squares {|p|^2, |g|^2, |u|^2}, am_*_sums {num, den}
};

template <class T>
struct OptimTable {
  static constexpr const char* kFamily = "optim";
  static constexpr std::array kNames{"sgd",        "adam",          "lion",        "lars",  "lamb_direction",
                                     "lamb_apply", "ema",           "sum_squares", "scale", "am_sgd_sums",
                                     "am_sgd",     "am_adamw_sums", "am_adamw"};
  using Entry = void (*)(const OptimArgs<T>&, int64_t chunk, int64_t chunk_end);
  Entry sgd, adam, lion, lars, lamb_direction, lamb_apply, ema, sum_squares;
  Entry scale;          // g *= scale (through p: the row's p is the gradient)
  Entry am_sgd_sums;    // reads only
  Entry am_sgd;         // with every row's beta
  Entry am_adamw_sums;  // moves v
  Entry am_adamw;
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

// The gradient and the stored direction of am_sgd, in double: g + w p, and d, which starts as g + w p.
template <class T>
struct AmSgdPair {
  double g, d;
  AmSgdPair(const OptimTensor<T>& t, int64_t i)
      : g(static_cast<double>(t.g[i]) + t.weight_decay * static_cast<double>(t.p[i])),
        d(t.first ? g : static_cast<double>(t.m[i])) {}
};

template <class T>
void am_sgd_sums(const OptimArgs<T>& a, int64_t chunk, int64_t chunk_end) {
  for (int64_t k = chunk; k < chunk_end; ++k) {
    double num = 0, den = 0;
    for_elements(a, k, k + 1, [&](const OptimTensor<T>& t, int64_t i) {
      const AmSgdPair<T> x(t, i);
      num += x.g * x.g + a.model_lambda * (2.0 * x.g - x.d) * x.d;
      den += (x.d - x.g) * (x.d - x.g);
    });
    a.sums[2 * k] = num, a.sums[2 * k + 1] = den;
  }
}

template <class T>
void am_sgd(const OptimArgs<T>& a, int64_t chunk, int64_t chunk_end) {
  const double inverse = 1.0 / (1.0 + a.model_lambda);
  for_elements(a, chunk, chunk_end, [&](const OptimTensor<T>& t, int64_t i) {
    const AmSgdPair<T> x(t, i);
    const double d = t.first ? x.g : ((t.beta + a.model_lambda) * x.d + (1.0 - t.beta) * x.g) * inverse;
    t.m[i] = static_cast<T>(d);
    t.p[i] = static_cast<T>(static_cast<double>(t.p[i]) - a.lr * d);
  });
}

// Adam's preconditioner of one element; `v` has been moved already.
template <class T>
double am_preconditioner(const OptimArgs<T>& a, const OptimTensor<T>& t, int64_t i) {
  return t.correction1 * (std::sqrt(static_cast<double>(t.v[i]) / t.correction2) + a.eps);
}

template <class T>
void am_adamw_sums(const OptimArgs<T>& a, int64_t chunk, int64_t chunk_end) {
  for (int64_t k = chunk; k < chunk_end; ++k) {
    double num = 0, den = 0;
    for_elements(a, k, k + 1, [&](const OptimTensor<T>& t, int64_t i) {
      const double g = static_cast<double>(t.g[i]), d = static_cast<double>(t.m[i]);
      t.v[i] = static_cast<T>(a.beta2 * static_cast<double>(t.v[i]) + (1.0 - a.beta2) * g * g);
      const double p = am_preconditioner(a, t, i), decay = t.weight_decay * static_cast<double>(t.p[i]);
      const double metric = 1.0 / (p * (1.0 + a.model_lambda * p)), e = d - g;
      num += t.gap * g * (d / p + decay) - e * (g + a.model_lambda * p * d) * metric - decay * e;
      den += e * e * metric;
    });
    a.sums[2 * k] = num, a.sums[2 * k + 1] = den;
  }
}

template <class T>
void am_adamw(const OptimArgs<T>& a, int64_t chunk, int64_t chunk_end) {
  for_elements(a, chunk, chunk_end, [&](const OptimTensor<T>& t, int64_t i) {
    const double p = am_preconditioner(a, t, i), lp = a.model_lambda * p;
    const double d =
        ((1.0 - t.beta) * static_cast<double>(t.g[i]) + (lp + t.beta) * static_cast<double>(t.m[i])) /
        (1.0 + lp);
    t.m[i] = static_cast<T>(d);
    t.p[i] = static_cast<T>((1.0 - a.lr * t.weight_decay) * static_cast<double>(t.p[i]) - a.lr * d / p);
  });
}

template <class T>
inline constexpr OptimTable<T> optim_table{
    sgd<T>,         adam<T>,  lion<T>,        lars<T>,   lamb_direction<T>, lamb_apply<T>, ema<T>,
    sum_squares<T>, scale<T>, am_sgd_sums<T>, am_sgd<T>, am_adamw_sums<T>,  am_adamw<T>};

}  // namespace ref
}  // namespace juxta

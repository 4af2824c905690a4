#pragma once
// Batch normalisation (Ioffe & Szegedy, arXiv 1502.03167) of x [rows, C]: statistics per channel over the
// rows.
//
//   mean = 1/R sum x,  var = 1/R sum (x - mean)^2,  rstd = (var + eps)^-1/2,  xhat = (x - mean) rstd
//   y = act(xhat weight + bias + residual),  act: none or relu
// Gradient, with g = dy act'(.) (relu: where y > 0, so the sum before it need not be kept):
//   dbias = sum g,  dweight = sum g xhat,  dresidual = g
//   training:   dx = weight rstd (g - dbias / R - xhat dweight / R)
//   evaluation: dx = weight rstd g
// Saved: x, weight, mean, rstd; under relu also what tells its mask: the bias, or y where a residual was
// added.
//
// Statistics are partial moments + combine + apply, so that groups of a batch (ghost batches) and, later,
// ranks can share them: each chunk of rows gives (count, mean, M2) per channel, M2 = sum (x - mean)^2; Chan's
// formula (Chan, Golub, LeVeque 1979) adds chunks in order. A chunk's sums are taken about its first row,
// which keeps their digits when |mean| >> std. Chunks never cross groups: chunk k belongs to group k /
// chunks_per_group.
//
// Traffic: forward reads x twice and writes y; backward reads x and dy (and y, with relu and a residual)
// twice. Without a residual the mask y > 0 is computed again from x: the same arithmetic gives the same bits.
#include <cmath>

#include "kernels/table.h"
#include "tensor/dtype.h"

namespace juxta {

struct BatchRows {  // the shape that all entries share
  int64_t rows, channels;
  int64_t groups;  // equal parts of the rows with statistics of their own
  int64_t chunk;   // rows per chunk; the last chunk of a group may be short
  JX_HD int64_t group_rows() const { return rows / groups; }
  JX_HD int64_t chunks_per_group() const { return (group_rows() + chunk - 1) / chunk; }
  JX_HD int64_t chunks() const { return groups * chunks_per_group(); }
  JX_HD int64_t chunk_begin(int64_t k) const {
    return k / chunks_per_group() * group_rows() + k % chunks_per_group() * chunk;
  }
  JX_HD int64_t chunk_end(int64_t k) const {
    const int64_t end = chunk_begin(k) + chunk, last = (k / chunks_per_group() + 1) * group_rows();
    return end < last ? end : last;
  }
};

template <class T>
struct BatchMoments {
  BatchRows shape;
  const T* x;        // [rows, C]
  Acc<T>*mean, *m2;  // [chunks, C]; the range counts chunks
};

// Statistics of every group from its chunks, and running = (1 - momentum) running + momentum batch with the
// unbiased variance, groups one after the other. Evaluation: part_mean is null, and the running statistics
// are the result.
template <class A>
struct BatchCombine {
  BatchRows shape;
  const A *part_mean, *part_m2;   // [chunks, C]
  A *mean, *rstd;                 // [groups, C]; the range counts channels
  A *running_mean, *running_var;  // [C]; null: none are kept, or they must not change (a replay)
  double eps, momentum;
};

template <class T>
struct BatchApply {
  BatchRows shape;
  const T* x;
  const Acc<T>*mean, *rstd;    // [groups, C]
  const Acc<T>*weight, *bias;  // [C] or null
  const T* residual;           // [rows, C] or null
  bool relu;
  T* y;  // the range counts rows
};

template <class T>
struct BatchGradSums {
  BatchRows shape;
  const T *x, *dy, *y;  // y null: under relu the mask is computed from x, weight and bias
  const Acc<T>*mean, *rstd, *weight, *bias;
  bool relu;
  Acc<T>*sum_g, *sum_gx;  // [chunks, C]; the range counts chunks
};

template <class T>
struct BatchGrad {
  BatchRows shape;
  const T *x, *dy, *y;  // as above
  const Acc<T>*mean, *rstd, *weight, *bias;
  bool relu;
  const Acc<T>*sum_g, *sum_gx;  // [groups, C] sums over each group's rows; null in evaluation
  T *dx, *dresidual;            // [rows, C] or null; the range counts rows
};

namespace ref {

template <class T>
void batch_moments(const BatchMoments<T>& a, int64_t chunk, int64_t chunk_end) {
  using A = Acc<T>;
  const int64_t C = a.shape.channels;
  for (int64_t k = chunk; k < chunk_end; ++k) {
    const int64_t begin = a.shape.chunk_begin(k), end = a.shape.chunk_end(k);
    for (int64_t c = 0; c < C; ++c) {
      const A shift = static_cast<A>(a.x[begin * C + c]);
      A sum = 0, square = 0;
      for (int64_t r = begin; r < end; ++r) {
        const A d = static_cast<A>(a.x[r * C + c]) - shift;
        sum += d;
        square += d * d;
      }
      const A n = static_cast<A>(end - begin);
      a.mean[k * C + c] = shift + sum / n;
      a.m2[k * C + c] = square - sum * (sum / n);
    }
  }
}

template <class A>
void batch_combine(const BatchCombine<A>& a, int64_t channel, int64_t channel_end) {
  const int64_t C = a.shape.channels, per = a.shape.chunks_per_group();
  const A keep = static_cast<A>(1.0 - a.momentum), take = static_cast<A>(a.momentum);
  for (int64_t c = channel; c < channel_end; ++c) {
    for (int64_t group = 0; group < a.shape.groups; ++group) {
      A n = 0, mean = 0, m2 = 0;
      for (int64_t k = group * per; a.part_mean && k < (group + 1) * per; ++k) {
        const A nk = static_cast<A>(a.shape.chunk_end(k) - a.shape.chunk_begin(k)), total = n + nk;
        const A delta = a.part_mean[k * C + c] - mean;
        mean += delta * (nk / total);
        m2 += a.part_m2[k * C + c] + delta * delta * (n * (nk / total));
        n = total;
      }
      m2 = m2 < 0 ? A(0) : m2;  // NaN passes
      const A var = a.part_mean ? m2 / n : a.running_var[c];
      a.mean[group * C + c] = a.part_mean ? mean : a.running_mean[c];
      a.rstd[group * C + c] = A(1) / std::sqrt(var + static_cast<A>(a.eps));
      if (!a.part_mean || !a.running_mean) continue;
      a.running_mean[c] = keep * a.running_mean[c] + take * mean;
      a.running_var[c] = keep * a.running_var[c] + take * (m2 / (n - A(1)));
    }
  }
}

// act's argument without the residual.
template <class T>
Acc<T> batch_z(const T& x, Acc<T> mean, Acc<T> rstd, const Acc<T>* weight, const Acc<T>* bias, int64_t c) {
  Acc<T> v = (static_cast<Acc<T>>(x) - mean) * rstd;
  if (weight) v = v * weight[c];
  return bias ? v + bias[c] : v;
}

template <class T>
void batch_apply(const BatchApply<T>& a, int64_t row, int64_t row_end) {
  using A = Acc<T>;
  const int64_t C = a.shape.channels;
  for (int64_t r = row; r < row_end; ++r) {
    const int64_t s = r / a.shape.group_rows() * C;
    for (int64_t c = 0; c < C; ++c) {
      A v = batch_z(a.x[r * C + c], a.mean[s + c], a.rstd[s + c], a.weight, a.bias, c);
      if (a.residual) v = v + static_cast<A>(a.residual[r * C + c]);
      a.y[r * C + c] = static_cast<T>(a.relu && v < 0 ? A(0) : v);
    }
  }
}

// dy behind relu. Args: BatchGradSums or BatchGrad; s: the group's first statistic.
template <class T, class Args>
Acc<T> batch_g(const Args& a, int64_t i, int64_t c, int64_t s) {
  if (!a.relu) return static_cast<Acc<T>>(a.dy[i]);
  const Acc<T> z =
      a.y ? static_cast<Acc<T>>(a.y[i]) : batch_z(a.x[i], a.mean[s + c], a.rstd[s + c], a.weight, a.bias, c);
  return z > 0 ? static_cast<Acc<T>>(a.dy[i]) : Acc<T>(0);
}

template <class T>
void batch_grad_sums(const BatchGradSums<T>& a, int64_t chunk, int64_t chunk_end) {
  using A = Acc<T>;
  const int64_t C = a.shape.channels;
  for (int64_t k = chunk; k < chunk_end; ++k) {
    const int64_t s = k / a.shape.chunks_per_group() * C;
    for (int64_t c = 0; c < C; ++c) {
      A sum = 0, dot = 0;
      for (int64_t r = a.shape.chunk_begin(k); r < a.shape.chunk_end(k); ++r) {
        const A g = batch_g<T>(a, r * C + c, c, s);
        sum += g;
        dot += g * ((static_cast<A>(a.x[r * C + c]) - a.mean[s + c]) * a.rstd[s + c]);
      }
      a.sum_g[k * C + c] = sum;
      a.sum_gx[k * C + c] = dot;
    }
  }
}

template <class T>
void batch_grad(const BatchGrad<T>& a, int64_t row, int64_t row_end) {
  using A = Acc<T>;
  const int64_t C = a.shape.channels;
  const A inv = A(1) / static_cast<A>(a.shape.group_rows());
  for (int64_t r = row; r < row_end; ++r) {
    const int64_t s = r / a.shape.group_rows() * C;
    for (int64_t c = 0; c < C; ++c) {
      const int64_t i = r * C + c;
      const A g = batch_g<T>(a, i, c, s);
      if (a.dresidual) a.dresidual[i] = static_cast<T>(g);
      if (!a.dx) continue;
      A d = g;
      if (a.sum_g) {
        const A xhat = (static_cast<A>(a.x[i]) - a.mean[s + c]) * a.rstd[s + c];
        d = g - a.sum_g[s + c] * inv - xhat * (a.sum_gx[s + c] * inv);
      }
      a.dx[i] = static_cast<T>(d * a.rstd[s + c] * (a.weight ? a.weight[c] : A(1)));
    }
  }
}

}  // namespace ref
}  // namespace juxta

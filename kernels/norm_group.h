#pragma once
// RMS norm (Zhang & Sennrich, arXiv 1910.07467) of rows and group norm (Wu & He, arXiv 1803.08494) of [N, S,
// C].
//
//   rms norm    rstd = (1/C sum x^2 + eps)^-1/2,  y = x rstd weight
//     dx = rstd (g - xhat 1/C sum g xhat), g = dy weight, xhat = x rstd;  dweight = sum_r dy xhat.     Saved:
//     x, rstd.
//   group norm  each of G groups of channels of one sample is normalised over its S C/G values, then scaled
//   per channel:
//     y = (x - mean) rstd weight + bias;  dx = rstd (g - mean g - xhat mean(g xhat)), g = dy weight;
//     dweight = sum dy xhat, dbias = sum dy over samples and positions.                                Saved:
//     x, mean, rstd [N, G].
// Parameter gradients are summed in two steps (see norm.h): rows per chunk for rms norm, one chunk per sample
// for group norm.
#include <cmath>

#include "kernels/table.h"
#include "tensor/dtype.h"

namespace juxta {

template <class T>
struct RmsNormFwd {
  const T* x;            // [rows, cols], rows x_stride apart
  const Acc<T>* weight;  // [cols] or null
  T* y;                  // [rows, cols]
  Acc<T>* rstd;          // [rows]
  int64_t cols, x_stride;
  double eps;
};

template <class T>
struct RmsNormBwd {
  const T *x, *dy;
  const Acc<T>*weight, *rstd;
  T* dx;            // or null
  Acc<T>* dweight;  // partial sums [chunks, cols] or null
  int64_t rows, cols, x_stride, chunk;
};

template <class T>
struct GroupNormFwd {
  const T* x;                  // [N, S, C]
  const Acc<T>*weight, *bias;  // [C] or null
  T* y;
  Acc<T>*mean, *rstd;                   // [N, G]
  int64_t positions, channels, groups;  // S, C, G; the range counts samples
  double eps;
};

template <class T>
struct GroupNormBwd {
  const T *x, *dy;
  const Acc<T>*weight, *mean, *rstd;
  T* dx;                   // or null
  Acc<T>*dweight, *dbias;  // partial sums [N, C]; scratch of the kernel too, never null
  int64_t positions, channels, groups;
};

namespace ref {

template <class T>
void rms_norm_fwd(const RmsNormFwd<T>& a, int64_t row, int64_t row_end) {
  using A = Acc<T>;
  for (int64_t r = row; r < row_end; ++r) {
    const T* x = a.x + r * a.x_stride;
    A sum = 0;
    for (int64_t c = 0; c < a.cols; ++c) sum += static_cast<A>(x[c]) * static_cast<A>(x[c]);
    a.rstd[r] = A(1) / std::sqrt(sum / static_cast<A>(a.cols) + static_cast<A>(a.eps));
    for (int64_t c = 0; c < a.cols; ++c)
      a.y[r * a.cols + c] =
          static_cast<T>(static_cast<A>(x[c]) * a.rstd[r] * (a.weight ? a.weight[c] : A(1)));
  }
}

template <class T>
void rms_norm_bwd(const RmsNormBwd<T>& a, int64_t chunk, int64_t chunk_end) {
  using A = Acc<T>;
  for (int64_t k = chunk; k < chunk_end; ++k) {
    A* dw = a.dweight ? a.dweight + k * a.cols : nullptr;
    for (int64_t c = 0; dw && c < a.cols; ++c) dw[c] = 0;
    for (int64_t r = k * a.chunk; r < a.rows && r < (k + 1) * a.chunk; ++r) {
      const T *x = a.x + r * a.x_stride, *dy = a.dy + r * a.cols;
      A dot = 0;
      for (int64_t c = 0; c < a.cols; ++c) {
        const A xhat = static_cast<A>(x[c]) * a.rstd[r], d = static_cast<A>(dy[c]);
        dot += d * (a.weight ? a.weight[c] : A(1)) * xhat;
        if (dw) dw[c] += d * xhat;
      }
      dot /= static_cast<A>(a.cols);
      for (int64_t c = 0; a.dx && c < a.cols; ++c) {
        const A g = static_cast<A>(dy[c]) * (a.weight ? a.weight[c] : A(1));
        a.dx[r * a.cols + c] = static_cast<T>(a.rstd[r] * (g - static_cast<A>(x[c]) * a.rstd[r] * dot));
      }
    }
  }
}

// Calls f(element index, channel) for every element of group g of sample n.
template <class F>
void for_group(int64_t n, int64_t g, int64_t positions, int64_t channels, int64_t groups, F f) {
  const int64_t width = channels / groups;
  for (int64_t s = 0; s < positions; ++s)
    for (int64_t c = g * width; c < (g + 1) * width; ++c) f((n * positions + s) * channels + c, c);
}

template <class T>
void group_norm_fwd(const GroupNormFwd<T>& a, int64_t sample, int64_t sample_end) {
  using A = Acc<T>;
  const int64_t width = a.channels / a.groups;
  const A count = static_cast<A>(a.positions * width);
  for (int64_t n = sample; n < sample_end; ++n) {
    for (int64_t g = 0; g < a.groups; ++g) {
      A mean = 0, var = 0;
      for_group(n, g, a.positions, a.channels, a.groups,
                [&](int64_t i, int64_t) { mean += static_cast<A>(a.x[i]); });
      mean /= count;
      for_group(n, g, a.positions, a.channels, a.groups, [&](int64_t i, int64_t) {
        var += (static_cast<A>(a.x[i]) - mean) * (static_cast<A>(a.x[i]) - mean);
      });
      const A rstd = A(1) / std::sqrt(var / count + static_cast<A>(a.eps));
      for_group(n, g, a.positions, a.channels, a.groups, [&](int64_t i, int64_t c) {
        const A xhat = (static_cast<A>(a.x[i]) - mean) * rstd;
        a.y[i] = static_cast<T>(xhat * (a.weight ? a.weight[c] : A(1)) + (a.bias ? a.bias[c] : A(0)));
      });
      a.mean[n * a.groups + g] = mean;
      a.rstd[n * a.groups + g] = rstd;
    }
  }
}

template <class T>
void group_norm_bwd(const GroupNormBwd<T>& a, int64_t sample, int64_t sample_end) {
  using A = Acc<T>;
  const int64_t width = a.channels / a.groups;
  const A count = static_cast<A>(a.positions * width);
  for (int64_t n = sample; n < sample_end; ++n) {
    A *dw = a.dweight + n * a.channels, *db = a.dbias + n * a.channels;
    for (int64_t c = 0; c < a.channels; ++c) dw[c] = db[c] = 0;
    for (int64_t g = 0; g < a.groups; ++g) {
      const A mean = a.mean[n * a.groups + g], rstd = a.rstd[n * a.groups + g];
      for_group(n, g, a.positions, a.channels, a.groups, [&](int64_t i, int64_t c) {
        dw[c] += static_cast<A>(a.dy[i]) * (static_cast<A>(a.x[i]) - mean) * rstd;
        db[c] += static_cast<A>(a.dy[i]);
      });
      A sum_g = 0, sum_gx = 0;
      const int64_t width = a.channels / a.groups;
      for (int64_t c = g * width; c < (g + 1) * width; ++c) {
        sum_g += db[c] * (a.weight ? a.weight[c] : A(1));
        sum_gx += dw[c] * (a.weight ? a.weight[c] : A(1));
      }
      if (!a.dx) continue;
      for_group(n, g, a.positions, a.channels, a.groups, [&](int64_t i, int64_t c) {
        const A xhat = (static_cast<A>(a.x[i]) - mean) * rstd, w = a.weight ? a.weight[c] : A(1);
        a.dx[i] =
            static_cast<T>(rstd * (static_cast<A>(a.dy[i]) * w - sum_g / count - xhat * (sum_gx / count)));
      });
    }
  }
}

}  // namespace ref
}  // namespace juxta

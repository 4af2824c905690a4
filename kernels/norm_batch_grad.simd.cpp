// Batch norm backward on vectors; formulas in norm_batch.h.
#include "kernels/norm_batch_simd.h"

namespace juxta::JX_ISA {

namespace {

// Where relu's mask comes from.
enum class BatchMask { none, from_x, from_y };

template <BatchMask mask, int V, class Args>
JX_INLINE F32 batch_g(const Args& a, const BatchAffine<V>& affine, int k, int64_t i, F32 x, int n) {
  const F32 g = load_part(a.dy + i, n), zero(0.0f);
  if (mask == BatchMask::none) return g;
  return select((mask == BatchMask::from_x ? affine.z(k, x) : load_part(a.y + i, n)) > zero, g, zero);
}

template <BatchMask mask, class T>
[[gnu::always_inline]] inline void batch_grad_sums_as(const BatchGradSums<T>& a, int64_t chunk,
                                                      int64_t chunk_end) {
  const int64_t C = a.shape.channels;
  for (int64_t q = chunk; q < chunk_end; ++q) {
    const int64_t group = q / a.shape.chunks_per_group();
    float *sum_g = a.sum_g + q * C, *sum_gx = a.sum_gx + q * C;
    const auto make = [&](auto vectors, int64_t c, int n)
                          JX_INLINED { return BatchAffine<decltype(vectors)::count>(a, group, c, n); };
    constexpr int kSide = sizeof(T) == 4 ? 1 : 4;  // eight streams of whole rows halve the bandwidth
    sum_rows<T, kSide>(a.shape.chunk_begin(q), a.shape.chunk_end(q), C, sum_g, sum_gx, make,
                       [&](const auto& affine, int k, int64_t i, int n, F32& sum, F32& dot) JX_INLINED {
                         const F32 x = load_part(a.x + i, n), g = batch_g<mask>(a, affine, k, i, x, n);
                         sum += g;
                         dot = fma(g, x - affine.mean.v[k], dot);
                       });
    for_lanes(C, [&](int64_t c, int n) {
      store_part(sum_gx + c, load_part(sum_gx + c, n) * load_part(a.rstd + group * C + c, n), n);
    });
  }
}

template <class T>
void grad_sums(const BatchGradSums<T>& a, int64_t chunk, int64_t chunk_end) {
  if (!a.relu) return batch_grad_sums_as<BatchMask::none>(a, chunk, chunk_end);
  if (a.y) return batch_grad_sums_as<BatchMask::from_y>(a, chunk, chunk_end);
  batch_grad_sums_as<BatchMask::from_x>(a, chunk, chunk_end);
}

// dx = scale (g - mean_g - (x - mean) slope), slope = rstd mean(g xhat); in evaluation mean_g = slope = 0.
template <int V>
struct BatchSlope {
  BatchAffine<V> affine;
  PerChannel<V> mean_g, slope;
  template <class T>
  [[gnu::always_inline]] BatchSlope(const BatchGrad<T>& a, F32 inv, int64_t group, int64_t c, int n)
      : affine(a, group, c, n),
        mean_g(a.sum_g ? a.sum_g + group * a.shape.channels : nullptr, c, n),
        slope(a.sum_g ? a.sum_gx + group * a.shape.channels : nullptr, c, n) {
    for (int k = 0; k < V; ++k) {
      mean_g.v[k] *= inv;
      slope.v[k] *= inv * load_part(a.rstd + group * a.shape.channels + c + k * kWidth, n);
    }
  }
};

template <BatchMask mask, class T>
[[gnu::always_inline]] inline void batch_grad_as(const BatchGrad<T>& a, int64_t row, int64_t row_end) {
  const F32 inv(1.0f / static_cast<float>(a.shape.group_rows()));
  const auto make = [&](auto vectors, int64_t group, int64_t c, int n)
                        JX_INLINED { return BatchSlope<decltype(vectors)::count>(a, inv, group, c, n); };
  for_elements<T>(a.shape, row, row_end, make, [&](const auto& s, int k, int64_t i, int n) JX_INLINED {
    const F32 x = load_part(a.x + i, n), g = batch_g<mask>(a, s.affine, k, i, x, n);
    if (a.dresidual) store_part(a.dresidual + i, g, n);
    if (!a.dx) return;
    const F32 d = (g - s.mean_g.v[k]) - (x - s.affine.mean.v[k]) * s.slope.v[k];
    store_part(a.dx + i, d * s.affine.scale.v[k], n);
  });
}

template <class T>
void grad(const BatchGrad<T>& a, int64_t row, int64_t row_end) {
  if (!a.relu) return batch_grad_as<BatchMask::none>(a, row, row_end);
  if (a.y) return batch_grad_as<BatchMask::from_y>(a, row, row_end);
  batch_grad_as<BatchMask::from_x>(a, row, row_end);
}

}  // namespace

#if JX_OWN_F32
void batch_grad_sums(const BatchGradSums<float>& a, int64_t chunk, int64_t chunk_end) {
  grad_sums(a, chunk, chunk_end);
}
void batch_grad(const BatchGrad<float>& a, int64_t row, int64_t row_end) { grad(a, row, row_end); }
#endif
void batch_grad_sums(const BatchGradSums<bf16>& a, int64_t chunk, int64_t chunk_end) {
  grad_sums(a, chunk, chunk_end);
}
void batch_grad(const BatchGrad<bf16>& a, int64_t row, int64_t row_end) { grad(a, row, row_end); }

}  // namespace juxta::JX_ISA

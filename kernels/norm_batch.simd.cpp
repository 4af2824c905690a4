// Batch norm forward on vectors; formulas in norm_batch.h.
#include "kernels/norm_batch_simd.h"

namespace juxta::JX_ISA {

namespace {

template <class T>
void moments(const BatchMoments<T>& a, int64_t chunk, int64_t chunk_end) {
  const int64_t C = a.shape.channels;
  for (int64_t k = chunk; k < chunk_end; ++k) {
    const int64_t begin = a.shape.chunk_begin(k), end = a.shape.chunk_end(k);
    const T* first = a.x + begin * C;
    float *mean = a.mean + k * C, *m2 = a.m2 + k * C;
    const auto make = [&](auto vectors, int64_t c, int n)
                          JX_INLINED { return PerChannel<decltype(vectors)::count>(first, c, n); };
    sum_rows<T, 4>(begin, end, C, mean, m2, make,
                   [&](const auto& shift, int j, int64_t i, int n, F32& sum, F32& square) JX_INLINED {
                     const F32 d = load_part(a.x + i, n) - shift.v[j];
                     sum += d;
                     square = fma(d, d, square);
                   });
    const F32 inv_n(1.0f / static_cast<float>(end - begin));
    for_lanes(C, [&](int64_t c, int n) {
      const F32 sum = load_part(mean + c, n), shifted = sum * inv_n;
      store_part(mean + c, load_part(first + c, n) + shifted, n);
      store_part(m2 + c, load_part(m2 + c, n) - sum * shifted, n);
    });
  }
}

template <bool relu, bool residual, class T>
[[gnu::always_inline]] inline void batch_apply_as(const BatchApply<T>& a, int64_t row, int64_t row_end) {
  const auto make = [&](auto vectors, int64_t group, int64_t c, int n)
                        JX_INLINED { return BatchAffine<decltype(vectors)::count>(a, group, c, n); };
  for_elements<T>(a.shape, row, row_end, make, [&](const auto& affine, int k, int64_t i, int n) JX_INLINED {
    F32 v = affine.z(k, load_part(a.x + i, n));
    if (residual) v += load_part(a.residual + i, n);
    if (relu) v = max(F32(0.0f), v);  // NaN passes
    store_part(a.y + i, v, n);
  });
}

template <class T>
void apply(const BatchApply<T>& a, int64_t row, int64_t row_end) {
  if (a.relu && a.residual) return batch_apply_as<true, true>(a, row, row_end);
  if (a.relu) return batch_apply_as<true, false>(a, row, row_end);
  if (a.residual) return batch_apply_as<false, true>(a, row, row_end);
  batch_apply_as<false, false>(a, row, row_end);
}

}  // namespace

void batch_combine(const BatchCombine<float>& a, int64_t channel, int64_t channel_end) {
  const int64_t C = a.shape.channels, per = a.shape.chunks_per_group();
  const F32 keep(static_cast<float>(1.0 - a.momentum)), take(static_cast<float>(a.momentum));
  for_lanes(channel_end - channel, [&](int64_t at, int lanes) {
    const int64_t c = channel + at;
    for (int64_t group = 0; group < a.shape.groups; ++group) {
      float n = 0;
      F32 mean(0.0f), m2(0.0f);
      for (int64_t k = group * per; a.part_mean && k < (group + 1) * per; ++k) {
        const float nk = static_cast<float>(a.shape.chunk_end(k) - a.shape.chunk_begin(k)), total = n + nk;
        const F32 delta = load_part(a.part_mean + k * C + c, lanes) - mean;
        mean = fma(delta, F32(nk / total), mean);
        m2 = m2 + fma(delta * delta, F32(n * (nk / total)), load_part(a.part_m2 + k * C + c, lanes));
        n = total;
      }
      m2 = max(F32(0.0f), m2);  // NaN passes
      if (!a.part_mean) mean = load_part(a.running_mean + c, lanes);
      const F32 var = a.part_mean ? m2 / F32(n) : load_part(a.running_var + c, lanes);
      store_part(a.mean + group * C + c, mean, lanes);
      store_part(a.rstd + group * C + c, F32(1.0f) / sqrt(var + F32(static_cast<float>(a.eps))), lanes);
      if (!a.part_mean || !a.running_mean) continue;
      float *rm = a.running_mean + c, *rv = a.running_var + c;
      store_part(rm, fma(keep, load_part(rm, lanes), take * mean), lanes);
      store_part(rv, fma(keep, load_part(rv, lanes), take * (m2 / F32(n - 1.0f))), lanes);
    }
  });
}

#if JX_OWN_F32
void batch_moments(const BatchMoments<float>& a, int64_t chunk, int64_t chunk_end) {
  moments(a, chunk, chunk_end);
}
void batch_apply(const BatchApply<float>& a, int64_t row, int64_t row_end) { apply(a, row, row_end); }
#endif
void batch_moments(const BatchMoments<bf16>& a, int64_t chunk, int64_t chunk_end) {
  moments(a, chunk, chunk_end);
}
void batch_apply(const BatchApply<bf16>& a, int64_t row, int64_t row_end) { apply(a, row, row_end); }

}  // namespace juxta::JX_ISA

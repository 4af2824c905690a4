// Bilinear resizing with vectors along the channels; formulas in resize.h.
#include "kernels/resize.h"

#include "kernels/simd.h"

namespace juxta::JX_ISA {

namespace {

template <class T>
void bilinear_fwd(const ResizeFwd<T>& a, int64_t row, int64_t row_end) {
  for (int64_t k = row; k < row_end; ++k) {
    const int64_t n = k / a.rows.out, i = k % a.rows.out;
    const float fraction = static_cast<float>(a.rows.fraction[i]);
    const F32 fy(fraction), gy(1.0f - fraction);
    const T* top = a.x + (n * a.rows.in + a.rows.low[i]) * a.cols.in * a.channels;
    const T* bottom = a.x + (n * a.rows.in + a.rows.high[i]) * a.cols.in * a.channels;
    for (int64_t j = 0; j < a.cols.out; ++j) {
      const F32 fx(static_cast<float>(a.cols.fraction[j])), gx(1.0f - static_cast<float>(a.cols.fraction[j]));
      const int64_t left = a.cols.low[j] * a.channels, right = a.cols.high[j] * a.channels;
      for_lanes(a.channels, [&](int64_t c, int lanes) {
        const F32 above = fma(gx, load_part(top + left + c, lanes), fx * load_part(top + right + c, lanes));
        const F32 below =
            fma(gx, load_part(bottom + left + c, lanes), fx * load_part(bottom + right + c, lanes));
        store_part(a.y + (k * a.cols.out + j) * a.channels + c, fma(gy, above, fy * below), lanes);
      });
    }
  }
}

template <class T>
void bilinear_bwd(const ResizeBwd<T>& a, int64_t row, int64_t row_end) {
  for (int64_t k = row; k < row_end; ++k) {
    const int64_t n = k / a.rows.in, i = k % a.rows.in;
    for (int64_t j = 0; j < a.cols.in; ++j)
      for_lanes(a.channels, [&](int64_t c, int lanes) {
        F32 sum(0.0f);
        for (int64_t h = a.rows.first[i]; h < a.rows.last[i]; ++h) {
          const float wy = resize_weight<float>(a.rows, h, i);
          for (int64_t w = a.cols.first[j]; w < a.cols.last[j]; ++w)
            sum = fma(F32(wy * resize_weight<float>(a.cols, w, j)),
                      load_part(a.dy + ((n * a.rows.out + h) * a.cols.out + w) * a.channels + c, lanes), sum);
        }
        store_part(a.dx + (k * a.cols.in + j) * a.channels + c, sum, lanes);
      });
  }
}

}  // namespace

#if JX_OWN_F32
extern const ResizeTable<float> resize_f32{bilinear_fwd<float>, bilinear_bwd<float>};
#endif
extern const ResizeTable<bf16> resize_bf16{bilinear_fwd<bf16>, bilinear_bwd<bf16>};

}  // namespace juxta::JX_ISA

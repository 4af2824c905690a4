#include "nn/moments.h"

#include "autograd/ops.h"

namespace juxta::nn {

namespace {

constexpr const char* kOp = "moment_map";

Tensor pattern(int64_t clips, const std::vector<int64_t>& counts) {
  Tensor mask = Tensor::zeros({clips, clips}, DType::i64);
  int64_t* on = mask.write<int64_t>(kOp);
  for (int64_t i = 0; i < clips; ++i) on[i * clips + i] = 1;
  int64_t stride = 1, offset = 0;
  for (const int64_t count : counts) {
    JX_CHECK(count >= 1, kOp, ": counts: expected at least 1 each, got ", count);
    for (int64_t c = 0; c < count && offset < clips; ++c) {
      offset += stride;
      for (int64_t i = 0; i + offset < clips; i += stride) on[i * clips + i + offset] = 1;
    }
    if (stride < clips) stride *= 2;
  }
  return mask;
}

// Position of the first maximum of clips i .. j, for every channel of x [D, T]: [D, T T].
template <class T>
Tensor first_maxima(const Tensor& x) {
  const int64_t d = x.size(0), t = x.size(1);
  Tensor index = Tensor::zeros({d, t * t}, DType::i64);
  int64_t* to = index.write<int64_t>(kOp);
  for (int64_t c = 0; c < d; ++c) {
    const T* v = x.data<T>() + c * t;
    for (int64_t i = 0; i < t; ++i) {
      int64_t best = i;
      for (int64_t j = i; j < t; ++j) {
        if (static_cast<Acc<T>>(v[j]) > static_cast<Acc<T>>(v[best])) best = j;
        to[(c * t + i) * t + j] = best;
      }
    }
  }
  return index;
}

}  // namespace

MomentMap moment_map(const Var& clips, const std::vector<int64_t>& counts) {
  JX_CHECK(clips.defined() && is_float(clips.dtype()) && clips.ndim() == 2 && clips.numel() >= 1, kOp,
           ": clips: expected a float [T, D], got ", clips);
  const int64_t t = clips.size(0), d = clips.size(1);
  const Tensor mask = pattern(t, counts);
  const Var x = transpose(clips, 0, 1);  // [D, T]
  const Tensor values = x.value().contiguous();
  const Tensor index =
      dispatch_float(values.dtype(), kOp, [&]<class T>() { return first_maxima<T>(values); });
  const Var map = permute(reshape(gather(x, index), {d, t, t}), {1, 2, 0});
  return {mul(map, Var(mask.to(clips.dtype()).unsqueeze(2))), mask};
}

}  // namespace juxta::nn

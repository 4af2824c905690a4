#include "nn/sentence.h"

#include "autograd/ops.h"

namespace juxta::nn {

Var masked_mean(const Var& tokens, const Tensor& mask) {
  JX_CHECK(tokens.defined() && is_float(tokens.dtype()) && tokens.ndim() == 3,
           "masked_mean: tokens: expected a float [B, T, D], got ", tokens);
  const int64_t batch = tokens.size(0), length = tokens.size(1);
  JX_CHECK(mask.defined() && mask.dtype() == DType::i64 && mask.dims() == Dims({batch, length}),
           "masked_mean: mask: expected i64 [", batch, ", ", length, "], got ", mask);
  const Tensor kept = mask.contiguous();
  Tensor weight = Tensor::zeros({batch, length, 1}, DType::f64);  // 1 / number for the tokens that count
  for (int64_t b = 0; b < batch; ++b) {
    const int64_t* row = kept.data<int64_t>() + b * length;
    int64_t count = 0;
    for (int64_t t = 0; t < length; ++t) {
      JX_CHECK(row[t] == 0 || row[t] == 1, "masked_mean: mask: expected 0 or 1, got ", row[t], " in row ", b);
      count += row[t];
    }
    JX_CHECK(count > 0, "masked_mean: mask: row ", b, " has no token to average");
    for (int64_t t = 0; t < length; ++t)
      if (row[t]) weight.write<double>("masked_mean")[b * length + t] = 1.0 / static_cast<double>(count);
  }
  return sum(mul(tokens, Var(weight.to(tokens.dtype()))), {1});
}

SentencePooling sentence_pooling(const Var& hidden, const Tensor& mask, int64_t first_index) {
  JX_CHECK(hidden.defined() && is_float(hidden.dtype()) && hidden.ndim() == 4 && hidden.size(0) >= 2 &&
               hidden.numel() > 0,
           "sentence_pooling: hidden: expected a float [L + 1, B, T, D] with L >= 1, got ", hidden);
  const int64_t layers = hidden.size(0);
  JX_CHECK(first_index >= 0 && first_index < layers, "sentence_pooling: first_index: expected 0 to ",
           layers - 1, ", got ", first_index);
  const Var last = select(hidden, 0, layers - 1);
  const auto with_last = [&](int64_t layer) {
    return masked_mean(affine(add(last, select(hidden, 0, layer)), 0.5, 0.0), mask);
  };
  return {select(last, 1, 0), masked_mean(last, mask), with_last(layers - 2), with_last(first_index)};
}

}  // namespace juxta::nn

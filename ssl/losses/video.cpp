#include "ssl/losses/video.h"

#include <cmath>

#include "autograd/ops.h"
#include "ssl/losses/supcon.h"

namespace juxta::ssl {

namespace {

constexpr const char* kLoss = "comix";

Var probabilities(const Var& logits) { return softmax(at_least_f32(logits)); }

// supcon over views [B, C] each, rows of equal class attract; undefined labels: every video is its own.
Var contrast_views(const std::vector<Var>& views, const Tensor& labels, const ComixParams& p) {
  SupConParams s;
  s.temperature = p.tau;
  s.base_temperature = p.base_tau;
  s.normalize = false;
  return supcon(stack(views, 1), labels, s).loss;
}

Var contrast_backgrounds(const ComixLogits& x, const ComixParams& p) {
  return contrast_views(
      {probabilities(x.fast), probabilities(x.slow), probabilities(x.mix_fast), probabilities(x.mix_slow)},
      {}, p);
}

// The confident videos and their classes.
struct Pseudo {
  std::vector<int64_t> videos, classes;
};
Pseudo pseudo_labels(const ComixLogits& target, double threshold) {
  const NoGrad constant;
  const Var mean = affine(add(at_least_f32(target.fast), at_least_f32(target.slow)), 0.5, 0.0);
  const Tensor q = softmax(mean).value(), best = argmax(q, 1);
  Pseudo kept;
  for (int64_t i = 0; i < q.size(0); ++i) {
    const auto c = static_cast<int64_t>(best.at({i}));
    if (q.at({i, c}) >= threshold) kept.videos.push_back(i), kept.classes.push_back(c);
  }
  return kept;
}

Tensor as_tensor(const std::vector<int64_t>& v) {
  return Tensor::from(std::span<const int64_t>(v), {static_cast<int64_t>(v.size())});
}

}  // namespace

Loss comix(const ComixLogits& source, const ComixLogits& target, const Tensor& labels, const ComixParams& p) {
  check_embeddings(kLoss, {{"src_fast", source.fast},
                           {"src_slow", source.slow},
                           {"src_mix_fast", source.mix_fast},
                           {"src_mix_slow", source.mix_slow},
                           {"tgt_fast", target.fast},
                           {"tgt_slow", target.slow},
                           {"tgt_mix_fast", target.mix_fast},
                           {"tgt_mix_slow", target.mix_slow}});
  check_temperature(kLoss, p.tau, "tau");
  check_temperature(kLoss, p.base_tau, "base_tau");
  JX_CHECK(p.smooth >= 0 && p.smooth < 1, kLoss, ": smooth: expected a number in [0, 1), got ", p.smooth);
  JX_CHECK(std::isfinite(p.threshold), kLoss, ": threshold: expected a number, got ", p.threshold);
  check_indices(kLoss, "labels", labels, {source.fast.size(0)}, source.fast.size(1));
  const Var ce = mean(cross_entropy(at_least_f32(source.fast), labels, p.smooth));
  const Var bgm = add(contrast_backgrounds(source, p), contrast_backgrounds(target, p));
  const Pseudo kept = pseudo_labels(target, p.threshold);
  Var tpl(Tensor::zeros({}, ce.dtype()));
  if (!kept.videos.empty()) {
    const Tensor videos = as_tensor(kept.videos);
    tpl = contrast_views({index_select(probabilities(target.fast), 0, videos),
                          index_select(probabilities(target.slow), 0, videos)},
                         as_tensor(kept.classes), p);
  }
  Tensor n_kept = Tensor::zeros({}, DType::i64);
  n_kept.write<int64_t>(kLoss)[0] = static_cast<int64_t>(kept.videos.size());
  return {add(ce, add(affine(bgm, p.lambda_bgm, 0.0), affine(tpl, p.lambda_tpl, 0.0))),
          {{"ce", stop_gradient(ce)},
           {"bgm", stop_gradient(bgm)},
           {"tpl", stop_gradient(tpl)},
           {"n_kept", Var(n_kept)}}};
}

}  // namespace juxta::ssl

#include "ssl/losses/grounding.h"

#include <algorithm>
#include <cmath>

#include "autograd/contrast.h"
#include "autograd/ops.h"

namespace juxta::ssl {

namespace {

constexpr const char* kLoss = "g2l_losses";

Var unit(const Var& x) { return l2_normalize(at_least_f32(x)); }

void check_shape(const char* name, const Var& x, const Dims& dims, DType dtype) {
  JX_CHECK(x.defined() && x.dtype() == dtype && x.dims() == dims, kLoss, ": ", name, ": expected ", dtype,
           " ", dims, ", got ", x);
  check_finite(kLoss, {name, x});
}

void check_constant(const char* name, const Tensor& t, const Dims& dims, double high) {
  JX_CHECK(t.defined() && is_float(t.dtype()) && t.dims() == dims, kLoss, ": ", name, ": expected a float ",
           dims, ", got ", t);
  check_finite(kLoss, {name, Var(t)});
  const Tensor wide = t.to(DType::f64).contiguous();
  for (int64_t i = 0; i < t.numel(); ++i) {
    const double v = wide.data<double>()[i];
    JX_CHECK(v >= 0 && v <= high, kLoss, ": ", name, ": expected values in [0, 1], got ", v, " in row ",
             i / dims[1]);
  }
}

void check_params(const G2lParams& p, int64_t moments) {
  check_temperature(kLoss, p.tau_v, "tau_v");
  check_temperature(kLoss, p.tau_s, "tau_s");
  const auto check_count = [&](const char* name, int64_t k) {
    JX_CHECK(k >= 1 && k <= moments, kLoss, ": ", name, ": expected 1 to ", moments, " (moments), got ", k);
  };
  check_count("top_k", p.top_k);
  check_count("geo_topk", p.geo_topk);
  JX_CHECK(p.min_iou < p.max_iou, kLoss, ": min_iou: expected less than max_iou ", p.max_iou, ", got ",
           p.min_iou);
}

void check_grounding(const Grounding& g) {
  JX_CHECK(g.feats.defined() && is_float(g.feats.dtype()) && g.feats.ndim() == 3 && g.feats.numel() >= 1,
           kLoss, ": feats: expected a float [B, N, C], got ", g.feats);
  JX_CHECK(g.sents.defined() && g.sents.ndim() == 2 && g.sents.size(0) >= 1, kLoss,
           ": sents: expected [S, C] with S >= 1, got ", g.sents);
  const int64_t b = g.feats.size(0), n = g.feats.size(1), c = g.feats.size(2), s = g.sents.size(0);
  check_shape("feats", g.feats, {b, n, c}, g.feats.dtype());
  check_shape("feats_iou", g.feats_iou, {b, n, c}, g.feats.dtype());
  check_shape("sents", g.sents, {s, c}, g.feats.dtype());
  check_shape("sents_iou", g.sents_iou, {s, c}, g.feats.dtype());
  check_indices(kLoss, "video", g.video, {s}, b);
  constexpr double kRounded = 1 + 1e-5;  // an IoU of 1 computed in f32
  check_constant("iou", g.iou, {s, n}, kRounded);
  check_constant("sent_iou", g.sent_iou, {s, s}, kRounded);
  check_constant("geo", g.geo, {s, n}, kRounded);
}

// What the terms share: unit vectors, and constants in double.
struct Batch {
  int64_t videos, moments, sentences;
  Var v, u;  // [B, N, C], [S, C]
  const int64_t* video;
  Tensor iou, sent_iou, geo;  // f64, contiguous
};

// Similarity of every sentence to the moments of its own video: [S, N].
Var to_own_video(const Var& u, const Var& v, const int64_t* video) {
  std::vector<Var> parts;
  std::vector<int64_t> place(static_cast<size_t>(u.size(0)));  // of sentence s among the joined parts
  int64_t placed = 0;
  for (int64_t b = 0; b < v.size(0); ++b) {
    std::vector<int64_t> mine;
    for (int64_t s = 0; s < u.size(0); ++s)
      if (video[s] == b) mine.push_back(s), place[static_cast<size_t>(s)] = placed++;
    if (mine.empty()) continue;
    const Tensor rows = Tensor::from(std::span<const int64_t>(mine), {static_cast<int64_t>(mine.size())});
    parts.push_back(matmul(index_select(u, 0, rows), transpose(select(v, 0, b), 0, 1)));
  }
  return index_select(cat(parts, 0), 0, Tensor::from(std::span<const int64_t>(place), {u.size(0)}));
}

// BCE with logits x and targets t: softplus(x) - t x.
Var iou_regression(const Grounding& g, const Batch& b, const G2lParams& p) {
  const Var x = affine(to_own_video(unit(g.sents_iou), unit(g.feats_iou), b.video), 10.0, 0.0);
  Tensor target = b.iou.clone();
  double* t = target.write<double>(kLoss);
  for (int64_t i = 0; i < target.numel(); ++i)
    t[i] = std::clamp((t[i] - p.min_iou) / (p.max_iou - p.min_iou), 0.0, 1.0);
  return mean(sub(softplus(x), mul(Var(target.to(x.dtype())), x)));
}

// From the best moments of every sentence to the sentences.
Var video_to_sentence(const Batch& b, const G2lParams& p) {
  const int64_t rows = b.sentences * p.top_k, s = b.sentences;
  const Tensor best = topk(Var(b.iou), p.top_k).indices.contiguous();
  Tensor moment = Tensor::empty({rows}, DType::i64), own = Tensor::empty({rows}, DType::i64),
         mask = Tensor::empty({rows, s}, DType::boolean);
  for (int64_t r = 0; r < rows; ++r) {
    const int64_t i = r / p.top_k;
    moment.write<int64_t>(kLoss)[r] = b.video[i] * b.moments + best.data<int64_t>()[r];
    own.write<int64_t>(kLoss)[r] = i;
    for (int64_t j = 0; j < s; ++j)
      mask.write<bool>(kLoss)[r * s + j] =
          j == i || b.video[j] != b.video[i] || b.sent_iou.data<double>()[i * s + j] < p.removal_iou;
  }
  const Var flat = reshape(b.v, {b.videos * b.moments, b.v.size(2)}), v = index_select(flat, 0, moment);
  ContrastOptions o;
  o.op = kLoss;
  o.positive = own;
  o.mask = mask;
  o.margin = p.margin;
  const ContrastResult c = contrast({&v, 1}, {&b.u, 1}, constant_temperature(p.tau_v, v), o);
  return mean(sub(c.lse, c.positive));
}

// log sum over the moments of other videos, [S].
Var other_videos_lse(const Batch& b, double tau) {
  const int64_t columns = b.videos * b.moments;
  const Var flat = reshape(b.v, {columns, b.v.size(2)});
  ContrastOptions o;
  o.op = kLoss;
  o.row_ids = Tensor::empty({b.sentences}, DType::i64);
  o.column_ids = Tensor::empty({columns}, DType::i64);
  for (int64_t i = 0; i < b.sentences; ++i) o.row_ids.write<int64_t>(kLoss)[i] = b.video[i];
  for (int64_t j = 0; j < columns; ++j) o.column_ids.write<int64_t>(kLoss)[j] = j / b.moments;
  return contrast({&b.u, 1}, {&flat, 1}, constant_temperature(tau, flat), o).lse;
}

// From every sentence to moments, near ones first.
Var geodesic_contrast(const Batch& b, const G2lParams& p) {
  const int64_t s = b.sentences, n = b.moments;
  const Tensor nearest = topk(Var(b.geo), p.geo_topk).indices.contiguous();
  const double *geo = b.geo.data<double>(), *iou = b.iou.data<double>();
  Tensor weight = Tensor::zeros({s, n}, DType::f64), share = Tensor::zeros({s, n}, DType::f64),
         mask = Tensor::zeros({s, n}, DType::boolean);
  double *log_w = weight.write<double>(kLoss), *positive = share.write<double>(kLoss);
  bool* present = mask.write<bool>(kLoss);
  for (int64_t i = 0; i < s; ++i) {
    for (int64_t j = i * n; j < (i + 1) * n; ++j) {
      present[j] = iou[j] < p.neg_iou;
      log_w[j] = std::log1p(geo[j]);
    }
    const int64_t* group = nearest.data<int64_t>() + i * p.geo_topk;
    double total = 0;
    for (int64_t r = 0; r < p.geo_topk; ++r) total += geo[i * n + group[r]];
    JX_CHECK(total > 0, kLoss, ": geo: expected a positive similarity in every row, got none in row ", i);
    for (int64_t r = 0; r < p.geo_topk; ++r) {
      const int64_t j = i * n + group[r];
      present[j] = true, log_w[j] = 0, positive[j] = geo[j] / total;
    }
  }
  const Var own = affine(to_own_video(b.u, b.v, b.video), 1 / p.tau_s, 0.0);
  const Var log_weight(weight.to(own.dtype())), p_k(share.to(own.dtype()));
  Var lse = logsumexp(add(own, log_weight), mask);
  if (b.videos > 1) lse = logsumexp(stack(std::vector{lse, other_videos_lse(b, p.tau_s)}, 1));
  return mean(sub(lse, sum(mul(p_k, own), {1})));
}

}  // namespace

Loss g2l_losses(const Grounding& g, const G2lParams& p) {
  check_grounding(g);
  check_params(p, g.feats.size(1));
  const Tensor video = g.video.contiguous();
  const auto wide = [](const Tensor& t) { return t.to(DType::f64).contiguous(); };
  const Batch b{g.feats.size(0),       g.feats.size(1), g.sents.size(0),  unit(g.feats), unit(g.sents),
                video.data<int64_t>(), wide(g.iou),     wide(g.sent_iou), wide(g.geo)};
  const Var iou = iou_regression(g, b, p), vid = video_to_sentence(b, p), gcl = geodesic_contrast(b, p);
  return {add(affine(iou, p.w_iou, 0.0), affine(add(vid, gcl), p.w_con, 0.0)),
          {{"vid", stop_gradient(vid)}, {"gcl", stop_gradient(gcl)}, {"iou_loss", stop_gradient(iou)}}};
}

}  // namespace juxta::ssl

#include "ssl/losses/momentum_pairs.h"

#include <algorithm>
#include <cmath>

#include "autograd/contrast.h"
#include "autograd/ops.h"

namespace juxta::ssl {

namespace {

// Keys of one modality in their two parts: the batch, then the queue (if any).
using Keys = std::vector<Var>;

int64_t rows_of(const Keys& keys) { return keys[0].size(0) + (keys.size() > 1 ? keys[1].size(0) : 0); }

Keys keys_of(const Var& batch, const Var& queue) {
  return queue.defined() && queue.size(0) > 0 ? Keys{batch, queue} : Keys{batch};
}

// [R, C]: softmax(rows keys^T / temperature).
Tensor similarity_targets(const Var& rows, const Keys& keys, double temperature) {
  const NoGrad constant;
  std::vector<Var> parts;
  for (const Var& k : keys) parts.push_back(matmul(rows, transpose(k, 0, 1)));
  return softmax(affine(cat(parts, 1), 1.0 / temperature, 0.0)).value();
}

// (1 - alpha) hard + alpha soft.
Tensor mixed(const Tensor& hard, const Tensor& soft, double alpha) {
  const NoGrad constant;
  return add(affine(Var(hard), 1.0 - alpha, 0.0), affine(Var(soft), alpha, 0.0)).value();
}

// One hot: row r belongs to key begin + r.
Tensor own_key(int64_t rows, int64_t columns, int64_t begin, DType dtype) {
  Tensor hard = Tensor::zeros({rows, columns}, DType::f64);
  for (int64_t r = 0; r < rows; ++r) hard.write<double>("momentum_pairs")[r * columns + begin + r] = 1;
  return hard.to(dtype);
}

// Keys of the row's id, 1 / their number each; the row's own key is among them.
Tensor equal_ids(const PairIds& ids, int64_t columns, DType dtype) {
  const int64_t n = ids.ids.numel();
  const Tensor batch = ids.ids.contiguous(),
               queue = ids.queue_ids.defined() ? ids.queue_ids.contiguous() : Tensor::zeros({0}, DType::i64);
  const auto id = [&](int64_t j) { return j < n ? batch.data<int64_t>()[j] : queue.data<int64_t>()[j - n]; };
  Tensor hard = Tensor::zeros({n, columns}, DType::f64);
  double* out = hard.write<double>("albef_itc");
  for (int64_t i = 0; i < n; ++i) {
    double count = 0;
    for (int64_t j = 0; j < columns; ++j) count += id(j) == id(i);
    for (int64_t j = 0; j < columns; ++j) out[i * columns + j] = id(j) == id(i) ? 1 / count : 0;
  }
  return hard.to(dtype);
}

// Per row -sum_j y_ij log softmax(rows keys^T / temperature)_ij, without the similarities: y sums to 1.
Var soft_contrast(const char* op, const Var& rows, const Keys& keys, const Var& temperature,
                  const Tensor& y) {
  ContrastOptions o;
  o.op = op;
  o.positive_weight = y;
  o.stop_columns = true;
  const ContrastResult s = contrast({&rows, 1}, keys, temperature, o);
  return sub(s.lse, s.positive);
}

void check_queues(const char* loss, const Tensor& image_queue, const Tensor& text_queue, const Var& like) {
  JX_CHECK(image_queue.defined() == text_queue.defined(), loss,
           ": image_queue and text_queue: they go together; one of them is missing");
  if (!image_queue.defined()) return;
  const auto check = [&](const char* name, const Tensor& q) {
    JX_CHECK(is_float(q.dtype()) && q.ndim() == 2 && q.size(1) == like.size(1) &&
                 q.size(0) == image_queue.size(0) && q.dtype() == like.dtype(),
             loss, ": ", name, ": expected ", like.dtype(), " [K, ", like.size(1), "], got ", q);
    if (q.numel()) check_finite(loss, {name, Var(q)});
  };
  check("image_queue", image_queue);
  check("text_queue", text_queue);
}

void check_alpha(const char* loss, double alpha) {
  JX_CHECK(alpha >= 0 && alpha <= 1, loss, ": alpha: expected a number from 0 to 1, got ", alpha);
}

void check_number(const char* loss, const char* name, const Var& x) {
  JX_CHECK(x.defined() && is_float(x.dtype()) && x.numel() == 1, loss, ": ", name,
           ": expected one number, got ", x);
  check_finite(loss, {name, x});
}

void check_pair_ids(const PairIds& ids, int64_t n, int64_t queue_rows) {
  if (!ids.ids.defined()) {
    JX_CHECK(!ids.queue_ids.defined(), "albef_itc: ids: missing beside queue_ids");
    return;
  }
  JX_CHECK(ids.ids.dtype() == DType::i64 && ids.ids.dims() == Dims({n}), "albef_itc: ids: expected i64 [", n,
           "], got ", ids.ids);
  if (!ids.queue_ids.defined()) {
    JX_CHECK(queue_rows == 0, "albef_itc: queue_ids: missing; ids need one for each of the ", queue_rows,
             " rows of the queue (-100 where it is not filled)");
    return;
  }
  JX_CHECK(ids.queue_ids.dtype() == DType::i64 && ids.queue_ids.dims() == Dims({queue_rows}),
           "albef_itc: queue_ids: expected i64 [", queue_rows, "], got ", ids.queue_ids);
}

// The clamped value, whose gradient is handed on whole, also outside of the range.
Var clamped_in_place(const Var& temp, const AlbefItcParams& p) {
  const Tensor value = clamp(stop_gradient(temp), p.temp_min, p.temp_max).value();
  const Tensor one = Tensor::full(temp.dims(), 1.0, temp.dtype());
  return reshape(with_gradient(value, {&temp, 1}, {&one, 1}), {1});
}

}  // namespace

Loss albef_itc(const Var& image_feat, const Var& text_feat, const Tensor& image_feat_m,
               const Tensor& text_feat_m, const Var& temp, const Tensor& image_queue,
               const Tensor& text_queue, const PairIds& ids, const AlbefItcParams& p) {
  constexpr const char* kLoss = "albef_itc";
  check_embeddings(kLoss, {{"image_feat", image_feat},
                           {"text_feat", text_feat},
                           {"image_feat_m", Var(image_feat_m)},
                           {"text_feat_m", Var(text_feat_m)}});
  check_queues(kLoss, image_queue, text_queue, image_feat);
  check_number(kLoss, "temp", temp);
  check_alpha(kLoss, p.alpha);
  check_temperature(kLoss, p.temp_min, "temp_min");
  JX_CHECK(p.temp_max >= p.temp_min, kLoss, ": temp_max: expected at least temp_min = ", p.temp_min, ", got ",
           p.temp_max);
  const int64_t n = image_feat.size(0), queue_rows = image_queue.defined() ? image_queue.size(0) : 0;
  check_pair_ids(ids, n, queue_rows);
  const auto feature = [&](const Var& x) {
    return p.normalize ? l2_normalize(at_least_f32(x)) : at_least_f32(x);
  };
  const auto queue = [](const Tensor& q) { return q.defined() ? at_least_f32(Var(q)) : Var(); };
  const Var v = feature(image_feat), t = feature(text_feat), vm = feature(Var(image_feat_m)),
            tm = feature(Var(text_feat_m));
  const Keys images = keys_of(vm, queue(image_queue)), texts = keys_of(tm, queue(text_queue));
  const Var temperature = clamped_in_place(cast(temp, v.dtype()), p);
  const double tau = temperature.item();
  const int64_t columns = rows_of(images);
  const Tensor hard =
      ids.ids.defined() ? equal_ids(ids, columns, v.dtype()) : own_key(n, columns, 0, v.dtype());
  const Tensor target_i2t = mixed(hard, similarity_targets(vm, texts, tau), p.alpha),
               target_t2i = mixed(hard, similarity_targets(tm, images, tau), p.alpha);
  const Var i2t = soft_contrast(kLoss, v, texts, temperature, target_i2t),
            t2i = soft_contrast(kLoss, t, images, temperature, target_t2i);
  const Var samples = affine(add(i2t, t2i), 0.5, 0.0);
  return {mean(samples),
          {{"loss_i2t", stop_gradient(mean(i2t))},
           {"loss_t2i", stop_gradient(mean(t2i))},
           {"target_i2t", Var(target_i2t)},
           {"target_t2i", Var(target_t2i)}},
          stop_gradient(samples)};
}

namespace {

// l_i [B] of the rows from `begin` against these keys.
Var msd_samples(const Var& image, const Var& text, int64_t begin, const MomentumKeys& k,
                const Var& log_temperature, const MsdParams& p) {
  constexpr const char* kLoss = "msd_loss";
  const auto constant = [](const Tensor& t) { return t.defined() ? at_least_f32(Var(t)) : Var(); };
  const Var v = at_least_f32(image), t = at_least_f32(text), vm = constant(k.image), tm = constant(k.text);
  const Keys images = keys_of(vm, constant(k.image_queue)), texts = keys_of(tm, constant(k.text_queue));
  const int64_t rows = v.size(0);
  const bool cross = p.target == TargetFrom::cross;
  const auto target = [&](const Var& m, const Keys& other, const Keys& own) {
    const Var part = slice(m, 0, begin, begin + rows);
    const Tensor soft = similarity_targets(part, cross ? other : own, p.temperature_target);
    return mixed(own_key(rows, rows_of(own), begin, v.dtype()), soft, p.alpha);
  };
  const Var temperature = exp(reshape(cast(log_temperature, v.dtype()), {1}));
  const Var i2t = soft_contrast(kLoss, v, texts, temperature, target(vm, texts, images)),
            t2i = soft_contrast(kLoss, t, images, temperature, target(tm, images, texts));
  return affine(add(i2t, t2i), 0.5, 0.0);
}

void check_msd(const Var& image, const Var& text, const MomentumKeys& k, const Var& log_temperature,
               const MsdParams& p) {
  constexpr const char* kLoss = "msd_loss";
  check_embeddings(kLoss, {{"image", image}, {"text", text}});
  check_embeddings(kLoss, {{"image_m", Var(k.image)}, {"text_m", Var(k.text)}});
  JX_CHECK(k.image.dtype() == image.dtype() && k.image.size(1) == image.size(1), kLoss,
           ": image_m: expected ", image.dtype(), " [N, ", image.size(1), "] like image, got ", k.image);
  check_queues(kLoss, k.image_queue, k.text_queue, image);
  check_number(kLoss, "log_temperature", log_temperature);
  check_alpha(kLoss, p.alpha);
  check_temperature(kLoss, p.temperature_target, "temperature_target");
  JX_CHECK(p.micro_batch >= 1, kLoss, ": micro_batch: expected at least 1, got ", p.micro_batch);
}

// Ordinary accumulation: every micro-batch as if it were a batch, weighted by its share of the rows.
Var ordinary_accumulation(const Var& image, const Var& text, const MomentumKeys& k,
                          const Var& log_temperature, const MsdParams& p) {
  const NoGrad figure;
  const int64_t n = image.size(0);
  std::vector<Var> samples;
  for (int64_t begin = 0; begin < n; begin += p.micro_batch) {
    const int64_t end = std::min(n, begin + p.micro_batch);
    const MomentumKeys own{k.image.slice(0, begin, end), k.text.slice(0, begin, end), k.image_queue,
                           k.text_queue};
    samples.push_back(
        msd_samples(slice(image, 0, begin, end), slice(text, 0, begin, end), 0, own, log_temperature, p));
  }
  return mean(cat(samples, 0));
}

}  // namespace

Loss msd_micro(const Var& image, const Var& text, int64_t begin, const MomentumKeys& keys,
               const Var& log_temperature, const MsdParams& p) {
  check_msd(image, text, keys, log_temperature, p);
  const int64_t n = keys.image.size(0);
  JX_CHECK(begin >= 0 && begin + image.size(0) <= n, "msd_loss: begin: expected rows within the ", n,
           " keys of the batch, got ", begin, " + ", image.size(0));
  const Var samples = msd_samples(image, text, begin, keys, log_temperature, p);
  return {affine(sum(samples), 1.0 / static_cast<double>(n), 0.0), {}, stop_gradient(samples)};
}

Loss msd_loss(const Var& image, const Var& text, const MomentumKeys& keys, const Var& log_temperature,
              const MsdParams& p) {
  check_msd(image, text, keys, log_temperature, p);
  const int64_t n = image.size(0);
  JX_CHECK(keys.image.size(0) == n, "msd_loss: image_m: expected ", n, " rows like image, got ", keys.image);
  Loss whole = msd_micro(image, text, 0, keys, log_temperature, p);
  std::vector<Var> shares;
  for (int64_t begin = 0; begin < n; begin += p.micro_batch) {
    const Var part = slice(whole.samples, 0, begin, std::min(n, begin + p.micro_batch));
    shares.push_back(affine(sum(part, {}, false), 1.0 / static_cast<double>(n), 0.0));
  }
  whole.terms = {
      {"micro_loss", stack(shares, 0)},
      {"ordinary_accumulation_loss", ordinary_accumulation(image, text, keys, log_temperature, p)}};
  return whole;
}

}  // namespace juxta::ssl

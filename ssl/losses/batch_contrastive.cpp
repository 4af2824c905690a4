#include "ssl/losses/batch_contrastive.h"

#include "autograd/contrast.h"
#include "autograd/ops.h"

namespace juxta::ssl {

namespace {

Var unit(const Var& x, bool normalize) { return normalize ? l2_normalize(x) : x; }

// Row i's similarity to row i, [N].
Var paired(const Var& a, const Var& b) { return sum(mul(a, b), {-1}); }

// (a + N) mod 2N for a = 0 .. 2N - 1.
Tensor other_view(int64_t n) {
  Tensor t = Tensor::empty({2 * n}, DType::i64);
  auto* p = t.write<int64_t>("nt_xent");
  for (int64_t a = 0; a < 2 * n; ++a) p[a] = (a + n) % (2 * n);
  return t;
}

}  // namespace

Loss nt_xent(const Var& z1, const Var& z2, const NtXentParams& p) {
  check_embeddings("nt_xent", {{"z1", z1}, {"z2", z2}});
  check_temperature("nt_xent", p.temperature);
  const int64_t n = z1.size(0);
  ContrastOptions o;
  o.op = "nt_xent";
  o.normalize = p.normalize;
  o.row_ids = Tensor::arange(2 * n);  // an anchor is not its own negative
  o.positive = other_view(n);
  const std::vector<Var> z{z1, z2};
  // CE(S_a, target) = lse_a - S_a,target; S = S^T, so that every similarity is computed once.
  const ContrastResult s = contrast_symmetric(z, constant_temperature(p.temperature, z1), o);
  const Var samples = sub(s.lse, s.positive), lse = mean(s.lse), positive = mean(s.positive);
  return {mean(samples),
          {{"positive", affine(stop_gradient(positive), p.temperature, 0.0)}, {"lse", stop_gradient(lse)}},
          stop_gradient(samples)};
}

namespace {

// MoCo: the positive is the query's own key, the negatives are the queue.
//   CE([l_pos ; l_neg], 0) = log(e^l_pos + sum e^l_neg) - l_pos = softplus(lse(l_neg) - l_pos)
Var against_queue(const Var& query, const Var& key, const Var& queue, const InfoNceParams& p,
                  const QueueIds& ids, Var& positive) {
  const Var q = unit(query, p.normalize), k = unit(key, p.normalize);
  positive = paired(q, k);
  ContrastOptions o;
  o.op = "info_nce";
  o.row_ids = ids.rows, o.column_ids = ids.queue;
  const Var negatives = contrast({&q, 1}, {&queue, 1}, constant_temperature(p.temperature, q), o).lse;
  return mean(softplus(sub(negatives, affine(positive, 1.0 / p.temperature, 0.0))));
}

// The batch's keys, then the queue.
Var against_both(const Var& query, const Var& key, const Var& queue, const InfoNceParams& p, const QueueIds&,
                 Var& positive) {
  const Var q = unit(query, p.normalize);
  const std::vector<Var> columns{unit(key, p.normalize), queue};
  ContrastOptions o;
  o.op = "info_nce";
  o.positive = Tensor::arange(query.size(0));
  const ContrastResult s = contrast({&q, 1}, columns, constant_temperature(p.temperature, q), o);
  positive = affine(s.positive, p.temperature, 0.0);
  return mean(sub(s.lse, s.positive));
}

// The batch's keys alone; both operands have gradients, and one matrix serves both directions.
Var against_batch(const Var& query, const Var& key, const InfoNceParams& p, Var& positive) {
  ContrastOptions o;
  o.op = "info_nce";
  o.normalize = p.normalize;
  o.positive = Tensor::arange(query.size(0));
  o.two_way = p.symmetric;
  const ContrastResult s = contrast({&query, 1}, {&key, 1}, constant_temperature(p.temperature, query), o);
  positive = affine(s.positive, p.temperature, 0.0);
  Var rows = mean(sub(s.lse, s.positive));
  if (!p.symmetric) return rows;
  return affine(add(rows, mean(sub(s.column_lse, s.column_positive))), 0.5, 0.0);
}

void check_queue(const Var& queue, const Var& query) {
  JX_CHECK(queue.defined(),
           "info_nce: queue: negatives = queue and both need one; give [K, D] (K = 0 allowed), "
           "or choose negatives = in_batch");
  JX_CHECK(queue.ndim() == 2 && queue.size(1) == query.size(1) && queue.dtype() == query.dtype() &&
               queue.device() == query.device(),
           "info_nce: queue: expected ", query.dtype(), " [K, ", query.size(1), "] on ", query.device(),
           ", got ", queue);
  check_finite("info_nce", {"queue", queue});
}

void check_ids(const QueueIds& ids, const Var& query, const Var& queue, const InfoNceParams& p) {
  if (!ids.rows.defined() && !ids.queue.defined()) return;
  JX_CHECK(p.negatives == Negatives::queue, "info_nce: ids: they go with negatives = queue");
  const auto check = [](const char* name, const Tensor& t, int64_t n) {
    JX_CHECK(t.defined() && t.dtype() == DType::i64 && t.dims() == Dims({n}), "info_nce: ids.", name,
             ": expected i64 [", n, "], got ", t.defined() ? to_text(t) : "nothing");
  };
  check("rows", ids.rows, query.size(0));
  check("queue", ids.queue, queue.size(0));
}

}  // namespace

Loss info_nce(const Var& query, const Var& key, const Var& queue, const InfoNceParams& p,
              const QueueIds& ids) {
  check_embeddings("info_nce", {{"query", query}, {"key", key}});
  check_temperature("info_nce", p.temperature);
  Var loss, positive;
  if (p.negatives == Negatives::in_batch) {
    check_ids(ids, query, query, p);
    JX_CHECK(!queue.defined(), "info_nce: queue: negatives = in_batch uses none; choose negatives = both");
    loss = against_batch(query, key, p, positive);
  } else {
    // The momentum encoder made the keys: constants, also where they ask (symmetric).
    const Var q = at_least_f32(query), k = stop_gradient(at_least_f32(key));
    // The queue is not normalised again: its rows are unit when they enter it.
    const Var past = queue.defined() ? stop_gradient(at_least_f32(queue)) : queue;
    check_queue(past, q);
    check_ids(ids, q, past, p);
    const auto direction = p.negatives == Negatives::queue ? against_queue : against_both;
    loss = direction(q, k, past, p, ids, positive);
    if (p.symmetric) {
      Var mirrored;  // now the keys ask, and the queries learn as their positives
      loss = affine(add(loss, direction(k, q, past, p, ids, mirrored)), 0.5, 0.0);
    }
  }
  return {loss, {{"positive", stop_gradient(mean(positive))}}};
}

}  // namespace juxta::ssl

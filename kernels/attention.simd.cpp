// Attention on vectors: loops over blocks of queries and keys around the GEMM core. Formulas in attention.h,
// the life of a tile of scores in attention_block.h.
#include "kernels/attention.h"

#include "kernels/attention_block.h"
#include "kernels/gemm_core.h"
#include "kernels/simd.h"

namespace juxta::JX_ISA {

namespace {

// Hands out parts of this thread's scratch memory; measures first when it has none.
class Arena {
 public:
  [[gnu::always_inline]] explicit Arena(float* base) : base_(base) {}
  [[gnu::always_inline]] float* take(int64_t floats) {
    float* p = base_ ? base_ + used_ : nullptr;
    used_ += (floats + 15) / 16 * 16;
    return p;
  }
  [[gnu::always_inline]] int64_t used() const { return used_; }

 private:
  float* base_;
  int64_t used_ = 0;
};

// Keys per block: eight panels of A, so that two tiles of scores stay in the first-level cache.
template <class T>
[[gnu::always_inline]] inline int64_t keys_per_block(const ScoreRule<T>& r) {
  const int64_t wanted = r.key_block > 0 ? r.key_block : (kWidth == 16 ? 8 : 16) * kMR;
  return (wanted + kMR - 1) / kMR * kMR;
}

[[gnu::always_inline]] inline int64_t round_up(int64_t n, int64_t unit) {
  return (n + unit - 1) / unit * unit;
}
// Words of n rows as panels of A, of D columns as panels of B.
template <class T>
[[gnu::always_inline]] inline int64_t words_a(int64_t n, int64_t k) {
  return round_up(n, kMR) * panel_steps<T>(k);
}
template <class T>
[[gnu::always_inline]] inline int64_t words_b(int64_t n, int64_t k) {
  return round_up(n, kNR) * panel_steps<T>(k);
}

// Calls f(Vectors<V>) with V = registers that the lanes of a block of n queries fill.
template <int V>
struct Vectors {};
template <class F>
[[gnu::always_inline]] inline void with_vectors(int n, F f) {
  if (n > kWidth)
    f(Vectors<2>{});
  else
    f(Vectors<1>{});
}

// Calls f(Arena) twice: to measure, then with the memory.
template <class F>
[[gnu::always_inline]] inline void in_arena(F f) {
  Arena size(nullptr);
  f(size);
  Arena arena(static_cast<float*>(thread_scratch(Scratch::attention, size.used() * 4)));
  f(arena);
}

[[gnu::always_inline]] inline int block_size(int64_t from, int64_t end) {
  return static_cast<int>(end - from < kLanes ? end - from : kLanes);
}

// The batch item and head that come next on this thread, most likely; b < 0: none.
struct Head {
  int64_t b, h;
};

// Asks for the next head's rows while this one is in work: they lie too far apart for the hardware to guess.
// Long sequences, which would push this head out of the second-level cache, are left to it.
template <class T>
[[gnu::always_inline]] inline void prefetch_rows(const Side<const T>& x, const Head& next, int64_t rows,
                                                 int64_t D) {
  constexpr int64_t kRows = 256, kLine = 64 / static_cast<int64_t>(sizeof(T));
  if (next.b < 0 || rows > kRows) return;
  const T* p = x.at(next.b, next.h);
  for (int64_t r = 0; r < rows; ++r)
    for (int64_t d = 0; d < D; d += kLine) __builtin_prefetch(p + r * x.token + d, 0, 2);
}

// ---- forward

template <class T>
struct ForwardSpace {
  Word *k, *v, *q, *words;  // panels of k (A), v (B) and a block of q (B)
  float *s, *out, *down;
  int64_t ld;
  explicit ForwardSpace(const ScoreRule<T>& r) {
    ld = round_up(r.D, kWidth);
    in_arena([&](Arena& a) {
      k = a.take(words_a<T>(r.Tk, r.D));
      v = a.take(words_b<T>(r.D, r.Tk));
      q = a.take(words_b<T>(kLanes, r.D));
      words = a.take(keys_per_block(r) * kLanes / 2);
      s = a.take(keys_per_block(r) * kLanes);
      out = a.take(kLanes * ld);
      down = a.take(kLanes);
    });
  }
};

// One block of queries against all keys that it sees; v's panels hold `packed` keys.
template <int V, class T>
void forward_block(const AttentionFwd<T>& a, const ForwardSpace<T>& m, const QueryBlock& at, int64_t packed) {
  const ScoreRule<T>& r = a.rule;
  const int64_t steps = panel_steps<T>(r.D), block = keys_per_block(r);
  pack_b<T>(m.q, a.q.at(at.b, at.h) + at.q0 * a.q.token, a.q.token, 1, at.n, r.D);
  const Visible see = visible_keys(r, at);
  Running run;
  for (int64_t key = 0; key < see.highest; key += block) {
    const int64_t keys = see.highest - key < block ? see.highest - key : block;
    multiply_to_tile<T>(m.k + key * steps, m.q, steps, keys, at.n, m.s);
    const F32 factor = apply_rule<V>(r, at, see, key, keys, m.s);
    softmax_block<V>(m.s, keys, factor, run, m.down);
    if (key > 0) store_rows(m.out, m.ld, at.n, r.D, m.down, false, m.out, m.ld);
    multiply_words<T, 1, kLanes>(words_along_keys<T, V>(m.s, keys, m.words), at.n, m.v + key / kPair<T> * kNR,
                                 panel_steps<T>(packed) * kNR, panel_steps<T>(keys), r.D, m.out, m.ld,
                                 key > 0);
  }
  T* out = a.out + ((at.b * r.Tq + at.q0) * r.H + at.h) * r.D;
  if (see.highest == 0) {
    zero_rows(out, r.H * r.D, at.n, r.D);
  } else {
    for (int v = 0; v < V; ++v) store(m.down + v * kWidth, inverse_sum(run, v));
    store_rows(m.out, m.ld, at.n, r.D, m.down, false, out, r.H * r.D);
  }
  float* lse = a.lse + (at.b * r.H + at.h) * r.Tq + at.q0;
  for (int v = 0; v < V; ++v) {
    const int n = at.n - v * kWidth < kWidth ? at.n - v * kWidth : kWidth;
    store_part(lse + v * kWidth, natural_lse(run, v), n);
  }
}

template <class T>
void attention_fwd(const AttentionFwd<T>& a, int64_t item, int64_t item_end) {
  const ScoreRule<T>& r = a.rule;
  const ForwardSpace<T> m(r);
  const int64_t runs = (r.Tq + a.queries - 1) / a.queries;
  for (; item < item_end; ++item) {
    const int64_t b = item / runs / r.H, h = item / runs % r.H, first = item % runs * a.queries;
    const int64_t end = first + a.queries < r.Tq ? first + a.queries : r.Tq;
    const int64_t packed = r.limit(b, end - 1);
    pack_rows_of<T>(m.k, a.k.at(b, h), a.k.token, packed, r.D);
    pack_columns_of<T>(m.v, a.v.at(b, h), a.v.token, packed, r.D);
    const int64_t later = (item + 1) / runs;
    const Head next{later < r.B * r.H ? later / r.H : -1, later % r.H};
    prefetch_rows(a.k, next, r.Tk, r.D);
    for (int64_t q = first; q < end; q += kLanes) {
      const QueryBlock at{b, h, q, block_size(q, end)};
      with_vectors(at.n, [&]<int V>(Vectors<V>) { forward_block<V>(a, m, at, packed); });
      if (q > first) continue;
      prefetch_rows(a.v, next, r.Tk, r.D);
      prefetch_rows(a.q, next, r.Tq, r.D);
    }
  }
}

// ---- backward

// What both backward passes share: gradients of q, k and bias from tiles of ds.
template <class T>
struct ScoreGradSpace {
  Word *k_columns, *q_columns, *words;
  float *s, *ds, *dq, *dk;
  int64_t ld;
  [[gnu::always_inline]] void take(Arena& a, const ScoreRule<T>& r) {
    ld = round_up(r.D, kWidth);
    k_columns = a.take(words_b<T>(r.D, r.Tk));
    q_columns = a.take(words_b<T>(r.D, kLanes));
    words = a.take(keys_per_block(r) * kLanes / 2);
    s = a.take(keys_per_block(r) * kLanes);
    ds = a.take(keys_per_block(r) * kLanes);
    dq = a.take(kLanes * ld);
    dk = a.take(r.Tk * ld);
  }
};

// Where the gradients of one batch item and head go; null where none is wanted.
template <class T>
struct ScoreGradOut {
  T *dq, *dk;
  int64_t dq_stride, dk_stride;
  float* dbias;    // rows [Tq, Tk]
  int64_t packed;  // keys in k_columns
};
template <template <class> class Args, class T>
[[gnu::always_inline]] inline ScoreGradOut<T> score_grad_out(const Args<T>& a, int64_t chunk, int64_t b,
                                                             int64_t h, int64_t packed) {
  return ScoreGradOut<T>{a.dq ? a.dq.at(b, h) : nullptr,
                         a.dk ? a.dk.at(b, h) : nullptr,
                         a.dq.token,
                         a.dk.token,
                         a.dbias ? a.dbias + chunk * a.dbias_chunk + h * a.dbias_head : nullptr,
                         packed};
}

// Adds what the tile m.ds of keys [key, key + keys) contributes.
template <int V, class T>
void add_score_gradients(const ScoreRule<T>& r, const ScoreGradSpace<T>& m, const ScoreGradOut<T>& out,
                         const QueryBlock& at, int64_t key, int64_t keys) {
  if (out.dbias) store_transposed<V>(m.ds, keys, at.n, out.dbias + at.q0 * r.Tk + key, r.Tk, true);
  if (out.dq)
    multiply_words<T, 1, kLanes>(words_along_keys<T, V>(m.ds, keys, m.words), at.n,
                                 m.k_columns + key / kPair<T> * kNR, panel_steps<T>(out.packed) * kNR,
                                 panel_steps<T>(keys), r.D, m.dq, m.ld, key > 0);
  if (out.dk)
    multiply_words<T, kLanes / kPair<T>, 1>(words_along_queries<T, V>(m.ds, keys, m.words), keys, m.q_columns,
                                            panel_steps<T>(at.n) * kNR, panel_steps<T>(at.n), r.D,
                                            m.dk + key * m.ld, m.ld, true);
}
template <class T>
void store_query_gradients(const ScoreRule<T>& r, const ScoreGradSpace<T>& m, const ScoreGradOut<T>& out,
                           const QueryBlock& at, bool any) {
  if (!out.dq) return;
  const float scale = static_cast<float>(r.scale);
  T* to = out.dq + at.q0 * out.dq_stride;
  if (any)
    store_rows(m.dq, m.ld, at.n, r.D, &scale, true, to, out.dq_stride);
  else
    zero_rows(to, out.dq_stride, at.n, r.D);
}
// Sums of the first `keys` keys; the others got nothing.
template <class T>
void store_key_gradients(const ScoreRule<T>& r, const float* sums, int64_t ld, int64_t keys, float scale,
                         T* to, int64_t stride) {
  if (!to) return;
  store_rows(sums, ld, keys, r.D, &scale, true, to, stride);
  zero_rows(to + keys * stride, stride, r.Tk - keys, r.D);
}
[[gnu::always_inline]] inline void clear(float* p, int64_t n) {
  __builtin_memset(p, 0, static_cast<size_t>(n) * sizeof(float));
}

template <class T>
struct BackwardSpace {
  ScoreGradSpace<T> scores;
  Word *k, *v, *q, *dout, *dout_columns;  // panels of k and v (A), of blocks of q and dout (B)
  Word* out;                              // of a block of out (A)
  float *dv, *delta, *products;
  explicit BackwardSpace(const ScoreRule<T>& r) {
    in_arena([&](Arena& a) {
      scores.take(a, r);
      k = a.take(words_a<T>(r.Tk, r.D));
      v = a.take(words_a<T>(r.Tk, r.D));
      q = a.take(words_b<T>(kLanes, r.D));
      dout = a.take(words_b<T>(kLanes, r.D));
      dout_columns = a.take(words_b<T>(r.D, kLanes));
      dv = a.take(r.Tk * scores.ld);
      delta = a.take(kLanes);
      out = a.take(words_a<T>(kLanes, r.D));
      products = a.take(kLanes * kLanes);
    });
  }
};

// delta of each lane: dout . out; 0 in lanes without a query. The diagonal of a product by the micro-kernel
// that makes dp: where one key takes all the weight, out is its value, and dp - delta is 0 to the last bit.
template <class T>
void load_delta(const AttentionBwd<T>& a, const BackwardSpace<T>& m, const QueryBlock& at, int64_t first) {
  const ScoreRule<T>& r = a.rule;
  pack_rows_of<T>(m.out, a.out + first, r.H * r.D, at.n, r.D);
  multiply_to_tile<T>(m.out, m.dout, panel_steps<T>(r.D), at.n, at.n, m.products);
  for (int i = 0; i < kLanes; ++i) m.delta[i] = i < at.n ? m.products[i * kLanes + i] : 0.0f;
}

// lse of each lane in units of log 2; +inf, hence p = 0, in lanes without a query.
template <class T>
[[gnu::always_inline]] inline void load_lse(const AttentionBwd<T>& a, const QueryBlock& at, F32 (&lse)[2]) {
  const float* p = a.lse + (at.b * a.rule.H + at.h) * a.rule.Tq + at.q0;
  for (int v = 0; v < 2; ++v) {
    const int left = at.n - v * kWidth, n = left < 0 ? 0 : left < kWidth ? left : kWidth;
    lse[v] = keep_first(load_n(p + v * kWidth, n) * F32(kLog2E), n, kInf);
  }
}

template <int V, class T>
void backward_block(const AttentionBwd<T>& a, const BackwardSpace<T>& m, const ScoreGradOut<T>& out,
                    const QueryBlock& at) {
  const ScoreRule<T>& r = a.rule;
  const int64_t steps = panel_steps<T>(r.D), block = keys_per_block(r), row = r.H * r.D;
  const int64_t first = ((at.b * r.Tq + at.q0) * r.H + at.h) * r.D;
  const T* q = a.q.at(at.b, at.h) + at.q0 * a.q.token;
  pack_b<T>(m.q, q, a.q.token, 1, at.n, r.D);
  pack_b<T>(m.dout, a.dout + first, row, 1, at.n, r.D);
  if (out.dk) pack_columns_of<T>(m.scores.q_columns, q, a.q.token, at.n, r.D);
  if (a.dv) pack_columns_of<T>(m.dout_columns, a.dout + first, row, at.n, r.D);
  F32 lse[2], delta[2];
  load_lse(a, at, lse);
  load_delta(a, m, at, first);
  for (int v = 0; v < 2; ++v) delta[v] = load(m.delta + v * kWidth);

  const bool scores = out.dq || out.dk || out.dbias;
  const Visible see = visible_keys(r, at);
  float *s = m.scores.s, *ds = m.scores.ds;
  for (int64_t key = 0; key < see.highest; key += block) {
    const int64_t keys = see.highest - key < block ? see.highest - key : block;
    multiply_to_tile<T>(m.k + key * steps, m.q, steps, keys, at.n, s);
    probabilities<V>(s, keys, apply_rule<V>(r, at, see, key, keys, s), lse);
    if (a.dv)
      multiply_words<T, kLanes / kPair<T>, 1>(
          words_along_queries<T, V>(s, keys, m.scores.words), keys, m.dout_columns,
          panel_steps<T>(at.n) * kNR, panel_steps<T>(at.n), r.D, m.dv + key * m.scores.ld, m.scores.ld, true);
    if (!scores) continue;
    multiply_to_tile<T>(m.v + key * steps, m.dout, steps, keys, at.n, ds);
    score_gradients<V>(s, ds, keys, delta);
    add_score_gradients<V>(r, m.scores, out, at, key, keys);
  }
  store_query_gradients(r, m.scores, out, at, see.highest > 0);
}

template <class T>
void attention_bwd_head(const AttentionBwd<T>& a, const BackwardSpace<T>& m, int64_t chunk, const Head& head,
                        const Head& next) {
  const ScoreRule<T>& r = a.rule;
  const int64_t b = head.b, h = head.h, keys = r.Tq ? r.limit(b, r.Tq - 1) : 0;
  const ScoreGradOut<T> out = score_grad_out(a, chunk, b, h, keys);
  pack_rows_of<T>(m.k, a.k.at(b, h), a.k.token, keys, r.D);
  pack_rows_of<T>(m.v, a.v.at(b, h), a.v.token, keys, r.D);
  if (out.dq) pack_columns_of<T>(m.scores.k_columns, a.k.at(b, h), a.k.token, keys, r.D);
  if (out.dk) clear(m.scores.dk, keys * m.scores.ld);
  if (a.dv) clear(m.dv, keys * m.scores.ld);
  const Side<const T> dout{a.dout, r.Tq * r.H * r.D, r.H * r.D, r.D},
      o{a.out, dout.batch, dout.token, dout.head};
  for (int64_t q = 0; q < r.Tq; q += kLanes) {
    const QueryBlock at{b, h, q, block_size(q, r.Tq)};
    with_vectors(at.n, [&]<int V>(Vectors<V>) { backward_block<V>(a, m, out, at); });
    if (q > 0) continue;
    prefetch_rows(a.q, next, r.Tq, r.D);
    prefetch_rows(dout, next, r.Tq, r.D);
    prefetch_rows(o, next, r.Tq, r.D);
    prefetch_rows(a.k, next, r.Tk, r.D);
    prefetch_rows(a.v, next, r.Tk, r.D);
  }
  store_key_gradients(r, m.scores.dk, m.scores.ld, keys, static_cast<float>(r.scale), out.dk, out.dk_stride);
  store_key_gradients(r, m.dv, m.scores.ld, keys, 1.0f, a.dv ? a.dv.at(b, h) : nullptr, a.dv.token);
}

template <class T>
void attention_bwd(const AttentionBwd<T>& a, int64_t item, int64_t item_end) {
  const BackwardSpace<T> m(a.rule);
  for (; item < item_end; ++item) {
    const ScoreRule<T>& r = a.rule;
    const int64_t chunk = item / r.H, h = item % r.H, after = (item + 1) / r.H * a.chunk;
    const int64_t end = (chunk + 1) * a.chunk < r.B ? (chunk + 1) * a.chunk : r.B;
    for (int64_t b = chunk * a.chunk; b < end; ++b) {
      const Head next = b + 1 < end ? Head{b + 1, h} : Head{after < r.B ? after : -1, (item + 1) % r.H};
      attention_bwd_head(a, m, chunk, {b, h}, next);
    }
  }
}

// ---- the probabilities themselves

template <int V, class T>
void scores_block(const ScoresFwd<T>& a, const Word* k, Word* packed_q, float* s, const QueryBlock& at) {
  const ScoreRule<T>& r = a.rule;
  const int64_t steps = panel_steps<T>(r.D);
  pack_b<T>(packed_q, a.q.at(at.b, at.h) + at.q0 * a.q.token, a.q.token, 1, at.n, r.D);
  const Visible see = visible_keys(r, at);
  const int64_t keys = see.highest;
  multiply_to_tile<T>(k, packed_q, steps, keys, at.n, s);
  const F32 factor = apply_rule<V>(r, at, see, 0, keys, s);
  Running run;
  float down[kLanes];
  softmax_block<V>(s, keys, factor, run, down);
  for (int64_t j = 0; j < keys; ++j)
    for (int v = 0; v < V; ++v) {
      float* p = s + j * kLanes + v * kWidth;
      store(p, load(p) * inverse_sum(run, v));
    }
  float* p = a.p + ((at.b * r.H + at.h) * r.Tq + at.q0) * r.Tk;
  store_transposed<V>(s, keys, at.n, p, r.Tk, false);
  zero_rows(p + keys, r.Tk, at.n, r.Tk - keys);
}

template <class T>
void scores_fwd(const ScoresFwd<T>& a, int64_t item, int64_t item_end) {
  const ScoreRule<T>& r = a.rule;
  Word *k = nullptr, *q = nullptr;
  float* s = nullptr;
  in_arena([&](Arena& m) {
    k = m.take(words_a<T>(r.Tk, r.D));
    q = m.take(words_b<T>(kLanes, r.D));
    s = m.take(r.Tk * kLanes);
  });
  for (; item < item_end; ++item) {
    const int64_t b = item / r.H, h = item % r.H;
    pack_rows_of<T>(k, a.k.at(b, h), a.k.token, r.Tk, r.D);
    for (int64_t t = 0; t < r.Tq; t += kLanes) {
      const QueryBlock at{b, h, t, block_size(t, r.Tq)};
      with_vectors(at.n, [&]<int V>(Vectors<V>) { scores_block<V>(a, k, q, s, at); });
    }
  }
}

template <int V, class T>
void scores_bwd_block(const ScoresBwd<T>& a, const ScoreGradSpace<T>& m, const ScoreGradOut<T>& out,
                      const QueryBlock& at) {
  const ScoreRule<T>& r = a.rule;
  const int64_t block = keys_per_block(r), first = ((at.b * r.H + at.h) * r.Tq + at.q0) * r.Tk;
  const float *p = a.p + first, *dp = a.dp + first;
  if (out.dk) pack_columns_of<T>(m.q_columns, a.q.at(at.b, at.h) + at.q0 * a.q.token, a.q.token, at.n, r.D);
  float dots[kLanes];
  for (int i = 0; i < kLanes; ++i) {
    F32 sum(0.0f);
    if (i < at.n)
      for_lanes(r.Tk, [&](int64_t j, int n) {
        sum = fma(load_part(p + i * r.Tk + j, n), load_part(dp + i * r.Tk + j, n), sum);
      });
    dots[i] = reduce_add(sum);
  }
  const F32 delta[2] = {load(dots), load(dots + kWidth)};
  for (int64_t key = 0; key < r.Tk; key += block) {
    const int64_t keys = r.Tk - key < block ? r.Tk - key : block;
    load_transposed<V>(m.s, keys, at.n, p + key, r.Tk);
    load_transposed<V>(m.ds, keys, at.n, dp + key, r.Tk);
    score_gradients<V>(m.s, m.ds, keys, delta);
    add_score_gradients<V>(r, m, out, at, key, keys);
  }
  store_query_gradients(r, m, out, at, r.Tk > 0);
}

template <class T>
void scores_bwd(const ScoresBwd<T>& a, int64_t item, int64_t item_end) {
  const ScoreRule<T>& r = a.rule;
  ScoreGradSpace<T> m;
  in_arena([&](Arena& arena) { m.take(arena, r); });
  for (; item < item_end; ++item) {
    const int64_t chunk = item / r.H, h = item % r.H;
    for (int64_t b = chunk * a.chunk; b < r.B && b < (chunk + 1) * a.chunk; ++b) {
      const ScoreGradOut<T> out = score_grad_out(a, chunk, b, h, r.Tk);
      if (out.dq) pack_columns_of<T>(m.k_columns, a.k.at(b, h), a.k.token, r.Tk, r.D);
      if (out.dk) clear(m.dk, r.Tk * m.ld);
      for (int64_t t = 0; t < r.Tq; t += kLanes) {
        const QueryBlock at{b, h, t, block_size(t, r.Tq)};
        with_vectors(at.n, [&]<int V>(Vectors<V>) { scores_bwd_block<V>(a, m, out, at); });
      }
      store_key_gradients(r, m.dk, m.ld, r.Tk, static_cast<float>(r.scale), out.dk, out.dk_stride);
    }
  }
}

}  // namespace

#if JX_OWN_F32
extern const AttentionTable<float> attention_f32{attention_fwd<float>, attention_bwd<float>,
                                                 scores_fwd<float>, scores_bwd<float>};
#endif
extern const AttentionTable<bf16> attention_bf16{attention_fwd<bf16>, attention_bwd<bf16>, scores_fwd<bf16>,
                                                 scores_bwd<bf16>};

}  // namespace juxta::JX_ISA

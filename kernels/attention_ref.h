#pragma once
// Reference attention: one query at a time, its scores in one row. Formulas in attention.h.
#include <cmath>
#include <limits>
#include <vector>

#include "kernels/attention.h"

namespace juxta::ref {

template <class A, class X, class Y>
A dot(const X* x, const Y* y, int64_t n) {
  A sum = 0;
  for (int64_t i = 0; i < n; ++i) sum += static_cast<A>(x[i]) * static_cast<A>(y[i]);
  return sum;
}
template <class A, class X>
void add_scaled(A* y, A factor, const X* x, int64_t n) {
  for (int64_t i = 0; i < n; ++i) y[i] += factor * static_cast<A>(x[i]);
}

// Scores of query t against all keys; -inf where hidden.
template <class T>
void score_row(const ScoreRule<T>& r, const Side<const T>& q, const Side<const T>& k, int64_t b, int64_t h,
               int64_t t, std::vector<Acc<T>>& s) {
  using A = Acc<T>;
  const T *query = q.at(b, h) + t * q.token, *keys = k.at(b, h);
  const int64_t limit = r.limit(b, t);
  for (int64_t j = 0; j < r.Tk; ++j) {
    const int64_t place = t * r.Tk + j;
    const bool hidden = j >= limit || (r.mask && !r.mask[b * r.mask_batch + h * r.mask_head + place]);
    s[static_cast<size_t>(j)] =
        hidden ? -std::numeric_limits<A>::infinity()
               : static_cast<A>(r.scale) * dot<A>(query, keys + j * k.token, r.D) +
                     (r.bias ? r.bias[b * r.bias_batch + h * r.bias_head + place] : A(0));
  }
}

// s becomes softmax(s), zeros when all is -inf. Returns log sum e^s, or +inf then.
template <class A>
A softmax_row(std::vector<A>& s) {
  A high = -std::numeric_limits<A>::infinity(), sum = 0;
  for (A x : s) high = x > high || std::isnan(x) ? x : high;
  const bool none = high == -std::numeric_limits<A>::infinity();
  for (A& x : s) sum += x = none ? A(0) : std::exp(x - high);
  if (none) return std::numeric_limits<A>::infinity();
  for (A& x : s) x /= sum;
  return high + std::log(sum);
}

template <class T>
void attention_fwd(const AttentionFwd<T>& a, int64_t item, int64_t item_end) {
  using A = Acc<T>;
  const ScoreRule<T>& r = a.rule;
  const int64_t runs = (r.Tq + a.queries - 1) / a.queries;
  std::vector<A> s(static_cast<size_t>(r.Tk)), out(static_cast<size_t>(r.D));
  for (; item < item_end; ++item) {
    const int64_t b = item / runs / r.H, h = item / runs % r.H, first = item % runs * a.queries;
    for (int64_t t = first; t < r.Tq && t < first + a.queries; ++t) {
      score_row(r, a.q, a.k, b, h, t, s);
      a.lse[(b * r.H + h) * r.Tq + t] = softmax_row(s);
      for (A& x : out) x = 0;
      for (int64_t j = 0; j < r.Tk; ++j)
        if (const A p = s[static_cast<size_t>(j)]; p != 0)
          add_scaled(out.data(), p, a.v.at(b, h) + j * a.v.token, r.D);
      for (int64_t d = 0; d < r.D; ++d)
        a.out[((b * r.Tq + t) * r.H + h) * r.D + d] = static_cast<T>(out[static_cast<size_t>(d)]);
    }
  }
}

// Gradients of one (batch item, head), summed over queries in Acc<T>, then stored.
template <class T>
class HeadGradients {
 public:
  using A = Acc<T>;
  explicit HeadGradients(const ScoreRule<T>& r)
      : r_(r), dq_(size(r.D)), dk_(size(r.Tk * r.D)), dv_(size(r.Tk * r.D)) {}

  void begin() { dk_.assign(dk_.size(), A(0)), dv_.assign(dv_.size(), A(0)); }
  // ds: of query t. dbias: row t or null.
  void add_scores(const Side<const T>& q, const Side<const T>& k, const Side<T>& dq, int64_t b, int64_t h,
                  int64_t t, const std::vector<A>& ds, A* dbias) {
    dq_.assign(dq_.size(), A(0));
    for (int64_t j = 0; j < r_.Tk; ++j) {
      const A d = ds[static_cast<size_t>(j)];
      if (dbias) dbias[j] += d;
      const A scaled = d * static_cast<A>(r_.scale);
      if (scaled == 0) continue;
      add_scaled(dq_.data(), scaled, k.at(b, h) + j * k.token, r_.D);
      add_scaled(dk_.data() + j * r_.D, scaled, q.at(b, h) + t * q.token, r_.D);
    }
    if (!dq) return;
    for (int64_t d = 0; d < r_.D; ++d)
      (dq.at(b, h) + t * dq.token)[d] = static_cast<T>(dq_[static_cast<size_t>(d)]);
  }
  void add_value(const T* dout, int64_t j, A p) { add_scaled(dv_.data() + j * r_.D, p, dout, r_.D); }
  void store_keys(const Side<T>& to, int64_t b, int64_t h) const { store(dk_, to, b, h); }
  void store_values(const Side<T>& to, int64_t b, int64_t h) const { store(dv_, to, b, h); }

 private:
  static size_t size(int64_t n) { return static_cast<size_t>(n); }
  void store(const std::vector<A>& from, const Side<T>& to, int64_t b, int64_t h) const {
    if (!to) return;
    for (int64_t j = 0; j < r_.Tk; ++j)
      for (int64_t d = 0; d < r_.D; ++d)
        (to.at(b, h) + j * to.token)[d] = static_cast<T>(from[size(j * r_.D + d)]);
  }
  const ScoreRule<T>& r_;
  std::vector<A> dq_, dk_, dv_;
};

template <class T>
void attention_bwd_head(const AttentionBwd<T>& a, int64_t b, int64_t h, Acc<T>* dbias, HeadGradients<T>& g) {
  using A = Acc<T>;
  const ScoreRule<T>& r = a.rule;
  std::vector<A> s(static_cast<size_t>(r.Tk));
  g.begin();
  for (int64_t t = 0; t < r.Tq; ++t) {
    const int64_t row = ((b * r.Tq + t) * r.H + h) * r.D;
    const A lse = a.lse[(b * r.H + h) * r.Tq + t], delta = dot<A>(a.out + row, a.dout + row, r.D);
    score_row(r, a.q, a.k, b, h, t, s);
    for (int64_t j = 0; j < r.Tk; ++j) {
      A& x = s[static_cast<size_t>(j)];
      const A p = std::exp(x - lse);
      if (p != 0) g.add_value(a.dout + row, j, p);
      x = p == 0 ? A(0) : p * (dot<A>(a.dout + row, a.v.at(b, h) + j * a.v.token, r.D) - delta);
    }
    g.add_scores(a.q, a.k, a.dq, b, h, t, s, dbias ? dbias + t * r.Tk : nullptr);
  }
  g.store_keys(a.dk, b, h);
  g.store_values(a.dv, b, h);
}

template <class T>
void attention_bwd(const AttentionBwd<T>& a, int64_t item, int64_t item_end) {
  HeadGradients<T> g(a.rule);
  for (; item < item_end; ++item) {
    const int64_t c = item / a.rule.H, h = item % a.rule.H;
    Acc<T>* dbias = a.dbias ? a.dbias + c * a.dbias_chunk + h * a.dbias_head : nullptr;
    for (int64_t b = c * a.chunk; b < a.rule.B && b < (c + 1) * a.chunk; ++b)
      attention_bwd_head(a, b, h, dbias, g);
  }
}

template <class T>
void scores_fwd(const ScoresFwd<T>& a, int64_t item, int64_t item_end) {
  const ScoreRule<T>& r = a.rule;
  std::vector<Acc<T>> s(static_cast<size_t>(r.Tk));
  for (; item < item_end; ++item) {
    for (int64_t t = 0; t < r.Tq; ++t) {
      score_row(r, a.q, a.k, item / r.H, item % r.H, t, s);
      softmax_row(s);
      for (int64_t j = 0; j < r.Tk; ++j) a.p[(item * r.Tq + t) * r.Tk + j] = s[static_cast<size_t>(j)];
    }
  }
}

template <class T>
void scores_bwd(const ScoresBwd<T>& a, int64_t item, int64_t item_end) {
  using A = Acc<T>;
  const ScoreRule<T>& r = a.rule;
  HeadGradients<T> g(r);
  std::vector<A> s(static_cast<size_t>(r.Tk));
  for (; item < item_end; ++item) {
    const int64_t c = item / r.H, h = item % r.H;
    A* dbias = a.dbias ? a.dbias + c * a.dbias_chunk + h * a.dbias_head : nullptr;
    for (int64_t b = c * a.chunk; b < r.B && b < (c + 1) * a.chunk; ++b) {
      g.begin();
      for (int64_t t = 0; t < r.Tq; ++t) {
        const A* p = a.p + ((b * r.H + h) * r.Tq + t) * r.Tk;
        const A* dp = a.dp + ((b * r.H + h) * r.Tq + t) * r.Tk;
        const A delta = dot<A>(p, dp, r.Tk);
        for (int64_t j = 0; j < r.Tk; ++j) s[static_cast<size_t>(j)] = p[j] * (dp[j] - delta);
        g.add_scores(a.q, a.k, a.dq, b, h, t, s, dbias ? dbias + t * r.Tk : nullptr);
      }
      g.store_keys(a.dk, b, h);
    }
  }
}

template <class T>
inline constexpr AttentionTable<T> attention_table{attention_fwd<T>, attention_bwd<T>, scores_fwd<T>,
                                                   scores_bwd<T>};

}  // namespace juxta::ref

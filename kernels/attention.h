#pragma once
// Attention (Vaswani et al., arXiv 1706.03762) by blocks, without a Tq x Tk matrix (Dao et al., arXiv
// 2205.14135).
//
// Per batch item and head, with q [Tq, D], k and v [Tk, D]:
//   s[t, j] = scale q_t . k_j + bias[t, j], or -inf where key j is hidden from query t
//   p = softmax_j(s),  out_t = sum_j p[t, j] v_j,  lse_t = log sum_j e^s[t, j]
// Keys are visible as a prefix, limit(b, t) = min(Tk, key_lengths[b], causal ? t + 1 + Tk - Tq : Tk), and
// within it where the mask is true. A query that sees no key gives out = 0 and zero gradient; its lse is
// +inf, so that e^(s - lse) is 0 there too. Gradient, with dout [Tq, D] and delta_t = dout_t . out_t:
//   p = e^(s - lse),  dp[t, j] = dout_t . v_j,  ds = p (dp - delta)
//   dv = p^T dout,  dq = scale ds k,  dk = scale ds^T q,  dbias = ds (summed over what it was broadcast over)
// Saved: q, k, v, out, lse. The scores are computed again in the backward pass.
//
// attention_scores returns p [B, H, Tq, Tk] itself, in f32 (f64 for f64), and saves it:
//   ds = p (dp - sum_j p dp), dq, dk and dbias as above.
//
// Numerical notes: scores, probabilities and sums are f32 for bf16 inputs; on CPUs with bf16 dot products p
// and ds enter the second product rounded to bf16. A running maximum per query keeps e^s finite; when it
// rises, what was summed before is scaled down.
//
// q and k reach the products through one packing step each (Side below gives where they lie), which is where
// variants that replace them token by token, such as (1 + gamma) q_t - gamma q_(t-1), belong.
//
// Work items: forward (batch, head, run of queries), backward (chunk of batch items, head). A bias that is
// shared by the batch gets one partial gradient per chunk; the rule adds them in order.
#include <array>

#include "kernels/scratch.h"
#include "kernels/table.h"
#include "tensor/dtype.h"

namespace juxta {

// One operand [B, T, H, D]: D contiguous, the other strides free (in elements).
template <class P>
struct Side {
  P* p = nullptr;
  int64_t batch = 0, token = 0, head = 0;
  [[gnu::always_inline]] P* at(int64_t b, int64_t h) const { return p + b * batch + h * head; }
  [[gnu::always_inline]] explicit operator bool() const { return p != nullptr; }
};

// Sizes, and which scores count with what added.
template <class T>
struct ScoreRule {
  int64_t B, H, Tq, Tk, D;
  double scale;
  bool causal = false;
  const int64_t* key_lengths = nullptr;   // [B] or null
  const bool* mask = nullptr;             // rows [Tq, Tk] or null; false hides the key
  int64_t mask_batch = 0, mask_head = 0;  // strides, 0 where shared
  const Acc<T>* bias = nullptr;           // rows [Tq, Tk] or null
  int64_t bias_batch = 0, bias_head = 0;
  int64_t key_block = 0;  // keys per block; 0: the kernel's own choice (see KeyBlockScope)

  // Keys from here on are hidden from query t.
  [[gnu::always_inline]] int64_t limit(int64_t b, int64_t t) const {
    int64_t n = Tk;
    if (key_lengths && key_lengths[b] < n) n = key_lengths[b];
    if (causal && t + 1 + Tk - Tq < n) n = t + 1 + Tk - Tq;
    return n < 0 ? 0 : n;
  }
};

template <class T>
struct AttentionFwd {
  ScoreRule<T> rule;
  Side<const T> q, k, v;
  T* out;           // [B, Tq, H, D] contiguous
  Acc<T>* lse;      // [B, H, Tq]
  int64_t queries;  // per item
};                  // the range counts B * H * ceil(Tq / queries)

template <class T>
struct AttentionBwd {
  ScoreRule<T> rule;
  Side<const T> q, k, v;
  const T *out, *dout;              // [B, Tq, H, D] contiguous
  const Acc<T>* lse;                // [B, H, Tq]
  Side<T> dq, dk, dv;               // null where no gradient is wanted
  Acc<T>* dbias;                    // rows [Tq, Tk], zero on entry, or null
  int64_t dbias_chunk, dbias_head;  // strides between chunks and heads
  int64_t chunk;                    // batch items per work item
};                                  // the range counts ceil(B / chunk) * H

template <class T>
struct ScoresFwd {
  ScoreRule<T> rule;
  Side<const T> q, k;
  Acc<T>* p;  // [B, H, Tq, Tk]
};            // the range counts B * H

template <class T>
struct ScoresBwd {
  ScoreRule<T> rule;
  Side<const T> q, k;
  const Acc<T>*p, *dp;  // [B, H, Tq, Tk]
  Side<T> dq, dk;
  Acc<T>* dbias;
  int64_t dbias_chunk, dbias_head, chunk;
};  // the range counts ceil(B / chunk) * H

template <class T>
struct AttentionTable {
  static constexpr const char* kFamily = "attention";
  static constexpr std::array kNames{"attention_fwd", "attention_bwd", "scores_fwd", "scores_bwd"};
  void (*attention_fwd)(const AttentionFwd<T>&, int64_t item, int64_t item_end);
  void (*attention_bwd)(const AttentionBwd<T>&, int64_t item, int64_t item_end);
  void (*scores_fwd)(const ScoresFwd<T>&, int64_t item, int64_t item_end);
  void (*scores_bwd)(const ScoresBwd<T>&, int64_t item, int64_t item_end);
};

template <class T>
const TableChoice<AttentionTable<T>>& attention_tables();  // T: float, bf16, double

// While alive, attention on this thread takes this many keys per block (rounded up to the kernel's panel):
// tests cross block borders with small inputs.
class KeyBlockScope {
 public:
  explicit KeyBlockScope(int64_t keys);
  ~KeyBlockScope();
  KeyBlockScope(const KeyBlockScope&) = delete;
  KeyBlockScope& operator=(const KeyBlockScope&) = delete;
  static int64_t current();  // 0: the kernel's own choice

 private:
  int64_t outer_;
};

}  // namespace juxta

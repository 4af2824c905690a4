#include "kernels/attention.h"

#include <cmath>

#include "autograd/ops.h"
#include "autograd/rule.h"
#include "kernels/norm.h"

namespace juxta {

namespace {

// Queries per work item of the forward pass: keys and values are packed again for each run.
constexpr int64_t kQueriesPerItem = 512;
// Partial gradients of a bias that is shared by the batch: enough for the threads, few enough for the memory.
constexpr int64_t kBiasChunks = 8;

struct Sizes {
  int64_t B, H, Tq, Tk, D;
};

// AttentionOptions after checks: the scale in figures, tensors contiguous or undefined.
struct Checked {
  double scale;
  bool causal;
  Tensor key_lengths, mask, bias;
  bool plain() const { return !key_lengths && !mask && !bias; }
};

void check_side(const char* op, const char* what, const Var& x, const Var& q, const Dims& expected) {
  JX_CHECK(x.defined() && x.dims() == expected && x.dtype() == q.dtype() && x.device() == q.device(), op,
           ": ", what, ": expected ", q.dtype(), " ", expected, " on ", q.device(), ", got ", x);
}

Sizes check_sides(const char* op, const Var& q, const Var& k) {
  check_input(op, q, 0);
  JX_CHECK(q.ndim() == 4 && q.size(3) > 0, op, ": q: expected [B, Tq, H, D], got ", q);
  JX_CHECK(k.defined() && k.ndim() == 4, op, ": k: expected [B, Tk, H, D], got ", k);
  check_side(op, "k", k, q, {q.size(0), k.size(1), q.size(2), q.size(3)});
  return {q.size(0), q.size(2), q.size(1), k.size(1), q.size(3)};
}

void check_lengths(const char* op, const Tensor& t, const Sizes& n, Device device) {
  JX_CHECK(t.dtype() == DType::i64 && t.dims() == Dims({n.B}) && t.device() == device, op,
           ": key_lengths: expected i64 [", n.B, "] on ", device, ", got ", t);
  const Tensor host = t.to(kCpu);
  for (int64_t b = 0; b < n.B; ++b) {
    const int64_t v = host.data<int64_t>()[b];
    JX_CHECK(v >= 0 && v <= n.Tk, op, ": key_lengths: expected values in [0, ", n.Tk, "], got ", v, " at [",
             b, "]");
  }
}

Checked check_options(const char* op, const AttentionOptions& o, const Sizes& n, const Var& q) {
  JX_CHECK(std::isfinite(o.scale), op, ": scale: expected a finite number, got ", o.scale);
  Checked c{o.scale == 0 ? 1.0 / std::sqrt(static_cast<double>(n.D)) : o.scale, o.causal, {}, {}, {}};
  const Dims two{n.Tq, n.Tk}, three{n.B, n.Tq, n.Tk}, heads{n.H, n.Tq, n.Tk}, four{n.B, n.H, n.Tq, n.Tk};
  if (o.key_lengths) {
    c.key_lengths = o.key_lengths.contiguous();
    check_lengths(op, c.key_lengths, n, q.device());
  }
  if (o.mask) {
    const Dims& d = o.mask.dims();
    JX_CHECK(o.mask.dtype() == DType::boolean && (d == two || d == three || d == four) &&
                 o.mask.device() == q.device(),
             op, ": mask: expected bool ", two, ", ", three, " or ", four, " on ", q.device(), ", got ",
             o.mask);
    c.mask = o.mask.contiguous();
  }
  if (o.bias) {
    const Dims& d = o.bias.dims();
    JX_CHECK(
        o.bias.dtype() == acc_dtype(q.dtype()) && (d == heads || d == four) && o.bias.device() == q.device(),
        op, ": bias: expected ", acc_dtype(q.dtype()), " ", heads, " or ", four, " on ", q.device(), ", got ",
        o.bias);
    c.bias = o.bias.value().contiguous();
  }
  return c;
}

template <class T>
ScoreRule<T> make_rule(const Sizes& n, const Checked& c) {
  ScoreRule<T> r{n.B, n.H, n.Tq, n.Tk, n.D, c.scale, c.causal};
  const int64_t rows = n.Tq * n.Tk;
  if (c.key_lengths) r.key_lengths = c.key_lengths.data<int64_t>();
  if (c.mask) {
    r.mask = c.mask.data<bool>();
    r.mask_batch = c.mask.ndim() == 4 ? n.H * rows : c.mask.ndim() == 3 ? rows : 0;
    r.mask_head = c.mask.ndim() == 4 ? rows : 0;
  }
  if (c.bias) {
    r.bias = c.bias.data<Acc<T>>();
    r.bias_batch = c.bias.ndim() == 4 ? n.H * rows : 0;
    r.bias_head = rows;
  }
  r.key_block = KeyBlockScope::current();
  return r;
}

// The tensor itself when its last axis is contiguous.
Tensor heads_of(const Tensor& t) { return t.stride(3) == 1 || t.size(3) == 1 ? t : t.contiguous(); }

template <class T>
Side<const T> side(const Tensor& t) {
  return {t.data<T>(), t.stride(0), t.stride(1), t.stride(2)};
}
template <class T>
Side<T> side_to_write(Tensor& t, const char* op) {
  if (!t) return {};
  return {t.write<T>(op), t.stride(0), t.stride(1), t.stride(2)};
}

// The gradient of the bias: per (chunk, head) while the kernel runs, then added over chunks.
class BiasGradient {
 public:
  BiasGradient(bool wanted, int bias_ndim, const Sizes& n, const Tensor& q)
      : n_(n),
        shared_(wanted && bias_ndim == 3),
        chunk_(shared_ ? (n.B + kBiasChunks - 1) / kBiasChunks : 1) {
    if (chunk_ < 1) chunk_ = 1;
    if (wanted) part_ = Tensor::zeros({chunks(), n.H, n.Tq, n.Tk}, acc_dtype(q.dtype()), q.device());
  }
  int64_t chunk() const { return chunk_; }
  int64_t chunks() const { return (n_.B + chunk_ - 1) / chunk_; }
  int64_t head_stride() const { return n_.Tq * n_.Tk; }
  int64_t chunk_stride() const { return n_.H * head_stride(); }
  template <class T>
  Acc<T>* write(const char* op) {
    return write_or_null<Acc<T>>(part_, op);
  }
  template <class T>
  Tensor finish(const char* op) {
    if (!shared_) return part_;
    Tensor sum = Tensor::empty({n_.H, n_.Tq, n_.Tk}, part_.dtype(), part_.device());
    run(part_.device(), norm_tables<T>().on(part_.device()).column_sum,
        {part_.data<Acc<T>>(), sum.write<Acc<T>>(op), chunks(), sum.numel()}, sum.numel(), 1 << 12);
    return sum;
  }

 private:
  Sizes n_;
  bool shared_;
  int64_t chunk_;
  Tensor part_;
};

int64_t grain_of(const Sizes& n, int64_t queries) { return grain_for(queries * n.Tk * n.D / 8 + 1); }

template <class T>
void forward(const char* op, const Sizes& n, const Checked& c, const Tensor& q, const Tensor& k,
             const Tensor& v, Tensor& out, Tensor& lse) {
  const int64_t queries = std::min(n.Tq, kQueriesPerItem);
  if (queries == 0) return;
  const AttentionFwd<T> args{make_rule<T>(n, c),    side<T>(q), side<T>(k), side<T>(v), out.write<T>(op),
                             lse.write<Acc<T>>(op), queries};
  run(q.device(), attention_tables<T>().on(q.device()).attention_fwd, args,
      n.B * n.H * ((n.Tq + queries - 1) / queries), grain_of(n, queries));
}

// What attention and attention_qkv share: dq, dk and dv are written where they are defined.
template <class T>
void backward(const char* op, const Sizes& n, const Checked& c, const Tensor& q, const Tensor& k,
              const Tensor& v, const Tensor& out, const Tensor& lse, const Tensor& dout, Tensor& dq,
              Tensor& dk, Tensor& dv, BiasGradient& bias) {
  const AttentionBwd<T> args{make_rule<T>(n, c),
                             side<T>(q),
                             side<T>(k),
                             side<T>(v),
                             out.data<T>(),
                             dout.data<T>(),
                             lse.data<Acc<T>>(),
                             side_to_write<T>(dq, op),
                             side_to_write<T>(dk, op),
                             side_to_write<T>(dv, op),
                             bias.write<T>(op),
                             bias.chunk_stride(),
                             bias.head_stride(),
                             bias.chunk()};
  run(q.device(), attention_tables<T>().on(q.device()).attention_bwd, args, bias.chunks() * n.H,
      grain_of(n, n.Tq * bias.chunk()));
}

Sizes sizes_of(const Tensor& q, const Tensor& k) {
  return {q.size(0), q.size(2), q.size(1), k.size(1), q.size(3)};
}

// The options as saved from place `first` on; nothing was saved there when they are plain.
Checked saved_options(const Backward& b, double scale, bool causal, bool plain, int first) {
  if (plain) return {scale, causal, {}, {}, {}};
  return {scale, causal, b.saved(first), b.saved(first + 1), b.saved(first + 2)};
}

template <class T>
void attention_backward(Backward& b, double scale, bool causal, bool plain) {
  const Tensor &q = b.saved(0), &k = b.saved(1), &v = b.saved(2);
  const Sizes n = sizes_of(q, k);
  const Checked c = saved_options(b, scale, causal, plain, 5);
  Tensor d[3];
  for (int i = 0; i < 3; ++i)
    if (b.needs(i)) d[i] = Tensor::empty(b.saved(i).dims(), q.dtype(), q.device());
  BiasGradient bias(b.needs(3), c.bias.ndim(), n, q);
  backward<T>("attention", n, c, q, k, v, b.saved(3), b.saved(4), b.dy(), d[0], d[1], d[2], bias);
  for (int i = 0; i < 3; ++i)
    if (d[i]) b.set(i, d[i]);
  if (b.needs(3)) b.set(3, bias.finish<T>("attention"));
}

template <class T>
void attention_qkv_backward(Backward& b, double scale, bool causal, bool plain) {
  const Tensor& qkv = b.saved(0);
  const Tensor q = qkv.select(2, 0), k = qkv.select(2, 1), v = qkv.select(2, 2);
  const Sizes n = sizes_of(q, k);
  const Checked c = saved_options(b, scale, causal, plain, 3);
  Tensor dqkv, d[3];
  if (b.needs(0)) {
    dqkv = Tensor::empty(qkv.dims(), qkv.dtype(), qkv.device());
    for (int i = 0; i < 3; ++i) d[i] = dqkv.select(2, i);
  }
  BiasGradient bias(b.needs(1), c.bias.ndim(), n, q);
  backward<T>("attention_qkv", n, c, q, k, v, b.saved(1), b.saved(2), b.dy(), d[0], d[1], d[2], bias);
  if (dqkv) b.set(0, dqkv);
  if (b.needs(1)) b.set(1, bias.finish<T>("attention_qkv"));
}

template <class T>
void scores_backward(Backward& b, double scale, int bias_ndim) {
  const Tensor &q = b.saved(0), &k = b.saved(1), &p = b.saved(2);
  const Sizes n = sizes_of(q, k);
  Tensor dq, dk;
  if (b.needs(0)) dq = Tensor::empty(q.dims(), q.dtype(), q.device());
  if (b.needs(1)) dk = Tensor::empty(k.dims(), k.dtype(), k.device());
  BiasGradient bias(b.needs(2), bias_ndim, n, q);
  const ScoresBwd<T> args{make_rule<T>(n, {scale, false, {}, {}, {}}),
                          side<T>(q),
                          side<T>(k),
                          p.data<Acc<T>>(),
                          b.dy().data<Acc<T>>(),
                          side_to_write<T>(dq, "attention_scores"),
                          side_to_write<T>(dk, "attention_scores"),
                          bias.write<T>("attention_scores"),
                          bias.chunk_stride(),
                          bias.head_stride(),
                          bias.chunk()};
  run(q.device(), attention_tables<T>().on(q.device()).scores_bwd, args, bias.chunks() * n.H,
      grain_of(n, n.Tq * bias.chunk()));
  if (dq) b.set(0, dq);
  if (dk) b.set(1, dk);
  if (b.needs(2)) b.set(2, bias.finish<T>("attention_scores"));
}

}  // namespace

Var attention(const Var& q, const Var& k, const Var& v, const AttentionOptions& options) {
  const Sizes n = check_sides("attention", q, k);
  check_side("attention", "v", v, q, k.dims());
  const Checked c = check_options("attention", options, n, q);
  const Tensor qt = heads_of(q.value()), kt = heads_of(k.value()), vt = heads_of(v.value());
  Tensor out = Tensor::empty(q.dims(), q.dtype(), q.device());
  Tensor lse = Tensor::empty({n.B, n.H, n.Tq}, acc_dtype(q.dtype()), q.device());
  return dispatch_float(q.dtype(), "attention", [&]<class T>() {
    forward<T>("attention", n, c, qt, kt, vt, out, lse);
    const Saved saved[] = {{"q", qt},        {"k", kt},       {"v", vt},
                           {"out", out},     {"lse", lse},    {"key_lengths", c.key_lengths},
                           {"mask", c.mask}, {"bias", c.bias}};
    const Var* inputs[] = {&q, &k, &v, &options.bias};
    const bool plain = c.plain();
    return record("attention", {{"scale", c.scale}, {"causal", c.causal ? 1.0 : 0.0}}, inputs, out,
                  std::span(saved, plain ? 5 : 8), [scale = c.scale, causal = c.causal, plain](Backward& b) {
                    attention_backward<T>(b, scale, causal, plain);
                  });
  });
}

Var attention_qkv(const Var& qkv, const AttentionOptions& options) {
  check_input("attention_qkv", qkv, 0);
  JX_CHECK(qkv.ndim() == 5 && qkv.size(2) == 3 && qkv.size(4) > 0,
           "attention_qkv: qkv: expected [B, T, 3, H, D], got ", qkv);
  const Tensor packed =
      qkv.value().stride(4) == 1 || qkv.size(4) == 1 ? qkv.value() : qkv.value().contiguous();
  const Tensor q = packed.select(2, 0), k = packed.select(2, 1), v = packed.select(2, 2);
  const Sizes n = sizes_of(q, k);
  const Checked c = check_options("attention_qkv", options, n, qkv);
  Tensor out = Tensor::empty(q.dims(), q.dtype(), q.device());
  Tensor lse = Tensor::empty({n.B, n.H, n.Tq}, acc_dtype(q.dtype()), q.device());
  return dispatch_float(q.dtype(), "attention_qkv", [&]<class T>() {
    forward<T>("attention_qkv", n, c, q, k, v, out, lse);
    const Saved saved[] = {{"qkv", packed},  {"out", out},    {"lse", lse}, {"key_lengths", c.key_lengths},
                           {"mask", c.mask}, {"bias", c.bias}};
    const Var* inputs[] = {&qkv, &options.bias};
    const bool plain = c.plain();
    return record("attention_qkv", {{"scale", c.scale}, {"causal", c.causal ? 1.0 : 0.0}}, inputs, out,
                  std::span(saved, plain ? 3 : 6), [scale = c.scale, causal = c.causal, plain](Backward& b) {
                    attention_qkv_backward<T>(b, scale, causal, plain);
                  });
  });
}

Var attention_scores(const Var& q, const Var& k, const AttentionOptions& options) {
  const Sizes n = check_sides("attention_scores", q, k);
  const Checked c = check_options("attention_scores", options, n, q);
  const Tensor qt = heads_of(q.value()), kt = heads_of(k.value());
  Tensor p = Tensor::empty({n.B, n.H, n.Tq, n.Tk}, acc_dtype(q.dtype()), q.device());
  return dispatch_float(q.dtype(), "attention_scores", [&]<class T>() {
    const ScoresFwd<T> args{make_rule<T>(n, c), side<T>(qt), side<T>(kt),
                            p.write<Acc<T>>("attention_scores")};
    run(q.device(), attention_tables<T>().on(q.device()).scores_fwd, args, n.B * n.H, grain_of(n, n.Tq));
    return record(
        "attention_scores", {{"scale", c.scale}, {"causal", c.causal ? 1.0 : 0.0}}, {&q, &k, &options.bias},
        p, {{"q", qt}, {"k", kt}, {"p", p}},
        [scale = c.scale, ndim = c.bias.ndim()](Backward& b) { scores_backward<T>(b, scale, ndim); });
  });
}

}  // namespace juxta

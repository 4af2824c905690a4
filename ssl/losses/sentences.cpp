#include "ssl/losses/sentences.h"

#include <algorithm>
#include <cmath>

#include "autograd/contrast.h"
#include "autograd/ops.h"

namespace juxta::ssl {

namespace {

Var unit(const Var& x) { return l2_normalize(at_least_f32(x)); }
Var zeros_like(const Var& x) { return Var(Tensor::zeros(x.dims(), x.dtype(), x.device())); }

// ---- multiple_negatives_ranking

// Unit rows, and for every document (positives, then hard negatives) the anchor that it belongs to.
struct Retrieval {
  Var queries, positives;
  std::vector<Var> docs;
  Tensor owner;  // i64 [documents]
  Var temperature;
};

Retrieval retrieval_of(const Var& anchors, const Var& positives, const Var& hard_negatives, double scale) {
  const int64_t n = anchors.size(0);
  Retrieval r{unit(anchors), unit(positives), {}, {}, {}};
  r.docs.push_back(r.positives);
  int64_t documents = n;
  if (hard_negatives.defined() && hard_negatives.size(0) > 0) {
    const Var h = unit(hard_negatives);
    r.docs.push_back(reshape(h, {h.size(0) * n, h.size(2)}));
    documents += h.size(0) * n;
  }
  r.owner = Tensor::empty({documents}, DType::i64);
  for (int64_t j = 0; j < documents; ++j) r.owner.write<int64_t>("multiple_negatives_ranking")[j] = j % n;
  r.temperature = constant_temperature(1 / scale, r.queries);
  return r;
}

struct Block {
  Var lse, positive;  // [N]; positive undefined where the block lacks it
};

Block block_of(const Retrieval& r, const std::string& direction) {
  const int64_t n = r.queries.size(0);
  const bool from_query = direction.rfind("query_", 0) == 0;
  const bool to_query = direction == "query_to_query" || direction == "doc_to_query";
  ContrastOptions o;
  o.op = "multiple_negatives_ranking";
  if (direction == "query_to_query") {
    o.row_ids = Tensor::arange(n);
    return {contrast_symmetric({&r.queries, 1}, r.temperature, o).lse, {}};
  }
  const Var& rows = from_query ? r.queries : r.positives;
  const std::vector<Var> columns = to_query ? std::vector{r.queries} : r.docs;
  const bool across = from_query != to_query;  // query and document: the own pair is the positive
  if (across)
    o.positive = Tensor::arange(n);
  else
    o.row_ids = Tensor::arange(n), o.column_ids = r.owner;
  const ContrastResult s = contrast({&rows, 1}, columns, r.temperature, o);
  return {s.lse, across ? s.positive : Var()};
}

void check_directions(const MultipleNegativesRankingParams& p) {
  constexpr const char* kLoss = "multiple_negatives_ranking";
  const std::vector<std::string> known{"query_to_doc", "query_to_query", "doc_to_query", "doc_to_doc"};
  JX_CHECK(!p.directions.empty(), kLoss, ": directions: expected at least one");
  for (size_t i = 0; i < p.directions.size(); ++i) {
    const std::string& d = p.directions[i];
    JX_CHECK(std::find(known.begin(), known.end(), d) != known.end(), kLoss,
             ": directions: expected query_to_doc, query_to_query, doc_to_query or doc_to_doc, got ", d);
    JX_CHECK(std::find(p.directions.begin(), p.directions.begin() + static_cast<int64_t>(i), d) ==
                 p.directions.begin() + static_cast<int64_t>(i),
             kLoss, ": directions: ", d, " is listed twice");
    JX_CHECK(p.partition == Partition::joint || d == "query_to_doc" || d == "doc_to_query", kLoss,
             ": directions: per_direction needs blocks that contain the positive; ", d, " does not");
  }
}

}  // namespace

Loss multiple_negatives_ranking(const Var& anchors, const Var& positives, const Var& hard_negatives,
                                const MultipleNegativesRankingParams& p) {
  constexpr const char* kLoss = "multiple_negatives_ranking";
  check_embeddings(kLoss, {{"anchors", anchors}, {"positives", positives}});
  check_temperature(kLoss, p.scale, "scale");
  check_directions(p);
  if (hard_negatives.defined()) {
    JX_CHECK(hard_negatives.ndim() == 3 && hard_negatives.dtype() == anchors.dtype() &&
                 hard_negatives.size(1) == anchors.size(0) && hard_negatives.size(2) == anchors.size(1),
             kLoss, ": hard_negatives: expected ", anchors.dtype(), " [H, ", anchors.size(0), ", ",
             anchors.size(1), "], got ", hard_negatives);
    check_finite(kLoss, {"hard_negatives", hard_negatives});
  }
  const Retrieval r = retrieval_of(anchors, positives, hard_negatives, p.scale);
  Var positive;
  std::vector<Var> logs;
  for (const std::string& direction : p.directions) {
    const Block b = block_of(r, direction);
    logs.push_back(b.lse);
    if (!positive.defined()) positive = b.positive;
  }
  JX_CHECK(positive.defined() || anchors.size(0) > 1, kLoss,
           ": anchors: N = 1 leaves nothing to compare with in these directions");
  if (!positive.defined()) positive = affine(sum(mul(r.queries, r.positives), {1}), p.scale, 0.0);
  const Var all = stack(logs, 1);
  const Var samples = sub(p.partition == Partition::joint ? logsumexp(all) : mean(all, {1}), positive);
  return {mean(samples), {}, stop_gradient(samples)};
}

// ---- cocosoda

namespace {

Var cocosoda_queue(const char* name, const Var& queue, const Var& like) {
  JX_CHECK(queue.defined() && is_float(queue.dtype()) && queue.ndim() == 2 && queue.size(1) == like.size(1),
           "cocosoda: ", name, ": expected a float [K, ", like.size(1), "] (K = 0 allowed), got ", queue);
  check_finite("cocosoda", {name, queue});
  return stop_gradient(cast(queue, like.dtype()));
}

// CE([a . b, a . queue] / temperature, i) of every row.
Var cocosoda_block(const Var& a, const Var& b, const Var& queue, double temperature) {
  ContrastOptions o;
  o.op = "cocosoda";
  o.positive = Tensor::arange(a.size(0));
  std::vector<Var> columns{b};
  if (queue.size(0) > 0) columns.push_back(queue);
  const ContrastResult s = contrast({&a, 1}, columns, constant_temperature(temperature, a), o);
  return sub(s.lse, s.positive);
}

}  // namespace

Loss cocosoda(const CocosodaInputs& in, const CocosodaParams& p) {
  check_embeddings("cocosoda",
                   {{"code_q", in.code_q}, {"nl_q", in.nl_q}, {"code_k", in.code_k}, {"nl_k", in.nl_k}});
  check_temperature("cocosoda", p.temperature);
  check_temperature("cocosoda", p.logit_scale, "logit_scale");
  JX_CHECK(p.inter || p.intra, "cocosoda: inter, intra: both are off; nothing is left of the loss");
  const auto prepared = [&](const Var& z) { return p.normalize ? unit(z) : at_least_f32(z); };
  const Var code_q = prepared(in.code_q), nl_q = prepared(in.nl_q);
  const Var code_k = stop_gradient(prepared(in.code_k)), nl_k = stop_gradient(prepared(in.nl_k));
  const Var code = cocosoda_queue("code_queue", in.code_queue, code_q),
            masked_code = cocosoda_queue("masked_code_queue", in.masked_code_queue, code_q),
            nl = cocosoda_queue("nl_queue", in.nl_queue, code_q),
            masked_nl = cocosoda_queue("masked_nl_queue", in.masked_nl_queue, code_q);
  const double temperature = p.temperature / p.logit_scale;
  std::vector<Var> blocks;
  if (p.inter) {
    blocks.push_back(cocosoda_block(code_q, nl_q, nl, temperature));
    blocks.push_back(cocosoda_block(code_q, nl_k, masked_nl, temperature));
    blocks.push_back(cocosoda_block(nl_q, code_q, code, temperature));
    blocks.push_back(cocosoda_block(nl_q, code_k, masked_code, temperature));
  }
  if (p.intra) {
    blocks.push_back(cocosoda_block(code_q, code_k, masked_code, temperature));
    blocks.push_back(cocosoda_block(nl_q, nl_k, masked_nl, temperature));
  }
  const Var rows = stack(blocks, 0);  // [blocks, N]
  return {mean(rows), {{"per_block", stop_gradient(mean(rows, {1}))}}, stop_gradient(mean(rows, {0}))};
}

// ---- input_label_nce

namespace {

// Weights in the dtype of the computation.
Var weight_of(const char* name, const Var& w, const Dims& dims, const Var& like) {
  JX_CHECK(w.defined() && is_float(w.dtype()) && w.dims() == dims, "input_label_nce: ", name,
           ": expected a float ", dims, ", got ", w);
  check_finite("input_label_nce", {name, w});
  return cast(w, like.dtype());
}

void check_pairs(const InputLabelPairs& in) {
  constexpr const char* kLoss = "input_label_nce";
  JX_CHECK(in.text.defined() && is_float(in.text.dtype()) && in.text.ndim() == 2 && in.text.numel() > 0,
           kLoss, ": text: expected a float [N, D], got ", in.text);
  JX_CHECK(in.label_emb.defined() && is_float(in.label_emb.dtype()) && in.label_emb.ndim() == 2 &&
               in.label_emb.numel() > 0,
           kLoss, ": label_emb: expected a float [L, E], got ", in.label_emb);
  JX_CHECK(in.label_ids.defined() && in.label_ids.dtype() == DType::i64 && in.label_ids.ndim() == 2 &&
               in.label_ids.size(0) == in.text.size(0) && in.label_ids.size(1) >= 1,
           kLoss, ": label_ids: expected i64 [", in.text.size(0), ", M], got ", in.label_ids);
  for (const auto& [name, t] : {std::pair<const char*, const Tensor*>{"target", &in.target},
                                std::pair<const char*, const Tensor*>{"valid", &in.valid}}) {
    JX_CHECK(t->defined() && t->dtype() == DType::i64 && t->dims() == in.label_ids.dims(), kLoss, ": ", name,
             ": expected i64 ", in.label_ids.dims(), " like label_ids, got ", *t);
    const Tensor flat = t->contiguous();
    for (int64_t i = 0; i < flat.numel(); ++i)
      JX_CHECK(flat.data<int64_t>()[i] == 0 || flat.data<int64_t>()[i] == 1, kLoss, ": ", name,
               ": expected 0 or 1, got ", flat.data<int64_t>()[i], " in row ", i / flat.size(1));
  }
  check_finite(kLoss, {"text", in.text});
  check_finite(kLoss, {"label_emb", in.label_emb});
}

// Ids of the labels; 0 where the pair does not exist.
Tensor ids_of(const InputLabelPairs& in) {
  const Tensor ids = in.label_ids.contiguous(), valid = in.valid.contiguous();
  Tensor out = Tensor::zeros(ids.dims(), DType::i64);
  for (int64_t i = 0; i < ids.numel(); ++i) {
    if (valid.data<int64_t>()[i] == 0) continue;
    const int64_t id = ids.data<int64_t>()[i];
    JX_CHECK(id >= 0 && id < in.label_emb.size(0), "input_label_nce: label_ids: expected 0 to ",
             in.label_emb.size(0) - 1, ", got ", id, " in row ", i / ids.size(1));
    out.write<int64_t>("input_label_nce")[i] = id;
  }
  return out;
}

// Scores [N, M]. Labels are projected once each, not once per pair.
Var matcher_scores(const InputLabelPairs& in, const Tensor& ids, const InputLabelNceParams& p) {
  const Var x = at_least_f32(in.text), e = cast(in.label_emb, x.dtype());
  const int64_t d = x.size(1), width = e.size(1);
  JX_CHECK(in.u.defined() && in.u.ndim() == 2, "input_label_nce: u: expected a float [.., J], got ", in.u);
  const int64_t j = in.u.size(1);
  const auto act = [&](const Var& z) { return p.activation == MatcherAct::relu ? relu(z) : tanh(z); };
  const Var a = weight_of("a", in.a, {j}, x), w = weight_of("w", in.w, {j}, x),
            b = weight_of("b", in.b, {1}, x);
  Var joint;  // [N, M, J]
  if (p.matcher == Matcher::product) {
    const Var u = weight_of("u", in.u, {d, j}, x), v = weight_of("v", in.v, {width, j}, x),
              c = weight_of("c", in.c, {j}, x);
    const Var texts = act(add(matmul(x, u), a)), labels = act(add(matmul(e, v), c));
    joint = mul(unsqueeze(texts, 1), embedding(labels, ids));
  } else {
    JX_CHECK(!in.v.defined() && !in.c.defined(),
             "input_label_nce: v, c: they belong to the matcher \"product\"; this one is \"concat\"");
    const Var u = weight_of("u", in.u, {d + width, j}, x);
    const Var texts = add(matmul(x, slice(u, 0, 0, d)), a), labels = matmul(e, slice(u, 0, d, d + width));
    joint = act(add(unsqueeze(texts, 1), embedding(labels, ids)));
  }
  return add(sum(mul(joint, w), {2}), b);
}

}  // namespace

Loss input_label_nce(const InputLabelPairs& in, const InputLabelNceParams& p) {
  check_pairs(in);
  const Tensor ids = ids_of(in);
  const Var s = matcher_scores(in, ids, p);
  const Tensor valid = in.valid.contiguous();
  Tensor mask = Tensor::empty(ids.dims(), DType::boolean);
  int64_t pairs = 0;
  for (int64_t i = 0; i < ids.numel(); ++i) {
    mask.write<bool>("input_label_nce")[i] = valid.data<int64_t>()[i] != 0;
    pairs += valid.data<int64_t>()[i];
  }
  const Var kept = where(mask, s, zeros_like(s));
  const Var bce = where(mask, sub(softplus(kept), mul(Var(in.target.to(s.dtype())), kept)), zeros_like(s));
  const std::vector<std::pair<std::string, Var>> terms{{"score", stop_gradient(kept)}};
  const Var per_text = sum(bce, {1});
  if (p.reduction == PairReduction::texts) return {mean(per_text), terms, stop_gradient(per_text)};
  return {affine(sum(per_text), 1 / static_cast<double>(std::max<int64_t>(pairs, 1)), 0.0), terms};
}

// ---- simctg

namespace {

// Which of the pairs of n tokens count, bool [n, n], and how many they are.
struct TokenPairs {
  Tensor mask;
  int64_t count = 0;
};
TokenPairs token_pairs(int64_t n, int64_t prefix) {
  TokenPairs t{Tensor::empty({n, n}, DType::boolean)};
  bool* to = t.mask.write<bool>("simctg");
  for (int64_t i = 0; i < n; ++i)
    for (int64_t j = 0; j < n; ++j) t.count += to[i * n + j] = i != j && (i >= prefix || j >= prefix);
  return t;
}

}  // namespace

Loss simctg(const Var& hidden, const Tensor& lengths, const SimCtgParams& p) {
  JX_CHECK(hidden.defined() && is_float(hidden.dtype()) && hidden.ndim() == 3 && hidden.numel() > 0,
           "simctg: hidden: expected a float [N, T, D], got ", hidden);
  check_finite("simctg", {"hidden", hidden});
  const int64_t texts = hidden.size(0), most = hidden.size(1);
  JX_CHECK(lengths.defined() && lengths.dtype() == DType::i64 && lengths.dims() == Dims({texts}),
           "simctg: lengths: expected i64 [", texts, "], got ", lengths);
  JX_CHECK(std::isfinite(p.margin), "simctg: margin: expected a number, got ", p.margin);
  JX_CHECK(p.prefix_len >= 0, "simctg: prefix_len: expected 0 or more, got ", p.prefix_len);
  const Var h = unit(hidden);
  std::vector<Var> sums;
  std::vector<int64_t> counts;
  int64_t all = 0;
  for (int64_t b = 0; b < texts; ++b) {
    const auto n = static_cast<int64_t>(lengths.at({b}));
    JX_CHECK(n >= 0 && n <= most, "simctg: lengths: expected 0 to ", most, ", got ", n, " in row ", b);
    const TokenPairs pairs = token_pairs(n, p.prefix_len);
    if (pairs.count == 0) continue;
    const Var x = slice(select(h, 0, b), 0, 0, n);
    const Var hinge = relu(affine(matmul(x, transpose(x, 0, 1)), 1.0, p.margin - 1));
    sums.push_back(sum(where(pairs.mask, hinge, zeros_like(hinge))));
    counts.push_back(pairs.count);
    all += pairs.count;
  }
  if (sums.empty()) return {affine(sum(h), 0.0, 0.0), {}};
  if (p.reduction == TextReduction::micro)
    return {affine(sum(stack(sums, 0)), 1 / static_cast<double>(all), 0.0), {}};
  for (size_t i = 0; i < sums.size(); ++i) sums[i] = affine(sums[i], 1 / static_cast<double>(counts[i]), 0.0);
  return {mean(stack(sums, 0)), {}};
}

}  // namespace juxta::ssl

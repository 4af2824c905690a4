// Rules that choose the next token of a text.
#include "ssl/decode/contrastive_search.h"
#include "ssl/decode/momentum_decoding.h"
#include "ssl/eval/matrix.h"
#include "ssl/objectives/rows.h"

namespace juxta::ssl {

namespace {

constexpr InputRow kSearch[] = {{"prefix", "i64 [P]"}, {"emb", "[V, D]"}, {"a", "[D, D]"}, {"u", "[V, D]"}};
constexpr InputRow kStep[] = {
    {"context", "[B, S, D]"}, {"lengths", "i64 [B]"}, {"candidates", "[B, K, D]"}, {"probs", "[B, K]"}};
constexpr InputRow kMomentum[] = {{"prefix", "i64 [P]"}, {"logits", "[T, V]"}};

std::vector<int64_t> prefix_of(const Inputs& in) {
  const Tensor& prefix = in.tensor("prefix");
  JX_CHECK(prefix.ndim() == 1, in.objective(), ": prefix: expected i64 [P], got ", prefix);
  return integers_of(concat(in.objective(), ": prefix").c_str(), prefix, prefix.dims());
}

// Values in order, as [rows, columns].
template <class T>
Var grid(const std::vector<T>& v, int64_t columns) {
  return Var(tensor_of(v).view({static_cast<int64_t>(v.size()) / columns, columns}));
}

struct SearchParams : ContrastiveSearchParams {
  void fields(Params& f) { f("k", k), f("alpha", alpha), f("steps", steps); }
};
Outcome run_contrastive_search(const Inputs& in, Params& f) {
  const auto p = f.read<SearchParams>();
  RecurrentModel model(in.tensor("emb"), in.tensor("a"), in.tensor("u"));
  const ContrastiveSearch s = contrastive_search(model, prefix_of(in), p);
  return {{},
          {{"tokens", Var(tensor_of(s.tokens))},
           {"candidates", grid(s.candidates, p.k)},
           {"probability", grid(s.probability, p.k)},
           {"penalty", grid(s.penalty, p.k)},
           {"score", grid(s.score, p.k)},
           {"hidden", Var(s.hidden)}}};
}

struct StepParams {
  double alpha = 0.6;
  void fields(Params& f) { f("alpha", alpha); }
};
Outcome run_contrastive_step(const Inputs& in, Params& f) {
  const ContrastiveChoice c =
      contrastive_search_step(in.tensor("context"), in.tensor("lengths"), in.tensor("candidates"),
                              in.tensor("probs"), f.read<StepParams>().alpha);
  const int64_t k = in.tensor("candidates").size(1);
  return {{},
          {{"penalty", grid(c.penalty, k)},
           {"score", grid(c.score, k)},
           {"selected", Var(tensor_of(c.selected))}}};
}

struct MomentumParams : MomentumDecodingParams {
  void fields(Params& f) {
    f("k", k), f("alpha", alpha), f("kind", kind, {"table", "constant", "log", "exp"});
    f("table", table), f("max_depth", max_depth);
  }
};
Outcome run_momentum_decoding(const Inputs& in, Params& f) {
  const auto p = f.read<MomentumParams>();
  const Matrix logits = matrix_of("momentum_decoding: logits", in.tensor("logits"), 1);
  TokenGraph graph;
  for (const int64_t token : prefix_of(in)) {
    JX_CHECK(token >= 0 && token < logits.cols(), "momentum_decoding: prefix: expected tokens from 0 to ",
             logits.cols() - 1, ", got ", token);
    graph.append(token);
  }
  std::vector<int64_t> tokens, candidates, depth, label;
  std::vector<double> score;
  for (Eigen::Index t = 0; t < logits.rows(); ++t) {
    const MomentumStep s = momentum_decoding_step(
        graph, {logits.data() + t * logits.cols(), static_cast<size_t>(logits.cols())}, p);
    tokens.push_back(s.token), label.push_back(s.label);
    candidates.insert(candidates.end(), s.candidates.begin(), s.candidates.end());
    depth.insert(depth.end(), s.depth.begin(), s.depth.end());
    score.insert(score.end(), s.score.begin(), s.score.end());
  }
  return {{},
          {{"tokens", Var(tensor_of(tokens))},
           {"candidates", grid(candidates, p.k)},
           {"depth", grid(depth, p.k)},
           {"score", grid(score, p.k)},
           {"label", Var(tensor_of(label))}}};
}

constexpr const char* kSearchPaper = "Su & Collier 2022, arXiv 2210.14140";

constexpr Objective kRows[] = {
    {"contrastive_search", "contrastive search", kSearchPaper,
     "next = argmax_{v in top k} (1 - alpha) p(v) - alpha max_j cos(h_v, h_j)", Kind::rule, Across::local,
     kSearch, list_params<SearchParams>, run_contrastive_search},
    {"contrastive_search_step", "contrastive search", kSearchPaper,
     "score = (1 - alpha) p - alpha max_{j <= length} cos(h_v, h_j)", Kind::rule, Across::local, kStep,
     list_params<StepParams>, run_contrastive_step},
    {"momentum_decoding", "momentum decoding", "Lan et al. 2022, arXiv 2212.02175",
     "next = argmax_{v in top k} p(v) - alpha f(r(v)),  r the longest n-gram that v would repeat", Kind::rule,
     Across::local, kMomentum, list_params<MomentumParams>, run_momentum_decoding},
};

}  // namespace

std::span<const Objective> decoding_rows() { return kRows; }

}  // namespace juxta::ssl

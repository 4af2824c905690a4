#include "ssl/decode/contrastive_search.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "ssl/eval/matrix.h"

namespace juxta::ssl {

namespace {

void check_token(const char* who, int64_t token, int64_t vocabulary) {
  JX_CHECK(token >= 0 && token < vocabulary, who, ": expected tokens from 0 to ", vocabulary - 1, ", got ",
           token);
}

void check_alpha(const char* who, double alpha) {
  JX_CHECK(alpha >= 0 && alpha <= 1, who, ": alpha: expected 0 to 1, got ", alpha);
}

Matrix unit(Matrix m) {
  for (Eigen::Index r = 0; r < m.rows(); ++r) m.row(r) /= std::max(m.row(r).norm(), 1e-12);
  return m;
}

// For each candidate (a row) the largest cosine with any row of the unit context.
std::vector<double> penalties(const Matrix& unit_context, const Matrix& candidates) {
  const Matrix cosine = unit(candidates) * unit_context.transpose();
  std::vector<double> out;
  for (Eigen::Index v = 0; v < cosine.rows(); ++v) out.push_back(cosine.row(v).maxCoeff());
  return out;
}

std::vector<double> scores(std::span<const double> probability, std::span<const double> penalty,
                           double alpha) {
  std::vector<double> out;
  for (size_t v = 0; v < probability.size(); ++v)
    out.push_back((1 - alpha) * probability[v] - alpha * penalty[v]);
  return out;
}

Eigen::Map<const Matrix> as_matrix(const Tensor& x) {
  return {x.data<double>(), static_cast<Eigen::Index>(x.size(0)), static_cast<Eigen::Index>(x.size(1))};
}

// The first of the largest.
int64_t best_of(std::span<const double> score) {
  return std::max_element(score.begin(), score.end()) - score.begin();
}

template <class T>
void join(std::vector<T>& all, const std::vector<T>& more) {
  all.insert(all.end(), more.begin(), more.end());
}

}  // namespace

std::vector<double> softmax_of(std::span<const double> logits) {
  const double largest = *std::max_element(logits.begin(), logits.end());
  std::vector<double> p;
  double sum = 0;
  for (const double x : logits) p.push_back(std::exp(x - largest)), sum += p.back();
  for (double& x : p) x /= sum;
  return p;
}

std::vector<int64_t> most_probable(std::span<const double> probabilities, int64_t k) {
  std::vector<int64_t> order(probabilities.size());
  std::iota(order.begin(), order.end(), 0);
  const auto above = [&](int64_t i, int64_t j) {
    const double a = probabilities[static_cast<size_t>(i)], b = probabilities[static_cast<size_t>(j)];
    return a != b ? a > b : i < j;
  };
  std::partial_sort(order.begin(), order.begin() + k, order.end(), above);
  order.resize(static_cast<size_t>(k));
  return order;
}

RecurrentModel::RecurrentModel(const Tensor& emb, const Tensor& a, const Tensor& u)
    : emb_(tensor_of(matrix_of("contrastive_search: emb", emb, 1))),
      a_(tensor_of(matrix_of("contrastive_search: a", a, 1))),
      u_(tensor_of(matrix_of("contrastive_search: u", u, 1))),
      h_(Tensor::zeros({1, emb_.size(1)}, DType::f64)) {
  const int64_t d = emb_.size(1);
  JX_CHECK(a_.dims() == Dims({d, d}), "contrastive_search: a: expected [", d, ", ", d, "], got ", a);
  JX_CHECK(u_.dims() == emb_.dims(), "contrastive_search: u: expected ", emb_.dims(), " like emb, got ", u);
}

std::vector<double> RecurrentModel::logits() const {
  const Matrix l = as_matrix(h_) * as_matrix(u_).transpose();
  return {l.data(), l.data() + l.size()};
}

Tensor RecurrentModel::look_ahead(std::span<const int64_t> tokens) const {
  const Matrix carried = as_matrix(h_) * as_matrix(a_).transpose();
  Matrix out(static_cast<Eigen::Index>(tokens.size()), carried.cols());
  for (size_t i = 0; i < tokens.size(); ++i) {
    check_token("contrastive_search", tokens[i], vocabulary());
    out.row(static_cast<Eigen::Index>(i)) =
        (carried + as_matrix(emb_).row(tokens[i])).array().tanh().matrix();
  }
  return tensor_of(out);
}

void RecurrentModel::append(int64_t token) { h_ = look_ahead({&token, 1}); }

ContrastiveSearch contrastive_search(TokenModel& model, std::span<const int64_t> prefix,
                                     const ContrastiveSearchParams& p) {
  constexpr const char* kRule = "contrastive_search";
  check_alpha(kRule, p.alpha);
  JX_CHECK(!prefix.empty(), kRule, ": prefix: expected at least one token");
  JX_CHECK(p.k >= 1 && p.k <= model.vocabulary(), kRule, ": k: expected 1 to ", model.vocabulary(), ", got ",
           p.k);
  JX_CHECK(p.steps >= 0, kRule, ": steps: expected 0 or more, got ", p.steps);
  ContrastiveSearch out;
  Matrix hidden, context;  // context: unit rows, so that each step costs k t D
  Eigen::Index length = 0;
  const auto append = [&](int64_t token, const Matrix& state) {
    if (length == 0) {
      const auto rows = static_cast<Eigen::Index>(prefix.size()) + static_cast<Eigen::Index>(p.steps);
      hidden.resize(rows, state.cols()), context.resize(rows, state.cols());
    }
    hidden.row(length) = state, context.row(length) = unit(state);
    ++length;
    model.append(token);
  };
  for (const int64_t token : prefix) {
    check_token("contrastive_search: prefix", token, model.vocabulary());
    append(token, matrix_of(kRule, model.look_ahead({&token, 1}), 1));
  }
  for (int64_t t = 0; t < p.steps; ++t) {
    const std::vector<double> all = softmax_of(model.logits());
    const std::vector<int64_t> candidates = most_probable(all, p.k);
    std::vector<double> probability;
    probability.reserve(candidates.size());
    for (const int64_t v : candidates) probability.push_back(all[static_cast<size_t>(v)]);
    const Matrix states = matrix_of(kRule, model.look_ahead(candidates), p.k);
    const std::vector<double> penalty = penalties(context.topRows(length), states);
    const std::vector<double> score = scores(probability, penalty, p.alpha);
    const int64_t best = best_of(score);
    out.tokens.push_back(candidates[static_cast<size_t>(best)]);
    append(out.tokens.back(), states.row(best));
    join(out.candidates, candidates), join(out.probability, probability);
    join(out.penalty, penalty), join(out.score, score);
  }
  out.hidden = tensor_of(hidden);
  return out;
}

ContrastiveChoice contrastive_search_step(const Tensor& context, const Tensor& lengths,
                                          const Tensor& candidates, const Tensor& probs, double alpha) {
  constexpr const char* kRule = "contrastive_search_step";
  check_alpha(kRule, alpha);
  JX_CHECK(context.defined() && context.ndim() == 3 && context.numel() > 0, kRule,
           ": context: expected a float [B, S, D], got ", context);
  const int64_t batch = context.size(0), longest = context.size(1);
  JX_CHECK(candidates.defined() && candidates.ndim() == 3 && candidates.size(0) == batch &&
               candidates.size(1) >= 1 && candidates.size(2) == context.size(2),
           kRule, ": candidates: expected a float [", batch, ", K, ", context.size(2), "], got ", candidates);
  const int64_t k = candidates.size(1);
  JX_CHECK(probs.defined() && probs.dims() == Dims({batch, k}), kRule, ": probs: expected a float [", batch,
           ", ", k, "], got ", probs);
  const std::vector<int64_t> length = integers_of("contrastive_search_step: lengths", lengths, {batch});
  ContrastiveChoice out;
  for (int64_t b = 0; b < batch; ++b) {
    const int64_t n = length[static_cast<size_t>(b)];
    JX_CHECK(n >= 1 && n <= longest, kRule, ": lengths: expected 1 to ", longest, ", got ", n, " in row ", b);
    const Matrix past = unit_rows("contrastive_search_step: context", context.select(0, b).slice(0, 0, n), 1);
    const std::vector<double> p = doubles_of("contrastive_search_step: probs", probs.select(0, b));
    const std::vector<double> penalty =
        penalties(past, matrix_of("contrastive_search_step: candidates", candidates.select(0, b), 1));
    const std::vector<double> score = scores(p, penalty, alpha);
    join(out.penalty, penalty), join(out.score, score);
    out.selected.push_back(best_of(score));
  }
  return out;
}

}  // namespace juxta::ssl

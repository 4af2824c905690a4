#include "ssl/decode/momentum_decoding.h"

#include <algorithm>
#include <cmath>

#include "ssl/decode/contrastive_search.h"

namespace juxta::ssl {

void TokenGraph::append(int64_t token) {
  positions_[token].push_back(static_cast<int64_t>(text_.size()));
  text_.push_back(token);
}

int64_t TokenGraph::depth(int64_t token, int64_t max_depth) const {
  const auto found = positions_.find(token);
  if (found == positions_.end()) return 0;
  const auto end = static_cast<int64_t>(text_.size());
  int64_t deepest = 1;
  for (const int64_t at : found->second) {
    int64_t r = 1;  // the token itself, then backwards as far as the end of the text agrees
    while (r < max_depth && at - r >= 0 &&
           text_[static_cast<size_t>(at - r)] == text_[static_cast<size_t>(end - r)])
      ++r;
    deepest = std::max(deepest, r);
  }
  return deepest;
}

namespace {

double resistance(int64_t r, const MomentumDecodingParams& p) {
  if (r == 0) return 0;
  const auto x = static_cast<double>(r);
  switch (p.kind) {
    case Resistance::table:
      return p.table[static_cast<size_t>(r)];
    case Resistance::constant:
      return 2;
    case Resistance::log:
      return std::log(1 + x) / std::log(6.0) / 0.2;
    default:
      return std::pow(1.5, x) / 2;
  }
}

void check_momentum(std::span<const double> logits, const MomentumDecodingParams& p) {
  constexpr const char* kRule = "momentum_decoding";
  const auto vocabulary = static_cast<int64_t>(logits.size());
  JX_CHECK(p.k >= 1 && p.k <= vocabulary, kRule, ": k: expected 1 to ", vocabulary, ", got ", p.k);
  JX_CHECK(p.alpha >= 0 && std::isfinite(p.alpha), kRule, ": alpha: expected 0 or more, got ", p.alpha);
  JX_CHECK(p.max_depth >= 1, kRule, ": max_depth: expected at least 1, got ", p.max_depth);
  if (p.kind != Resistance::table) return;
  JX_CHECK(static_cast<int64_t>(p.table.size()) > p.max_depth, kRule,
           ": table: expected a value for depths 0 to ", p.max_depth, ", got ", p.table.size());
  JX_CHECK(p.table[0] == 0, kRule, ": table: a token that is new meets no resistance; expected 0 first, got ",
           p.table[0]);
}

}  // namespace

MomentumStep momentum_decoding_step(TokenGraph& graph, std::span<const double> logits,
                                    const MomentumDecodingParams& p) {
  check_momentum(logits, p);
  const std::vector<double> probabilities = softmax_of(logits);
  MomentumStep step{0, most_probable(probabilities, p.k), {}, {}, 0};
  for (const int64_t v : step.candidates) {
    step.depth.push_back(graph.depth(v, p.max_depth));
    step.score.push_back(probabilities[static_cast<size_t>(v)] - p.alpha * resistance(step.depth.back(), p));
  }
  const auto best = std::max_element(step.score.begin(), step.score.end()) - step.score.begin();
  step.token = step.candidates[static_cast<size_t>(best)];
  step.label = step.depth[0] == 0 ? 0 : best == 0 ? 1 : 2;
  graph.append(step.token);
  return step;
}

}  // namespace juxta::ssl

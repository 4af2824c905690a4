#pragma once
// Momentum decoding (Lan et al. 2022, arXiv 2212.02175): a text is a walk over a graph of tokens; a token
// that would close a loop is held back, the more, the longer the n-gram that it repeats.
//   r(v) = 0 when v has not occurred, else the largest r <= R such that (last r - 1 tokens, v) occurs, at
//   least
//          1
//   next = argmax_{v in top k} p(v) - alpha f(r(v)),   f(0) = 0
// Ties: the more probable. Nothing is averaged over time.
#include <cstdint>
#include <span>
#include <unordered_map>
#include <vector>

#include "tensor/tensor.h"

namespace juxta::ssl {

// The text so far, and where each of its tokens stands.
class TokenGraph {
 public:
  void append(int64_t token);
  // r(v) above.
  int64_t depth(int64_t token, int64_t max_depth) const;

 private:
  std::vector<int64_t> text_;
  std::unordered_map<int64_t, std::vector<int64_t>> positions_;
};

// f(r): table, a value per depth 0 .. R; constant, 2; log, log_6(1 + r) / 0.2; exp, 1.5^r / 2.
enum class Resistance { table, constant, log, exp };

struct MomentumDecodingParams {
  int64_t k = 5;
  double alpha = 0.2;
  Resistance kind = Resistance::table;
  std::vector<double> table{0, 1, 3, 4, 5, 5};  // of GPT-2 XL
  int64_t max_depth = 5;                        // R
};

struct MomentumStep {
  int64_t token;
  std::vector<int64_t> candidates, depth;  // [k], by falling probability
  std::vector<double> score;
  int64_t label;  // 0: the most probable token is new; 1: it is old and wins; 2: it is old and loses
};
// One step from the logits [V] of the last position; the token joins the graph.
MomentumStep momentum_decoding_step(TokenGraph& graph, std::span<const double> logits,
                                    const MomentumDecodingParams& p);

}  // namespace juxta::ssl

#pragma once
// Contrastive search (Su & Collier 2022, arXiv 2210.14140): of the k most probable tokens, the one that is
// probable and whose hidden state resembles none of the context's.
//   next = argmax_{v in top k} (1 - alpha) p(v) - alpha max_{j <= t} cos(h_v, h_j)
// Ties: the more probable. Everything is computed in double.
#include <cstdint>
#include <span>
#include <vector>

#include "tensor/tensor.h"

namespace juxta::ssl {

// What decoding asks of a causal language model: a text that grows, and a look at the tokens that may follow.
class TokenModel {
 public:
  virtual ~TokenModel() = default;
  virtual int64_t vocabulary() const = 0;
  virtual std::vector<double> logits() const = 0;  // [V], of the token after the text so far
  // The hidden state that each token would have as the next one, f64 [k, D]: one forward of k rows.
  virtual Tensor look_ahead(std::span<const int64_t> tokens) const = 0;
  virtual void append(int64_t token) = 0;
};

// h_t = tanh(a h_{t-1} + emb[x_t]), logits = u h_t, h_0 = 0: the smallest model with states; for tests.
class RecurrentModel : public TokenModel {
 public:
  // emb [V, D], a [D, D], u [V, D].
  RecurrentModel(const Tensor& emb, const Tensor& a, const Tensor& u);
  int64_t vocabulary() const override { return emb_.size(0); }
  std::vector<double> logits() const override;
  Tensor look_ahead(std::span<const int64_t> tokens) const override;
  void append(int64_t token) override;

 private:
  Tensor emb_, a_, u_, h_;  // f64; h [1, D]
};

struct ContrastiveSearchParams {
  int64_t k = 5;
  double alpha = 0.6;
  int64_t steps = 1;  // tokens to append
};
struct ContrastiveSearch {
  std::vector<int64_t> tokens, candidates;          // [steps], [steps, k]
  std::vector<double> probability, penalty, score;  // [steps, k]
  Tensor hidden;                                    // f64 [P + steps, D]
};
// prefix: at least one token. The model holds no text before the call.
ContrastiveSearch contrastive_search(TokenModel& model, std::span<const int64_t> prefix,
                                     const ContrastiveSearchParams& p);

struct ContrastiveChoice {
  std::vector<double> penalty, score;  // [B, K]
  std::vector<int64_t> selected;       // [B], the first of the best
};
// One step for B texts: context [B, S, D] and its lengths i64 [B] (1 to S); candidates [B, K, D], probs [B,
// K].
ContrastiveChoice contrastive_search_step(const Tensor& context, const Tensor& lengths,
                                          const Tensor& candidates, const Tensor& probs, double alpha);

// softmax(logits), and the indices of the k largest, descending, ties by the lower index.
std::vector<double> softmax_of(std::span<const double> logits);
std::vector<int64_t> most_probable(std::span<const double> probabilities, int64_t k);

}  // namespace juxta::ssl

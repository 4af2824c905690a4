// Semantic Shapley interaction of G2L: coalition values from the cosines of one video's moments and
// sentences.
#include <algorithm>
#include <cmath>

#include "autograd/ops.h"
#include "ssl/losses/grounding.h"

namespace juxta::ssl {

namespace {

constexpr const char* kLoss = "g2l_shapley";

// Players: moments 0 .. m - 1 and sentences m .. m + n - 1, as a bool each.
struct Game {
  int64_t m, n;
  std::vector<double> weight;  // [m, n]: e^cosine

  double value(const std::vector<char>& present) const;
};

double Game::value(const std::vector<char>& present) const {
  std::vector<double> best_sentence(static_cast<size_t>(m), 0.0);  // max over sentences of a, per moment
  double by_sentence = 0;
  int64_t moments = 0, sentences = 0;
  for (int64_t i = 0; i < m; ++i) moments += present[static_cast<size_t>(i)];
  if (moments == 0) return 0;
  for (int64_t j = 0; j < n; ++j) {
    if (!present[static_cast<size_t>(m + j)]) continue;
    ++sentences;
    double total = 0, best = 0;
    for (int64_t i = 0; i < m; ++i)
      if (present[static_cast<size_t>(i)]) total += weight[static_cast<size_t>(i * n + j)];
    for (int64_t i = 0; i < m; ++i) {
      if (!present[static_cast<size_t>(i)]) continue;
      const double a = weight[static_cast<size_t>(i * n + j)] / total;
      best = std::max(best, a);
      best_sentence[static_cast<size_t>(i)] = std::max(best_sentence[static_cast<size_t>(i)], a);
    }
    by_sentence += best;
  }
  if (sentences == 0) return 0;
  double by_moment = 0;
  for (const double a : best_sentence) by_moment += a;
  return 0.5 * (by_moment / static_cast<double>(moments) + by_sentence / static_cast<double>(sentences));
}

// f(U) - f(U\i) - f(U\j) + f(U\{i,j}) for all pairs: X [N, M].
Tensor full_interaction(const Game& g) {
  Tensor x = Tensor::empty({g.n, g.m}, DType::f64);
  std::vector<char> present(static_cast<size_t>(g.m + g.n), 1);
  const double everyone = g.value(present);
  const auto without = [&](int64_t a, int64_t b) {
    present[static_cast<size_t>(a)] = present[static_cast<size_t>(b)] = 0;
    const double f = g.value(present);
    present[static_cast<size_t>(a)] = present[static_cast<size_t>(b)] = 1;
    return f;
  };
  for (int64_t j = 0; j < g.n; ++j)
    for (int64_t i = 0; i < g.m; ++i) {
      const int64_t s = g.m + j;
      x.write<double>(kLoss)[j * g.m + i] = everyone - without(i, i) - without(s, s) + without(i, s);
    }
  return x;
}

// Values of all 2^(M+N) coalitions, then Shapley's mean of the differences.
Tensor exact_interaction(const Game& g) {
  const int64_t players = g.m + g.n, all = int64_t{1} << players;
  std::vector<double> value(static_cast<size_t>(all));
  std::vector<char> present(static_cast<size_t>(players));
  for (int64_t t = 0; t < all; ++t) {
    for (int64_t p = 0; p < players; ++p) present[static_cast<size_t>(p)] = (t >> p) & 1;
    value[static_cast<size_t>(t)] = g.value(present);
  }
  // |T|! (P - |T| - 2)! / (P - 1)!
  std::vector<double> weight(static_cast<size_t>(players - 1));
  for (int64_t size = 0; size <= players - 2; ++size)
    weight[static_cast<size_t>(size)] = std::exp(std::lgamma(static_cast<double>(size + 1)) +
                                                 std::lgamma(static_cast<double>(players - size - 1)) -
                                                 std::lgamma(static_cast<double>(players)));
  Tensor x = Tensor::zeros({g.n, g.m}, DType::f64);
  for (int64_t j = 0; j < g.n; ++j)
    for (int64_t i = 0; i < g.m; ++i) {
      const int64_t mi = int64_t{1} << i, sj = int64_t{1} << (g.m + j);
      double sum = 0;
      for (int64_t t = 0; t < all; ++t) {
        if (t & (mi | sj)) continue;
        const auto f = [&](int64_t more) { return value[static_cast<size_t>(t | more)]; };
        sum += weight[static_cast<size_t>(__builtin_popcountll(static_cast<unsigned long long>(t)))] *
               (f(mi | sj) - f(mi) - f(sj) + f(0));
      }
      x.write<double>(kLoss)[j * g.m + i] = sum;
    }
  return x;
}

}  // namespace

Loss g2l_shapley(const Var& moments, const Var& sents, const ShapleyParams& p) {
  check_embeddings(kLoss, {{"moments", moments}});
  check_embeddings(kLoss, {{"sents", sents}});
  JX_CHECK(moments.size(1) == sents.size(1) && moments.dtype() == sents.dtype(), kLoss, ": sents: expected ",
           moments.dtype(), " [N, ", moments.size(1), "] like moments, got ", sents);
  check_temperature(kLoss, p.tau, "tau");
  check_temperature(kLoss, p.tau_i, "tau_i");
  const int64_t m = moments.size(0), n = sents.size(0);
  JX_CHECK(p.mode == Interaction::full || m + n <= 20, kLoss,
           ": mode: exact values all coalitions; expected at most 20 moments and sentences, got ", m + n);
  const Var cosine = matmul(l2_normalize(at_least_f32(sents)),
                            transpose(l2_normalize(at_least_f32(moments)), 0, 1));  // [N, M]
  const Tensor wide = cosine.value().to(DType::f64).contiguous();
  Game game{m, n, std::vector<double>(static_cast<size_t>(m * n))};
  for (int64_t i = 0; i < m; ++i)
    for (int64_t j = 0; j < n; ++j)
      game.weight[static_cast<size_t>(i * n + j)] = std::exp(wide.data<double>()[j * m + i]);
  const Tensor x = p.mode == Interaction::full ? full_interaction(game) : exact_interaction(game);
  const Tensor target = softmax(affine(Var(x), 1 / p.tau_i, 0.0)).value().to(cosine.dtype());
  const Var rows = soft_cross_entropy(affine(cosine, 1 / p.tau, 0.0), target);
  return {mean(rows), {{"interaction", Var(x)}}, stop_gradient(rows)};
}

}  // namespace juxta::ssl

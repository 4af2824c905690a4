#include "ssl/losses/sinkhorn.h"

#include <cmath>

#include "autograd/ops.h"
#include "ssl/losses/loss.h"

namespace juxta::ssl {

Tensor balance(const char* who, const Tensor& log_weights, int64_t iterations) {
  JX_CHECK(iterations >= 0, who, ": iterations: expected 0 or more, got ", iterations);
  const NoGrad no_grad;
  Var log_q = at_least_f32(Var(log_weights));
  if (iterations == 0) {
    const Var total = logsumexp(reshape(log_q, {1, log_q.numel()}));
    return exp(affine(sub(log_q, total), 1.0, std::log(static_cast<double>(log_q.size(0))))).value();
  }
  // The constants 1/K and 1/M of the columns and rows cancel in the row step that ends each iteration.
  for (int64_t i = 0; i < iterations; ++i) {
    log_q = sub(log_q, unsqueeze(logsumexp(transpose(log_q, 0, 1)), 0));
    log_q = sub(log_q, unsqueeze(logsumexp(log_q), 1));
  }
  return exp(log_q).value();
}

Tensor sinkhorn_knopp(const Tensor& scores, const SinkhornParams& p) {
  constexpr const char* kWho = "sinkhorn_knopp";
  check_embeddings(kWho, {{"scores", Var(scores)}});
  check_temperature(kWho, p.epsilon, "epsilon");
  const int64_t rows = scores.size(0);
  JX_CHECK(p.last >= 0 && p.last <= rows, kWho, ": last: expected 0 to ", rows, ", the rows of scores, got ",
           p.last);
  const NoGrad no_grad;
  const Tensor q =
      balance(kWho, affine(at_least_f32(Var(scores)), 1.0 / p.epsilon, 0.0).value(), p.iterations);
  return p.last == 0 ? q : q.slice(0, rows - p.last, rows).contiguous();
}

}  // namespace juxta::ssl

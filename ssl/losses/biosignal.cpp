#include "ssl/losses/biosignal.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "autograd/contrast.h"
#include "autograd/ops.h"
#include "ssl/losses/covariance.h"

namespace juxta::ssl {

namespace {

constexpr const char* kName = "biosignal_nce_koleo";

// -log of row i's positive b_i among all rows of b and the rows of a of other participants, [N].
Var one_way(const Var& a, const Var& b, const Tensor& participants, double tau) {
  const int64_t n = a.size(0);
  ContrastOptions o;
  o.op = kName;
  o.normalize = true;
  o.positive = Tensor::arange(n);
  o.row_ids = participants;
  o.column_ids = Tensor::full({2 * n}, -1.0, DType::i64);  // -1: nobody's, never excluded
  std::copy_n(participants.data<int64_t>(), n, o.column_ids.write<int64_t>(kName) + n);
  const ContrastResult s = contrast({&a, 1}, std::vector{b, a}, constant_temperature(tau, a), o);
  return sub(s.lse, s.positive);
}

// The participants numbered from 0, so that -1 is free.
Tensor numbered(const Tensor& pid) {
  const Tensor given = pid.contiguous();
  std::vector<int64_t> known(given.data<int64_t>(), given.data<int64_t>() + given.numel());
  std::sort(known.begin(), known.end());
  Tensor out = Tensor::empty(given.dims(), DType::i64);
  for (int64_t i = 0; i < given.numel(); ++i)
    out.write<int64_t>(kName)[i] =
        std::lower_bound(known.begin(), known.end(), given.data<int64_t>()[i]) - known.begin();
  return out;
}

}  // namespace

Loss biosignal_nce_koleo(const Var& student1, const Var& student2, const Var& teacher1, const Var& teacher2,
                         const Tensor& pid, const BiosignalParams& p) {
  check_embeddings(
      kName,
      {{"student1", student1}, {"student2", student2}, {"teacher1", teacher1}, {"teacher2", teacher2}});
  const int64_t n = student1.size(0);
  JX_CHECK(n >= 2, kName, ": student1: expected N >= 2, since KoLeo needs a neighbour, got ", student1);
  JX_CHECK(pid.defined() && pid.dtype() == DType::i64 && pid.dims() == Dims({n}), kName,
           ": pid: expected i64 [", n, "], got ", pid);
  check_temperature(kName, p.tau, "tau");
  JX_CHECK(std::isfinite(p.lambda_sim), kName, ": lambda_sim: expected a number, got ", p.lambda_sim);
  JX_CHECK(std::isfinite(p.gamma_koleo), kName, ": gamma_koleo: expected a number, got ", p.gamma_koleo);
  const Tensor participants = numbered(pid);
  const Var x[2] = {student1, student2}, y[2] = {stop_gradient(teacher2), stop_gradient(teacher1)};
  std::vector<Var> entropies, spreads;
  for (int view = 0; view < 2; ++view) {
    entropies.push_back(one_way(x[view], y[view], participants, p.tau));
    entropies.push_back(one_way(y[view], x[view], participants, p.tau));
    spreads.push_back(koleo(x[view]).loss);
    spreads.push_back(koleo(y[view]).loss);
  }
  const Var samples = mean(stack(entropies, 0), {0}), nce = mean(samples), spread = mean(stack(spreads, 0));
  return {add(affine(nce, p.lambda_sim, 0.0), affine(spread, p.gamma_koleo, 0.0)),
          {{"nce", stop_gradient(nce)}, {"koleo", stop_gradient(spread)}},
          stop_gradient(samples)};
}

}  // namespace juxta::ssl

#include "ssl/momentum/shuffle_bn.h"

#include <vector>

namespace juxta::ssl {

Var shuffled(const Var& x, const Tensor& perm, const std::function<Var(const Var&)>& f) {
  JX_CHECK(x.ndim() >= 1 && perm.defined() && perm.dtype() == DType::i64 && perm.dims() == Dims({x.size(0)}),
           "shuffled: perm: expected i64 [", x.ndim() ? x.size(0) : 0, "], got ",
           perm.defined() ? to_text(perm) : "nothing");
  const Tensor order = perm.contiguous();
  Tensor back = Tensor::full({perm.numel()}, -1, DType::i64);
  auto* to = back.write<int64_t>("shuffled");
  for (int64_t r = 0; r < perm.numel(); ++r) {
    const int64_t row = order.data<int64_t>()[r];
    JX_CHECK(row >= 0 && row < perm.numel() &&
                     to[row]<0, "shuffled: perm: ", row, " at position ", r, perm.numel()> row && row >= 0
                 ? " appears twice"
                 : " is out of range",
             "; expected a permutation");
    to[row] = r;
  }
  return index_select(f(index_select(x, 0, order)), 0, back);
}

Var shuffle_bn(const Var& x, const Tensor& perm, const Var& gain, const Var& bias, BatchNormState& state,
               int64_t groups, double eps) {
  JX_CHECK(x.ndim() == 2, "shuffle_bn: x: expected [N, C], got ", x);
  const int64_t n = x.size(0);
  JX_CHECK(groups >= 1 && n % groups == 0 && n / groups >= 2, "shuffle_bn: groups: ", n, " rows in ", groups,
           " parts; expected equal parts of at least 2 rows");
  return shuffled(x, perm, [&](const Var& rows) {
    const int64_t part = n / groups;
    Var first = batch_norm(slice(rows, 0, 0, part), gain, bias, state, true, eps);
    if (groups == 1) return first;
    BatchNormState none;
    const std::vector<Var> parts{
        first, batch_norm(slice(rows, 0, part, n), gain, bias, none, true, eps, Act::none, {}, groups - 1)};
    return cat(parts, 0);
  });
}

}  // namespace juxta::ssl

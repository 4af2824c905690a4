#include "ssl/data/mixture.h"

#include <set>

namespace juxta::ssl {

double Mixture::real_fraction() const {
  return static_cast<double>(dup * n_real) / static_cast<double>(size());
}

MixedBatches mixed_batches(const Mixture& mixture, const Tensor& order, int64_t batch) {
  constexpr const char* kName = "adainf_mixture";
  JX_CHECK(mixture.n_real >= 0 && mixture.n_gen >= 0 && mixture.dup >= 0 && mixture.size() >= 1, kName,
           ": expected at least one image in the list, got n_real ", mixture.n_real, ", n_gen ",
           mixture.n_gen, ", dup ", mixture.dup);
  JX_CHECK(batch >= 1, kName, ": batch: expected at least 1, got ", batch);
  JX_CHECK(order.defined() && order.dtype() == DType::i64 && order.dims() == Dims({mixture.size()}), kName,
           ": order: expected i64 [", mixture.size(), "] (dup n_real + n_gen), got ", order);
  const Tensor places = order.contiguous();
  std::vector<bool> seen(static_cast<size_t>(mixture.size()), false);
  const int64_t steps = mixture.size() / batch;
  MixedBatches out{Tensor::empty({steps, batch}, DType::i64), Tensor::empty({steps, batch}, DType::i64),
                   Tensor::zeros({steps}, DType::i64)};
  std::set<int64_t> in_batch;
  for (int64_t i = 0; i < mixture.size(); ++i) {
    const int64_t place = places.data<int64_t>()[i];
    JX_CHECK(place >= 0 && place < mixture.size() && !seen[static_cast<size_t>(place)], kName,
             ": order: expected a permutation of 0 to ", mixture.size() - 1, ", got ", place, " at ", i);
    seen[static_cast<size_t>(place)] = true;
    if (i >= steps * batch) continue;
    if (i % batch == 0) in_batch.clear();
    const Mixture::Item item = mixture.at(place);
    out.source.write<int64_t>(kName)[i] = item.source;
    out.row.write<int64_t>(kName)[i] = item.row;
    if (item.source == 0 && !in_batch.insert(item.row).second) ++out.repeats.write<int64_t>(kName)[i / batch];
  }
  return out;
}

}  // namespace juxta::ssl

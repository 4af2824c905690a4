#include "ssl/clusters/dyce.h"

#include <algorithm>

#include "autograd/ops.h"
#include "ssl/clusters/kmeans.h"
#include "ssl/losses/loss.h"
#include "ssl/losses/sinkhorn.h"

namespace juxta::ssl {

namespace {

constexpr const char* kWho = "dyce";

void check_params(const DyceParams& p) {
  check_temperature(kWho, p.epsilon, "epsilon");
  JX_CHECK(p.iterations >= 1, "dyce: iterations: expected at least 1, got ", p.iterations);
  JX_CHECK(p.momentum >= 0 && p.momentum <= 1, "dyce: momentum: expected 0 to 1, got ", p.momentum);
}

Var cosines(const Var& unit_rows, const Tensor& others) {
  return matmul(unit_rows, transpose(l2_normalize(Var(others)), 0, 1));
}

}  // namespace

DyceMemory::DyceMemory(int64_t size, int64_t dim, int64_t k, const DyceParams& p, DType dtype) : params_(p) {
  JX_CHECK(size >= 1 && dim >= 1 && k >= 1, "dyce: size, dim and k: expected at least 1, got ", size, ", ",
           dim, " and ", k);
  check_params(p);
  bank_ = Tensor::zeros({size, dim}, dtype);
  prototypes_ = Tensor::zeros({k, dim}, dtype);
  labels_ = Tensor::full({size}, -1, DType::i64);
  state_ = Tensor::zeros({1}, DType::i64);
}

DyceMemory DyceMemory::from(const Tensor& bank, const Tensor& labels, const Tensor& prototypes,
                            int64_t pointer, const DyceParams& p) {
  check_embeddings(kWho, {{"bank", Var(bank)}});
  check_embeddings(kWho, {{"prototypes", Var(prototypes)}});
  JX_CHECK(prototypes.size(1) == bank.size(1) && prototypes.dtype() == bank.dtype(),
           "dyce: prototypes: expected rows like ", bank, ", got ", prototypes);
  const int64_t rows = bank.size(0), k = prototypes.size(0);
  JX_CHECK(labels.defined() && labels.dtype() == DType::i64 && labels.dims() == Dims({rows}),
           "dyce: labels: expected i64 [", rows, "], got ", labels);
  const Tensor y = labels.contiguous();
  for (int64_t i = 0; i < rows; ++i)
    JX_CHECK(y.data<int64_t>()[i] >= -1 && y.data<int64_t>()[i] < k, "dyce: labels: expected -1 to ", k - 1,
             ", got ", y.data<int64_t>()[i], " in row ", i);
  JX_CHECK(pointer >= 0 && pointer < rows, "dyce: ptr: expected 0 to ", rows - 1, ", got ", pointer);
  DyceMemory memory(rows, bank.size(1), k, p, bank.dtype());
  memory.bank_ = bank.clone();
  memory.labels_ = y.clone();
  memory.prototypes_ = prototypes.clone();
  memory.state_.write<int64_t>(kWho)[0] = pointer;
  return memory;
}

void DyceMemory::check_rows(const Tensor& z) const {
  check_embeddings(kWho, {{"z", Var(z)}});
  JX_CHECK(z.size(1) == bank_.size(1) && z.dtype() == bank_.dtype(), "dyce: z: expected rows like the bank, ",
           bank_, ", got ", z);
}

int64_t DyceMemory::write(const Tensor& z, const Tensor& labels, QueueOverflow overflow) {
  const int64_t size = bank_.size(0), batch = z.size(0), start = pointer();
  const int64_t kept = overflow == QueueOverflow::wrap ? batch : std::min(batch, size - start);
  for (int64_t i = 0; i < kept; ++i) {
    const int64_t at = (start + i) % size;
    bank_.select(0, at).copy_from(z.select(0, i), kWho);
    labels_.write<int64_t>(kWho)[at] = labels.defined() ? labels.data<int64_t>()[i] : -1;
  }
  const bool restart = overflow == QueueOverflow::truncate && start + batch >= size;
  state_.write<int64_t>(kWho)[0] = restart ? 0 : (start + batch) % size;
  return kept;
}

bool DyceMemory::fill(const Tensor& z) {
  check_rows(z);
  const bool full = pointer() + z.size(0) >= bank_.size(0);
  write(z, {}, QueueOverflow::truncate);
  return full;
}

bool DyceMemory::recluster(Rng& rng, int64_t rounds, int64_t restarts) {
  const NoGrad no_grad;
  const Tensor unit = l2_normalize(Var(bank_)).value();
  const KMeans found = best_kmeans(unit, prototypes_.size(0), rounds, restarts, rng);
  std::vector<bool> used(static_cast<size_t>(prototypes_.size(0)), false);
  for (int64_t i = 0; i < found.label.numel(); ++i)
    used[static_cast<size_t>(found.label.data<int64_t>()[i])] = true;
  if (!std::all_of(used.begin(), used.end(), [](bool u) { return u; })) return false;
  labels_.copy_from(found.label, kWho);
  prototypes_.copy_from(found.centroids, kWho);
  return true;
}

DyceMemory::Assigned DyceMemory::update(const Tensor& z) {
  check_rows(z);
  const NoGrad no_grad;
  const Var rows = at_least_f32(Var(z)), centres = at_least_f32(Var(prototypes_));
  Var log_weights;
  if (params_.metric == DyceMetric::cosine)
    log_weights = affine(cosines(l2_normalize(rows), centres.value()), 1.0 / params_.epsilon, 0.0);
  else {
    const Var a = params_.normalize ? l2_normalize(rows) : rows;
    const Var b = params_.normalize ? l2_normalize(centres) : centres;
    log_weights = affine(sqrt(pairwise_sq_distance(a, b)), -1.0 / params_.epsilon, 0.0);
  }
  Assigned assigned;
  assigned.q = balance(kWho, log_weights.value(), params_.iterations);
  assigned.label = argmax(assigned.q, -1);
  write(z, assigned.label, params_.overflow);
  // A label without rows keeps its prototype: its mean is the prototype itself.
  const Var means(label_means(bank_, labels_, prototypes_));
  prototypes_ =
      add(affine(Var(prototypes_), params_.momentum, 0.0), affine(means, 1.0 - params_.momentum, 0.0))
          .value();
  return assigned;
}

DyceMemory::Enhanced DyceMemory::enhance(const Var& z, int64_t k) const {
  check_rows(z.value());
  const int64_t rows = z.size(0), size = bank_.size(0);
  JX_CHECK(rows % 2 == 0, "dyce: z: expected an even number of rows, two views, got ", z);
  JX_CHECK(k >= 1 && k <= size, "dyce: k: expected 1 to ", size, ", the rows of the bank, got ", k);
  const Var unit = l2_normalize(z);
  Enhanced e;
  e.neighbours = Tensor::empty({rows, k}, DType::i64);
  {
    const NoGrad no_grad;
    e.prototype = argmax(cosines(unit, prototypes_).value(), -1);
    const Tensor all = cosines(unit, bank_).value();
    for (int64_t i = 0; i < rows; ++i) {
      const int64_t label = e.prototype.data<int64_t>()[i];
      const auto* of = labels_.data<int64_t>();
      Tensor mask = Tensor::full({size}, 1, DType::boolean);
      if (std::count(of, of + size, label) >= k)
        for (int64_t s = 0; s < size; ++s) mask.write<bool>(kWho)[s] = of[s] == label;
      const Var lowest(Tensor::full({1}, -2.0, all.dtype()));  // below every cosine
      const Tensor best = topk(where(mask, Var(all.select(0, i)), lowest), k).indices;
      std::copy_n(best.data<int64_t>(), k, e.neighbours.write<int64_t>(kWho) + i * k);
    }
  }
  std::vector<Var> parts;
  for (int64_t view = 0; view < 2; ++view) {
    const int64_t begin = view * rows / 2, end = begin + rows / 2;
    parts.push_back(slice(unit, 0, begin, end));
    parts.push_back(index_select(Var(bank_), 0, e.neighbours.slice(0, begin, end).reshape({rows / 2 * k})));
  }
  e.rows = cat(parts, 0);
  return e;
}

}  // namespace juxta::ssl

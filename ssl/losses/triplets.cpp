#include "ssl/losses/triplets.h"

#include <algorithm>
#include <cmath>

#include "autograd/ops.h"
#include "tensor/parallel.h"

namespace juxta::ssl {

namespace {

void check_labels(const char* loss, const Tensor& labels, int64_t n) {
  JX_CHECK(labels.defined() && labels.dtype() == DType::i64 && labels.dims() == Dims({n}), loss,
           ": labels: expected i64 [", n, "], got ", labels);
}

// i64 [Q, columns] of indices into [0, n).
void check_indices(const char* loss, const char* name, const Tensor& index, int64_t columns, int64_t n) {
  JX_CHECK(index.defined() && index.dtype() == DType::i64 && index.ndim() == 2 && index.size(1) == columns,
           loss, ": ", name, ": expected i64 [Q, ", columns, "], got ", index);
  const Tensor flat = index.contiguous();
  for (int64_t i = 0; i < flat.numel(); ++i)
    JX_CHECK(flat.data<int64_t>()[i] >= 0 && flat.data<int64_t>()[i] < n, loss, ": ", name,
             ": expected 0 to ", n - 1, ", got ", flat.data<int64_t>()[i], " in row ", i / columns);
}

Var count_of(int64_t n) { return Var(Tensor::full({}, static_cast<double>(n), DType::i64)); }

// d_ij of all pairs [N, N]; its derivative at 0 is 0.
Var distances(const Var& embeddings, Distance distance, bool normalize) {
  const Var x = normalize ? l2_normalize(at_least_f32(embeddings)) : at_least_f32(embeddings);
  if (distance == Distance::cosine) {
    const Var unit = normalize ? x : l2_normalize(x);
    return affine(pairwise_sq_distance(unit, unit), 0.5, 0.0);  // of unit rows
  }
  const Var square = pairwise_sq_distance(x, x);
  return distance == Distance::l2 ? sqrt(square) : square;
}

// The triplets of one anchor, as calls of take(p, n).
struct Miner {
  const double* d;  // [n, n]
  const int64_t* label;
  int64_t n;
  const TripletMarginParams& p;

  bool wanted(int64_t a, int64_t pos, int64_t neg) const {
    const double gap = d[a * n + neg] - d[a * n + pos];
    switch (p.mining) {
      case Mining::semihard:
        return gap > 0 && gap <= p.margin;
      case Mining::hard:
        return gap <= 0;
      case Mining::easy:
        return gap > p.margin;
      default:
        return true;
    }
  }
  bool positive(int64_t a, int64_t b) const { return a != b && label[a] == label[b]; }

  // Of batch_hard: the farthest positive and the nearest negative; -1 where there is none.
  int64_t farthest(int64_t a) const {
    int64_t far = -1;
    for (int64_t j = 0; j < n; ++j)
      if (positive(a, j) && (far < 0 || d[a * n + j] > d[a * n + far])) far = j;
    return far;
  }
  int64_t nearest(int64_t a) const {
    int64_t near = -1;
    for (int64_t j = 0; j < n; ++j)
      if (label[a] != label[j] && (near < 0 || d[a * n + j] < d[a * n + near])) near = j;
    return near;
  }
  // The negatives of anchor and positive.
  template <class Take>
  void negatives(int64_t a, int64_t pos, const Take& take) const {
    for (int64_t neg = 0; neg < n; ++neg)
      if (label[a] != label[neg] && wanted(a, pos, neg)) take(neg);
  }
  template <class Take>
  void each(int64_t a, const Take& take) const {
    if (p.mining == Mining::batch_hard) {
      const int64_t far = farthest(a), near = nearest(a);
      if (far >= 0 && near >= 0) take(far, near);
      return;
    }
    for (int64_t pos = 0; pos < n; ++pos)
      if (positive(a, pos)) negatives(a, pos, [&](int64_t neg) { take(pos, neg); });
  }
  // Those of each(a) with this positive.
  template <class Take>
  void each_with(int64_t a, int64_t pos, const Take& take) const {
    if (!positive(a, pos)) return;
    if (p.mining != Mining::batch_hard) return negatives(a, pos, take);
    const int64_t near = nearest(a);
    if (near >= 0 && farthest(a) == pos) take(near);
  }
};

// One term: its value and derivative by d_ap - d_an, and whether d_pn stands for d_an.
struct Term {
  double value, slope;
  bool swapped;
};
Term term(double ap, double an, double pn, const TripletMarginParams& p) {
  const bool swapped = p.swap && pn < an;
  const double x = ap - (swapped ? pn : an) + p.margin;
  if (!p.soft) return {std::max(x, 0.0), x > 0 ? 1.0 : 0.0, swapped};
  return {x > 0 ? x + std::log1p(std::exp(-x)) : std::log1p(std::exp(x)), 1 / (1 + std::exp(-x)), swapped};
}

// Sum of all terms and its derivative by every distance.
struct Sums {
  double value = 0;
  int64_t triplets = 0, active = 0;
  std::vector<double> gradient;  // [n, n]
};

void add_term(const double* d, int64_t n, int64_t a, int64_t pos, int64_t neg, const TripletMarginParams& p,
              Sums& s, double* row_a, double* row_p) {
  const Term t = term(d[a * n + pos], d[a * n + neg], d[pos * n + neg], p);
  s.value += t.value;
  ++s.triplets;
  s.active += t.value > 0;
  row_a[pos] += t.slope;
  if (!t.swapped)
    row_a[neg] -= t.slope;
  else if (row_p)
    row_p[neg] -= t.slope;
}

// Anchors in parallel; each owns its row of the gradient. What a swap adds to the row of p is gathered in a
// second walk, by p, which owns that row: the bits do not depend on threads.
Sums mined(const double* d, const int64_t* label, int64_t n, const TripletMarginParams& p) {
  const Miner miner{d, label, n, p};
  std::vector<Sums> own(static_cast<size_t>(n));
  Sums all;
  all.gradient.assign(static_cast<size_t>(n * n), 0.0);
  const int64_t grain = grain_for(n * n);
  parallel_for(n, grain, [&](int64_t begin, int64_t end) {
    for (int64_t a = begin; a < end; ++a)
      miner.each(a, [&](int64_t pos, int64_t neg) {
        add_term(d, n, a, pos, neg, p, own[static_cast<size_t>(a)], all.gradient.data() + a * n, nullptr);
      });
  });
  for (const Sums& s : own) all.value += s.value, all.triplets += s.triplets, all.active += s.active;
  if (!p.swap) return all;
  parallel_for(n, grain, [&](int64_t begin, int64_t end) {
    for (int64_t pos = begin; pos < end; ++pos)
      for (int64_t a = 0; a < n; ++a)
        miner.each_with(a, pos, [&](int64_t neg) {
          const Term t = term(d[a * n + pos], d[a * n + neg], d[pos * n + neg], p);
          if (t.swapped) all.gradient[static_cast<size_t>(pos * n + neg)] -= t.slope;
        });
  });
  return all;
}

Sums given(const double* d, int64_t n, const Tensor& triplets, const TripletMarginParams& p) {
  Sums s;
  s.gradient.assign(static_cast<size_t>(n * n), 0.0);
  const Tensor flat = triplets.contiguous();
  for (int64_t t = 0; t < flat.size(0); ++t) {
    const int64_t* i = flat.data<int64_t>() + 3 * t;
    add_term(d, n, i[0], i[1], i[2], p, s, s.gradient.data() + i[0] * n, s.gradient.data() + i[1] * n);
  }
  return s;
}

}  // namespace

Loss triplet_margin(const Var& embeddings, const Tensor& labels, const Tensor& triplets,
                    const TripletMarginParams& p) {
  check_embeddings("triplet_margin", {{"embeddings", embeddings}});
  const int64_t n = embeddings.size(0);
  const bool is_given = p.mining == Mining::given;
  if (labels.defined() || !is_given) check_labels("triplet_margin", labels, n);
  JX_CHECK(std::isfinite(p.margin), "triplet_margin: margin: expected a number, got ", p.margin);
  JX_CHECK(triplets.defined() == is_given, "triplet_margin: triplets: ",
           is_given ? "mining \"given\" needs them" : "only mining \"given\" takes them");
  if (is_given) check_indices("triplet_margin", "triplets", triplets, 3, n);
  const Var d = distances(embeddings, p.distance, p.normalize);
  const Tensor values = d.value().to(DType::f64).contiguous();
  Sums s = is_given ? given(values.data<double>(), n, triplets, p)
                    : mined(values.data<double>(), labels.contiguous().data<int64_t>(), n, p);
  const int64_t terms = p.reduction == TripletMean::mean ? s.triplets : s.active;
  const double scale = terms ? 1.0 / static_cast<double>(terms) : 0.0;
  for (double& g : s.gradient) g *= scale;
  const Tensor dx = Tensor::from(std::span<const double>(s.gradient), {n, n}).to(d.dtype());
  const Var loss = with_gradient(Tensor::scalar(s.value * scale, d.dtype()), {&d, 1}, {&dx, 1});
  return {loss, {{"num_triplets", count_of(s.triplets)}, {"num_active", count_of(s.active)}}};
}

Loss contrastive_margin(const Var& embeddings, const Tensor& labels, const ContrastiveMarginParams& p) {
  check_embeddings("contrastive_margin", {{"embeddings", embeddings}});
  const int64_t n = embeddings.size(0);
  check_labels("contrastive_margin", labels, n);
  JX_CHECK(std::isfinite(p.pos_margin) && std::isfinite(p.neg_margin),
           "contrastive_margin: pos_margin and neg_margin: expected numbers, got ", p.pos_margin, " and ",
           p.neg_margin);
  const Var d = distances(embeddings, p.distance, p.normalize);
  const Tensor y = labels.contiguous();
  // mean of max(0, x)^e over the pairs of one kind
  const auto mean_of = [&](const Var& x, bool same) {
    Tensor kind = Tensor::empty({n, n}, DType::boolean);
    int64_t pairs = 0;
    for (int64_t i = 0; i < n; ++i)
      for (int64_t j = 0; j < n; ++j) {
        const bool of_kind = i != j && (y.data<int64_t>()[i] == y.data<int64_t>()[j]) == same;
        kind.write<bool>("contrastive_margin")[i * n + j] = of_kind;
        pairs += of_kind;
      }
    const Var hinge = where(kind, relu(x), Var(Tensor::zeros({n, n}, x.dtype())));
    if (p.reduction == TripletMean::mean_nonzero) {
      const Tensor above = hinge.value().to(DType::f64).contiguous();
      pairs =
          std::count_if(above.data<double>(), above.data<double>() + n * n, [](double v) { return v > 0; });
    }
    return affine(sum(p.squared ? square(hinge) : hinge), pairs ? 1.0 / static_cast<double>(pairs) : 0.0,
                  0.0);
  };
  const Var positive = mean_of(affine(d, 1.0, -p.pos_margin), true),
            negative = mean_of(affine(d, -1.0, p.neg_margin), false);
  return {add(positive, negative),
          {{"positive", stop_gradient(positive)}, {"negative", stop_gradient(negative)}}};
}

Loss sirl_triplet(const Var& emb, const Tensor& queries, const SirlTripletParams& p) {
  check_embeddings("sirl_triplet", {{"emb", emb}});
  check_indices("sirl_triplet", "queries", queries, 3, emb.size(0));
  JX_CHECK(queries.size(0) >= 1, "sirl_triplet: queries: expected at least one");
  JX_CHECK(std::isfinite(p.margin), "sirl_triplet: margin: expected a number, got ", p.margin);
  const Var x = at_least_f32(emb);
  const auto rows = [&](int column) { return index_select(x, 0, queries.select(1, column).contiguous()); };
  const Var first = rows(0), second = rows(1), negative = rows(2);
  const auto squared = [](const Var& a, const Var& b) { return sum(square(sub(a, b)), {1}); };
  const Var near = affine(squared(first, second), 1.0, p.margin);
  const Var one = relu(sub(near, squared(first, negative))), two = relu(sub(near, squared(second, negative)));
  const Var samples = add(one, two);
  int64_t active = 0;
  for (const Var& v : {one, two})
    for (int64_t q = 0; q < v.numel(); ++q) active += v.value().at({q}) > 0;
  return {p.reduction == Reduction::mean ? mean(samples) : sum(samples),
          {{"active", count_of(active)}},
          stop_gradient(samples)};
}

Loss preference_bt(const Var& rewards, const Tensor& length, const Tensor& pairs, const Tensor& label,
                   const PreferenceBtParams& p) {
  constexpr const char* kLoss = "preference_bt";
  check_embeddings(kLoss, {{"rewards", rewards}});
  const int64_t n = rewards.size(0), steps = rewards.size(1);
  check_indices(kLoss, "pairs", pairs, 2, n);
  const int64_t q = pairs.size(0);
  JX_CHECK(q >= 1, kLoss, ": pairs: expected at least one");
  JX_CHECK(length.defined() && length.dtype() == DType::i64 && length.dims() == Dims({n}), kLoss,
           ": length: expected i64 [", n, "], got ", length);
  JX_CHECK(label.defined() && is_float(label.dtype()) && label.dims() == Dims({q}), kLoss,
           ": label: expected a float [", q, "], got ", label);
  JX_CHECK(p.beta > 0 && std::isfinite(p.beta), kLoss, ": beta: expected a positive number, got ", p.beta);
  Tensor counts = Tensor::empty({n, steps}, DType::boolean);
  for (int64_t i = 0; i < n; ++i) {
    const int64_t l = static_cast<int64_t>(length.at({i}));
    JX_CHECK(l >= 0 && l <= steps, kLoss, ": length: expected 0 to ", steps, ", got ", l, " in row ", i);
    for (int64_t t = 0; t < steps; ++t) counts.write<bool>(kLoss)[i * steps + t] = t < l;
  }
  for (int64_t i = 0; i < q; ++i)
    JX_CHECK(label.at({i}) >= 0 && label.at({i}) <= 1, kLoss, ": label: expected 0 to 1, got ", label.at({i}),
             " in row ", i);
  const Var r = at_least_f32(rewards);
  const Var total = sum(where(counts, r, Var(Tensor::zeros(r.dims(), r.dtype()))), {1});
  const auto of = [&](int side) { return index_select(total, 0, pairs.select(1, side).contiguous()); };
  const Var z = affine(sub(of(0), of(1)), p.beta, 0.0), y(label.to(r.dtype()));
  // -[y log s(z) + (1 - y) log s(-z)] = softplus(z) - y z
  const Var samples = sub(softplus(z), mul(y, z));
  int64_t right = 0, decided = 0;
  for (int64_t i = 0; i < q; ++i) {
    if (label.at({i}) == 0.5) continue;
    ++decided;
    right += (z.value().at({i}) > 0) == (label.at({i}) > 0.5);
  }
  const double accuracy = static_cast<double>(right) / static_cast<double>(decided);
  return {mean(samples), {{"accuracy", Var(Tensor::scalar(accuracy, DType::f64))}}, stop_gradient(samples)};
}

}  // namespace juxta::ssl

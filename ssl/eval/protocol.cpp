#include "ssl/eval/protocol.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <span>

#include "autograd/ops.h"
#include "ssl/data/loader.h"
#include "ssl/data/sample.h"
#include "ssl/eval/curvature.h"
#include "ssl/eval/lbfgs.h"
#include "ssl/losses/loss.h"
#include "tensor/rng.h"

namespace juxta::ssl {

namespace {

// Labels in [0, C), one per row.
std::vector<int64_t> labels_of(const char* who, const Tensor& labels, const Tensor& rows, int64_t classes) {
  JX_CHECK(labels.defined() && labels.dtype() == DType::i64 && labels.dims() == Dims({rows.size(0)}), who,
           ": expected i64 [", rows.size(0), "], got ", labels.defined() ? to_text(labels) : "nothing");
  const Tensor flat = labels.contiguous();
  const auto* p = flat.data<int64_t>();
  for (int64_t i = 0; i < flat.numel(); ++i)
    JX_CHECK(p[i] >= 0 && p[i] < classes, who, ": expected 0 to ", classes - 1, ", got ", p[i], " in row ",
             i);
  return {p, p + flat.numel()};
}

void check_features(const char* who, const Tensor& train, const Tensor& test) {
  for (const Tensor* x : {&train, &test})
    JX_CHECK(x->defined() && x->ndim() == 2 && x->size(0) > 0 && x->size(1) > 0 && is_float(x->dtype()) &&
                 x->size(1) == train.size(1) && x->dtype() == train.dtype(),
             who, ": expected training and test rows [n, D] and [m, D] of one float dtype, got ", train,
             " and ", test);
}

// Similarity and training row of the k nearest of one test row, in f64, and the votes for each class.
struct Vote {
  int64_t row;
  const int64_t* neighbours;  // [k]
  const std::vector<double>& votes;
};

// Calls f(Vote) for every test row in order. Similarities exist for a block of test rows at a time.
template <class F>
void for_votes(const Tensor& train, const std::vector<int64_t>& labels, const Tensor& test,
               const KnnParams& p, int64_t classes, F f) {
  const NoGrad no_grad;
  const auto rows_of = [&](const Tensor& x) {
    const Var wide = at_least_f32(Var(x));
    return p.normalize ? l2_normalize(wide) : wide;
  };
  const Var bank = transpose(rows_of(train), 0, 1);  // [D, n]
  const int64_t k = std::min(p.k, train.size(0));
  std::vector<double> votes(static_cast<size_t>(classes));
  constexpr int64_t kBlock = 256;
  for (int64_t begin = 0; begin < test.size(0); begin += kBlock) {
    const int64_t end = std::min(begin + kBlock, test.size(0));
    const TopK best = topk(matmul(rows_of(test.slice(0, begin, end)), bank), k);  // [B, k]
    const Tensor similar = best.values.value().to(DType::f64).contiguous();
    for (int64_t i = 0; i < end - begin; ++i) {
      std::fill(votes.begin(), votes.end(), 0.0);
      const int64_t* nearest = best.indices.data<int64_t>() + i * k;
      for (int64_t j = 0; j < k; ++j)
        votes[static_cast<size_t>(labels[static_cast<size_t>(nearest[j])])] +=
            p.weights == KnnParams::Weights::exp ? std::exp(similar.data<double>()[i * k + j] / p.temperature)
                                                 : 1.0;
      f(Vote{begin + i, nearest, votes});
    }
  }
}

}  // namespace

int64_t classes_of(const Tensor& train_labels, const Tensor& test_labels) {
  int64_t most = 0;
  for (const Tensor* t : {&train_labels, &test_labels}) {
    const Tensor flat = t->contiguous();
    for (int64_t i = 0; i < flat.numel(); ++i) most = std::max(most, flat.data<int64_t>()[i] + 1);
  }
  return most;
}

double share_equal(const Tensor& predicted_in, const Tensor& labels_in) {
  JX_CHECK(predicted_in.dims() == labels_in.dims(), "accuracy: ", predicted_in, " beside ", labels_in);
  const Tensor predicted = predicted_in.contiguous(), labels = labels_in.contiguous();
  int64_t hits = 0;
  for (int64_t i = 0; i < predicted.numel(); ++i)
    hits += predicted.data<int64_t>()[i] == labels.data<int64_t>()[i];
  return static_cast<double>(hits) / static_cast<double>(std::max<int64_t>(1, predicted.numel()));
}

KnnResult knn_weighted(const Tensor& train, const Tensor& train_labels, const Tensor& test,
                       const Tensor& test_labels, const KnnParams& p) {
  check_features("knn", train, test);
  JX_CHECK(p.k >= 1, "knn: k: expected at least 1, got ", p.k);
  check_temperature("knn", p.temperature);
  const int64_t C = p.num_classes > 0 ? p.num_classes : classes_of(train_labels, test_labels);
  const std::vector<int64_t> labels = labels_of("knn: train_labels", train_labels, train, C),
                             wanted = labels_of("knn: test_labels", test_labels, test, C);
  const int64_t m = test.size(0), k = std::min(p.k, train.size(0));
  KnnResult r{Tensor::empty({m, C}, DType::f64), Tensor::empty({m, C}, DType::i64),
              Tensor::empty({m, k}, DType::i64)};
  std::vector<int64_t> order(static_cast<size_t>(C));
  for_votes(train, labels, test, p, C, [&](const Vote& v) {
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int64_t a, int64_t b) {
      return v.votes[static_cast<size_t>(a)] > v.votes[static_cast<size_t>(b)];
    });
    std::copy(v.votes.begin(), v.votes.end(), r.scores.write<double>("knn") + v.row * C);
    std::copy(order.begin(), order.end(), r.ranking.write<int64_t>("knn") + v.row * C);
    std::copy_n(v.neighbours, k, r.neighbours.write<int64_t>("knn") + v.row * k);
    const auto place =
        std::find(order.begin(), order.end(), wanted[static_cast<size_t>(v.row)]) - order.begin();
    r.top1 += place < 1, r.top5 += place < 5;
  });
  r.top1 /= static_cast<double>(m), r.top5 /= static_cast<double>(m);
  return r;
}

double knn_accuracy(const Tensor& train, const Tensor& train_labels, const Tensor& test,
                    const Tensor& test_labels, int64_t classes, int64_t k, double temperature) {
  check_features("knn", train, test);
  const std::vector<int64_t> labels = labels_of("knn: train_labels", train_labels, train, classes),
                             wanted = labels_of("knn: test_labels", test_labels, test, classes);
  int64_t hits = 0;
  for_votes(train, labels, test, {.k = k, .temperature = temperature}, classes, [&](const Vote& v) {
    const auto winner = std::max_element(v.votes.begin(), v.votes.end()) - v.votes.begin();
    hits += winner == wanted[static_cast<size_t>(v.row)];
  });
  return static_cast<double>(hits) / static_cast<double>(test.size(0));
}

namespace {

// (x - mean) / (stddev + 1e-6) by the statistics of `train`, whose stddev is the unbiased one.
void standardize(Tensor& train, Tensor& test) {
  const NoGrad no_grad;
  const Var mu = mean(Var(train), {0}, true);
  const Var sd = train.size(0) > 1 ? sqrt(variance(Var(train), {0}, true)) : Var(Tensor::zeros(mu.dims()));
  const Var inv = reciprocal(affine(sd, 1.0, 1e-6));
  train = mul(sub(Var(train), mu), inv).value();
  test = mul(sub(Var(test), mu), inv).value();
}

// Rows of the 10-per-class draw `draw`: the first `per_class` of each class in a random order.
std::vector<int64_t> pick_per_class(const Tensor& labels, int64_t classes, int64_t per_class, int64_t draw) {
  std::vector<int64_t> taken(static_cast<size_t>(classes), 0), rows;
  const Tensor l = labels.contiguous();
  for (int64_t i : epoch_order(labels.numel(), stream_id("few_labels"), draw)) {
    int64_t& n = taken[static_cast<size_t>(l.data<int64_t>()[i])];
    if (n < per_class) rows.push_back(i), ++n;
  }
  std::sort(rows.begin(), rows.end());
  return rows;
}

}  // namespace

namespace {

// Weights [C, D] and biases [C] of one vector of C D + C numbers, as leaves in `dtype`.
std::pair<Var, Var> unpack(const std::vector<double>& p, int64_t classes, int64_t D, DType dtype) {
  const std::span<const double> all(p);
  const auto weights = static_cast<size_t>(classes * D);
  return {Var::leaf(Tensor::from(all.first(weights), {classes, D}).to(dtype)),
          Var::leaf(Tensor::from(all.subspan(weights), {classes}).to(dtype))};
}

}  // namespace

SoftmaxRegression softmax_regression(const Tensor& x, const Tensor& labels, int64_t classes, double l2,
                                     double tolerance, int64_t max_iterations) {
  check_features("linear_probe", x, x);
  JX_CHECK(l2 >= 0 && std::isfinite(l2), "linear_probe: l2: expected 0 or more, got ", l2);
  labels_of("linear_probe: train_labels", labels, x, classes);
  const int64_t D = x.size(1), weights = classes * D;
  const Tensor targets = labels.contiguous();
  const Var rows = at_least_f32(Var(x));
  // Both passes over a part of the rows while it is in cache.
  const int64_t n = x.size(0), chunk = std::max<int64_t>(1, (int64_t{1} << 21) / D);
  const auto objective = [&](const std::vector<double>& p, std::vector<double>& gradient) {
    const auto [w, b] = unpack(p, classes, D, rows.dtype());
    double loss = 0;
    for (int64_t begin = 0; begin < n; begin += chunk) {
      const int64_t end = std::min(begin + chunk, n);
      const Var part =
          sum(cross_entropy(linear(slice(rows, 0, begin, end), w, b), targets.slice(0, begin, end)));
      backward(affine(part, 1.0 / static_cast<double>(n), 0.0));
      loss += part.item();
    }
    const Tensor dw = w.grad().to(DType::f64).contiguous(), db = b.grad().to(DType::f64).contiguous();
    double penalty = 0;
    for (int64_t i = 0; i < weights; ++i) {
      const double wi = p[static_cast<size_t>(i)];
      penalty += wi * wi;
      gradient[static_cast<size_t>(i)] = dw.data<double>()[i] + l2 * wi;
    }
    std::copy_n(db.data<double>(), classes, gradient.begin() + weights);
    return loss / static_cast<double>(n) + 0.5 * l2 * penalty;
  };
  std::vector<double> p(static_cast<size_t>(weights + classes), 0.0);
  LbfgsOptions options{.max_iterations = max_iterations, .tolerance = tolerance};
  if (rows.dtype() == DType::f64) options.rounding = 16 * std::numeric_limits<double>::epsilon();
  // Features are correlated, pixels most of all: plain L-BFGS takes thousands of steps. The curvature at the
  // start is the same for all classes; after some steps each has its own.
  const Tensor even = Tensor::full({x.size(0), 1}, 1.0 / static_cast<double>(classes), rows.dtype());
  options.precondition = softmax_curvature(rows.value(), even, classes, l2);
  int64_t first_steps = 0;
  if (options.precondition) {
    options.max_iterations = std::min<int64_t>(12, max_iterations);
    first_steps = minimize_lbfgs(objective, p, options).iterations;
    options.max_iterations = max_iterations - first_steps;
    const NoGrad no_grad;
    const auto [w, b] = unpack(p, classes, D, rows.dtype());
    if (auto own = softmax_curvature(rows.value(), softmax(linear(rows, w, b)).value(), classes, l2))
      options.precondition = std::move(own);
  }
  LbfgsResult r = minimize_lbfgs(objective, p, options);
  r.iterations += first_steps;
  const double shift = std::accumulate(p.begin() + weights, p.end(), 0.0) / static_cast<double>(classes);
  std::for_each(p.begin() + weights, p.end(), [shift](double& b) { b -= shift; });
  const auto [w, b] = unpack(p, classes, D, DType::f64);
  return {w.value(), b.value(), r.value, r.gradient, r.iterations};
}

Tensor SoftmaxRegression::predict(const Tensor& x) const {
  const NoGrad no_grad;
  const Var rows = at_least_f32(Var(x));
  return argmax(linear(rows, Var(weight.to(rows.dtype())), Var(bias.to(rows.dtype()))).value(), 1);
}

ProbeResult linear_probe(const Tensor& train_in, const Tensor& train_labels, const Tensor& test_in,
                         const Tensor& test_labels, int64_t classes, double tolerance,
                         int64_t max_iterations) {
  Tensor train = train_in, test = test_in;
  standardize(train, test);
  const double l2 = 10.0 / static_cast<double>(train.size(0));
  const SoftmaxRegression r = softmax_regression(train, train_labels, classes, l2, tolerance, max_iterations);
  return {share_equal(r.predict(test), test_labels), r.loss, r.gradient, r.iterations};
}

double few_label_probe(const Tensor& train, const Tensor& train_labels, const Tensor& test,
                       const Tensor& test_labels, int64_t classes, int64_t per_class, int64_t draws) {
  double sum = 0;
  for (int64_t draw = 0; draw < draws; ++draw) {
    const std::vector<int64_t> rows = pick_per_class(train_labels, classes, per_class, draw);
    const Tensor index = Tensor::from(std::span<const int64_t>(rows), {static_cast<int64_t>(rows.size())});
    const Tensor x = index_select(Var(train), 0, index).value();
    Tensor y = Tensor::empty({index.numel()}, DType::i64);
    for (size_t i = 0; i < rows.size(); ++i)
      y.write<int64_t>("few_labels")[i] = train_labels.data<int64_t>()[rows[i]];
    sum += linear_probe(x, y, test, test_labels, classes).accuracy;
  }
  return sum / static_cast<double>(draws);
}

Scores score_features(const Tensor& train, const Tensor& train_labels, const Tensor& test,
                      const Tensor& test_labels, int64_t classes) {
  Scores s;
  s.knn_top1 = knn_accuracy(train, train_labels, test, test_labels, classes);
  s.linear_top1 = linear_probe(train, train_labels, test, test_labels, classes).accuracy;
  s.linear_10_per_class = few_label_probe(train, train_labels, test, test_labels, classes);
  return s;
}

namespace {

// Features of n images, of which images(begin, end) gives a batch.
template <class F>
Tensor features_of(nn::Encoder& encoder, int64_t n, int64_t batch, F images) {
  const NoGrad no_grad;
  Tensor out = Tensor::empty({n, encoder.feature_dim()});
  for (int64_t begin = 0; begin < n; begin += batch) {
    const int64_t end = std::min(begin + batch, n);
    Tensor rows = out.slice(0, begin, end);
    rows.copy_from(encoder.features(Var(images(begin, end)), nn::Ctx{}).value(), "extract_features");
  }
  return out;
}

}  // namespace

Tensor extract_features(nn::Encoder& encoder, const ImageSet& set, const ViewConfig& view,
                        const PixelStats* stats, int64_t batch) {
  return features_of(encoder, set.size(), batch,
                     [&](int64_t begin, int64_t end) { return plain_images(set, begin, end, view, stats); });
}

Tensor extract_features(nn::Encoder& encoder, const ImageSet& set, std::span<const int64_t> rows,
                        const ViewConfig& view, const PixelStats* stats, int64_t batch) {
  // Copied a batch at a time: thousands of large images beside the set would not be small.
  return features_of(encoder, static_cast<int64_t>(rows.size()), batch, [&](int64_t begin, int64_t end) {
    const auto part = rows.subspan(static_cast<size_t>(begin), static_cast<size_t>(end - begin));
    return plain_images(take_images(set, part), 0, end - begin, view, stats);
  });
}

Tensor pixel_features(const ImageSet& set) {
  const Tensor x = plain_images(set, 0, set.size(), ViewConfig{});
  return x.view({set.size(), -1});
}

}  // namespace juxta::ssl

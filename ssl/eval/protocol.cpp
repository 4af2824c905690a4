#include "ssl/eval/protocol.h"

#include <algorithm>
#include <cmath>

#include "autograd/ops.h"
#include "ssl/data/loader.h"
#include "ssl/eval/lbfgs.h"
#include "tensor/rng.h"

namespace juxta::ssl {

double knn_accuracy(const Tensor& train, const Tensor& train_labels, const Tensor& test,
                    const Tensor& test_labels, int64_t classes, int64_t k, double temperature) {
  const NoGrad no_grad;
  JX_CHECK(train.size(0) > 0 && test.size(0) > 0, "knn: ", train.size(0), " training and ", test.size(0),
           " test rows");
  k = std::min(k, train.size(0));
  const Var bank = transpose(l2_normalize(Var(train)), 0, 1);  // [D, N]
  const Tensor labels = train_labels.contiguous(), wanted = test_labels.contiguous();
  int64_t hits = 0;
  std::vector<double> votes(static_cast<size_t>(classes));
  constexpr int64_t kBlock = 256;
  for (int64_t begin = 0; begin < test.size(0); begin += kBlock) {
    const int64_t end = std::min(begin + kBlock, test.size(0));
    const TopK best = topk(matmul(l2_normalize(Var(test.slice(0, begin, end))), bank), k);  // [B, k]
    const auto* cosine = best.values.value().data<float>();
    const auto* index = best.indices.data<int64_t>();
    for (int64_t i = 0; i < end - begin; ++i) {
      std::fill(votes.begin(), votes.end(), 0.0);
      for (int64_t j = 0; j < k; ++j)
        votes[static_cast<size_t>(labels.data<int64_t>()[index[i * k + j]])] +=
            std::exp(static_cast<double>(cosine[i * k + j]) / temperature);
      const auto winner = std::max_element(votes.begin(), votes.end()) - votes.begin();
      hits += winner == wanted.data<int64_t>()[begin + i];
    }
  }
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

double accuracy_of(const Tensor& logits, const Tensor& labels) {
  const Tensor predicted = argmax(logits, 1), wanted = labels.contiguous();
  int64_t hits = 0;
  for (int64_t i = 0; i < predicted.numel(); ++i)
    hits += predicted.data<int64_t>()[i] == wanted.data<int64_t>()[i];
  return static_cast<double>(hits) / static_cast<double>(std::max<int64_t>(1, predicted.numel()));
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

ProbeResult linear_probe(const Tensor& train_in, const Tensor& train_labels, const Tensor& test_in,
                         const Tensor& test_labels, int64_t classes, double tolerance,
                         int64_t max_iterations) {
  Tensor train = train_in, test = test_in;
  standardize(train, test);
  const int64_t D = train.size(1), n = train.size(0);
  const double l2 = 10.0 / static_cast<double>(n);
  const Tensor targets = train_labels.contiguous();
  // Parameters in one vector [classes * D + classes]: weights, then biases.
  const auto unpack = [&](const std::vector<double>& p) {
    Tensor w = Tensor::empty({classes, D}), b = Tensor::empty({classes});
    float *pw = w.write<float>("linear_probe"), *pb = b.write<float>("linear_probe");
    for (int64_t i = 0; i < classes * D; ++i) pw[i] = static_cast<float>(p[static_cast<size_t>(i)]);
    for (int64_t i = 0; i < classes; ++i) pb[i] = static_cast<float>(p[static_cast<size_t>(classes * D + i)]);
    return std::pair{Var::leaf(w), Var::leaf(b)};
  };
  const auto objective = [&](const std::vector<double>& p, std::vector<double>& gradient) {
    const auto [w, b] = unpack(p);
    const Var loss = mean(cross_entropy(linear(Var(train), w, b), targets));
    backward(loss);
    double penalty = 0;
    for (int64_t i = 0; i < classes * D; ++i) {
      const double wi = p[static_cast<size_t>(i)];
      penalty += wi * wi;
      gradient[static_cast<size_t>(i)] = static_cast<double>(w.grad().data<float>()[i]) + l2 * wi;
    }
    for (int64_t i = 0; i < classes; ++i)
      gradient[static_cast<size_t>(classes * D + i)] = static_cast<double>(b.grad().data<float>()[i]);
    return loss.item() + 0.5 * l2 * penalty;
  };
  std::vector<double> parameters(static_cast<size_t>(classes * D + classes), 0.0);
  const LbfgsResult r =
      minimize_lbfgs(objective, parameters, {.max_iterations = max_iterations, .tolerance = tolerance});
  const NoGrad no_grad;
  const auto [w, b] = unpack(parameters);
  return {accuracy_of(linear(Var(test), w, b).value(), test_labels), r.value, r.gradient, r.iterations};
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

Tensor extract_features(nn::Encoder& encoder, const ImageSet& set, const ViewConfig& view,
                        const PixelStats* stats, int64_t batch) {
  const NoGrad no_grad;
  Tensor out = Tensor::empty({set.size(), encoder.feature_dim()});
  for (int64_t begin = 0; begin < set.size(); begin += batch) {
    const int64_t end = std::min(begin + batch, set.size());
    const Var f = encoder.features(Var(plain_images(set, begin, end, view, stats)), nn::Ctx{});
    Tensor rows = out.slice(0, begin, end);
    rows.copy_from(f.value(), "extract_features");
  }
  return out;
}

Tensor pixel_features(const ImageSet& set) {
  const Tensor x = plain_images(set, 0, set.size(), ViewConfig{});
  return x.view({set.size(), -1});
}

}  // namespace juxta::ssl

#pragma once
// Evaluation of frozen features, one protocol for everything:
//   features  pooled, before any head; the network in evaluation mode; whole images, resized
//             where the recipe says so
//   kNN       cosine, k = 20, votes exp(cos / 0.07) (Wu et al., arXiv 1805.01978)
//   linear    softmax regression on features standardised by the training statistics, mean cross-entropy +
//   l2/2 |W|^2 with l2 = 10/n,
//             solved to its optimum; on all labels, and on 10 labels per class (mean of 5 draws)
#include <cstdint>
#include <functional>
#include <span>
#include <string>
#include <vector>

#include "nn/encoder.h"
#include "ssl/data/dataset.h"
#include "ssl/params.h"
#include "ssl/views/views.h"

namespace juxta::ssl {

struct Scores {
  double knn_top1 = 0, linear_top1 = 0, linear_10_per_class = 0;  // fractions
};

struct KnnParams {
  int64_t k = 20;
  double temperature = 0.07;
  int64_t num_classes = 0;  // 0: one above the largest label
  enum class Weights { exp, uniform } weights = Weights::exp;
  bool normalize = true;  // cosine similarity, else dot products
  void fields(Params& f) {
    f("k", k), f("temperature", temperature), f("num_classes", num_classes);
    f("weights", weights, {"exp", "uniform"}), f("normalize", normalize);
  }
};
struct KnnResult {
  Tensor scores;              // f64 [m, C]: the votes
  Tensor ranking;             // i64 [m, C]: classes by votes, ties by the lower class
  Tensor neighbours;          // i64 [m, k]: training rows from the nearest, ties by the lower row
  double top1 = 0, top5 = 0;  // shares of test rows; top5: the label is among the first min(5, C)
};
// Weighted kNN. train [n, D], test [m, D] of one float dtype; labels i64 [n], [m] in [0, C). The k (at most
// n) most similar training rows vote for their label with exp(similarity / temperature), or with 1.
KnnResult knn_weighted(const Tensor& train, const Tensor& train_labels, const Tensor& test,
                       const Tensor& test_labels, const KnnParams& p = {});
// Its top1 alone, without the m x C tables.
double knn_accuracy(const Tensor& train, const Tensor& train_labels, const Tensor& test,
                    const Tensor& test_labels, int64_t classes, int64_t k = 20, double temperature = 0.07);

// min over W [C, D], b [C] of mean_i CE(W x_i + b, y_i) + l2/2 |W|^2, from 0 by L-BFGS until the gradient's
// largest entry is below `tolerance`, or rounding ends it. The loss is computed in the dtype of x. Adding a
// number to all biases changes nothing: they are returned with mean 0.
struct SoftmaxRegression {
  Tensor weight, bias;  // f64
  double loss = 0;      // at the optimum
  double gradient = 0;  // largest absolute entry of the gradient there
  int64_t iterations = 0;
  Tensor predict(const Tensor& x) const;  // i64 [m]; ties to the lower class
};
SoftmaxRegression softmax_regression(const Tensor& x, const Tensor& labels, int64_t classes, double l2,
                                     double tolerance, int64_t max_iterations);
// One above the largest of both sets of labels.
int64_t classes_of(const Tensor& train_labels, const Tensor& test_labels);
// Share of equal elements of two i64 tensors [m].
double share_equal(const Tensor& predicted, const Tensor& labels);

struct ProbeResult {
  double accuracy = 0;
  double loss = 0;      // at the optimum
  double gradient = 0;  // largest absolute entry of the gradient there
  int64_t iterations = 0;
};
// Softmax regression on features standardised by the training statistics, with l2 = 10/n.
ProbeResult linear_probe(const Tensor& train, const Tensor& train_labels, const Tensor& test,
                         const Tensor& test_labels, int64_t classes, double tolerance = 1e-5,
                         int64_t max_iterations = 300);
// Mean probe accuracy over `draws` draws of `per_class` training rows of each class.
double few_label_probe(const Tensor& train, const Tensor& train_labels, const Tensor& test,
                       const Tensor& test_labels, int64_t classes, int64_t per_class = 10, int64_t draws = 5);

Scores score_features(const Tensor& train, const Tensor& train_labels, const Tensor& test,
                      const Tensor& test_labels, int64_t classes);

// Pooled features [N, F] f32 of every image of a split.
Tensor extract_features(nn::Encoder& encoder, const ImageSet& set, const ViewConfig& view,
                        const PixelStats* stats = nullptr, int64_t batch = 250);
// The same of the images at `rows` alone.
Tensor extract_features(nn::Encoder& encoder, const ImageSet& set, std::span<const int64_t> rows,
                        const ViewConfig& view, const PixelStats* stats = nullptr, int64_t batch = 250);
// The pixels themselves as features [N, H W C] in [0, 1].
Tensor pixel_features(const ImageSet& set);

}  // namespace juxta::ssl

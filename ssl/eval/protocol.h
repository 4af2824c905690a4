#pragma once
// Evaluation of frozen features, one protocol for everything:
//   features  pooled, before any head; the network in evaluation mode; images as they are
//   kNN       cosine, k = 20, votes exp(cos / 0.07) (Wu et al., arXiv 1805.01978)
//   linear    softmax regression on features standardised by the training statistics, mean cross-entropy +
//   l2/2 |W|^2 with l2 = 10/n,
//             solved to its optimum; on all labels, and on 10 labels per class (mean of 5 draws)
#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "nn/encoder.h"
#include "ssl/data/dataset.h"
#include "ssl/views/views.h"

namespace juxta::ssl {

struct Scores {
  double knn_top1 = 0, linear_top1 = 0, linear_10_per_class = 0;  // fractions
};

// Share of test rows whose kNN vote gives their label. train [N, D], test [M, D] f32; labels i64.
double knn_accuracy(const Tensor& train, const Tensor& train_labels, const Tensor& test,
                    const Tensor& test_labels, int64_t classes, int64_t k = 20, double temperature = 0.07);

struct ProbeResult {
  double accuracy = 0;
  double loss = 0;      // at the optimum
  double gradient = 0;  // largest absolute entry of the gradient there
  int64_t iterations = 0;
};
// Softmax regression by L-BFGS until the gradient's largest entry is below `tolerance`.
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
// The pixels themselves as features [N, H W C] in [0, 1].
Tensor pixel_features(const ImageSet& set);

}  // namespace juxta::ssl

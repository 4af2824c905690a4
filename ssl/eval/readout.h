#pragma once
// Linear read-out of known features from a representation: the feature prediction error (SIRL, Bobu et al.
// 2023, arXiv 2301.00810).
#include <vector>

#include "tensor/tensor.h"

namespace juxta::ssl {

struct FeaturePrediction {
  Tensor weight, bias;      // f64 [F, D], [F]
  std::vector<double> mse;  // per feature, on the test rows
  double fpe = 0;           // their mean
  double nfpe = 0;          // mean of mse / variance of the feature on the test rows (biased): free of scale
};
// Least squares with intercept f ~ W z + b on train_z [n, D], train_f [n, F]; evaluated on test_z [m, D],
// test_f [m, F]. ridge > 0 adds ridge |W|^2 to the sum of squared errors; ridge = 0 takes the solution of the
// smallest norm. Error on a test feature that is constant.
FeaturePrediction feature_prediction_error(const Tensor& train_z, const Tensor& train_f, const Tensor& test_z,
                                           const Tensor& test_f, double ridge = 0);

}  // namespace juxta::ssl

#pragma once
// How much of the true features a representation holds, read by a linear map.
#include "tensor/tensor.h"

namespace juxta::ssl {

struct FeaturePrediction {
  Tensor w;         // [K, D]
  Tensor b;         // [K]
  Tensor mse;       // [K] on the test samples
  double fpe = 0;   // mean of mse
  double nfpe = 0;  // mean of mse_k / variance of feature k over the test samples
};
// Feature prediction error (card 34): least squares with intercept from train_z [N, D] to train_f [N, K],
// tried on test_z [M, D], test_f [M, K]. Of all minima the one of least |w|; ridge >= 0 is added to the Gram
// matrix of the centred z (the intercept is free). f64.
FeaturePrediction feature_prediction_error(const Tensor& train_z, const Tensor& train_f, const Tensor& test_z,
                                           const Tensor& test_f, double ridge = 0);

}  // namespace juxta::ssl

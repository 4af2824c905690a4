#pragma once
// Adversarial examples against our own classifiers: how little must change for them to misread an input.
#include <cstdint>
#include <functional>
#include <optional>
#include <vector>

#include "autograd/var.h"

namespace juxta::ssl {

// Over what the gradient's L1 norm runs: each sample alone, or the whole batch.
enum class GradientNorm { sample, batch };

struct MiFgsmOptions {
  double eps = 0.03;  // largest change of an element
  int64_t steps = 10;
  double mu = 1;                // 0: I-FGSM; steps = 1: FGSM
  std::optional<double> alpha;  // step size; eps / steps unless given
  GradientNorm norm = GradientNorm::sample;
  double low = 0, high = 1;  // range of inputs
  bool targeted = false;     // descend to the label instead of ascending from it
  Tensor centre{};           // x_0, shaped like x; undefined: x itself
};

struct Attack {
  std::vector<Tensor> x;         // after every step, like the input
  std::vector<Tensor> momentum;  // g after every step
  Tensor clean_logits, logits;   // before and after
  Tensor fooled;                 // i64 [N]: the answer is not the label
};

// MI-FGSM (Dong et al. 2018, arXiv 1710.06081) from x [N, ..], y i64 [N]; model: inputs -> logits [N, K].
//   g <- mu g + grad CE / (|grad CE|_1 + 1e-10),   CE the mean cross-entropy
//   x <- clip[low, high]( clip( x + alpha sign(g), x_0 - eps, x_0 + eps ) );   -CE in place of CE when
//   targeted
// The classifier's parameters receive no gradient. State is kept in double, whatever x's dtype.
Attack mi_fgsm(const std::function<Var(const Var&)>& model, const Tensor& x, const Tensor& y,
               const MiFgsmOptions& options);

}  // namespace juxta::ssl

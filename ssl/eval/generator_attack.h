#pragma once
// SD-MIAE (Haque et al. 2024, arXiv 2410.13122): adversarial images that a generator makes, found by moving
// the embedding of its token; a measure of how far a classifier can be trusted. Weights are frozen.
#include <cstdint>
#include <functional>
#include <vector>

#include "autograd/var.h"

namespace juxta::ssl {

// A frozen differentiable function of a batch: embeddings -> images, images -> logits [N, K].
using FrozenNetwork = std::function<Var(const Var&)>;

// What phase 2 moves: the embedding, as the paper says, or the pixels, as its released code does.
enum class MiaePhase { embedding, pixel };
struct SdMiaeParams {
  int64_t phase1_steps = 20;
  double lr = 0.05;
  double reg = 0.1;  // lambda
  MiaePhase phase2 = MiaePhase::embedding;
  int64_t phase2_steps = 10;
  double mu = 1, radius = 0.3;
  double step = 0.05;  // alpha of the embedding; that of pixels is radius / phase2_steps
};
struct SdMiae {
  std::vector<Tensor> phase1;    // embeddings after each step of phase 1
  std::vector<Tensor> phase2;    // embeddings or images after each step of phase 2
  std::vector<Tensor> momentum;  // g after each step of phase 2
  Tensor image, logits, clean_logits;
  Tensor fooled;  // i64 [N]: the answer is not the label
};
// e0 [N, E] (f32, f64) the tokens' embeddings, y i64 [N]; the generator G holds its noise, f is the
// classifier.
//   phase 1  Adam on -CE(f(G(e)), y) + reg mean (1 - cos(e, e0))                                    (SD-NAE)
//   phase 2  MI-FGSM (ssl/eval/attack.h) with mu and alpha on e, kept within radius of e0, or on the image
//   G(e),
//            kept within radius of itself and in [0, 1]
SdMiae sd_miae(const FrozenNetwork& generator, const FrozenNetwork& classifier, const Tensor& e0,
               const Tensor& y, const SdMiaeParams& p);

}  // namespace juxta::ssl

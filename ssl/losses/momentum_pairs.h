#pragma once
// Contrast of images and texts against the keys and soft targets of a momentum model: ALBEF and MSD.
//
//   K_v = [v'; Q_v], K_t = [t'; Q_t]      keys: the momentum model's rows of this batch, then a queue
//   y_i2t = (1 - alpha) hard + alpha softmax(v' K_t^T / temperature)      and alike y_t2i
//   L_i2t = mean_i -sum_j y_i2t[i, j] log softmax(v_i K_t^T / temperature)_j
//
// Keys, queues and targets are constants. Queues [K, D] are unit rows and undefined when there is none.
#include "ssl/losses/loss.h"
#include "ssl/params.h"

namespace juxta::ssl {

struct AlbefItcParams {
  double alpha = 0.4;
  bool normalize = false;  // scale features to unit length here; queues are taken as they are
  double temp_min = 0.001, temp_max = 0.5;
  void fields(Params& f) {
    f("alpha", alpha), f("normalize", normalize), f("temp_min", temp_min), f("temp_max", temp_max);
  }
};

// ids i64 [N] name the image of each row, queue_ids i64 [K] those of the queue (together with the queues):
// the hard targets are then the keys with the row's id, 1 / their number each. Undefined: key i alone.
struct PairIds {
  Tensor ids{}, queue_ids{};
};

// Image-text contrast of ALBEF (Li et al. 2021, arXiv 2107.07651). image_feat, text_feat and the momentum
// model's image_feat_m, text_feat_m [N, D]; temp of one element, used at its value clamped to [temp_min,
// temp_max] and with the gradient there (the stored parameter is meant to be overwritten by the clamp). The
// targets have the same temperature.
//   L = (L_i2t + L_t2i) / 2
// Terms: loss_i2t, loss_t2i, target_i2t and target_t2i [N, N + K].
Loss albef_itc(const Var& image_feat, const Var& text_feat, const Tensor& image_feat_m,
               const Tensor& text_feat_m, const Var& temp, const Tensor& image_queue = {},
               const Tensor& text_queue = {}, const PairIds& ids = {}, const AlbefItcParams& p = {});

enum class TargetFrom { cross, intra };

struct MsdParams {
  double alpha = 0.4, temperature_target = 0.07;
  TargetFrom target = TargetFrom::cross;  // intra: softmax(v' K_v^T / temperature_target) supervises v
  int64_t micro_batch = 32;
  void fields(Params& f) {
    f("alpha", alpha), f("temperature_target", temperature_target), f("target", target, {"cross", "intra"});
    f("micro_batch", micro_batch);
  }
};

// The momentum model's rows of the whole batch [N, D] and the queues [K, D].
struct MomentumKeys {
  Tensor image, text;
  Tensor image_queue{}, text_queue{};
};

// Momentum self-distillation (Pham et al. 2025, arXiv 2512.02438, in the instantiation of its card): one
// micro-batch of a step that accumulates gradients. image, text [B, D] are the rows from `begin` of a batch
// of N; they meet the keys of all N.
//   l_i = (L_i2t,i + L_t2i,i) / 2 at e^log_temperature, targets at temperature_target
//   L = 1/N sum_{i in part} l_i
// A row's loss depends on the online rows through that row alone, so the gradients of the parts add up to the
// gradient of the whole batch, at the memory of one part. Keys come first, then all parts, then one step of
// the optimiser and of the momentum model.
Loss msd_micro(const Var& image, const Var& text, int64_t begin, const MomentumKeys& keys,
               const Var& log_temperature, const MsdParams& p = {});

// The whole batch at once: the sum of its micro-batches. Terms: micro_loss [A], their shares of the loss (the
// last may be ragged), and ordinary_accumulation_loss, where each micro-batch sees its own keys only.
Loss msd_loss(const Var& image, const Var& text, const MomentumKeys& keys, const Var& log_temperature,
              const MsdParams& p = {});

}  // namespace juxta::ssl

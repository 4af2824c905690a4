#pragma once
// Checkpoints: one safetensors file with everything a run needs to go on bit for bit: networks, teacher,
// queue, optimiser state, counters, random streams and the recipe. Written atomically with a checksum per
// tensor; the last K are kept.
#include <map>
#include <string>
#include <vector>

#include "nn/module.h"
#include "tensor/safetensors.h"

namespace juxta::ssl {

inline constexpr int kCheckpointFormat = 1;

struct Checkpoint {
  std::string recipe;                        // TOML as run
  int64_t step = 0, epoch = 0;               // optimiser steps taken; epoch of the next batch
  int64_t batch_in_epoch = 0;                // index of the next batch
  double seconds = 0;                        // training time so far
  std::map<std::string, std::string> extra;  // counters of random streams, model description
  nn::StateDict tensors;                     // "method.…", "optim.…"
};

// Writes RUN/checkpoint-STEP.safetensors and removes all but the newest `keep`.
void save_checkpoint(const std::string& run, const Checkpoint& c, int64_t keep);
// Newest checkpoint of a run folder that reads without error (an older one, with a warning, when the newest
// is damaged), or the file itself when `run` is one. Error when there is none.
Checkpoint load_checkpoint(const std::string& run);
Checkpoint read_checkpoint(const std::string& file);
// Checkpoint files of a run, oldest first; empty when there is none.
std::vector<std::string> checkpoint_files(const std::string& run);

}  // namespace juxta::ssl

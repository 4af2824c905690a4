#pragma once
// The evaluation of a run by the protocol of protocol.h, beside the untrained network and raw pixels.
#include <functional>
#include <string>

#include "ssl/eval/protocol.h"
#include "ssl/train/trainer.h"

namespace juxta::ssl {

struct Evaluation {
  Scores trained, untrained, raw_pixels;
  double rankme = 0, alignment = 0,
         uniformity = 0;  // of the trained features; alignment between two views of test images
  int64_t feature_dim = 0;
};

// Also writes RUN/report.html with the scores, after `scored` has had them: a full disk then costs the
// pictures alone. `data` empty: the data set of the recipe. Data without a test split: every fifth training
// image is held out.
Evaluation evaluate_run(const std::string& run, const std::string& data,
                        const std::function<void(const Evaluation&)>& scored = {});
// Writes RUN/eval.json (beside the checkpoint when `run` is a file).
void save_evaluation(const std::string& run, const std::string& json);
// The data a run is evaluated on, with a test split.
ImageData evaluation_data(const Recipe& recipe, const std::string& data);

}  // namespace juxta::ssl

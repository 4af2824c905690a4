#pragma once
// Trainer: the loop around a Method. It knows batches, schedules, accumulation, clipping, precision,
// checkpoints and logs, and nothing of views or losses.
#include <memory>
#include <string>

#include "ssl/data/dataset.h"
#include "ssl/eval/protocol.h"
#include "ssl/optim/optimizer.h"
#include "ssl/optim/schedules.h"
#include "ssl/train/checkpoint.h"
#include "ssl/train/metrics.h"
#include "ssl/train/recipe.h"

namespace juxta::ssl {

struct RunOptions {
  std::string out;      // run folder, made when missing
  bool resume = false;  // go on from its newest checkpoint
  bool quiet = false;   // no progress on stderr
};

enum class RunEnd { finished, time_limit, interrupted };

struct RunSummary {
  RunEnd end = RunEnd::finished;
  int64_t steps = 0;
  double seconds = 0;  // of training, without evaluation
  double loss = 0;     // of the last step
  double images_per_second = 0;
};

class Trainer {
 public:
  // Builds the method for this data. Error on recipes that do not fit the data. `data` must outlive the
  // trainer.
  Trainer(Recipe& recipe, const ImageData& data);
  ~Trainer();
  // Trains to the end of the recipe, to its time limit, or until request_stop(); writes RUN/{recipe.toml,
  // metrics.jsonl, checkpoint-*}. A checkpoint is written at the end whatever ended it. Error when the loss
  // is not finite (the last good checkpoint stays).
  RunSummary train(const RunOptions& options);
  Method& method() { return *recipe_.method; }
  const PixelStats* stats() const { return stats_ ? &*stats_ : nullptr; }
  int64_t total_steps() const { return total_steps_; }
  double lr_at(int64_t step) const;

  // Everything a resumed run needs; restore() is the inverse and checks names and shapes before it changes
  // anything.
  Checkpoint snapshot() const;
  void restore(const Checkpoint& c);

 private:
  double step_once(Loader& loader);
  bool minimize(const Var& loss, bool last_part);
  void resume(const std::string& run, Progress& progress);
  void end_of_epoch(MetricsLog& log, Progress& progress);
  void monitor(MetricsLog& log, Progress& progress);
  void check_finite(double loss) const;

  Recipe& recipe_;
  const ImageData& data_;
  std::optional<PixelStats> stats_;
  std::unique_ptr<Optimizer> optimizer_;
  int64_t batches_per_epoch_ = 0, total_steps_ = 0;
  Schedule lr_, weight_decay_;
  // Position and streams: all of it is in the checkpoint.
  int64_t step_ = 0, epoch_ = 0, batch_ = 0;
  double seconds_ = 0;
  Rng dropout_rng_;
  // Figures of the last step, for logs and monitors.
  StepResult last_;
  double grad_norm_ = 0;
};

// Asks every running trainer of the process to save and return; safe in a signal handler.
void request_stop();
bool stop_requested();
// SIGINT, SIGTERM and SIGHUP call request_stop(); a second signal ends the process at once. Writing into a
// closed pipe no longer ends it.
void stop_on_signals();

// The encoder of a run, ready for evaluation: the recipe it was trained with, weights from the checkpoint.
struct LoadedRun {
  Recipe recipe;
  Checkpoint checkpoint;
};
LoadedRun open_run(const std::string& run);
// Builds the method of a loaded run for `data` and restores its state.
void build_method(LoadedRun& run, const ImageSet& train);
// The same networks as they were before training (same seed).
void build_untrained(LoadedRun& run, const ImageSet& train);

}  // namespace juxta::ssl

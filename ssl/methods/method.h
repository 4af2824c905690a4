#pragma once
// Method: one runnable system, readable top to bottom as its paper's algorithm box.
//
// A method owns its networks, its step and all its state. The trainer gives it batches of named tensors and
// schedule values, and calls its hooks; it assumes nothing about views, losses or the number of backward
// passes. Everything in visit() is checkpointed.
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "nn/encoder.h"
#include "ssl/data/loader.h"
#include "ssl/losses/loss.h"
#include "ssl/train/fields.h"

namespace juxta::ssl {

// What a method is built for.
struct Task {
  nn::ModelConfig model;
  int64_t train_size = 0;   // images
  int64_t total_steps = 0;  // optimiser steps of the whole run (schedules run over these)
  int64_t batch = 0;
  uint64_t seed = 0;
};

// What the trainer hands to one step.
struct StepContext {
  int64_t step = 0, total_steps = 1, epoch = 0;
  nn::Ctx nn;  // training = true, and the stream of dropout
  // Of a batch split by train.accumulate: what happens once a step goes by these.
  bool first_part = true, last_part = true;
  int64_t chunk = 0;  // images that a network sees at a time (in_chunks), 0: the batch
  // Backward of the loss (scaled when accumulating); after the last part also clipping, the optimiser step
  // with this step's learning rate, and clearing of gradients. True when weights moved. May be called several
  // times a step.
  std::function<bool(const Var& loss)> minimize;
};

struct StepResult {
  double loss = 0;
  std::vector<std::pair<std::string, double>>
      terms;                        // named parts of the loss and other figures, for the log
  Tensor embeddings1, embeddings2;  // [B, D] of the two views, before any predictor: health monitors
};

// The terms of a loss as numbers, for StepResult::terms.
std::vector<std::pair<std::string, double>> figures_of(const Loss& loss);

class Method {
 public:
  virtual ~Method() = default;
  // Settings, under "method." in recipes; called before build().
  virtual void fields(Fields& f) = 0;
  // The views one batch consists of, made from the recipe's view distribution.
  virtual std::vector<ViewSpec> views(const ViewConfig& base) const = 0;
  virtual void build(const Task& task) = 0;
  virtual StepResult step(const Batch& batch, StepContext& context) = 0;
  // After each epoch; `pass` runs a function over the whole training set in plain batches (ids and images).
  using Pass = std::function<void(const std::function<void(const Batch&)>&)>;
  virtual void epoch_end(int64_t epoch, const Pass& pass) { (void)epoch, (void)pass; }
  // Every parameter and buffer of the method: networks, teachers, queues, centres, counters.
  virtual void visit(nn::Visitor& v) = 0;
  // What the optimiser trains.
  virtual std::vector<nn::NamedParameter> trainable() = 0;
  // The network whose pooled features are evaluated.
  virtual nn::Encoder& encoder() = 0;
};

struct MethodRow {
  const char* name;
  const char* system;  // "SimCLR"
  const char* paper;   // "arXiv 2002.05709"
  std::unique_ptr<Method> (*make)();
};
std::span<const MethodRow> methods();
std::unique_ptr<Method> make_method(const std::string& name);  // Error with the nearest name

}  // namespace juxta::ssl

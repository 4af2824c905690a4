#pragma once
// Batches of views, rendered ahead of the training step by worker threads.
//
// The order of samples in an epoch is a Philox permutation of (seed, epoch); batch b of epoch e is a pure
// function of (seed, e, b), so a run may start at any batch, and the number of workers changes nothing.
#include <memory>
#include <string>
#include <vector>

#include "ssl/data/dataset.h"
#include "ssl/views/views.h"

namespace juxta::ssl {

// Named tensors plus the ids of the samples they came from (indices into the training set).
struct Batch {
  std::vector<std::pair<std::string, Tensor>> tensors;
  Tensor ids;  // i64 [B]
  int64_t epoch = 0, index = 0;
  const Tensor& operator[](const std::string& name) const;  // Error listing the names when absent
};

// One tensor of a batch: its name, and the distribution its views are drawn from.
struct ViewSpec {
  std::string name;  // "view1"
  ViewConfig config;
};

struct LoaderOptions {
  int64_t batch = 256;
  uint64_t seed = 0;
  int workers = 1;        // 0: batches are rendered by the caller
  int64_t prefetch = 3;   // batches held ready
  bool drop_last = true;  // false: a short last batch is delivered
};

class Loader {
 public:
  // `set` must outlive the loader. Error when the set is smaller than one batch and drop_last is on.
  Loader(const ImageSet& set, std::vector<ViewSpec> views, const LoaderOptions& options,
         const PixelStats* stats = nullptr);
  ~Loader();
  int64_t batches_per_epoch() const;
  // Positions the loader before batch `index` of `epoch`.
  void seek(int64_t epoch, int64_t index);
  // The next batch; rolls over into the next epoch. An exception of a worker is rethrown here.
  Batch next();

 private:
  struct Impl;
  std::unique_ptr<Impl> impl_;
};

// The permutation of [0, n) that epoch `epoch` uses.
std::vector<int64_t> epoch_order(int64_t n, uint64_t seed, int64_t epoch);

}  // namespace juxta::ssl

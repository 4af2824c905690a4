#pragma once
// DyCE: the clustered memory of BECLR (Poulakakis-Daktylidis & Jamali-Rad 2024, arXiv 2402.02444). Its rows
// are grouped by balanced assignment to prototypes; a batch is enlarged by each row's nearest neighbours in
// its group. Follows the paper where the published code differs: rows go to near prototypes, neighbours are
// rows of the bank, counts are per label, and epsilon is used as given.
#include "autograd/var.h"
#include "nn/module.h"
#include "ssl/momentum/queue.h"
#include "ssl/params.h"
#include "tensor/rng.h"

namespace juxta::ssl {

enum class DyceMetric { euclidean, cosine };

struct DyceParams {
  DyceMetric metric = DyceMetric::euclidean;
  bool normalize = true;  // distances between unit vectors; cosine always is
  double epsilon = 0.05;
  int64_t iterations = 10;
  double momentum = 0;                               // of the prototypes
  QueueOverflow overflow = QueueOverflow::truncate;  // what a batch does at the end of the bank
  void fields(Params& f) {
    f("metric", metric, {"euclidean", "cosine"}), f("normalize", normalize), f("epsilon", epsilon);
    f("iterations", iterations), f("momentum", momentum), f("overflow", overflow, {"wrap", "truncate"});
  }
};

class DyceMemory {
 public:
  // An empty bank of `size` rows for k prototypes; fill() it first.
  DyceMemory(int64_t size, int64_t dim, int64_t k, const DyceParams& p, DType dtype = DType::f32);
  // bank [S, D], labels i64 [S] in [-1, K), prototypes [K, D] (copied), and where the next batch goes.
  static DyceMemory from(const Tensor& bank, const Tensor& labels, const Tensor& prototypes, int64_t pointer,
                         const DyceParams& p);

  // The first fill, before there are prototypes: writes rows [B, D] without labels in order; true once the
  // bank is full (what does not fit is dropped).
  bool fill(const Tensor& z);
  // k-means on the bank's unit rows: its clusters become labels, its centroids prototypes. A result with an
  // empty cluster is discarded: false.
  bool recluster(Rng& rng, int64_t rounds = 20, int64_t restarts = 10);

  struct Assigned {
    Tensor q;      // [B, K], rows sum to 1
    Tensor label;  // i64 [B], the largest of each row
  };
  // One step with the rows z [B, D]: Sinkhorn of e^{-d / epsilon} between rows and prototypes (cosine:
  // e^{cos / epsilon}), labels, the write at the pointer, then for every label with rows in the bank
  //   P = momentum P + (1 - momentum) mean of its rows.
  Assigned update(const Tensor& z);

  struct Enhanced {
    Var rows;           // [2 B (1 + k), D]: per view its unit rows, then the k neighbours of each in turn
    Tensor neighbours;  // i64 [2 B, k], rows of the bank
    Tensor prototype;   // i64 [2 B], the nearest
  };
  // z [2 B, D], both views. Neighbours are the k nearest rows by cosine with the label of the row's nearest
  // prototype, of the whole bank if there are fewer than k; they are constants. Ties go to the lower row.
  Enhanced enhance(const Var& z, int64_t k) const;

  const Tensor& bank() const { return bank_; }              // [S, D]
  const Tensor& labels() const { return labels_; }          // i64 [S]
  const Tensor& prototypes() const { return prototypes_; }  // [K, D]
  int64_t pointer() const { return state_.data<int64_t>()[0]; }
  void visit(nn::Visitor& v) {
    v("bank", bank_), v("labels", labels_), v("prototypes", prototypes_), v("state", state_);
  }

 private:
  void check_rows(const Tensor& z) const;
  // Writes at the pointer; labels may be undefined (-1). The number of rows that were written.
  int64_t write(const Tensor& z, const Tensor& labels, QueueOverflow overflow);

  Tensor bank_, labels_, prototypes_;
  Tensor state_;  // i64 [1]: pointer
  DyceParams params_;
};

}  // namespace juxta::ssl

#pragma once
// Fused similarity + masked log-sum-exp: what every softmax-type contrastive loss is made of. Formulas,
// gradients and numerics in kernels/contrast.h. Memory is O((R + C) D); the R x C similarities exist only in
// tiles. Results do not depend on the number of threads.
#include <span>

#include "autograd/var.h"
#include "kernels/contrast.h"

namespace juxta {

// Who is excluded and who is a positive is said by ids and masks, never by position.
struct ContrastOptions {
  const char* op = "contrast";  // named in errors and in the graph: the loss that calls
  bool normalize = false;       // cosine similarity: rows and columns divided by max(|x|, eps)
  double eps = 1e-12;
  Tensor row_ids{}, column_ids{};        // i64 [R], [C]: a column with the row's id is excluded
  Tensor row_groups{}, column_groups{};  // i64 [R], [C]: a column of the row's group is a positive
  Tensor positive{};         // i64 [R]: the row's positive column, -1 for none (instead of groups)
  Tensor mask{};             // bool [R, C]: false excludes
  Tensor positive_mask{};    // bool [R, C]: true is a positive
  Tensor positive_weight{};  // f32 (f64) [R, C]: soft targets; instead of every other relation of positives
  ContrastTerm term = ContrastTerm::softmax;  // sigmoid: lse is the sum of logistic losses
  LseOver over = LseOver::all;  // negatives: the positives are left out of the log-sum-exp (DCL)
  double margin = 0;            // subtracted from the similarity of positives, before the temperature
  bool two_way = false;         // reduce over the rows too, for every column
  bool stop_rows = false, stop_columns = false;  // constants in the backward pass
  bool bf16_products = false;                    // multiply f32 operands as bf16, add in f32
};

// For each row (and each column when two_way): log-sum-exp over the columns that are in its sum (-inf if
// there are none), sum and number of its positives' similarities. f32, f64 for f64 operands.
struct ContrastResult {
  Var lse, positive;                // [R]
  Tensor count;                     // [R]
  Var column_lse, column_positive;  // [C], two_way only
  Tensor column_count;
};

// Rows and columns are each given in 1 to 4 parts [n, D], read where they lie: {keys, queue} needs no copy.
// `temperature` > 0 is a number, a Var of one element, or (not two_way) one per row [R]; it may want a
// gradient. All operands have one dtype (f32, bf16, f64) and D. Error naming options.op otherwise.
ContrastResult contrast(std::span<const Var> rows, std::span<const Var> columns, const Var& temperature,
                        const ContrastOptions& options = {});
// Rows and columns are one set; column_ids and column_groups are not given. Every similarity is computed
// once.
ContrastResult contrast_symmetric(std::span<const Var> rows, const Var& temperature,
                                  const ContrastOptions& options = {});

// A temperature that is a plain number, in the dtype that belongs beside these operands.
Var constant_temperature(double temperature, const Var& beside);

}  // namespace juxta

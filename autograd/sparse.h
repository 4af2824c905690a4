#pragma once
// Constant sparse matrices (adjacencies of graphs) and their product with dense rows.
#include <span>
#include <vector>

#include "autograd/var.h"

namespace juxta {

struct SparseEntry {
  int64_t row, column;
  double value;
};

// Compressed sparse rows, f64, with the transpose beside them for the backward pass.
class SparseMatrix {
 public:
  // Entries in any order; equal places are added. Error naming the first entry outside rows x columns.
  SparseMatrix(int64_t rows, int64_t columns, std::vector<SparseEntry> entries);
  // The entries of a dense [R, C] (float or i64) that are not 0.
  static SparseMatrix from_dense(const Tensor& x);

  int64_t rows() const { return rows_; }
  int64_t columns() const { return columns_; }
  int64_t size() const { return forward_.value.numel(); }  // stored entries

  struct Csr {
    Tensor begin, column, value;  // i64 [R + 1], i64 [size], f64 [size]
  };
  const Csr& by_row() const { return forward_; }
  const Csr& by_column() const { return transposed_; }

 private:
  int64_t rows_, columns_;
  Csr forward_, transposed_;
};

// a x: x [C, D] -> [R, D]. Every output row has one owner that adds in the order of columns, so the bits do
// not depend on threads. On the CPU; f32 and bf16 rows are added in f32.
Var spmm(const SparseMatrix& a, const Var& x);

}  // namespace juxta

#include "autograd/sparse.h"

#include <algorithm>

#include "autograd/rule.h"
#include "tensor/parallel.h"

namespace juxta {

namespace {

constexpr const char* kOp = "spmm";

// Entries ordered by (row, column), equal places added.
SparseMatrix::Csr compress(int64_t rows, std::vector<SparseEntry> entries) {
  std::stable_sort(entries.begin(), entries.end(), [](const SparseEntry& a, const SparseEntry& b) {
    return a.row != b.row ? a.row < b.row : a.column < b.column;
  });
  std::vector<SparseEntry> merged;
  for (const SparseEntry& e : entries) {
    if (!merged.empty() && merged.back().row == e.row && merged.back().column == e.column)
      merged.back().value += e.value;
    else
      merged.push_back(e);
  }
  const int64_t n = static_cast<int64_t>(merged.size());
  SparseMatrix::Csr csr{Tensor::zeros({rows + 1}, DType::i64), Tensor::empty({n}, DType::i64),
                        Tensor::empty({n}, DType::f64)};
  int64_t *begin = csr.begin.write<int64_t>(kOp), *column = csr.column.write<int64_t>(kOp);
  double* value = csr.value.write<double>(kOp);
  for (int64_t i = 0; i < n; ++i) {
    const SparseEntry& e = merged[static_cast<size_t>(i)];
    ++begin[e.row + 1];
    column[i] = e.column;
    value[i] = e.value;
  }
  for (int64_t r = 0; r < rows; ++r) begin[r + 1] += begin[r];
  return csr;
}

// out_r = sum_e value_e x_column(e) over the entries of row r.
template <class T>
void product(const int64_t* begin, const int64_t* column, const double* value, const T* x, T* out,
             int64_t rows, int64_t d, int64_t grain) {
  parallel_for(rows, grain, [&](int64_t first, int64_t last) {
    std::vector<Acc<T>> sum(static_cast<size_t>(d));
    for (int64_t r = first; r < last; ++r) {
      std::fill(sum.begin(), sum.end(), Acc<T>(0));
      for (int64_t e = begin[r]; e < begin[r + 1]; ++e) {
        const Acc<T> w = static_cast<Acc<T>>(value[e]);
        const T* from = x + column[e] * d;
        for (int64_t k = 0; k < d; ++k) sum[static_cast<size_t>(k)] += w * static_cast<Acc<T>>(from[k]);
      }
      for (int64_t k = 0; k < d; ++k) out[r * d + k] = static_cast<T>(sum[static_cast<size_t>(k)]);
    }
  });
}

Tensor multiply(const Tensor& begin, const Tensor& column, const Tensor& value, const Tensor& x) {
  const int64_t rows = begin.numel() - 1, d = x.size(1);
  Tensor out = Tensor::empty({rows, d}, x.dtype());
  const int64_t per_row = (column.numel() / std::max<int64_t>(1, rows) + 1) * d;
  dispatch_float(x.dtype(), kOp, [&]<class T>() {
    product<T>(begin.data<int64_t>(), column.data<int64_t>(), value.data<double>(), x.data<T>(),
               out.write<T>(kOp), rows, d, grain_for(per_row));
  });
  return out;
}

}  // namespace

SparseMatrix::SparseMatrix(int64_t rows, int64_t columns, std::vector<SparseEntry> entries)
    : rows_(rows), columns_(columns) {
  JX_CHECK(rows >= 0 && columns >= 0, "SparseMatrix: expected sizes >= 0, got ", rows, " x ", columns);
  for (const SparseEntry& e : entries)
    JX_CHECK(e.row >= 0 && e.row < rows && e.column >= 0 && e.column < columns,
             "SparseMatrix: entry: expected a place inside ", rows, " x ", columns, ", got (", e.row, ", ",
             e.column, ")");
  forward_ = compress(rows, entries);
  for (SparseEntry& e : entries) std::swap(e.row, e.column);
  transposed_ = compress(columns, std::move(entries));
}

SparseMatrix SparseMatrix::from_dense(const Tensor& x) {
  JX_CHECK(x.defined() && x.ndim() == 2, "SparseMatrix: x: expected a dense [R, C], got ", x);
  const Tensor dense = x.to(DType::f64).contiguous();
  const double* p = dense.data<double>();
  const int64_t columns = x.size(1);
  std::vector<SparseEntry> entries;
  for (int64_t i = 0; i < dense.numel(); ++i)
    if (p[i] != 0) entries.push_back({i / columns, i % columns, p[i]});
  return SparseMatrix(x.size(0), columns, std::move(entries));
}

Var spmm(const SparseMatrix& a, const Var& x) {
  check_input(kOp, x, 2);
  JX_CHECK(x.ndim() == 2 && x.size(0) == a.columns() && x.device() == kCpu, kOp, ": x: expected [",
           a.columns(), ", D] on the CPU, got ", x);
  const SparseMatrix::Csr &rows = a.by_row(), &columns = a.by_column();
  return record(kOp, {}, {&x}, multiply(rows.begin, rows.column, rows.value, x.value().contiguous()),
                {{"begin", columns.begin}, {"column", columns.column}, {"value", columns.value}},
                [](Backward& back) {
                  if (back.needs(0))
                    back.set(0, multiply(back.saved(0), back.saved(1), back.saved(2), back.dy()));
                });
}

}  // namespace juxta

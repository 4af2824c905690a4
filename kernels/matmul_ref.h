#pragma once
// Reference kernels of the matmul family (formulas in matmul.h): plain loops over packed panels of eight
// columns, for any float type. They serve f64.
#include "kernels/matmul.h"

namespace juxta::ref {

inline constexpr int kMatmulCols = 8;

template <class T>
void matmul_tile(MatmulTile& t) {
  t = {4, kMatmulCols, 1, sizeof(Acc<T>)};
}

// Columns [col, col + 8) of B for k in [k, k_end), as rows of eight; zeros beyond the last column.
template <class T>
void pack_columns(const MatmulArgs<T>& g, int64_t batch, int64_t col, int64_t k, int64_t k_end,
                  Acc<T>* panel) {
  const int64_t offset = matmul_offsets(g.batch, batch).b;
  for (int64_t i = k; i < k_end; ++i) {
    for (int64_t j = col; j < col + kMatmulCols; ++j) {
      const int64_t at = offset + i * g.b_k + j * g.b_col;
      *panel++ = j >= g.n ? Acc<T>(0) : static_cast<Acc<T>>(g.b_wide ? T(g.b_wide[at]) : g.b[at]);
    }
  }
}

template <class T>
void matmul_pack_b(const MatmulArgs<T>& g, int64_t panel, int64_t panel_end) {
  const int64_t panels = (g.n + kMatmulCols - 1) / kMatmulCols;
  auto* out = static_cast<Acc<T>*>(g.pack_to);
  for (int64_t p = panel; p < panel_end; ++p)
    pack_columns(g, p / panels, p % panels * kMatmulCols, 0, g.k, out + p * g.k * kMatmulCols);
}

// Writes the sum of element (i, j) with everything that follows it.
template <class T>
void matmul_store(const MatmulArgs<T>& g, int64_t offset, int64_t i, int64_t j, Acc<T> sum) {
  const int64_t at = offset + i * g.out_row + j;
  if (g.bias) sum += g.bias[j];
  const bool keep_input = act_needs_input(g.act);
  if (g.saved && keep_input) g.saved[at] = static_cast<T>(sum);
  sum = act(g.act, sum);
  if (g.saved && !keep_input) g.saved[at] = static_cast<T>(sum);
  if (g.residual) sum += static_cast<Acc<T>>(g.residual[at]);
  if (g.out_acc)
    g.out_acc[at] = sum;
  else
    g.out[at] = static_cast<T>(sum);
}

template <class T>
void matmul_multiply(const MatmulArgs<T>& g, int64_t task, int64_t task_end) {
  using A = Acc<T>;
  const int64_t panels = (g.n + kMatmulCols - 1) / kMatmulCols;
  for (int64_t t = task; t < task_end; ++t) {
    const MatmulTask at = matmul_task(g, t);
    const MatmulOffsets offset = matmul_offsets(g.batch, at.batch);
    for (int64_t j = at.col; j < at.col_end; j += kMatmulCols) {
      const A* panel;
      if (g.packed_b) {
        const int64_t p = (g.plan.shared_b ? 0 : at.batch * panels) + j / kMatmulCols;
        panel = static_cast<const A*>(g.packed_b) + (p * g.k + at.k) * kMatmulCols;
      } else {
        const int64_t bytes = (at.k_end - at.k) * kMatmulCols * static_cast<int64_t>(sizeof(A));
        auto* own = static_cast<A*>(thread_scratch(Scratch::gemm_b, bytes));
        pack_columns(g, at.batch, j, at.k, at.k_end, own);
        panel = own;
      }
      for (int64_t i = at.row; i < at.row_end; ++i) {
        const T* a = g.a + offset.a + i * g.a_row + at.k * g.a_k;
        A sum[kMatmulCols] = {};
        for (int64_t k = 0; k < at.k_end - at.k; ++k)
          for (int c = 0; c < kMatmulCols; ++c)
            sum[c] += static_cast<A>(a[k * g.a_k]) * panel[k * kMatmulCols + c];
        for (int64_t c = 0; c < kMatmulCols && j + c < at.col_end; ++c) {
          if (g.partial)
            g.partial[((at.part * g.batch.count + at.batch) * g.m + i) * g.n + j + c] = sum[c];
          else
            matmul_store(g, offset.out, i, j + c, sum[c]);
        }
      }
    }
  }
}

template <class T>
void matmul_add_parts(const MatmulArgs<T>& g, int64_t row, int64_t row_end) {
  for (int64_t r = row; r < row_end; ++r) {
    const int64_t offset = matmul_offsets(g.batch, r / g.m).out;
    for (int64_t j = 0; j < g.n; ++j) {
      Acc<T> sum = 0;
      for (int64_t p = 0; p < g.plan.parts; ++p) sum += g.partial[(p * g.batch.count * g.m + r) * g.n + j];
      matmul_store(g, offset, r % g.m, j, sum);
    }
  }
}

template <class T>
void act_bwd(const ActBwd<T>& a, int64_t chunk, int64_t chunk_end) {
  using A = Acc<T>;
  for (int64_t q = chunk; q < chunk_end; ++q) {
    A* dbias = a.dbias ? a.dbias + q * a.cols : nullptr;
    for (int64_t c = 0; dbias && c < a.cols; ++c) dbias[c] = 0;
    for (int64_t r = q * a.chunk; r < a.rows && r < (q + 1) * a.chunk; ++r) {
      for (int64_t c = 0; c < a.cols; ++c) {
        const int64_t at = r * a.cols + c;
        const A saved = a.saved ? static_cast<A>(a.saved[at]) : A(0);
        // The sum sees dz as it is stored, so that dbias and dweight belong to the same dz.
        const T dz = static_cast<T>(static_cast<A>(a.dy[at]) * act_grad(a.act, saved));
        if (a.dz) a.dz[at] = dz;
        if (dbias) dbias[c] += static_cast<A>(dz);
      }
    }
  }
}

template <class T>
inline constexpr MatmulTable<T> matmul_table{matmul_tile<T>, matmul_pack_b<T>, matmul_multiply<T>,
                                             matmul_add_parts<T>, act_bwd<T>};

}  // namespace juxta::ref

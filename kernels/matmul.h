#pragma once
// Matrix multiplication: plain, batched, either operand strided in either axis, with a fused epilogue.
//
//   z[i, j] = sum_k A[i, k] B[k, j] + bias[j],   out = act(z) + residual         A [M, K], B [K, N]
// Gradient, with dz = dout act'(z):
//   dA = dz B^T,  dB = A^T dz,  dbias[j] = sum_i dz[i, j],  dresidual = dout
// (for linear, B = weight^T: dx = dz weight, dweight = dz^T x). Saved: A, B where the other's gradient is
// wanted; z for gelu and silu, act(z) for relu, tanh and sigmoid (which is out itself without a residual).
//
// bf16 operands are multiplied exactly and summed in f32; an f32 B beside a bf16 A (weights) is rounded to
// bf16 first. Sums run over k in order on every instruction set; bf16 dot products add two k at a time.
//
// How the work is cut (Goto & van de Geijn 2008): the output into blocks of rows x columns, one task each; a
// task packs its rows of A for a stretch of k into the second-level cache and multiplies them with panels of
// B. B is packed by the task itself when no other task needs it, else before, or comes packed (weights, see
// kernels/packed.h). When output blocks are few and K is long, K is cut into at most 16 parts whose partial
// sums are added in order. All cuts follow from shape and instruction set: one thread or many give the same
// bits.
#include <array>

#include "kernels/act.h"
#include "kernels/scratch.h"
#include "kernels/table.h"
#include "tensor/dtype.h"

namespace juxta {

inline constexpr int kMaxBatchDims = kMaxDims - 2;

// Leading axes: sizes and strides (0 where an operand is broadcast). No axes: one product.
struct MatmulBatch {
  int ndim = 0;
  int64_t count = 1;  // product of dims
  int64_t dims[kMaxBatchDims], a[kMaxBatchDims], b[kMaxBatchDims], out[kMaxBatchDims];
};

// Offsets of one product of the batch.
struct MatmulOffsets {
  int64_t a, b, out;
};
[[gnu::always_inline]] inline MatmulOffsets matmul_offsets(const MatmulBatch& batch, int64_t index) {
  MatmulOffsets o{0, 0, 0};
  for (int d = batch.ndim - 1; d >= 0; --d) {
    const int64_t i = index % batch.dims[d];
    index /= batch.dims[d];
    o.a += i * batch.a[d];
    o.b += i * batch.b[d];
    o.out += i * batch.out[d];
  }
  return o;
}

// How one matmul is cut. Task t = ((batch index * parts + part) * col_blocks + column block) * row_blocks +
// row block.
struct MatmulPlan {
  int64_t rows = 0, cols = 0;  // of an output block
  int64_t row_blocks = 1, col_blocks = 1;
  int64_t parts = 1, part_k = 0;  // K in `parts` parts of part_k, the last one shorter
  int64_t block_k = 0;            // k per pass over packed A
  bool pack_b = false;            // B is packed before the tasks run
  bool shared_b = false;          // one B for the whole batch
  int64_t tasks(int64_t batch) const { return batch * parts * col_blocks * row_blocks; }
};

// Tile of a table's micro-kernel: rows, columns, elements of k per packed word, bytes of a word.
struct MatmulTile {
  int64_t rows, cols, pair, word_bytes;
};

template <class T>
struct MatmulArgs {
  using A = Acc<T>;
  int64_t m, n, k;
  const T* a;
  const T* b;                      // null when b_wide is given
  int64_t a_row, a_k, b_k, b_col;  // strides in elements
  const A* b_wide = nullptr;       // B as f32 beside bf16 A
  MatmulBatch batch = {};
  T* out = nullptr;  // exactly one of out and out_acc; rows out_row apart, columns adjacent
  A* out_acc = nullptr;
  int64_t out_row = 0;
  const A* bias = nullptr;  // [n]
  Act act = Act::none;
  const T* residual = nullptr;     // laid out as out (out only)
  T* saved = nullptr;              // receives what the gradient of act needs (act.h), laid out as out
  const void* packed_b = nullptr;  // panels as matmul_pack_weights makes them
  // Set by matmul_run.
  void* pack_to = nullptr;  // where pack_b writes them
  MatmulPlan plan = {};
  A* partial = nullptr;  // [parts][batch m n]
};

// Where task t lies.
struct MatmulTask {
  int64_t batch, part, row, row_end, col, col_end, k, k_end;
};
template <class T>
[[gnu::always_inline]] inline MatmulTask matmul_task(const MatmulArgs<T>& g, int64_t t) {
  const MatmulPlan& p = g.plan;
  const auto least = [](int64_t x, int64_t y) { return x < y ? x : y; };
  const int64_t i = t % p.row_blocks, j = t / p.row_blocks % p.col_blocks;
  const int64_t q = t / (p.row_blocks * p.col_blocks), part = q % p.parts;
  return {q / p.parts,     part,
          i * p.rows,      least(g.m, (i + 1) * p.rows),
          j * p.cols,      least(g.n, (j + 1) * p.cols),
          part * p.part_k, least(g.k, (part + 1) * p.part_k)};
}

// First step of linear's backward pass: dz = dy act'(saved), and per chunk of rows the sum of dz by columns.
template <class T>
struct ActBwd {
  const T *dy, *saved;  // [rows, cols]; saved (see act.h) null: act is none
  T* dz;                // [rows, cols] or null
  Acc<T>* dbias;        // [chunks, cols] or null
  int64_t rows, cols, chunk;
  Act act;
};

template <class T>
struct MatmulTable {
  static constexpr const char* kFamily = "matmul";
  static constexpr std::array kNames{"tile", "pack_b", "multiply", "add_parts", "act_bwd"};
  void (*tile)(MatmulTile&);
  // Panel p % panels of batch index p / panels, to pack_to.
  void (*pack_b)(const MatmulArgs<T>&, int64_t panel, int64_t panel_end);
  void (*multiply)(const MatmulArgs<T>&, int64_t task, int64_t task_end);
  // out row (over batch and m) = epilogue of the sum of its parts, in order.
  void (*add_parts)(const MatmulArgs<T>&, int64_t row, int64_t row_end);
  void (*act_bwd)(const ActBwd<T>&, int64_t chunk, int64_t chunk_end);
};

template <class T>
const TableChoice<MatmulTable<T>>& matmul_tables();  // T: float, bf16, double

// Plans and runs the product. `args` holds everything above the line "Set by matmul_run".
template <class T>
void matmul_run(Device device, MatmulArgs<T> args);

// The panels of B for matmul_run's packed_b, from cache if `weight` (whose memory args.b or args.b_wide
// points to) was not written since. Undefined for f64, which is never cached.
template <class T>
Tensor matmul_pack_weights(const Tensor& weight, const MatmulArgs<T>& args);

// Sum over parts, in order, of partial [parts, m, n], to `out` or `out_acc` [m, n] (the other is null): the
// second step of every sum in two steps.
template <class T>
void matmul_add_parts(Device device, const Acc<T>* partial, int64_t parts, int64_t m, int64_t n, T* out,
                      Acc<T>* out_acc);

// Test only: while alive, plans on this thread use these sizes (in tiles; 0: as usual), so that tiny inputs
// cross the borders of blocks, passes and parts.
class ForceMatmulBlocks {
 public:
  ForceMatmulBlocks(int64_t row_tiles, int64_t col_tiles, int64_t block_k, int64_t parts);
  ~ForceMatmulBlocks();
  ForceMatmulBlocks(const ForceMatmulBlocks&) = delete;
  ForceMatmulBlocks& operator=(const ForceMatmulBlocks&) = delete;
  struct Sizes {
    int64_t row_tiles, col_tiles, block_k, parts;
  };

 private:
  Sizes outer_;
};

}  // namespace juxta
#include "kernels/matmul_ref.h"

// Matmul on the GEMM core; formulas, cuts and argument structs in matmul.h.
#include "kernels/matmul.h"

#include "kernels/gemm_core.h"
#include "kernels/gemm_core_epilogue.h"

namespace juxta::JX_ISA {

namespace {

constexpr int64_t kTile = int64_t{kMR} * kNR;

int64_t least(int64_t x, int64_t y) { return x < y ? x : y; }
int64_t tiles(int64_t n, int64_t size) { return (n + size - 1) / size; }

template <class T>
void tile_shape(MatmulTile& t) {
  t = {kMR, kNR, kPair<T>, sizeof(Word)};
}

// Columns [col, col + cols) of B for k in [k, k + count) of one product into a panel.
template <class T>
void pack_b_panel(const MatmulArgs<T>& g, int64_t b_offset, int64_t col, int cols, int64_t k, int64_t count,
                  Word* panel) {
  const int64_t at = b_offset + col * g.b_col + k * g.b_k;
  if (g.b_wide)
    pack_b<T>(panel, g.b_wide + at, g.b_col, g.b_k, cols, count);
  else
    pack_b<T>(panel, g.b + at, g.b_col, g.b_k, cols, count);
}

template <class T>
void pack_b_range(const MatmulArgs<T>& g, int64_t panel, int64_t panel_end) {
  const int64_t panels = tiles(g.n, kNR), words = panel_steps<T>(g.k) * kNR;
  for (int64_t p = panel; p < panel_end; ++p) {
    const int64_t col = p % panels * kNR;
    pack_b_panel(g, matmul_offsets(g.batch, p / panels).b, col, static_cast<int>(least(kNR, g.n - col)), 0,
                 g.k, static_cast<Word*>(g.pack_to) + p * words);
  }
}

// A finished tile to memory: to the partial sums of its part, or through the epilogue to out.
template <class T>
void finish_tile(const MatmulArgs<T>& g, const MatmulTask& at, int64_t out_offset, int64_t row, int64_t col,
                 int rows, int cols, const float* tile) {
  if (g.partial) {
    float* to = g.partial + ((at.part * g.batch.count + at.batch) * g.m + row) * g.n + col;
    return store_tile<float>(tile, kNR, rows, cols, to, g.n, {});
  }
  const int64_t to = out_offset + row * g.out_row + col;
  const float* bias = g.bias ? g.bias + col : nullptr;
  if (g.out_acc) {
    Epilogue<float> e;
    e.bias = bias;
    e.act = g.act;
    return store_tile(tile, kNR, rows, cols, g.out_acc + to, g.out_row, e);
  }
  Epilogue<T> e;
  e.bias = bias;
  e.act = g.act;
  if (g.residual) e.residual = g.residual + to;
  if (g.saved) e.saved = g.saved + to;
  e.residual_stride = e.saved_stride = g.out_row;
  store_tile(tile, kNR, rows, cols, g.out + to, g.out_row, e);
}

// One task over one stretch of k: rows of A packed once, panels of B one after the other.
template <class T>
struct Pass {
  const MatmulArgs<T>& g;
  const MatmulTask& at;
  MatmulOffsets offset;
  int64_t k, count;  // this stretch
  bool first, last;  // of its task
  float* sums;       // tiles of the task, panel by panel; one tile when there is one pass
  Word *a_panels, *b_panel;

  // Tile i of n begins at this row: all get about the same number, for a tile of one row would run at the
  // latency of the multiply-add.
  int64_t row_of(int64_t i, int64_t n) const { return at.row + (at.row_end - at.row) * i / n; }

  void pack_rows_of_a(int64_t row_tiles) const {
    const int64_t words = panel_steps<T>(count) * kMR;
    // Rows that are adjacent in memory (A^T) share cache lines across panels: all panels take a few k at a
    // time before the lines are gone.
    const int64_t stretch = g.a_k == 1 ? count : 64;
    for (int64_t i = 0; i < count; i += stretch) {
      const int64_t n = least(stretch, count - i);
      const T* from = g.a + offset.a + (k + i) * g.a_k;
      for (int64_t r = 0; r < row_tiles; ++r) {
        const int64_t row = row_of(r, row_tiles);
        pack_a<T>(a_panels + r * words + panel_steps<T>(i) * kMR, from + row * g.a_row, g.a_row, g.a_k,
                  static_cast<int>(row_of(r + 1, row_tiles) - row), n);
      }
    }
  }
  // The panel of B at column `col`, packed now unless it came packed.
  const Word* panel_of_b(int64_t col, int cols) const {
    if (g.packed_b) {
      const int64_t p = (g.plan.shared_b ? 0 : at.batch * tiles(g.n, kNR)) + col / kNR;
      return static_cast<const Word*>(g.packed_b) + (p * panel_steps<T>(g.k) + k / kPair<T>)*kNR;
    }
    pack_b_panel(g, offset.b, col, cols, k, count, b_panel);
    return b_panel;
  }
  void run() const {
    const int64_t steps = panel_steps<T>(count), row_tiles = tiles(at.row_end - at.row, kMR);
    pack_rows_of_a(row_tiles);
    // Few rows: row-major f32 B is read in place, because packing would cost as much as the product.
    const bool in_place = sizeof(T) == 4 && !g.packed_b && g.b_col == 1 && row_tiles == 1;
    for (int64_t col = at.col; col < at.col_end; col += kNR) {
      const int cols = static_cast<int>(least(kNR, at.col_end - col));
      const bool unpacked = in_place && cols % kWidth == 0;
      const Word* b = unpacked ? nullptr : panel_of_b(col, cols);
      for (int64_t i = 0; i < row_tiles; ++i) {
        const int64_t row = row_of(i, row_tiles);
        const int rows = static_cast<int>(row_of(i + 1, row_tiles) - row);
        float* tile = first && last ? sums : sums + ((col - at.col) / kNR * row_tiles + i) * kTile;
        const Word* a = a_panels + i * steps * kMR;
        if constexpr (sizeof(T) == 4) {
          if (unpacked)
            gemm_tile_unpacked_b(a, g.b + offset.b + k * g.b_k + col, g.b_k, count, rows, cols, tile, kNR,
                                 !first);
        }
        if (!unpacked) gemm_tile<T>(a, b, steps, rows, cols, tile, kNR, !first);
        if (last) finish_tile(g, at, offset.out, row, col, rows, cols, tile);
      }
    }
  }
};

template <class T>
void multiply(const MatmulArgs<T>& g, int64_t task, int64_t task_end) {
  const int64_t block_k = g.plan.block_k, steps = panel_steps<T>(block_k);
  const int64_t row_tiles = tiles(g.plan.rows, kMR), col_tiles = tiles(g.plan.cols, kNR);
  Word* a_panels = scratch_floats(Scratch::gemm_a, row_tiles * steps * kMR);
  Word* b_panel = g.packed_b ? nullptr : scratch_floats(Scratch::gemm_b, steps * kNR);
  float* sums =
      scratch_floats(Scratch::gemm_tile, g.plan.part_k > block_k ? row_tiles * col_tiles * kTile : kTile);
  for (int64_t t = task; t < task_end; ++t) {
    const MatmulTask at = matmul_task(g, t);
    const MatmulOffsets offset = matmul_offsets(g.batch, at.batch);
    int64_t k = at.k;
    do {  // once even when K = 0: the epilogue of zero sums
      const int64_t count = least(block_k, at.k_end - k);
      Pass<T>{g, at, offset, k, count, k == at.k, k + count >= at.k_end, sums, a_panels, b_panel}.run();
      k += count;
    } while (k < at.k_end);
  }
}

template <class T>
void add_parts(const MatmulArgs<T>& g, int64_t row, int64_t row_end) {
  alignas(64) float sums[kNR];
  const int64_t stride = g.batch.count * g.m * g.n;
  MatmulArgs<T> whole = g;  // the epilogue goes to out
  whole.partial = nullptr;
  for (int64_t r = row; r < row_end; ++r) {
    const MatmulTask at{r / g.m, 0, 0, 0, 0, 0, 0, 0};
    const int64_t out = matmul_offsets(g.batch, at.batch).out;
    for (int64_t col = 0; col < g.n; col += kNR) {
      const int cols = static_cast<int>(least(kNR, g.n - col));
      const float* from = g.partial + r * g.n + col;
      for (int c = 0; c < cols; c += kWidth) {
        const int n = cols - c < kWidth ? cols - c : kWidth;
        F32 sum(0.0f);
        for (int64_t p = 0; p < g.plan.parts; ++p) sum += load_part(from + p * stride + c, n);
        store(sums + c, sum);
      }
      finish_tile(whole, at, out, r % g.m, col, 1, cols, sums);
    }
  }
}

template <class T>
void act_bwd(const ActBwd<T>& a, int64_t chunk, int64_t chunk_end) {
  for (int64_t q = chunk; q < chunk_end; ++q) {
    float* dbias = a.dbias ? a.dbias + q * a.cols : nullptr;
    if (dbias) __builtin_memset(dbias, 0, static_cast<size_t>(a.cols) * sizeof(float));
    for (int64_t r = q * a.chunk; r < a.rows && r < (q + 1) * a.chunk; ++r) {
      const T* dy = a.dy + r * a.cols;
      const T* saved = a.saved ? a.saved + r * a.cols : nullptr;
      T* dz = a.dz ? a.dz + r * a.cols : nullptr;
      for_lanes(a.cols, [&](int64_t i, int n) {
        F32 g = load_part(dy + i, n);
        if (saved) g = g * apply_act_grad(a.act, load_part(saved + i, n));
        if constexpr (sizeof(T) == 2) g = widen(narrow(g));  // the sum sees dz as it is stored
        if (dz) store_part(dz + i, g, n);
        if (dbias) store_part(dbias + i, g + load_part(dbias + i, n), n);
      });
    }
  }
}

}  // namespace

#if JX_OWN_F32
extern const MatmulTable<float> matmul_f32{tile_shape<float>, pack_b_range<float>, multiply<float>,
                                           add_parts<float>, act_bwd<float>};
#endif
extern const MatmulTable<bf16> matmul_bf16{tile_shape<bf16>, pack_b_range<bf16>, multiply<bf16>,
                                           add_parts<bf16>, act_bwd<bf16>};

}  // namespace juxta::JX_ISA

#include "kernels/matmul.h"

#include <algorithm>

#include "kernels/packed.h"

namespace juxta {

JX_DECLARE_ISA_TABLES(MatmulTable<float>, matmul_f32)
JX_DECLARE_ISA_TABLES(MatmulTable<bf16>, matmul_bf16)

template <>
const TableChoice<MatmulTable<float>>& matmul_tables<float>() {
  static const TableChoice<MatmulTable<float>> c(DType::f32, ref::matmul_table<float>,
                                                 JX_ISA_TABLES_F32(matmul_f32));
  return c;
}
template <>
const TableChoice<MatmulTable<bf16>>& matmul_tables<bf16>() {
  static const TableChoice<MatmulTable<bf16>> c(DType::bf16, ref::matmul_table<bf16>,
                                                JX_ISA_TABLES(matmul_bf16));
  return c;
}
template <>
const TableChoice<MatmulTable<double>>& matmul_tables<double>() {
  static const TableChoice<MatmulTable<double>> c(DType::f64, ref::matmul_table<double>);
  return c;
}

namespace {

thread_local ForceMatmulBlocks::Sizes t_forced{0, 0, 0, 0};

int64_t cut(int64_t n, int64_t size) { return (n + size - 1) / size; }
int64_t even(int64_t n) { return (n + 1) / 2 * 2; }

struct Cuts {
  int64_t row_blocks, col_blocks, parts;
};

// Figures of a shape from which its cuts are chosen.
struct Shape {
  int64_t m, n, k, batch, row_tiles, col_tiles;
  bool b_packed;

  // What cuts cost, in cycles of a CPU that does 16 multiply-adds in one (ratios matter, and only roughly): a
  // figure of the shape alone.
  double cost(const Cuts& c) const {
    const double mk = static_cast<double>(m * k * batch), nk = static_cast<double>(n * k * batch),
                 mn = static_cast<double>(m * n * batch);
    const double tasks = static_cast<double>(c.row_blocks * c.col_blocks * c.parts * batch);
    double cycles =
        mk * static_cast<double>(n) / 16 * (1 + 1.5 / tasks);  // a few threads wait for the last task
    cycles += 0.7 * mk * static_cast<double>(c.col_blocks);    // A is packed for each block of columns
    cycles += 0.03 * nk * static_cast<double>(c.row_blocks);   // B is read for each block of rows
    if (!b_packed) cycles += nk * (c.row_blocks > 1 ? 0.8 : 0.5);
    if (c.parts > 1) cycles += 2 * mn * static_cast<double>(c.parts);
    return cycles;
  }
};

// Chooses the cuts; `least_rows`: row blocks that the cache asks for.
Cuts share_out(const Shape& s, int64_t least_rows) {
  Cuts best{least_rows, 1, 1};
  // A task should last some microseconds; 32 of them keep a few threads busy to the end.
  const int64_t work = s.batch * s.m * s.n * std::max<int64_t>(s.k, 1);
  const int64_t wanted = std::min<int64_t>(32, work >> 18);
  if (s.batch * least_rows >= wanted) return best;
  const auto consider = [&](const Cuts& c) {
    if (s.cost(c) < s.cost(best)) best = c;
  };
  for (int64_t tiles : {cut(s.row_tiles, least_rows), int64_t{4}, int64_t{2}, int64_t{1}}) {
    const int64_t most = std::min(cut(s.row_tiles, tiles), cut(wanted, s.batch));
    const int64_t rows = std::max(least_rows, cut(s.row_tiles, cut(s.row_tiles, most)));
    const int64_t factor = cut(wanted, s.batch * rows);
    consider({rows, 1, 1});
    consider({rows, std::min(factor, cut(s.col_tiles, 2)), 1});
    consider({rows, 1, std::clamp<int64_t>(std::min(factor, s.k / 256), 1, 16)});
  }
  return best;
}

// Most steps of k in one pass, and tiles of rows whose packed A then fills half of a second-level cache.
struct Fit {
  int64_t steps, row_tiles;
};
Fit fit_cache(const Shape& s, const MatmulTile& tile, int64_t cache) {
  const int64_t most = std::clamp<int64_t>(cache / 1024, 256, 1024) * 4 / tile.word_bytes;
  const int64_t steps = std::min(cut(std::max<int64_t>(s.k, 1), tile.pair), most);
  return {most, std::clamp<int64_t>(cache / 2 / (steps * tile.rows * tile.word_bytes), 4, 64)};
}

// `fixed_parts`: cut K into so many (0: as suits the shape). Parts change bits, so they are chosen for a
// nominal cache of 1 MiB; blocks and passes do not and follow this machine's.
MatmulPlan plan_matmul(const Shape& s, const MatmulTile& tile, int64_t fixed_parts) {
  MatmulPlan p;
  const Fit nominal = fit_cache(s, tile, 1 << 20), fit = fit_cache(s, tile, cache_sizes().l2);
  const int64_t nominal_rows = cut(s.row_tiles, nominal.row_tiles);
  const Cuts cuts = fixed_parts ? Cuts{nominal_rows, 1, fixed_parts} : share_out(s, nominal_rows);
  const int64_t row_blocks = std::max(cuts.row_blocks, cut(s.row_tiles, fit.row_tiles));
  int64_t row_tiles = cut(s.row_tiles, row_blocks), col_tiles = cut(s.col_tiles, cuts.col_blocks);
  int64_t parts = cuts.parts;
  if (t_forced.row_tiles) row_tiles = t_forced.row_tiles;
  if (t_forced.col_tiles) col_tiles = t_forced.col_tiles;
  if (t_forced.parts) parts = std::clamp<int64_t>(t_forced.parts, 1, std::max<int64_t>(s.k / 2, 1));
  p.part_k = std::max<int64_t>(even(cut(s.k, parts)), 2);
  p.parts = std::max<int64_t>(cut(s.k, p.part_k), 1);
  const int64_t passes = cut(cut(p.part_k, tile.pair), fit.steps);
  p.block_k = even(cut(p.part_k, passes));
  if (t_forced.block_k) p.block_k = std::min(p.block_k, even(t_forced.block_k));
  p.rows = row_tiles * tile.rows;
  p.cols = col_tiles * tile.cols;
  p.row_blocks = cut(s.m, p.rows);
  p.col_blocks = cut(s.n, p.cols);
  return p;
}

template <class T>
bool shares_b(const MatmulArgs<T>& g) {
  return std::all_of(g.batch.b, g.batch.b + g.batch.ndim, [](int64_t s) { return s == 0; });
}

// Batch axes that continue the rows of A and out join them: with one B the whole is one product.
template <class T>
void join_rows(MatmulArgs<T>& g) {
  if (!shares_b(g)) return;
  MatmulBatch& b = g.batch;
  while (b.ndim > 0) {
    const int d = b.ndim - 1;
    if (b.dims[d] != 1 && (b.a[d] != g.a_row * g.m || b.out[d] != g.out_row * g.m)) break;
    g.m *= b.dims[d];
    b.count /= b.dims[d];
    --b.ndim;
  }
}

// A single column, out = A b, is a single row, out^T = b^T A^T: then the rows of A fill the vectors. The bits
// stay, since every sum still runs over k in order.
template <class T>
bool turn_column(MatmulArgs<T>& g) {
  if (g.n != 1 || g.m == 1 || g.bias || g.b_wide || g.packed_b || g.out_row != 1) return false;
  std::swap(g.m, g.n);
  std::swap(g.a, g.b);
  std::swap(g.a_row, g.b_col);
  std::swap(g.a_k, g.b_k);
  std::swap(g.batch.a, g.batch.b);
  g.out_row = g.n;
  return true;
}

// The plan of g. Parts of K decide the bits, so they follow from the whole product [m, n], which strides do
// not change, also where they kept the batch from joining the rows.
template <class T>
MatmulPlan plan_for(const MatmulArgs<T>& g, const MatmulTile& tile, int64_t m, int64_t n) {
  const auto shape = [&](int64_t rows, int64_t cols, int64_t batch) {
    return Shape{rows, cols, g.k, batch, cut(rows, tile.rows), cut(cols, tile.cols), g.packed_b != nullptr};
  };
  const int64_t batch = g.m * g.n * g.batch.count / (m * n);
  MatmulPlan plan = plan_matmul(shape(m, n, batch), tile, 0);
  if (batch != g.batch.count) plan = plan_matmul(shape(g.m, g.n, g.batch.count), tile, plan.parts);
  plan.shared_b = shares_b(g);
  // Does more than one task read the same panels?
  plan.pack_b = !g.packed_b && (plan.row_blocks > 1 || (plan.shared_b && g.batch.count > 1));
  return plan;
}

template <class T>
int64_t panel_words(const MatmulArgs<T>& g, const MatmulTile& tile) {
  return cut(g.n, tile.cols) * cut(g.k, tile.pair) * tile.cols;
}

int64_t grain_of(double work_per_item, double work) {
  return std::max<int64_t>(1, static_cast<int64_t>(work / std::max(work_per_item, 1.0)));
}

// Packs `count` products' B into `to`, over threads by panels.
template <class T>
void pack_all(Device device, const MatmulTable<T>& table, MatmulArgs<T> g, const MatmulTile& tile,
              int64_t count, void* to) {
  g.pack_to = to;
  const int64_t grain = grain_of(static_cast<double>(g.k * tile.cols), 1 << 16);
  run(device, table.pack_b, g, cut(g.n, tile.cols) * count, grain);
}

}  // namespace

ForceMatmulBlocks::ForceMatmulBlocks(int64_t row_tiles, int64_t col_tiles, int64_t block_k, int64_t parts)
    : outer_(t_forced) {
  t_forced = {row_tiles, col_tiles, block_k, parts};
}
ForceMatmulBlocks::~ForceMatmulBlocks() { t_forced = outer_; }

template <class T>
void matmul_run(Device device, MatmulArgs<T> g) {
  if (g.m == 0 || g.n == 0 || g.batch.count == 0) return;
  const MatmulTable<T>& table = matmul_tables<T>().on(device);
  MatmulTile tile;
  table.tile(tile);
  const int64_t all_rows = shares_b(g) ? g.m * g.batch.count : g.m, n = g.n;
  join_rows(g);
  const bool turned = turn_column(g);
  g.plan = plan_for(g, tile, turned ? n : all_rows, turned ? all_rows : n);
  Tensor panels, partial;
  if (g.plan.pack_b) {
    const int64_t count = g.plan.shared_b ? 1 : g.batch.count;
    panels = Tensor::empty({panel_words(g, tile) * count}, acc_dtype(dtype_of<T>), device);
    g.packed_b = panels.write("matmul");
    pack_all(device, table, g, tile, count, const_cast<void*>(g.packed_b));
  }
  if (g.plan.parts > 1) {
    partial = Tensor::empty({g.plan.parts, g.batch.count, g.m, g.n}, acc_dtype(dtype_of<T>), device);
    g.partial = partial.template write<Acc<T>>("matmul");
  }
  const double work = static_cast<double>(g.m * g.n * g.k) / static_cast<double>(g.plan.tasks(1));
  run(device, table.multiply, g, g.plan.tasks(g.batch.count), grain_of(work, 1 << 18));
  if (g.plan.parts > 1)
    run(device, table.add_parts, g, g.batch.count * g.m,
        grain_of(static_cast<double>(g.n * g.plan.parts), 1 << 15));
}

template <class T>
Tensor matmul_pack_weights(const Tensor& weight, const MatmulArgs<T>& g) {
  if (dtype_of<T> == DType::f64) return {};
  const MatmulTable<T>& table = matmul_tables<T>().on(weight.device());
  MatmulTile tile;
  table.tile(tile);
  const PackKey key{reinterpret_cast<const void*>(table.pack_b),
                    {weight.offset(), g.k, g.n, g.b_k, g.b_col, static_cast<int64_t>(weight.dtype())}};
  return packed_weights(weight, key, panel_words(g, tile),
                        [&](float* to) { pack_all(weight.device(), table, g, tile, 1, to); });
}

template <class T>
void matmul_add_parts(Device device, const Acc<T>* partial, int64_t parts, int64_t m, int64_t n, T* out,
                      Acc<T>* out_acc) {
  MatmulArgs<T> g{m, n, 0, nullptr, nullptr, 0, 0, 0, 0};
  g.out = out;
  g.out_acc = out_acc;
  g.out_row = n;
  g.plan.parts = parts;
  g.partial = const_cast<Acc<T>*>(partial);
  run(device, matmul_tables<T>().on(device).add_parts, g, m,
      grain_of(static_cast<double>(n * parts), 1 << 15));
}

template void matmul_run<float>(Device, MatmulArgs<float>);
template void matmul_run<bf16>(Device, MatmulArgs<bf16>);
template void matmul_run<double>(Device, MatmulArgs<double>);
template Tensor matmul_pack_weights<float>(const Tensor&, const MatmulArgs<float>&);
template Tensor matmul_pack_weights<bf16>(const Tensor&, const MatmulArgs<bf16>&);
template Tensor matmul_pack_weights<double>(const Tensor&, const MatmulArgs<double>&);
template void matmul_add_parts<float>(Device, const float*, int64_t, int64_t, int64_t, float*, float*);
template void matmul_add_parts<bf16>(Device, const float*, int64_t, int64_t, int64_t, bf16*, float*);
template void matmul_add_parts<double>(Device, const double*, int64_t, int64_t, int64_t, double*, double*);

}  // namespace juxta

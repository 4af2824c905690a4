// Contrast on vectors; formulas in contrast.h. A pair of blocks is done in strips of rows: similarities of a
// strip by the GEMM core, then one pass over the strip in cache that masks, takes exponentials and adds along
// rows and columns; the backward pass turns the strip into h and multiplies it with both operands.
#include "kernels/contrast.h"
#include "kernels/contrast_strip.h"
#include "kernels/gemm_core.h"
#include "kernels/simd.h"

namespace juxta::JX_ISA {

namespace {

constexpr int kStrip = 126 / kMR * kMR;  // rows of a strip: whole panels of A
constexpr int64_t kSteps = 256;          // of a B panel that stays in the first-level cache

JX_INLINE int64_t ceil_div(int64_t a, int64_t b) { return (a + b - 1) / b; }
JX_INLINE int smaller(int64_t a, int64_t b) { return static_cast<int>(a < b ? a : b); }

// Scratch memory for one pair of blocks.
struct Workspace {
  Word *a, *b;               // the strip's rows and the block's columns, depth along k
  Word *x_rows, *x_columns;  // the same operands with depth along n, for h c and h^T r
  Word* h;                   // packed h or h^T
  float* tile;
  float* column[4];  // per column of the block: running max, sum, positive, count
  int64_t ld;
};

template <class P>
JX_INLINE Workspace workspace(int64_t columns, int64_t depth, bool backward) {
  const int64_t ld = ceil_div(columns, kNR) * kNR, steps = panel_steps<P>(depth);
  const int64_t a = kStrip * steps, b = ld * steps, tile = kStrip * ld;
  const int64_t wide = ceil_div(depth, kNR) * kNR;
  const int64_t x_rows = backward ? wide * panel_steps<P>(kStrip) : 0;
  const int64_t x_columns = backward ? wide * panel_steps<P>(columns) : 0;
  const int64_t h_rows = kStrip * panel_steps<P>(columns),
                h_columns = ceil_div(columns, kMR) * kMR * panel_steps<P>(kStrip);
  const int64_t h = backward ? (h_rows > h_columns ? h_rows : h_columns) : 0;
  const auto padded = [](int64_t n) { return ceil_div(n, 16) * 16; };
  float* p = scratch_floats(Scratch::contrast, padded(a) + padded(b) + padded(x_rows) + padded(x_columns) +
                                                   padded(h) + tile + 4 * ld);
  Workspace w;
  w.ld = ld;
  w.a = p;
  w.b = w.a + padded(a);
  w.x_rows = w.b + padded(b);
  w.x_columns = w.x_rows + padded(x_rows);
  w.h = w.x_columns + padded(x_columns);
  w.tile = w.h + padded(h);
  for (int i = 0; i < 4; ++i) w.column[i] = w.tile + tile + i * ld;
  return w;
}

// Packs n rows of x as panels of A (P = kMR) or B with depth along k.
template <class P, class T>
void pack_columns_deep(const Workspace& w, const ContrastBlock<T>& x, int64_t depth) {
  const int64_t steps = panel_steps<P>(depth);
  for (int64_t q = 0; q * kNR < x.rows; ++q)
    pack_b<P>(w.b + q * kNR * steps, x.x + q * kNR * x.stride, x.stride, 1, smaller(kNR, x.rows - q * kNR),
              depth);
}
// Packs x as panels of B with its rows along k and depth along n.
template <class P, class T>
void pack_wide(Word* out, const T* x, int64_t stride, int64_t rows, int64_t depth) {
  const int64_t steps = panel_steps<P>(rows);
  for (int64_t q = 0; q * kNR < depth; ++q)
    pack_b<P>(out + q * kNR * steps, x + q * kNR, 1, stride, smaller(kNR, depth - q * kNR), rows);
}

// out [rows, cols] (+)= A B from whole panels, `steps` deep.
template <class P>
void multiply(const Word* a, const Word* b, int64_t steps, int64_t rows, int64_t cols, float* out, int64_t ld,
              bool accumulate) {
  for (int64_t s = 0; s < steps; s += kSteps) {
    const int64_t n = smaller(kSteps, steps - s);
    for (int64_t q = 0; q * kNR < cols; ++q)
      for (int64_t p = 0; p * kMR < rows; ++p)
        gemm_tile<P>(a + (p * steps + s) * kMR, b + (q * steps + s) * kNR, n, smaller(kMR, rows - p * kMR),
                     smaller(kNR, cols - q * kNR), out + p * kMR * ld + q * kNR, ld, accumulate || s > 0);
  }
}

// tile = r_i . c_j for the strip's rows and all columns of the block.
template <class P, class T>
void similarities(const Workspace& w, const T* x, int64_t stride, int rows, int64_t cols, int64_t depth) {
  const int64_t steps = panel_steps<P>(depth);
  for (int64_t p = 0; p * kMR < rows; ++p)
    pack_a<P>(w.a + p * kMR * steps, x + p * kMR * stride, stride, 1, smaller(kMR, rows - p * kMR), depth);
  multiply<P>(w.a, w.b, steps, rows, cols, w.tile, w.ld, false);
}

template <class T>
Strip make_strip(const ContrastArgs<T>& a, const ContrastPair& p, const Workspace& w,
                 const ContrastBlock<T>& rows, const ContrastBlock<T>& columns, int64_t begin) {
  Strip s{};
  const int64_t i = rows.first + begin, j = columns.first;
  const auto at = [](auto* base, int64_t k) { return base ? base + k : nullptr; };
  s.tile = w.tile;
  s.ld = w.ld;
  s.rows = smaller(kStrip, rows.rows - begin);
  s.cols = static_cast<int>(columns.rows);
  s.row_scale = a.rows.scale + i;
  s.column_scale = a.columns.scale + j;
  s.row_id = at(a.rows.id, i), s.column_id = at(a.columns.id, j);
  s.row_want = at(a.rows.want, i), s.column_key = at(a.columns.key, j);
  s.row_key = at(a.rows.key, i), s.column_want = at(a.columns.want, j);
  s.mask = at(a.mask, i * a.columns.size + j);
  s.positive_mask = at(a.positive_mask, i * a.columns.size + j);
  s.positive_weight = at(a.positive_weight, i * a.columns.size + j);
  s.mask_stride = a.columns.size;
  s.margin = static_cast<float>(a.margin);
  s.temperature = at(a.temperature, a.row_temperature ? i : 0);
  s.row_temperature = a.row_temperature;
  s.over = a.over;
  s.sigmoid = a.term == ContrastTerm::sigmoid;
  s.same_relation = a.same_relation;
  s.back = contrast_back(a, p);
  s.row_weight = at(a.rows.weight, i), s.column_weight = at(a.columns.weight, j);
  s.row_lse = at(a.rows.lse, i), s.column_lse = at(a.columns.lse, j);
  s.row_dots = at(a.rows.dots, p.row_replica * a.rows.size + i);
  s.row_dpositive = at(a.rows.dpositive, i), s.column_dpositive = at(a.columns.dpositive, j);
  return s;
}

template <class P, class T>
void forward_pair(const ContrastArgs<T>& a, const ContrastPair& p) {
  const ContrastBlock<T> rows = contrast_block(a.rows, p.row_block, p.row_replica),
                         columns = contrast_block(a.columns, p.column_block, p.column_replica);
  const Workspace w = workspace<P>(columns.rows, a.depth, false);
  const bool related = contrast_related(a, p), back = contrast_back(a, p);
  const int64_t cols = columns.rows, at_column = p.column_replica * a.columns.size + columns.first;
  pack_columns_deep<P>(w, columns, a.depth);
  // Column sums of this pair in scratch: bounded ones start at 0 and are added at the end, running ones go
  // on.
  for (int64_t c = 0; c < w.ld; ++c) {
    const bool keep = back && !a.bounded && c < cols;
    w.column[0][c] = keep ? a.columns.max[at_column + c] : -kHuge;
    w.column[1][c] = keep ? a.columns.sum[at_column + c] : 0.0f;
    w.column[2][c] = w.column[3][c] = 0.0f;
  }
  for (int64_t begin = 0; begin < rows.rows; begin += kStrip) {
    const Strip s = make_strip(a, p, w, rows, columns, begin);
    const int64_t at_row = p.row_replica * a.rows.size + rows.first + begin;
    similarities<P>(w, rows.x + begin * rows.stride, rows.stride, s.rows, cols, a.depth);
    if (related || !a.bounded)
      apply_relations(s, a.rows.positive + at_row, a.rows.count + at_row, w.column[2], w.column[3]);
    if (!a.bounded)
      add_exp_online(s, a.rows.max + at_row, a.rows.sum + at_row, w.column[0], w.column[1]);
    else
      add_exp(s, related, a.rows.sum + at_row, w.column[1]);
  }
  if (!back) return;
  for (int64_t c = 0; c < cols; ++c) {
    if (!a.bounded) a.columns.max[at_column + c] = w.column[0][c];
    a.columns.sum[at_column + c] = a.bounded ? a.columns.sum[at_column + c] + w.column[1][c] : w.column[1][c];
    a.columns.positive[at_column + c] += w.column[2][c];
    a.columns.count[at_column + c] += w.column[3][c];
  }
}

// The strip's h times both operands, added to their sums.
template <class P, class T>
void add_gradients(const Workspace& w, const Strip& s, const T* strip_x, int64_t stride, int64_t depth,
                   float* row_sums, float* column_sums, int64_t sums_stride) {
  if (row_sums) {  // A_i += sum_j h_ij c_j
    const int64_t steps = panel_steps<P>(s.cols);
    for (int64_t q = 0; q * kMR < s.rows; ++q)
      pack_a<P>(w.h + q * kMR * steps, s.tile + q * kMR * s.ld, s.ld, 1, smaller(kMR, s.rows - q * kMR),
                s.cols);
    multiply<P>(w.h, w.x_columns, steps, s.rows, depth, row_sums, sums_stride, true);
  }
  if (column_sums) {  // A_j += sum_i h_ij r_i: h^T is read by swapping the strides
    const int64_t steps = panel_steps<P>(s.rows);
    pack_wide<P>(w.x_rows, strip_x, stride, s.rows, depth);
    for (int64_t q = 0; q * kMR < s.cols; ++q)
      pack_a<P>(w.h + q * kMR * steps, s.tile + q * kMR, 1, s.ld, smaller(kMR, s.cols - q * kMR), s.rows);
    multiply<P>(w.h, w.x_rows, steps, s.cols, depth, column_sums, sums_stride, true);
  }
}

template <class P, class T>
void backward_pair(const ContrastArgs<T>& a, const ContrastPair& p) {
  const ContrastBlock<T> rows = contrast_block(a.rows, p.row_block, p.row_replica),
                         columns = contrast_block(a.columns, p.column_block, p.column_replica);
  if (!rows.sums && !columns.sums && !a.rows.dots) return;
  const Workspace w = workspace<P>(columns.rows, a.depth, true);
  const bool related = contrast_related(a, p);
  pack_columns_deep<P>(w, columns, a.depth);
  if (rows.sums) pack_wide<P>(w.x_columns, columns.x, columns.stride, columns.rows, a.depth);
  for (int64_t begin = 0; begin < rows.rows; begin += kStrip) {
    const Strip s = make_strip(a, p, w, rows, columns, begin);
    const T* strip_x = rows.x + begin * rows.stride;
    similarities<P>(w, strip_x, rows.stride, s.rows, columns.rows, a.depth);
    if (related || !a.bounded)
      weigh_related(s, a.bounded);
    else
      weigh(s);
    add_gradients<P>(w, s, strip_x, rows.stride, a.depth,
                     rows.sums ? rows.sums + begin * a.rows.sums_stride : nullptr, columns.sums,
                     a.rows.sums_stride);
  }
}

template <class T>
void forward(const ContrastArgs<T>& a, int64_t item, int64_t item_end) {
  for (int64_t k = item; k < item_end; ++k) {
    const ContrastPair p = contrast_pair(a.schedule, a.round, k);
    if (!p.there) continue;
    if (sizeof(T) == 2 || a.bf16_products)
      forward_pair<bf16>(a, p);
    else
      forward_pair<float>(a, p);
  }
}

template <class T>
void backward(const ContrastArgs<T>& a, int64_t item, int64_t item_end) {
  for (int64_t k = item; k < item_end; ++k) {
    const ContrastPair p = contrast_pair(a.schedule, a.round, k);
    if (!p.there) continue;
    if (sizeof(T) == 2 || a.bf16_products)
      backward_pair<bf16>(a, p);
    else
      backward_pair<float>(a, p);
  }
}

template <class T>
void norms(const ContrastNorms<T>& a, int64_t row, int64_t row_end) {
  const float eps = static_cast<float>(a.eps);
  for (int64_t r = row; r < row_end; ++r) {
    const T* x = a.x + r * a.x_stride;
    F32 sum(0.0f);
    for_lanes(a.cols, [&](int64_t i, int n) {
      const F32 v = load_part(x + i, n);
      sum = fma(v, v, sum);
    });
    const float norm = __builtin_sqrtf(reduce_add(sum));
    a.inverse[r] = 1.0f / (norm > eps ? norm : eps);
    const float t = a.temperature ? a.temperature[a.row_temperature ? r : 0] : 1.0f;
    a.scale[r] = (a.normalize ? a.inverse[r] : 1.0f) / t;
    a.reach[r] = norm * a.scale[r];
  }
}

template <class T>
void finish(const ContrastFinish<T>& a, int64_t row, int64_t row_end) {
  for_lanes(row_end - row, [&](int64_t at, int n) {
    const int64_t i = row + at;
    F32 max = a.max ? load_part(a.max + i, n) : F32(0.0f), sum(0.0f), positive(0.0f), count(0.0f);
    for (int64_t k = 1; a.max && k < a.replicas; ++k)
      max = juxta::JX_ISA::max(load_part(a.max + k * a.size + i, n), max);
    for (int64_t k = 0; k < a.replicas; ++k) {
      const int64_t here = k * a.size + i;
      const F32 z = load_part(a.sum + here, n);
      sum += a.max ? z * exp(load_part(a.max + here, n) - max) : z;
      positive += load_part(a.positive + here, n);
      count += load_part(a.count + here, n);
    }
    const F32 lse = select(sum == F32(0.0f), F32(-kInf), max + log(sum));
    store_part(a.lse + i, a.plain_sum ? sum : lse, n);
    const F32 top = a.max ? exp(lse - max) : F32(1.0f);
    if (a.share) store_part(a.share + i, select(sum == F32(0.0f), F32(0.0f), top / sum), n);
    store_part(a.positive_out + i, positive, n);
    store_part(a.count_out + i, count, n);
  });
}

template <class T>
void weights(const ContrastWeights<T>& a, int64_t row, int64_t row_end) {
  for_lanes(row_end - row, [&](int64_t at, int n) {
    const int64_t i = row + at;
    const F32 lse = load_part(a.lse + i, n);
    const Mask empty = lse == F32(-kInf);
    const F32 safe = select(empty, F32(0.0f), lse);
    F32 g = a.dlse ? select(empty, F32(0.0f), load_part(a.dlse + i, n)) : F32(0.0f);
    if (a.share) g = g * load_part(a.share + i, n);
    store_part(a.safe_lse + i, safe, n);
    store_part(a.weight + i, g, n);
  });
}

template <class T>
void grad(const ContrastGrad<T>& a, int64_t row, int64_t row_end) {
  const float clamped = 1.0f / static_cast<float>(a.eps);
  const int64_t replica = a.part.rows * a.sums_stride;
  for (int64_t r = row; r < row_end; ++r) {
    const T* x = a.part.x + r * a.part.stride;
    const float* first = a.part.sums + r * a.sums_stride;
    const auto sum = [&](int64_t d, int n) {
      F32 s = load_part(first + d, n);
      for (int64_t k = 1; k < a.replicas; ++k) s += load_part(first + k * replica + d, n);
      return s;
    };
    F32 products(0.0f);
    for_lanes(a.depth, [&](int64_t d, int n) { products = fma(load_part(x + d, n), sum(d, n), products); });
    const float dot = reduce_add(products);
    const float inverse = a.inverse ? a.inverse[r] : 0.0f;
    const F32 along(inverse < clamped ? dot * inverse * inverse : 0.0f);
    for_lanes(a.depth, [&](int64_t d, int n) {
      store_part(a.dx + r * a.depth + d, sum(d, n) - load_part(x + d, n) * along, n);
    });
  }
}

template <class T>
void temperature(const ContrastTemperature<T>& a, int64_t at, int64_t end) {
  for (int64_t i = at; i < end; ++i) {
    double sum = 0;  // millions of terms that nearly cancel
    for (int64_t k = 0; k < a.replicas; ++k)
      for (int64_t r = a.row_temperature ? i : 0; r < (a.row_temperature ? i + 1 : a.n); ++r)
        sum += static_cast<double>(a.dots[k * a.n + r]);
    a.dtemperature[i] = static_cast<float>(-sum / static_cast<double>(a.temperature[i]));
  }
}

}  // namespace

#if JX_OWN_F32
extern const ContrastTable<float> contrast_f32{norms<float>,      forward<float>,  finish<float>,
                                               weights<float>,    backward<float>, grad<float>,
                                               temperature<float>};
#endif
extern const ContrastTable<bf16> contrast_bf16{norms<bf16>,    forward<bf16>, finish<bf16>,     weights<bf16>,
                                               backward<bf16>, grad<bf16>,    temperature<bf16>};

}  // namespace juxta::JX_ISA

#pragma once
// Contrast: similarities of two sets of rows, reduced to masked log-sum-exps without the matrix of
// similarities.
//
// Rows r_i [R, D] and columns c_j [C, D], each given in up to four parts (two views; keys and a queue):
//   s_ij = a_i b_j (r_i . c_j),   b_j = 1/|c_j| and a_i = 1/(|r_i| temperature_i) when normalised, else 1 and
//                                 1/temperature_i; s_ij - margin_i for a positive
//   out_ij  j is not in i's log-sum-exp: id_j = id_i, or mask_ij = 0; besides, by `over`, the
//           positives or all others
//   pos_ij  j is a positive of i: key_j = want_i or positive_mask_ij, unless excluded by id or mask
//   lse_i = log sum_{j not out} e^{s_ij}     positive_i = sum_{j pos} s_ij     count_i = |{j pos}|
// With weights w_ij (positive_weight) in place of a mask, j is a positive where w_ij is not 0, and positive_i
// = sum w_ij s_ij, count_i = sum w_ij: soft targets. With ContrastTerm::sigmoid every pair is a decision of
// its own, and
//   lse_i = sum_{j not out} log(1 + e^{-y_ij s_ij}),  y = 1 for positives, -1 for the others (SigLIP)
// Two-way adds the same three over i for every column j, from the same tiles (CLIP). Symmetric means that
// rows and columns are one set: tiles above the diagonal serve both their row and their column block.
//
// Gradient, with cotangents g_i of lse_i and q_i of positive_i (and g'_j, q'_j of the columns when two-way):
//   h_ij = a_i b_j (g_i e^{s_ij - lse_i} [not out] + q_i [pos] + g'_j e^{s_ij - lse'_j} [..] + q'_j [..])
//   A_i = sum_j h_ij c_j,   dr_i = A_i - r_i (r_i . A_i)/|r_i|^2 when normalised, else A_i;   columns alike
//   dtemperature_i = -sum_j ds_ij s_ij / temperature_i, with ds_ij = h_ij / (a_i b_j)
// sigmoid: -y_ij sigma(-y_ij s_ij) in place of e^{s_ij - lse_i}.
// Saved: the operands, 1/|x|, lse and its share: O((R + C) D). Backward makes each tile again.
//
// Numbers: where |s| <= 60 everywhere (known from the norms) e^s needs no shift and serves both directions;
// otherwise each row keeps a running maximum. A row with nothing in its sum has lse = -inf and no gradient.
// Products in bf16 (operands, and on some CPUs h) add in f32.
//
// Order: blocks meet in rounds; in a round no block of rows or columns takes part twice, so every sum has one
// owner and a fixed order: the bits do not depend on threads. A side of few blocks gets `replicas` of its
// sums, one per chunk of the other side, added in order at the end.
//
// Sources: Chen et al. 2020, arXiv 2002.05709 (NT-Xent); van den Oord et al. 2018, arXiv 1807.03748; the
// blockwise log-sum-exp follows Milakov & Gimelshein 2018, arXiv 1805.02867.
#include <array>
#include <cmath>
#include <cstdint>
#include <limits>

#include "kernels/scratch.h"
#include "kernels/table.h"
#include "tensor/dtype.h"

namespace juxta {

inline constexpr int kContrastParts = 4;
// Largest |s| for which sums of e^s and e^-s stay far inside the range of f32.
inline constexpr double kContrastBound = 60;

// Which columns a row's log-sum-exp runs over, among those not excluded by id or mask.
enum class LseOver : uint8_t { all, negatives, positives };
// What a pair adds to its row's sum: e^s under a logarithm, or a logistic loss.
enum class ContrastTerm : uint8_t { softmax, sigmoid };

// Rows of one operand that lie together in memory.
template <class T>
struct ContrastPart {
  const T* x = nullptr;  // [rows, D], rows `stride` apart
  int64_t rows = 0, stride = 0;
  int64_t first = 0;  // index of its first row in the whole side
  int64_t block = 1;  // rows per block
  int64_t first_block = std::numeric_limits<int64_t>::max();
  Acc<T>* sums = nullptr;  // backward: sums of h x, [replicas, rows, sums_stride], or null: not wanted
};

// One operand, and what is known about each of its rows (arrays of `size`; null where unused).
template <class T>
struct ContrastSide {
  ContrastPart<T> part[kContrastParts];
  int64_t size = 0, blocks = 0;
  const Acc<T>* scale = nullptr;  // a_i or b_j
  const int32_t *id = nullptr, *want = nullptr, *key = nullptr;
  const int32_t* range = nullptr;  // [blocks, 6]: smallest and largest id, want, key of each block
  // Forward, [replicas, size]; max is null when |s| is bounded.
  Acc<T>*max = nullptr, *sum = nullptr, *positive = nullptr, *count = nullptr;
  // Backward: weight = g share; lse finite.
  const Acc<T>*weight = nullptr, *lse = nullptr, *dpositive = nullptr;
  Acc<T>* dots = nullptr;   // rows only: sum_j ds_ij s_ij [replicas, size], or null
  int64_t sums_stride = 0;  // at least D, a multiple of 16
};

template <class T>
struct ContrastBlock {
  const T* x;
  int64_t first, rows, stride;
  Acc<T>* sums;  // of its first row, or null
};
template <class T>
[[gnu::always_inline]] JX_HD inline ContrastBlock<T> contrast_block(const ContrastSide<T>& s, int64_t b,
                                                                    int64_t replica) {
  int p = 0;
  while (p + 1 < kContrastParts && b >= s.part[p + 1].first_block) ++p;
  const ContrastPart<T>& part = s.part[p];
  const int64_t row = (b - part.first_block) * part.block, left = part.rows - row;
  return {part.x + row * part.stride, part.first + row, left < part.block ? left : part.block, part.stride,
          part.sums ? part.sums + (replica * part.rows + row) * s.sums_stride : nullptr};
}

// Which blocks meet in which round. Symmetric: the diagonal, then a round-robin tournament (circle method).
// Otherwise the longer side is cut into `replicas` chunks, and within each the blocks of the shorter side
// walk round it.
struct ContrastSchedule {
  int64_t row_blocks = 0, column_blocks = 0;
  bool symmetric = false, rows_short = true;
  int64_t replicas = 1, chunk = 1;  // of the shorter side; blocks per chunk of the longer
  int64_t rounds = 0;
};
ContrastSchedule contrast_schedule(int64_t row_blocks, int64_t column_blocks, bool symmetric);
// Rows per block for a side of n rows of D elements; from the shape alone (or from ForceContrastBlock).
int64_t contrast_block_rows(int64_t n, int64_t depth);

// Test only: blocks of n rows for calls from this thread, so that tiny inputs cross block borders.
class ForceContrastBlock {
 public:
  explicit ForceContrastBlock(int64_t n);
  ~ForceContrastBlock();
  ForceContrastBlock(const ForceContrastBlock&) = delete;
  ForceContrastBlock& operator=(const ForceContrastBlock&) = delete;

 private:
  int64_t outer_;
};

struct ContrastPair {
  int64_t row_block, column_block, row_replica, column_replica;
  bool there;  // false: this item of the round is idle
};
[[gnu::always_inline]] JX_HD inline int64_t contrast_items(const ContrastSchedule& s, int64_t round) {
  if (!s.symmetric) return s.replicas * (s.rows_short ? s.row_blocks : s.column_blocks);
  return round == 0 ? s.row_blocks : (s.row_blocks + 1) / 2;
}
[[gnu::always_inline]] JX_HD inline ContrastPair contrast_pair(const ContrastSchedule& s, int64_t round,
                                                               int64_t item) {
  if (s.symmetric) {
    if (round == 0) return {item, item, 0, 0, true};
    const int64_t players = s.row_blocks + s.row_blocks % 2, ring = players - 1, turn = round - 1;
    const int64_t x = item == 0 ? ring : (turn + item) % ring, y = (turn - item + ring) % ring;
    const int64_t low = x < y ? x : y, high = x < y ? y : x;
    return {low, high, 0, 0, high < s.row_blocks};
  }
  const int64_t few = s.rows_short ? s.row_blocks : s.column_blocks,
                many = s.rows_short ? s.column_blocks : s.row_blocks;
  const int64_t replica = item / few, i = item % few, slots = s.chunk > few ? s.chunk : few;
  const int64_t place = (i + round) % slots, j = replica * s.chunk + place;
  const bool there = place < s.chunk && j < many;
  return s.rows_short ? ContrastPair{i, j, replica, 0, there} : ContrastPair{j, i, 0, replica, there};
}

// The range of an entry counts the items of round `round`.
template <class T>
struct ContrastArgs {
  ContrastSide<T> rows, columns;
  ContrastSchedule schedule;
  int64_t round = 0, depth = 0;                             // depth: D
  const uint8_t *mask = nullptr, *positive_mask = nullptr;  // bool [R, C] or null
  const Acc<T>* positive_weight = nullptr;                  // [R, C] or null
  const Acc<T>* temperature = nullptr;                      // one, or [R]
  bool row_temperature = false;                             // [R]
  double margin = 0;                                        // margin_i = margin / temperature_i
  LseOver over = LseOver::all;
  ContrastTerm term = ContrastTerm::softmax;
  bool two_way = false;
  bool bounded = false;        // |s| <= kContrastBound everywhere, or sigmoid: no running maxima
  bool same_relation = true;   // symmetric: j is a positive of i exactly when i is one of j
  bool bf16_products = false;  // round f32 operands to bf16
};

// Does this pair of blocks also feed the sums of its columns?
template <class T>
[[gnu::always_inline]] JX_HD inline bool contrast_back(const ContrastArgs<T>& a, const ContrastPair& p) {
  return a.two_way || (a.schedule.symmetric && p.row_block != p.column_block);
}
// Can any element of this pair of blocks be excluded or a positive?
template <class T>
[[gnu::always_inline]] JX_HD inline bool contrast_related(const ContrastArgs<T>& a, const ContrastPair& p) {
  if (a.mask || a.positive_mask || a.positive_weight || a.over == LseOver::positives) return true;
  if (!a.rows.range) return false;
  const int32_t *r = a.rows.range + 6 * p.row_block, *c = a.columns.range + 6 * p.column_block;
  const bool same_id = a.rows.id && r[0] <= c[1] && c[0] <= r[1];
  const bool pos = a.rows.want && r[2] <= c[5] && c[4] <= r[3];
  return same_id || pos || (!a.same_relation && c[2] <= r[5] && r[4] <= c[3]);
}

// Of each row of one part: 1 / max(|x|, eps), scale = inverse (or 1) / temperature (or 1), reach = |x| scale.
template <class T>
struct ContrastNorms {
  const T* x;  // [rows, cols], rows x_stride apart
  int64_t cols, x_stride;
  const Acc<T>* temperature;  // null (1), one, or [rows]
  bool row_temperature, normalize;
  double eps;
  Acc<T>*inverse, *scale, *reach;
};

// lse, positive and count from the sums of all replicas.
template <class T>
struct ContrastFinish {
  const Acc<T>*max, *sum, *positive, *count;  // [replicas, size]
  Acc<T>*lse, *positive_out, *count_out;      // [size]
  Acc<T>* share;                              // [size]: e^lse / sum without the rounding of lse, or null
  int64_t replicas, size;
  bool plain_sum;  // sigmoid: no logarithm
};

// What tiles of the backward pass read about each row.
template <class T>
struct ContrastWeights {
  const Acc<T>*lse, *dlse;  // [size]; dlse null: no cotangent
  const Acc<T>* share;      // of ContrastFinish, a factor of the weight; null: 1
  Acc<T>*weight, *safe_lse;
};

// dx of one part from its sums in all replicas. The range counts the part's rows.
template <class T>
struct ContrastGrad {
  ContrastPart<T> part;
  const Acc<T>* inverse;  // [part.rows] 1/|x|, or null: not normalised
  T* dx;                  // [part.rows, depth]; may be the memory of part.sums
  int64_t replicas, sums_stride, depth;
  double eps;
};

// dtemperature_i = -sum dots_i / temperature_i over the replicas, for one temperature over all n rows too.
// The range counts temperatures.
template <class T>
struct ContrastTemperature {
  const Acc<T>*dots, *temperature;  // dots [replicas, n]
  Acc<T>* dtemperature;
  int64_t replicas, n;
  bool row_temperature;
};

template <class T>
struct ContrastTable {
  static constexpr const char* kFamily = "contrast";
  static constexpr std::array kNames{"norms",    "forward", "finish",     "weights",
                                     "backward", "grad",    "temperature"};
  void (*norms)(const ContrastNorms<T>&, int64_t row, int64_t row_end);
  void (*forward)(const ContrastArgs<T>&, int64_t item, int64_t item_end);
  void (*finish)(const ContrastFinish<T>&, int64_t row, int64_t row_end);
  void (*weights)(const ContrastWeights<T>&, int64_t row, int64_t row_end);
  void (*backward)(const ContrastArgs<T>&, int64_t item, int64_t item_end);
  void (*grad)(const ContrastGrad<T>&, int64_t row, int64_t row_end);
  void (*temperature)(const ContrastTemperature<T>&, int64_t at, int64_t end);
};

template <class T>
const TableChoice<ContrastTable<T>>& contrast_tables();  // T: float, bf16, double

}  // namespace juxta

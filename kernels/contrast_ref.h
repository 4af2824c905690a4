#pragma once
// Reference kernels of the contrast family (formulas in contrast.h): the definition, and the f64 table.
#include <algorithm>

#include "kernels/contrast.h"

namespace juxta::ref {

template <class T>
void contrast_norms(const ContrastNorms<T>& a, int64_t row, int64_t row_end) {
  using A = Acc<T>;
  for (int64_t r = row; r < row_end; ++r) {
    const T* x = a.x + r * a.x_stride;
    A sum = 0;
    for (int64_t c = 0; c < a.cols; ++c) sum += static_cast<A>(x[c]) * static_cast<A>(x[c]);
    const A norm = std::sqrt(sum), eps = static_cast<A>(a.eps);
    a.inverse[r] = A(1) / (norm > eps ? norm : eps);
    const A t = a.temperature ? a.temperature[a.row_temperature ? r : 0] : A(1);
    a.scale[r] = (a.normalize ? a.inverse[r] : A(1)) / t;
    a.reach[r] = norm * a.scale[r];
  }
}

// One similarity and its role.
template <class T>
struct ContrastElement {
  Acc<T> s, weight;
  bool in_lse, positive, back_positive;  // back: of the column, towards the row
};

// x as it enters a product.
template <class T>
Acc<T> contrast_factor(T x, bool round) {
  return static_cast<Acc<T>>(round ? static_cast<Acc<T>>(bf16(static_cast<float>(x)))
                                   : static_cast<Acc<T>>(x));
}

template <class T>
ContrastElement<T> contrast_element(const ContrastArgs<T>& a, const T* xi, const T* xj, int64_t i,
                                    int64_t j) {
  using A = Acc<T>;
  A dot = 0;
  for (int64_t d = 0; d < a.depth; ++d)
    dot += contrast_factor(xi[d], a.bf16_products) * contrast_factor(xj[d], a.bf16_products);
  ContrastElement<T> e{dot * a.rows.scale[i] * a.columns.scale[j], A(1), true, false, false};
  const int64_t at = i * a.columns.size + j;
  const bool excluded = (a.rows.id && a.rows.id[i] == a.columns.id[j]) || (a.mask && !a.mask[at]);
  e.positive = !excluded && ((a.rows.want && a.rows.want[i] == a.columns.key[j]) ||
                             (a.positive_mask && a.positive_mask[at]) ||
                             (a.positive_weight && a.positive_weight[at] != A(0)));
  if (a.positive_weight) e.weight = a.positive_weight[at];
  e.back_positive = a.same_relation ? e.positive : !excluded && a.columns.want[j] == a.rows.key[i];
  if (a.margin != 0 && e.positive) e.s -= static_cast<A>(a.margin) / a.temperature[a.row_temperature ? i : 0];
  e.in_lse = !excluded && (a.over == LseOver::all || e.positive == (a.over == LseOver::positives));
  return e;
}

// log(1 + e^x) and its derivative.
template <class A>
A contrast_softplus(A x) {
  return std::max(x, A(0)) + std::log1p(std::exp(-std::abs(x)));
}
template <class A>
A contrast_sigmoid(A x) {
  const A e = std::exp(-std::abs(x));
  return x >= 0 ? A(1) / (A(1) + e) : e / (A(1) + e);
}

// Adds one similarity to the sums of row or column i.
template <class T>
void contrast_add(ContrastSide<T> side, int64_t replica, int64_t i, const ContrastElement<T>& e,
                  bool positive, ContrastTerm term) {
  const Acc<T> s = e.s;
  const int64_t k = replica * side.size + i;
  if (positive) {
    side.positive[k] += e.weight * s;
    side.count[k] += e.weight;
  }
  if (!e.in_lse) return;
  if (term == ContrastTerm::sigmoid) {
    side.sum[k] += contrast_softplus(positive ? -s : s);
    return;
  }
  if (side.max && s > side.max[k]) {
    side.sum[k] *= std::exp(side.max[k] - s);
    side.max[k] = s;
  }
  side.sum[k] += std::exp(side.max ? s - side.max[k] : s);
}

template <class T>
void contrast_forward(const ContrastArgs<T>& a, int64_t item, int64_t item_end) {
  for (int64_t k = item; k < item_end; ++k) {
    const ContrastPair p = contrast_pair(a.schedule, a.round, k);
    if (!p.there) continue;
    const ContrastBlock<T> rows = contrast_block(a.rows, p.row_block, p.row_replica),
                           columns = contrast_block(a.columns, p.column_block, p.column_replica);
    const bool back = contrast_back(a, p);
    for (int64_t i = 0; i < rows.rows; ++i) {
      for (int64_t j = 0; j < columns.rows; ++j) {
        const ContrastElement<T> e = contrast_element(
            a, rows.x + i * rows.stride, columns.x + j * columns.stride, rows.first + i, columns.first + j);
        contrast_add(a.rows, p.row_replica, rows.first + i, e, e.positive, a.term);
        if (back) contrast_add(a.columns, p.column_replica, columns.first + j, e, e.back_positive, a.term);
      }
    }
  }
}

// The replicas' sums, brought to their common maximum.
template <class T>
void contrast_finish(const ContrastFinish<T>& a, int64_t row, int64_t row_end) {
  using A = Acc<T>;
  for (int64_t i = row; i < row_end; ++i) {
    A max = a.max ? a.max[i] : A(0), sum = 0, positive = 0, count = 0;
    for (int64_t k = 1; a.max && k < a.replicas; ++k) max = std::max(max, a.max[k * a.size + i]);
    for (int64_t k = 0; k < a.replicas; ++k) {
      const int64_t at = k * a.size + i;
      sum += a.max ? a.sum[at] * std::exp(a.max[at] - max) : a.sum[at];
      positive += a.positive[at];
      count += a.count[at];
    }
    a.lse[i] = a.plain_sum ? sum
               : sum > 0   ? max + std::log(sum)
               : sum == 0  ? -std::numeric_limits<A>::infinity()
                           : sum;
    if (a.share) a.share[i] = sum == 0 ? A(0) : (a.max ? std::exp(a.lse[i] - max) : A(1)) / sum;
    a.positive_out[i] = positive;
    a.count_out[i] = count;
  }
}

template <class T>
void contrast_weights(const ContrastWeights<T>& a, int64_t row, int64_t row_end) {
  using A = Acc<T>;
  for (int64_t i = row; i < row_end; ++i) {
    const bool empty = a.lse[i] == -std::numeric_limits<A>::infinity();
    a.safe_lse[i] = empty ? A(0) : a.lse[i];
    const A g = a.dlse && !empty ? a.dlse[i] : A(0);
    a.weight[i] = a.share ? g * a.share[i] : g;
  }
}

// g e^{s - lse}, or g -y sigma(-y s).
template <class T>
Acc<T> contrast_share(const ContrastArgs<T>& a, const ContrastSide<T>& side, int64_t i, Acc<T> s,
                      bool positive) {
  if (a.term == ContrastTerm::sigmoid)
    return side.weight[i] * (positive ? -contrast_sigmoid(-s) : contrast_sigmoid(s));
  return side.weight[i] * std::exp(a.bounded ? s : s - side.lse[i]);
}

template <class T>
void contrast_backward(const ContrastArgs<T>& a, int64_t item, int64_t item_end) {
  using A = Acc<T>;
  for (int64_t k = item; k < item_end; ++k) {
    const ContrastPair p = contrast_pair(a.schedule, a.round, k);
    if (!p.there) continue;
    const ContrastBlock<T> rows = contrast_block(a.rows, p.row_block, p.row_replica),
                           columns = contrast_block(a.columns, p.column_block, p.column_replica);
    const bool back = contrast_back(a, p);
    for (int64_t ri = 0; ri < rows.rows; ++ri) {
      for (int64_t rj = 0; rj < columns.rows; ++rj) {
        const int64_t i = rows.first + ri, j = columns.first + rj;
        const T *xi = rows.x + ri * rows.stride, *xj = columns.x + rj * columns.stride;
        const ContrastElement<T> e = contrast_element(a, xi, xj, i, j);
        A g = e.positive ? e.weight * a.rows.dpositive[i] : A(0);
        if (e.in_lse) g += contrast_share(a, a.rows, i, e.s, e.positive);
        if (back && e.back_positive) g += e.weight * a.columns.dpositive[j];
        if (back && e.in_lse) g += contrast_share(a, a.columns, j, e.s, e.back_positive);
        if (a.rows.dots) a.rows.dots[p.row_replica * a.rows.size + i] += g * e.s;
        const A h = g * a.rows.scale[i] * a.columns.scale[j];
        for (int64_t d = 0; d < a.depth && rows.sums; ++d)
          rows.sums[ri * a.rows.sums_stride + d] += h * contrast_factor(xj[d], a.bf16_products);
        for (int64_t d = 0; d < a.depth && columns.sums; ++d)
          columns.sums[rj * a.columns.sums_stride + d] += h * contrast_factor(xi[d], a.bf16_products);
      }
    }
  }
}

template <class T>
void contrast_grad(const ContrastGrad<T>& a, int64_t row, int64_t row_end) {
  using A = Acc<T>;
  for (int64_t r = row; r < row_end; ++r) {
    const T* x = a.part.x + r * a.part.stride;
    const auto sum = [&](int64_t d) {
      A s = 0;
      for (int64_t k = 0; k < a.replicas; ++k) s += a.part.sums[(k * a.part.rows + r) * a.sums_stride + d];
      return s;
    };
    A dot = 0;
    for (int64_t d = 0; d < a.depth; ++d) dot += static_cast<A>(x[d]) * sum(d);
    const A inverse = a.inverse ? a.inverse[r] : A(0);
    // A row shorter than eps was divided by a constant: no projection.
    const A along = inverse < A(1) / static_cast<A>(a.eps) ? dot * inverse * inverse : A(0);
    for (int64_t d = 0; d < a.depth; ++d)
      a.dx[r * a.depth + d] = static_cast<T>(sum(d) - static_cast<A>(x[d]) * along);
  }
}

template <class T>
void contrast_temperature(const ContrastTemperature<T>& a, int64_t at, int64_t end) {
  using A = Acc<T>;
  for (int64_t i = at; i < end; ++i) {
    double sum = 0;  // millions of terms that nearly cancel
    for (int64_t k = 0; k < a.replicas; ++k)
      for (int64_t r = a.row_temperature ? i : 0; r < (a.row_temperature ? i + 1 : a.n); ++r)
        sum += static_cast<double>(a.dots[k * a.n + r]);
    a.dtemperature[i] = static_cast<A>(-sum / static_cast<double>(a.temperature[i]));
  }
}

template <class T>
inline constexpr ContrastTable<T> contrast_table{
    contrast_norms<T>,    contrast_forward<T>, contrast_finish<T>,     contrast_weights<T>,
    contrast_backward<T>, contrast_grad<T>,    contrast_temperature<T>};

}  // namespace juxta::ref

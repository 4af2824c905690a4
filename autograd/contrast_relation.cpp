#include "autograd/contrast_relation.h"

#include <algorithm>
#include <limits>
#include <vector>

namespace juxta {

namespace {

constexpr int64_t kInt32Min = std::numeric_limits<int32_t>::min(),
                  kInt32Max = std::numeric_limits<int32_t>::max();

Tensor checked_ids(const char* op, const char* what, const Tensor& t, int64_t n) {
  JX_CHECK(t.dtype() == DType::i64 && t.dims() == Dims({n}), op, ": ", what, ": expected i64 [", n, "], got ",
           t);
  return t.contiguous();
}

// Both tensors as i32 with the same equalities: the values themselves where they fit, else their ranks.
std::pair<Tensor, Tensor> narrow_together(const Tensor& a, const Tensor& b) {
  const auto values = [](const Tensor& t) {
    return std::span(t.data<int64_t>(), static_cast<size_t>(t.numel()));
  };
  bool fits = true;
  for (const Tensor* t : {&a, &b})
    for (int64_t v : values(*t)) fits = fits && v >= kInt32Min && v <= kInt32Max;
  if (fits) return {a.to(DType::i32), b.to(DType::i32)};
  std::vector<int64_t> sorted(values(a).begin(), values(a).end());
  sorted.insert(sorted.end(), values(b).begin(), values(b).end());
  std::sort(sorted.begin(), sorted.end());
  sorted.erase(std::unique(sorted.begin(), sorted.end()), sorted.end());
  const auto ranks = [&](const Tensor& t) {
    Tensor out = Tensor::empty(t.dims(), DType::i32);
    auto* p = out.write<int32_t>("contrast");
    for (int64_t v : values(t))
      *p++ = static_cast<int32_t>(std::lower_bound(sorted.begin(), sorted.end(), v) - sorted.begin());
    return out;
  };
  return {ranks(a), ranks(b)};
}

void check_mask(const ContrastOptions& o, const char* what, const Tensor& mask, int64_t rows,
                int64_t columns) {
  JX_CHECK(!mask.defined() || (mask.dtype() == DType::boolean && mask.dims() == Dims({rows, columns})), o.op,
           ": ", what, ": expected bool [", rows, ", ", columns, "], got ", mask);
}

// ids or groups given for both sides (for the rows only when symmetric).
std::pair<Tensor, Tensor> both(const ContrastOptions& o, const char* row_name, const Tensor& row,
                               const char* column_name, const Tensor& column, int64_t rows, int64_t columns,
                               bool symmetric) {
  JX_CHECK(!symmetric || !column.defined(), o.op, ": ", column_name,
           ": rows and columns are one set here; give ", row_name, " only");
  JX_CHECK(symmetric || row.defined() == column.defined(), o.op, ": ", row_name, " and ", column_name,
           " go together; one of them is missing");
  if (!row.defined()) return {};
  const Tensor r = checked_ids(o.op, row_name, row, rows);
  return narrow_together(r, symmetric ? r : checked_ids(o.op, column_name, column, columns));
}

// Decides whether a tile above the diagonal may serve both directions when positives change the similarity.
// Is positive[positive[i]] == i wherever i has a positive?
bool mirrored(const Tensor& positive) {
  const int64_t* p = positive.data<int64_t>();
  for (int64_t i = 0; i < positive.numel(); ++i)
    if (p[i] >= 0 && p[p[i]] != i) return false;
  return true;
}

}  // namespace

ContrastRelation contrast_relation(const ContrastOptions& o, int64_t rows, int64_t columns, bool symmetric,
                                   Device device) {
  ContrastRelation r;
  check_mask(o, "mask", o.mask, rows, columns);
  check_mask(o, "positive_mask", o.positive_mask, rows, columns);
  std::tie(r.row_id, r.column_id) =
      both(o, "row_ids", o.row_ids, "column_ids", o.column_ids, rows, columns, symmetric);
  std::tie(r.row_want, r.column_key) =
      both(o, "row_groups", o.row_groups, "column_groups", o.column_groups, rows, columns, symmetric);
  if (o.positive.defined()) {
    JX_CHECK(!r.row_want.defined(), o.op,
             ": positive: row_groups say who is a positive already; give one of them");
    const Tensor p = checked_ids(o.op, "positive", o.positive, rows);
    for (int64_t i = 0; i < rows; ++i)
      JX_CHECK(p.data<int64_t>()[i] >= -1 && p.data<int64_t>()[i] < columns, o.op,
               ": positive: expected -1 (none) to ", columns - 1, ", got ", p.data<int64_t>()[i], " for row ",
               i);
    r.same = !symmetric || mirrored(p);
    // "Column j is the one I named" is a relation of keys too: every column's key is its own index.
    r.row_want = p.to(DType::i32);
    r.column_key = Tensor::arange(columns).to(DType::i32);
  }
  for (Tensor* t : {&r.row_id, &r.column_id, &r.row_want, &r.column_key})
    if (t->defined()) *t = t->to(device);
  return r;
}

template <class T>
Tensor contrast_ranges(const ContrastSide<T>& side, const Tensor& id, const Tensor& want, const Tensor& key) {
  if (!id.defined() && !want.defined() && !key.defined()) return {};
  Tensor ranges = Tensor::empty({side.blocks, 6}, DType::i32);
  auto* out = ranges.write<int32_t>("contrast");
  for (int64_t b = 0; b < side.blocks; ++b) {
    const ContrastBlock<T> block = contrast_block(side, b, 0);
    for (const Tensor* t : {&id, &want, &key}) {
      int32_t low = 0, high = 0;
      if (t->defined()) {
        const auto [smallest, largest] =
            std::minmax_element(t->template data<int32_t>() + block.first,
                                t->template data<int32_t>() + block.first + block.rows);
        low = *smallest, high = *largest;
      }
      *out++ = low, *out++ = high;
    }
  }
  return ranges;
}

template Tensor contrast_ranges(const ContrastSide<float>&, const Tensor&, const Tensor&, const Tensor&);
template Tensor contrast_ranges(const ContrastSide<bf16>&, const Tensor&, const Tensor&, const Tensor&);
template Tensor contrast_ranges(const ContrastSide<double>&, const Tensor&, const Tensor&, const Tensor&);

}  // namespace juxta

#include "autograd/contrast.h"

#include <algorithm>
#include <cmath>
#include <vector>

#include "autograd/contrast_relation.h"
#include "autograd/ops.h"
#include "autograd/record.h"
#include "autograd/rule.h"

namespace juxta {

namespace {

// Plain facts of one call, captured by its backward function.
struct Plan {
  const char* op;
  int row_parts, column_parts;  // column_parts 0: symmetric
  int64_t rows, columns, depth;
  int64_t row_block, column_block;  // rows per block, about
  double eps, margin;
  LseOver over;
  ContrastTerm term;
  bool normalize, symmetric, two_way, bounded, same_relation, bf16_products, stop_rows, stop_columns;
};

// Saved tensors in this order, then the parts of the rows, then those of the columns.
enum Slot {
  kRowInverse,
  kColumnInverse,
  kRowScale,
  kColumnScale,
  kRowId,
  kColumnId,
  kRowWant,
  kColumnKey,
  kRowRange,
  kColumnRange,
  kMask,
  kPositiveMask,
  kPositiveWeight,
  kTemperature,
  kLse,
  kColumnLse,
  kShare,
  kColumnShare,
  kParts
};
constexpr const char* kSlotNames[kParts] = {
    "row_inverse",     "column_inverse", "row_scale", "column_scale", "row_id", "column_id",
    "row_want",        "column_key",     "row_range", "column_range", "mask",   "positive_mask",
    "positive_weight", "temperature",    "lse",       "column_lse",   "share",  "column_share"};
constexpr const char* kPartNames[] = {"part 0", "part 1", "part 2", "part 3",
                                      "part 4", "part 5", "part 6", "part 7"};

// The parts of one side, cut into blocks.
template <class T, class Get>
ContrastSide<T> side_of(const Plan& plan, Get get, bool rows) {
  ContrastSide<T> s;
  const bool first_parts = rows || plan.symmetric;
  const int parts = first_parts ? plan.row_parts : plan.column_parts;
  const int slot = kParts + (first_parts ? 0 : plan.row_parts);
  s.size = rows ? plan.rows : plan.columns;
  const int64_t target = rows ? plan.row_block : plan.column_block;
  int64_t first = 0;
  for (int p = 0; p < parts; ++p) {
    const Tensor& t = get(slot + p);
    // Blocks of nearly equal size near the target; none crosses from one part into the next.
    const int64_t n = t.size(0), wanted = std::max<int64_t>(1, (n + target / 2) / target);
    const int64_t size = std::max<int64_t>(1, (n + wanted - 1) / wanted);
    s.part[p] = {t.data<T>(), n, t.stride(0), first, size, s.blocks, nullptr};
    first += n;
    s.blocks += (n + size - 1) / size;
  }
  return s;
}

template <class T, class Get>
ContrastArgs<T> args_of(const Plan& plan, Get get) {
  using A = Acc<T>;
  ContrastArgs<T> a;
  const auto bytes = [&](int slot) -> const uint8_t* {
    return get(slot).defined() ? static_cast<const uint8_t*>(get(slot).raw()) : nullptr;
  };
  a.rows = side_of<T>(plan, get, true);
  a.columns = side_of<T>(plan, get, false);
  a.rows.scale = get(kRowScale).template data<A>();
  a.columns.scale = get(kColumnScale).template data<A>();
  a.rows.id = data_or_null<int32_t>(get(kRowId));
  a.columns.id = data_or_null<int32_t>(get(kColumnId));
  a.rows.want = data_or_null<int32_t>(get(kRowWant));
  a.columns.key = data_or_null<int32_t>(get(kColumnKey));
  a.rows.range = data_or_null<int32_t>(get(kRowRange));
  a.columns.range = data_or_null<int32_t>(get(kColumnRange));
  if (plan.symmetric) a.rows.key = a.columns.key, a.columns.want = a.rows.want;
  a.mask = bytes(kMask);
  a.positive_mask = bytes(kPositiveMask);
  a.positive_weight = data_or_null<A>(get(kPositiveWeight));
  a.temperature = get(kTemperature).template data<A>();
  a.row_temperature = get(kTemperature).numel() != 1;
  a.margin = plan.margin;
  a.depth = plan.depth;
  a.over = plan.over;
  a.term = plan.term;
  a.two_way = plan.two_way;
  a.bounded = plan.bounded;
  a.same_relation = plan.same_relation;
  a.bf16_products = plan.bf16_products;
  a.schedule = contrast_schedule(a.rows.blocks, a.columns.blocks, plan.symmetric);
  return a;
}

// One parallel loop per round: the next round may touch the same sums.
template <class T>
void run_rounds(Device device, void (*entry)(const ContrastArgs<T>&, int64_t, int64_t), ContrastArgs<T>& a) {
  for (a.round = 0; a.round < a.schedule.rounds; ++a.round)
    run(device, entry, a, contrast_items(a.schedule, a.round), 1);
}

int64_t replicas_of(const ContrastSchedule& s, bool rows) { return s.rows_short == rows ? s.replicas : 1; }

constexpr double kLowest = -3.0e38;  // start of a running maximum: finite, so that inf - inf never arises

// ---- backward

// Weight and finite lse of one side, and its cotangent of the positive sums.
struct Cotangents {
  Tensor weight, lse, dpositive;
};

template <class T>
Cotangents cotangents(const Plan& plan, ContrastSide<T>& side, const Tensor& lse, const Tensor& share,
                      const Tensor& dlse, const Tensor& dpositive) {
  using A = Acc<T>;
  Cotangents c{Tensor::empty(lse.dims(), lse.dtype(), lse.device()),
               Tensor::empty(lse.dims(), lse.dtype(), lse.device()),
               dpositive.defined() ? dpositive : Tensor::zeros(lse.dims(), lse.dtype(), lse.device())};
  const ContrastWeights<T> args{lse.data<A>(), data_or_null<A>(dlse), data_or_null<A>(share),
                                c.weight.write<A>(plan.op), c.lse.write<A>(plan.op)};
  run(lse.device(), contrast_tables<T>().on(lse.device()).weights, args, lse.numel(), grain_for(32));
  side.weight = c.weight.data<A>();
  side.lse = c.lse.data<A>();
  side.dpositive = c.dpositive.data<A>();
  return c;
}

// Room for the sums of those parts of a side whose gradient is wanted.
template <class T>
std::vector<Tensor> make_sums(const Backward& b, const Plan& plan, ContrastSide<T>& side, bool rows,
                              int64_t replicas, Device device) {
  constexpr int64_t kPad = 16;  // whole registers of every instruction set
  const int parts = rows ? plan.row_parts : plan.column_parts, first_input = rows ? 0 : plan.row_parts;
  std::vector<Tensor> sums(static_cast<size_t>(parts));
  side.sums_stride = (plan.depth + kPad - 1) / kPad * kPad;
  for (int p = 0; p < parts; ++p) {
    if (!b.needs(first_input + p) || (rows ? plan.stop_rows : plan.stop_columns)) continue;
    Tensor& t = sums[static_cast<size_t>(p)];
    t = Tensor::zeros({replicas, side.part[p].rows, side.sums_stride}, dtype_of<Acc<T>>, device);
    side.part[p].sums = t.template write<Acc<T>>(plan.op);
  }
  return sums;
}

// Gradients of one side's parts from their sums.
template <class T>
void set_gradients(Backward& b, const Plan& plan, const ContrastSide<T>& side, bool rows,
                   std::vector<Tensor>& sums) {
  using A = Acc<T>;
  const Tensor& inverse = b.saved(rows ? kRowInverse : kColumnInverse);
  for (size_t p = 0; p < sums.size(); ++p) {
    if (!sums[p].defined()) continue;
    const ContrastPart<T>& part = side.part[p];
    const Device device = sums[p].device();
    // One replica of whole rows in the operand's dtype becomes the gradient in place.
    const bool in_place = sums[p].size(0) == 1 && side.sums_stride == plan.depth && std::is_same_v<A, T>;
    Tensor dx = in_place ? sums[p].view({part.rows, plan.depth})
                         : Tensor::empty({part.rows, plan.depth}, dtype_of<T>, device);
    const ContrastGrad<T> args{part,
                               inverse.defined() ? inverse.data<A>() + part.first : nullptr,
                               dx.write<T>(plan.op),
                               sums[p].size(0),
                               side.sums_stride,
                               plan.depth,
                               plan.eps};
    run(device, contrast_tables<T>().on(device).grad, args, part.rows, grain_for(4 * plan.depth));
    b.set(static_cast<int>(p) + (rows ? 0 : plan.row_parts), dx);
    sums[p] = Tensor();
  }
}

// dtemperature_i = -sum_j ds_ij s_ij / temperature_i.
template <class T>
void set_temperature_gradient(Backward& b, const Plan& plan, int input, const Tensor& dots) {
  using A = Acc<T>;
  const Tensor& t = b.saved(kTemperature);
  Tensor dt = Tensor::empty(t.dims(), t.dtype(), t.device());
  const ContrastTemperature<T> args{dots.data<A>(), t.data<A>(), dt.write<A>(plan.op),
                                    dots.size(0),   plan.rows,   t.numel() != 1};
  run(t.device(), contrast_tables<T>().on(t.device()).temperature, args, t.numel(), grain_for(1));
  b.set(input, dt);
}

template <class T>
void contrast_backward(Backward& b, const Plan& plan) {
  ContrastArgs<T> a = args_of<T>(plan, [&](int slot) -> const Tensor& { return b.saved(slot); });
  const Tensor& lse = b.saved(kLse);
  const Device device = lse.device();
  const Cotangents row = cotangents(plan, a.rows, lse, b.saved(kShare), b.dy(0), b.dy(1));
  Cotangents column;
  if (plan.two_way)
    column = cotangents(plan, a.columns, b.saved(kColumnLse), b.saved(kColumnShare), b.dy(3), b.dy(4));
  if (plan.symmetric)
    a.columns.weight = a.rows.weight, a.columns.lse = a.rows.lse, a.columns.dpositive = a.rows.dpositive;

  const int temperature = plan.row_parts + plan.column_parts;
  Tensor dots;
  if (b.needs(temperature))
    dots = Tensor::zeros({replicas_of(a.schedule, true), plan.rows}, lse.dtype(), device);
  a.rows.dots = write_or_null<Acc<T>>(dots, plan.op);
  std::vector<Tensor> row_sums = make_sums(b, plan, a.rows, true, replicas_of(a.schedule, true), device);
  std::vector<Tensor> column_sums =
      make_sums(b, plan, a.columns, false, replicas_of(a.schedule, false), device);
  // One set, one gradient: what tiles add to their columns lands in the same sums.
  for (int p = 0; plan.symmetric && p < plan.row_parts; ++p) a.columns.part[p].sums = a.rows.part[p].sums;
  run_rounds<T>(device, contrast_tables<T>().on(device).backward, a);

  set_gradients(b, plan, a.rows, true, row_sums);
  set_gradients(b, plan, a.columns, false, column_sums);
  if (dots.defined()) set_temperature_gradient<T>(b, plan, temperature, dots);
}

// ---- forward

// Running sums of one side, [replicas, size].
struct Sums {
  Tensor max, sum, positive, count;
  Sums(int64_t replicas, int64_t size, bool bounded, DType dtype, Device device) {
    if (!bounded) max = Tensor::full({replicas, size}, kLowest, dtype, device);
    sum = Tensor::zeros({replicas, size}, dtype, device);
    positive = Tensor::zeros({replicas, size}, dtype, device);
    count = Tensor::zeros({replicas, size}, dtype, device);
  }
  template <class T>
  void attach(ContrastSide<T>& s, const char* op) {
    using A = Acc<T>;
    s.max = write_or_null<A>(max, op);
    s.sum = sum.write<A>(op);
    s.positive = positive.write<A>(op);
    s.count = count.write<A>(op);
  }
};

struct Reduced {
  Tensor lse, positive, count, share;  // share undefined for logistic terms
};

template <class T>
Reduced finish(const Sums& sums, const char* op, ContrastTerm term) {
  using A = Acc<T>;
  const int64_t replicas = sums.sum.size(0), n = sums.sum.size(1);
  const Device device = sums.sum.device();
  Reduced r{Tensor::empty({n}, sums.sum.dtype(), device), Tensor::empty({n}, sums.sum.dtype(), device),
            Tensor::empty({n}, sums.sum.dtype(), device),
            term == ContrastTerm::sigmoid ? Tensor() : Tensor::empty({n}, sums.sum.dtype(), device)};
  const ContrastFinish<T> args{data_or_null<A>(sums.max),
                               sums.sum.data<A>(),
                               sums.positive.data<A>(),
                               sums.count.data<A>(),
                               r.lse.write<A>(op),
                               r.positive.write<A>(op),
                               r.count.write<A>(op),
                               write_or_null<A>(r.share, op),
                               replicas,
                               n,
                               term == ContrastTerm::sigmoid};
  run(device, contrast_tables<T>().on(device).finish, args, n, grain_for(64));
  return r;
}

// 1/|x| and scale of every row of a side; returns the largest |x| scale.
template <class T>
double norms(const Plan& plan, const ContrastSide<T>& side, const Tensor& temperature, Device device,
             Tensor& inverse, Tensor& scale) {
  using A = Acc<T>;
  inverse = Tensor::empty({side.size}, dtype_of<A>, device);
  scale = Tensor::empty({side.size}, dtype_of<A>, device);
  Tensor reach = Tensor::empty({side.size}, dtype_of<A>, device);
  A *inv = inverse.write<A>(plan.op), *s = scale.write<A>(plan.op), *far = reach.write<A>(plan.op);
  const bool row_temperature = temperature.defined() && temperature.numel() != 1;
  for (const ContrastPart<T>& part : side.part) {
    const A* t = data_or_null<A>(temperature);
    const ContrastNorms<T> args{
        part.x,          plan.depth,      part.stride, row_temperature ? t + part.first : t,
        row_temperature, plan.normalize,  plan.eps,    inv + part.first,
        s + part.first,  far + part.first};
    run(device, contrast_tables<T>().on(device).norms, args, part.rows, grain_for(plan.depth));
  }
  double largest = 0;
  for (int64_t i = 0; i < side.size; ++i)  // written so that NaN wins
    largest = static_cast<double>(far[i]) <= largest ? largest : static_cast<double>(far[i]);
  return largest;
}

// Of a tensor with at least one element.
template <class T>
double smallest_of(const Tensor& t) {
  const T* p = t.data<T>();
  return static_cast<double>(*std::min_element(p, p + t.numel()));
}

template <class T>
ContrastResult contrast_typed(Plan plan, const ContrastRelation& relation, std::span<const Var* const> inputs,
                              std::vector<Saved>& saved) {
  using A = Acc<T>;
  const auto get = [&](int slot) -> const Tensor& { return saved[static_cast<size_t>(slot)].tensor; };
  const auto slot = [&](int s) -> Tensor& { return saved[static_cast<size_t>(s)].tensor; };
  const Device device = get(kParts).device();
  const ContrastSide<T> row_side = side_of<T>(plan, get, true), column_side = side_of<T>(plan, get, false);
  double reach = norms(plan, row_side, get(kTemperature), device, slot(kRowInverse), slot(kRowScale));
  reach *= norms(plan, column_side, Tensor(), device, slot(kColumnInverse), slot(kColumnScale));
  if (plan.normalize && !std::isfinite(reach)) return {};  // squares overflow; contrast_any helps itself
  if (!plan.normalize) slot(kRowInverse) = slot(kColumnInverse) = Tensor();
  const double margin = std::abs(plan.margin) / smallest_of<A>(get(kTemperature));
  // |s_ij| <= |r_i| a_i |c_j| b_j (Cauchy-Schwarz), and the margin shifts positives.
  // False for NaN too. A softmax over one column is exactly 1 when its maximum is subtracted.
  plan.bounded = plan.term == ContrastTerm::sigmoid ||
                 (reach + margin <= kContrastBound && std::min(plan.rows, plan.columns) > 2);
  slot(kRowRange) = contrast_ranges(row_side, relation.row_id, relation.row_want,
                                    plan.symmetric ? relation.column_key : Tensor());
  slot(kColumnRange) = plan.symmetric
                           ? get(kRowRange)
                           : contrast_ranges(column_side, relation.column_id, Tensor(), relation.column_key);

  ContrastArgs<T> a = args_of<T>(plan, get);
  Sums row_sums(replicas_of(a.schedule, true), plan.rows, plan.bounded, dtype_of<A>, device);
  row_sums.attach(a.rows, plan.op);
  Sums column_sums(replicas_of(a.schedule, false), plan.two_way ? plan.columns : 0, plan.bounded, dtype_of<A>,
                   device);
  if (plan.symmetric)
    row_sums.attach(a.columns, plan.op);
  else if (plan.two_way)
    column_sums.attach(a.columns, plan.op);
  run_rounds<T>(device, contrast_tables<T>().on(device).forward, a);

  const Reduced row = finish<T>(row_sums, plan.op, plan.term);
  slot(kLse) = row.lse, slot(kShare) = row.share;
  std::vector<Tensor> outputs{row.lse, row.positive, row.count};
  if (plan.two_way) {
    const Reduced column = finish<T>(column_sums, plan.op, plan.term);
    slot(kColumnLse) = column.lse, slot(kColumnShare) = column.share;
    outputs.insert(outputs.end(), {column.lse, column.positive, column.count});
  }
  const std::vector<Var> y =
      record_n(plan.op,
               {{"normalize", static_cast<double>(plan.normalize)},
                {"symmetric", static_cast<double>(plan.symmetric)},
                {"two_way", static_cast<double>(plan.two_way)}},
               inputs, outputs, saved, [plan](Backward& b) { contrast_backward<T>(b, plan); });
  ContrastResult r{y[0], y[1], row.count, {}, {}, {}};
  if (plan.two_way) r.column_lse = y[3], r.column_positive = y[4], r.column_count = outputs[5];
  return r;
}

// Checks the parts of one side, appends them to `saved` in rows form and returns how many rows they have.
int64_t add_parts(const char* op, const char* side, std::span<const Var> parts, const Var& like,
                  std::vector<Saved>& saved) {
  JX_CHECK(!parts.empty() && parts.size() <= kContrastParts, op, ": ", side, ": expected 1 to ",
           kContrastParts, " parts, got ", parts.size());
  int64_t n = 0;
  for (const Var& v : parts) {
    check_input(op, v, 1);
    JX_CHECK(v.ndim() == 2 && v.size(1) >= 1 && v.size(1) == like.size(-1), op, ": ", side, ": expected [n, ",
             like.size(-1), "], got ", v);
    JX_CHECK(v.dtype() == like.dtype() && v.device() == like.device(), op, ": ", side, ": expected ",
             like.dtype(), " on ", like.device(), " like the first operand, got ", v);
    saved.push_back({kPartNames[saved.size() - kParts], as_rows(v.value())});
    n += v.size(0);
  }
  return n;
}

Tensor checked_temperature(const ContrastOptions& o, const Var& temperature, const Var& like, int64_t rows) {
  JX_CHECK(temperature.defined(), o.op, ": temperature: it is undefined");
  const DType acc = acc_dtype(like.dtype());
  JX_CHECK(temperature.dtype() == acc && temperature.device() == like.device() &&
               (temperature.numel() == 1 || temperature.dims() == Dims({rows})),
           o.op, ": temperature: expected ", acc, " with one element or [", rows, "] on ", like.device(),
           ", got ", temperature);
  Tensor t = temperature.value().contiguous();
  const Tensor wide = t.to(DType::f64);
  for (int64_t i = 0; i < t.numel(); ++i) {
    const double value = wide.data<double>()[i];
    JX_CHECK(value > 0 && std::isfinite(value), o.op, ": temperature: expected a positive number, got ",
             value);
  }
  return t;
}

// Soft targets [R, C] in the dtype of the sums, or undefined.
Tensor checked_weights(const ContrastOptions& o, const Var& like, int64_t rows, int64_t columns) {
  if (!o.positive_weight.defined()) return {};
  const DType acc = acc_dtype(like.dtype());
  JX_CHECK(o.positive_weight.dtype() == acc && o.positive_weight.dims() == Dims({rows, columns}) &&
               o.positive_weight.device() == like.device(),
           o.op, ": positive_weight: expected ", acc, " [", rows, ", ", columns, "] on ", like.device(),
           ", got ", o.positive_weight);
  JX_CHECK(!o.positive_mask.defined() && !o.positive.defined() && !o.row_groups.defined(), o.op,
           ": positive_weight: it says who is a positive; give no other relation beside it");
  return o.positive_weight.contiguous();
}

ContrastResult contrast_any(std::span<const Var> rows, std::span<const Var> columns, const Var& temperature,
                            const ContrastOptions& o, const ContrastRelation* known, bool symmetric) {
  std::vector<Saved> saved;
  for (const char* name : kSlotNames) saved.push_back({name, {}});
  JX_CHECK(!rows.empty() && rows[0].defined() && rows[0].ndim() == 2, o.op, ": rows: expected [n, D]",
           rows.empty() || !rows[0].defined() ? std::string() : concat(", got ", rows[0]));
  Plan plan{};
  plan.op = o.op;
  plan.row_parts = static_cast<int>(rows.size());
  plan.rows = add_parts(o.op, "rows", rows, rows[0], saved);
  plan.column_parts = symmetric ? 0 : static_cast<int>(columns.size());
  plan.columns = symmetric ? plan.rows : add_parts(o.op, "columns", columns, rows[0], saved);
  plan.depth = rows[0].size(1);
  plan.row_block = contrast_block_rows(plan.rows, plan.depth);
  plan.column_block = contrast_block_rows(plan.columns, plan.depth);
  JX_CHECK(plan.rows >= 1, o.op, ": rows: expected at least one row, got ", rows[0]);
  JX_CHECK(o.eps > 0, o.op, ": eps: expected a positive number, got ", o.eps);
  JX_CHECK(!o.bf16_products || rows[0].dtype() != DType::f64, o.op,
           ": bf16_products: expected f32 or bf16 operands, got f64");
  const Device device = rows[0].device();
  const ContrastRelation r =
      known ? *known : contrast_relation(o, plan.rows, plan.columns, symmetric, device);
  const auto slot = [&](int s) -> Tensor& { return saved[static_cast<size_t>(s)].tensor; };
  slot(kTemperature) = checked_temperature(o, temperature, rows[0], plan.rows);
  JX_CHECK(!o.two_way || slot(kTemperature).numel() == 1, o.op,
           ": temperature: two_way needs one temperature; call once per direction for temperatures per row");
  slot(kRowId) = r.row_id, slot(kColumnId) = r.column_id;
  slot(kRowWant) = r.row_want, slot(kColumnKey) = r.column_key;
  slot(kMask) = o.mask.defined() ? o.mask.contiguous() : Tensor();
  slot(kPositiveMask) = o.positive_mask.defined() ? o.positive_mask.contiguous() : Tensor();
  slot(kPositiveWeight) = checked_weights(o, rows[0], plan.rows, plan.columns);
  plan.eps = o.eps, plan.margin = o.margin, plan.over = o.over, plan.term = o.term,
  plan.normalize = o.normalize;
  plan.symmetric = symmetric, plan.two_way = o.two_way, plan.same_relation = r.same;
  plan.bf16_products = o.bf16_products, plan.stop_rows = o.stop_rows, plan.stop_columns = o.stop_columns;
  std::vector<const Var*> inputs;
  for (const Var& v : rows) inputs.push_back(&v);
  for (int p = 0; p < plan.column_parts; ++p) inputs.push_back(&columns[static_cast<size_t>(p)]);
  inputs.push_back(&temperature);
  const ContrastResult y = dispatch_float(
      rows[0].dtype(), o.op, [&]<class T>() { return contrast_typed<T>(plan, r, inputs, saved); });
  if (y.lse.defined()) return y;
  // Rows so long that their squares overflow: l2_normalize takes their size out before it squares.
  ContrastOptions plain = o;
  plain.normalize = false;
  std::vector<Var> unit_rows, unit_columns;
  for (const Var& v : rows) unit_rows.push_back(l2_normalize(v, o.eps));
  for (const Var& v : columns) unit_columns.push_back(l2_normalize(v, o.eps));
  return contrast_any(unit_rows, unit_columns, temperature, plain, known, symmetric);
}

}  // namespace

ContrastResult contrast(std::span<const Var> rows, std::span<const Var> columns, const Var& temperature,
                        const ContrastOptions& options) {
  return contrast_any(rows, columns, temperature, options, nullptr, false);
}

ContrastResult contrast_symmetric(std::span<const Var> rows, const Var& temperature,
                                  const ContrastOptions& options) {
  JX_CHECK(!options.two_way, options.op,
           ": two_way: rows and columns are one set; their results are the same");
  int64_t n = 0;
  for (const Var& v : rows) n += v.defined() && v.ndim() == 2 ? v.size(0) : 0;
  const Device device = rows.empty() ? kCpu : rows[0].device();
  const ContrastRelation r = contrast_relation(options, n, n, true, device);
  // One tile can serve both its row and its column block only when both read the same similarity from it.
  const bool shared = r.same || (options.over == LseOver::all && options.margin == 0 &&
                                 options.term == ContrastTerm::softmax);
  const bool one_set = shared && !options.mask.defined() && !options.positive_mask.defined() &&
                       !options.positive_weight.defined() &&
                       (!temperature.defined() || temperature.numel() == 1) && !options.stop_rows &&
                       !options.stop_columns;
  if (one_set) return contrast_any(rows, {}, temperature, options, &r, true);
  ContrastOptions general = options;
  general.column_ids = options.row_ids;
  general.column_groups = options.row_groups;
  return contrast(rows, rows, temperature, general);
}

Var constant_temperature(double temperature, const Var& beside) {
  return Var(Tensor::scalar(temperature, acc_dtype(beside.dtype())).to(beside.device()));
}

}  // namespace juxta

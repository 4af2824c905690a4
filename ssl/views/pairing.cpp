#include "ssl/views/pairing.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "ssl/eval/matrix.h"

namespace juxta::ssl {

namespace {

std::vector<double> uniforms(const char* who, const Tensor& u, const Dims& dims) {
  std::vector<double> v = doubles_of(who, u);
  JX_CHECK(u.dims() == dims, who, ": expected ", dims, ", got ", u);
  for (const double x : v) JX_CHECK(x >= 0 && x < 1, who, ": expected numbers in [0, 1), got ", x);
  return v;
}

// Softmax over the first N columns without those of the row's id.
Matrix pair_weights(const char* who, const Tensor& sim, int64_t n, const std::vector<int64_t>& ids) {
  const Matrix s = matrix_of(who, sim, 2);
  JX_CHECK(s.rows() == n && s.cols() >= n, who, ": expected [", n, ", ", n, " or more], got ", sim);
  Matrix w(n, n);
  for (int64_t i = 0; i < n; ++i) {
    const double top = s.row(i).head(n).maxCoeff();
    // std::exp, not Eigen's, which stays above 0: whether all weights are 0 decides
    for (int64_t j = 0; j < n; ++j) w(i, j) = std::exp(s(i, j) - top);
    w.row(i) /= w.row(i).sum();
    for (int64_t j = 0; j < n; ++j)
      if (ids[static_cast<size_t>(j)] == ids[static_cast<size_t>(i)]) w(i, j) = 0;
  }
  return w;
}

Tensor draw(const Matrix& w, const std::vector<double>& u) {
  const int64_t n = w.rows();
  std::vector<int64_t> drawn;
  for (int64_t i = 0; i < n; ++i) {
    const double total = w.row(i).sum(), wanted = u[static_cast<size_t>(i)] * total;
    int64_t j = (i + 1) % n, last = j;
    double cumulative = 0;
    for (int64_t c = 0; c < n && total > 0; ++c) {
      cumulative += w(i, c);
      if (w(i, c) > 0) last = c;
      j = last;
      if (cumulative > wanted) break;
    }
    drawn.push_back(j);
  }
  return tensor_of(std::span<const int64_t>(drawn));
}

}  // namespace

HardPairs hard_pairs(const Tensor& sim_i2t, const Tensor& sim_t2i, const Tensor& ids, const Tensor& u_text,
                     const Tensor& u_image) {
  JX_CHECK(sim_i2t.defined() && sim_i2t.ndim() == 2 && sim_i2t.size(0) >= 2,
           "albef_hard_negative: sim_i2t: expected [N, N or more] with N >= 2, got ", sim_i2t);
  const int64_t n = sim_i2t.size(0);
  const std::vector<int64_t> id =
      integers_of("albef_hard_negative: ids", ids.defined() ? ids : Tensor::arange(n), {n});
  const Matrix i2t = pair_weights("albef_hard_negative: sim_i2t", sim_i2t, n, id),
               t2i = pair_weights("albef_hard_negative: sim_t2i", sim_t2i, n, id);
  return {tensor_of(i2t), tensor_of(t2i), draw(i2t, uniforms("albef_hard_negative: u_text", u_text, {n})),
          draw(t2i, uniforms("albef_hard_negative: u_image", u_image, {n}))};
}

TeacherPick teacher_pick(const Tensor& teacher_score, int64_t hard_negative) {
  constexpr const char* kRule = "dcd_select";
  const Matrix t = matrix_of("dcd_select: teacher_score", teacher_score, 1);
  const int64_t b = t.rows(), columns = t.cols();
  JX_CHECK(hard_negative >= 1 && hard_negative < columns, kRule,
           ": hard_negative: expected 1 to F = ", columns - 1, ", got ", hard_negative);
  TeacherPick pick{Tensor::empty({b, 1 + hard_negative}, DType::i64), {}, {}};
  Matrix aligned(b, 1 + hard_negative), sorted(b, 1 + hard_negative);
  int64_t* index = pick.index.write<int64_t>(kRule);
  for (int64_t i = 0; i < b; ++i) {
    std::vector<int64_t> order(static_cast<size_t>(columns));
    std::iota(order.begin(), order.end(), 0);
    std::stable_sort(order.begin(), order.end(), [&](int64_t x, int64_t y) { return t(i, x) > t(i, y); });
    for (int64_t c = 0; c <= hard_negative; ++c) sorted(i, c) = t(i, order[static_cast<size_t>(c)]);
    order.erase(std::find(order.begin(), order.end(), 0));
    order.insert(order.begin(), 0);  // the true caption comes first, whatever its score
    for (int64_t c = 0; c <= hard_negative; ++c) {
      *index++ = order[static_cast<size_t>(c)];
      aligned(i, c) = t(i, order[static_cast<size_t>(c)]);
    }
  }
  pick.aligned = tensor_of(aligned).to(teacher_score.dtype());
  pick.sorted = tensor_of(sorted).to(teacher_score.dtype());
  return pick;
}

MaskedWords mask_words(const Tensor& input_ids, const Tensor& random_words, const Tensor& u_select,
                       const Tensor& u_mask_token, const Tensor& u_random_token, const MaskWordsParams& p) {
  constexpr const char* kRule = "albef_mlm";
  JX_CHECK(input_ids.defined() && input_ids.dtype() == DType::i64 && input_ids.ndim() == 2, kRule,
           ": input_ids: expected i64 [N, L], got ", input_ids);
  for (const double q : {p.mlm_probability, p.p_mask_token, p.p_random_token})
    JX_CHECK(q >= 0 && q <= 1, kRule,
             ": mlm_probability, p_mask_token, p_random_token: expected 0 to 1, got ", q);
  const Dims& dims = input_ids.dims();
  const std::vector<int64_t> word = integers_of("albef_mlm: input_ids", input_ids, dims),
                             random = integers_of("albef_mlm: random_words", random_words, dims);
  const std::vector<double> select = uniforms("albef_mlm: u_select", u_select, dims),
                            mask = uniforms("albef_mlm: u_mask_token", u_mask_token, dims),
                            replace = uniforms("albef_mlm: u_random_token", u_random_token, dims);
  MaskedWords out{input_ids.clone(), Tensor::empty(dims, DType::i64)};
  int64_t *ids = out.ids.write<int64_t>(kRule), *labels = out.labels.write<int64_t>(kRule);
  for (size_t i = 0; i < word.size(); ++i) {
    const bool selected = select[i] < p.mlm_probability && word[i] != p.pad_id && word[i] != p.cls_id;
    labels[i] = selected ? word[i] : p.ignore_index;
    if (!selected) continue;
    if (mask[i] < p.p_mask_token)
      ids[i] = p.mask_id;
    else if (replace[i] < p.p_random_token)
      ids[i] = random[i];
  }
  return out;
}

}  // namespace juxta::ssl

#include "ssl/eval/text_metrics.h"

#include <algorithm>
#include <cmath>
#include <set>
#include <span>

#include "ssl/eval/correlation.h"
#include "ssl/eval/matrix.h"

namespace juxta::ssl {

namespace {

// Lengths of B padded texts of at most T tokens.
std::vector<int64_t> lengths_of(const char* who, const Tensor& lengths, int64_t B, int64_t T, int64_t least) {
  std::vector<int64_t> v = integers_of(who, lengths, {B});
  for (int64_t n : v) JX_CHECK(n >= least && n <= T, who, ": expected ", least, " to ", T, ", got ", n);
  return v;
}

// i64 [N, L], in order.
std::vector<int64_t> tokens_of(const char* who, const Tensor& x) {
  JX_CHECK(x.defined() && x.ndim() == 2 && x.size(0) >= 1, who, ": expected i64 [N, L], got ",
           x.defined() ? to_text(x) : "nothing");
  return integers_of(who, x, x.dims());
}

}  // namespace

Isotropy isotropy(const Tensor& hidden, const Tensor& lengths) {
  JX_CHECK(hidden.defined() && hidden.ndim() == 3 && hidden.size(0) >= 1 && hidden.size(2) >= 1,
           "isotropy: hidden: expected a float [B, T, D], got ",
           hidden.defined() ? to_text(hidden) : "nothing");
  const int64_t B = hidden.size(0), T = hidden.size(1);
  const std::vector<int64_t> length = lengths_of("isotropy: lengths", lengths, B, T, 1);
  double sum = 0, pairs = 0, macro = 0, texts = 0;
  for (int64_t b = 0; b < B; ++b) {
    const int64_t n = length[static_cast<size_t>(b)];
    if (n < 2) continue;
    const Matrix h = unit_rows("isotropy: hidden", hidden.select(0, b).slice(0, 0, n), 2);
    // sum_{i != j} h_i . h_j = |sum_i h_i|^2 - sum_i |h_i|^2
    const double off = h.colwise().sum().squaredNorm() - h.squaredNorm();
    const double count = static_cast<double>(n) * static_cast<double>(n - 1);
    sum += off, pairs += count;
    macro += 1.0 - off / count, texts += 1;
  }
  JX_CHECK(texts > 0, "isotropy: no text has two tokens");
  return {1.0 - sum / pairs, macro / texts};
}

namespace {

double repetition(const std::vector<int64_t>& tokens, const std::vector<int64_t>& lengths, int64_t T,
                  int64_t n, bool drop_last) {
  double unique = 0, all = 0;
  for (size_t b = 0; b < lengths.size(); ++b) {
    const auto text = tokens.begin() + static_cast<int64_t>(b) * T;
    std::set<std::vector<int64_t>> seen;
    const int64_t count = lengths[b] - n + 1 - (drop_last ? 1 : 0);
    for (int64_t i = 0; i < count; ++i) seen.emplace(text + i, text + i + n);
    unique += static_cast<double>(seen.size());
    all += static_cast<double>(std::max<int64_t>(count, 0));
  }
  JX_CHECK(all > 0, "text_degeneration: the texts hold no ", n, "-gram");
  return 1.0 - unique / all;
}

}  // namespace

TextDegeneration text_degeneration(const Tensor& tokens, const Tensor& lengths, bool drop_last) {
  const std::vector<int64_t> t = tokens_of("text_degeneration: tokens", tokens);
  const int64_t T = tokens.size(1);
  const std::vector<int64_t> n = lengths_of("text_degeneration: lengths", lengths, tokens.size(0), T, 0);
  TextDegeneration out;
  out.rep_2 = repetition(t, n, T, 2, drop_last);
  out.rep_3 = repetition(t, n, T, 3, drop_last);
  out.rep_4 = repetition(t, n, T, 4, drop_last);
  out.diversity = (1.0 - out.rep_2) * (1.0 - out.rep_3) * (1.0 - out.rep_4);
  return out;
}

namespace {

// Insertions, deletions and substitutions, each 1, that turn a into b; one row of the table at a time.
int64_t edit_distance(std::span<const int64_t> a, std::span<const int64_t> b) {
  std::vector<int64_t> row(b.size() + 1);
  for (size_t j = 0; j < row.size(); ++j) row[j] = static_cast<int64_t>(j);
  for (size_t i = 0; i < a.size(); ++i) {
    int64_t diagonal = row[0];
    row[0] = static_cast<int64_t>(i) + 1;
    for (size_t j = 0; j < b.size(); ++j) {
      const int64_t substituted = diagonal + (a[i] == b[j] ? 0 : 1);
      diagonal = row[j + 1];
      row[j + 1] = std::min({substituted, row[j] + 1, row[j + 1] + 1});
    }
  }
  return row.back();
}

}  // namespace

WordErrorRate word_error_rate(const Tensor& ref, const Tensor& hyp, const Tensor& ref_len,
                              const Tensor& hyp_len) {
  const std::vector<int64_t> r = tokens_of("word_error_rate: ref", ref),
                             h = tokens_of("word_error_rate: hyp", hyp);
  JX_CHECK(ref.size(0) == hyp.size(0), "word_error_rate: hyp: expected ", ref.size(0), " sentences, got ",
           hyp);
  const int64_t N = ref.size(0), L = ref.size(1), M = hyp.size(1);
  const std::vector<int64_t> rn = lengths_of("word_error_rate: ref_len", ref_len, N, L, 0);
  const std::vector<int64_t> hn = lengths_of("word_error_rate: hyp_len", hyp_len, N, M, 0);
  WordErrorRate out;
  double errors = 0, words = 0;
  for (int64_t i = 0; i < N; ++i) {
    const auto at = static_cast<size_t>(i);
    out.distance.push_back(edit_distance({r.data() + i * L, static_cast<size_t>(rn[at])},
                                         {h.data() + i * M, static_cast<size_t>(hn[at])}));
    errors += static_cast<double>(out.distance.back());
    words += static_cast<double>(rn[at]);
  }
  JX_CHECK(words > 0, "word_error_rate: ref_len: every reference is empty");
  out.wer = errors / words;
  return out;
}

namespace {

double cosine_of(std::span<const double> a, std::span<const double> b) {
  double ab = 0, aa = 0, bb = 0;
  for (size_t i = 0; i < a.size(); ++i) ab += a[i] * b[i], aa += a[i] * a[i], bb += b[i] * b[i];
  return ab / (std::max(std::sqrt(aa), 1e-12) * std::max(std::sqrt(bb), 1e-12));
}

std::vector<double> unit_of(std::span<const double> a) {
  double aa = 0;
  for (double x : a) aa += x * x;
  std::vector<double> out(a.begin(), a.end());
  for (double& x : out) x /= std::max(std::sqrt(aa), 1e-12);
  return out;
}

// A float tensor of these dims: rows of its last axis.
struct Rows {
  std::vector<double> data;
  size_t width;
  Rows(const char* name, const Tensor& x, const Dims& dims)
      : width(static_cast<size_t>(dims[dims.size() - 1])) {
    const std::string who = std::string("icl_similarity: ") + name;
    JX_CHECK(x.defined() && x.dims() == dims, who, ": expected ", dims, ", got ",
             x.defined() ? to_text(x) : "nothing");
    data = doubles_of(who.c_str(), x);
  }
  std::span<const double> operator[](size_t row) const { return {data.data() + row * width, width}; }
};

double rec2ftp(const IclInputs& in) {
  JX_CHECK(in.gold.defined() && in.gold.ndim() == 1 && in.gold.size(0) >= 1,
           "icl_similarity: gold: expected i64 [E]");
  const Dims& dims = in.gold.dims();
  const std::vector<int64_t> gold = integers_of("icl_similarity: gold", in.gold, dims),
                             zs = integers_of("icl_similarity: pred_zs", in.pred_zs, dims),
                             icl = integers_of("icl_similarity: pred_icl", in.pred_icl, dims),
                             ft = integers_of("icl_similarity: pred_ft", in.pred_ft, dims);
  double only_ft = 0, both = 0;
  for (size_t e = 0; e < gold.size(); ++e) {
    if (zs[e] == gold[e] || ft[e] != gold[e]) continue;
    only_ft += 1;
    both += icl[e] == gold[e];
  }
  JX_CHECK(only_ft > 0, "icl_similarity: Rec2FTP: fine-tuning repairs no example that zero-shot gets wrong");
  return 100.0 * both / only_ft;
}

}  // namespace

IclSimilarity icl_similarity(const IclInputs& in) {
  IclSimilarity out;
  out.rec2ftp = rec2ftp(in);
  JX_CHECK(in.h_icl.defined() && in.h_icl.ndim() == 3 && in.m_icl.defined() && in.m_icl.ndim() == 4 &&
               in.ctx_icl.defined() && in.ctx_icl.ndim() == 3,
           "icl_similarity: expected h [E, L, D], m [E, L, H, S] and ctx_icl [E, L, N]");
  const int64_t E = in.gold.size(0), L = in.h_icl.size(1), D = in.h_icl.size(2), H = in.m_icl.size(2),
                S = in.m_icl.size(3), N = in.ctx_icl.size(2);
  const Rows h_zs("h_zs", in.h_zs, {E, L, D}), h_icl("h_icl", in.h_icl, {E, L, D}),
      h_ft("h_ft", in.h_ft, {E, L, D});
  const Rows m_zs("m_zs", in.m_zs, {E, L, H, S}), m_icl("m_icl", in.m_icl, {E, L, H, S}),
      m_ft("m_ft", in.m_ft, {E, L, H, S});
  JX_CHECK(in.q_test.defined() && in.q_test.ndim() == 3, "icl_similarity: q_test: expected [E, L, D]");
  const int64_t Q = in.q_test.size(2);
  const Rows ctx("ctx_icl", in.ctx_icl, {E, L, N}), q_train("q_train", in.q_train, {L, N, Q}),
      q_test("q_test", in.q_test, {E, L, Q});
  const auto layers = static_cast<size_t>(L), examples = static_cast<size_t>(E),
             heads = static_cast<size_t>(H);
  for (auto* v : {&out.simaou, &out.simam_after, &out.simam_before, &out.kendall}) v->assign(layers, 0.0);
  for (size_t e = 0; e < examples; ++e)
    for (size_t l = 0; l < layers; ++l) {
      const size_t row = e * layers + l;
      std::vector<double> zs = unit_of(h_zs[row]), icl = unit_of(h_icl[row]), ft = unit_of(h_ft[row]);
      for (size_t d = 0; d < zs.size(); ++d) icl[d] -= zs[d], ft[d] -= zs[d];
      out.simaou[l] += cosine_of(icl, ft) / static_cast<double>(E);
      for (size_t h = 0; h < heads; ++h) {
        const size_t map = row * heads + h;
        out.simam_after[l] += cosine_of(m_icl[map], m_ft[map]) / static_cast<double>(E * H);
        out.simam_before[l] += cosine_of(m_icl[map], m_zs[map]) / static_cast<double>(E * H);
      }
      std::vector<double> scores;
      for (size_t n = 0; n < static_cast<size_t>(N); ++n) {
        double s = 0;
        const auto train = q_train[l * static_cast<size_t>(N) + n], test = q_test[row];
        for (size_t d = 0; d < test.size(); ++d) s += train[d] * test[d];
        scores.push_back(s);
      }
      out.kendall[l] += kendall(ctx[row], scores) / static_cast<double>(E);
    }
  return out;
}

}  // namespace juxta::ssl

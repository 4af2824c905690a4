#include "ssl/eval/ranking.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>
#include <set>

#include "ssl/eval/matrix.h"
#include "tensor/parallel.h"

namespace juxta::ssl {

namespace {

using Order = std::vector<int64_t>;

// Positions of s[0 .. n) from the largest down; ties by the lower position.
Order descending(const double* s, int64_t n) {
  Order order(static_cast<size_t>(n));
  std::iota(order.begin(), order.end(), 0);
  std::stable_sort(order.begin(), order.end(), [s](int64_t a, int64_t b) { return s[a] > s[b]; });
  return order;
}

double discount(int64_t rank) { return 1.0 / std::log2(static_cast<double>(rank) + 2.0); }  // rank from 0

double mean_of(const std::vector<double>& v) {
  return v.empty() ? 0.0 : std::accumulate(v.begin(), v.end(), 0.0) / static_cast<double>(v.size());
}

// Dot products of a row [D] with the columns of [D, C], each summed in the order of d: equal columns tie.
std::vector<double> dots(const double* row, const Matrix& columns) {
  std::vector<double> out(static_cast<size_t>(columns.cols()), 0.0);
  for (Eigen::Index d = 0; d < columns.rows(); ++d) {
    const double x = row[d], *c = columns.data() + d * columns.cols();
    for (size_t j = 0; j < out.size(); ++j) out[j] += x * c[j];
  }
  return out;
}

// The figures of one query's ranked relevances `rel`, all its candidates.
struct OneQuery {
  double ndcg = 0, mrr = 0, map = 0, recall = 0, precision = 0, hit = 0;
};
OneQuery figures_of(const std::vector<int64_t>& rel, const RankMetricsParams& p) {
  const auto gain = [&](int64_t r) {
    return p.gain == Gain::linear ? static_cast<double>(r) : std::exp2(static_cast<double>(r)) - 1.0;
  };
  const int64_t n = static_cast<int64_t>(rel.size()), k = std::min(p.k, n);
  std::vector<int64_t> ideal = rel;
  std::sort(ideal.begin(), ideal.end(), std::greater<>());
  const auto relevant = n - std::count(rel.begin(), rel.end(), 0);
  OneQuery q;
  if (relevant == 0) return q;
  double dcg = 0, best = 0, hits = 0;
  for (int64_t r = 0; r < k; ++r) {
    const auto at = static_cast<size_t>(r);
    dcg += gain(rel[at]) * discount(r);
    best += gain(ideal[at]) * discount(r);
    if (rel[at] == 0) continue;
    hits += 1;
    q.map += hits / static_cast<double>(r + 1);
    if (q.mrr == 0) q.mrr = 1.0 / static_cast<double>(r + 1);
  }
  q.ndcg = dcg / best;
  q.map /= static_cast<double>(std::min<int64_t>(relevant, p.k));
  q.recall = hits / static_cast<double>(relevant);
  q.precision = hits / static_cast<double>(p.k);
  q.hit = hits > 0 ? 1.0 : 0.0;
  return q;
}

void check_k(const char* who, int64_t k) { JX_CHECK(k >= 1, who, ": k: expected at least 1, got ", k); }

}  // namespace

RankMetrics rank_metrics(const Tensor& score, const Tensor& relevance, const Tensor& mask,
                         const RankMetricsParams& p) {
  check_k("rank_metrics", p.k);
  JX_CHECK(score.ndim() == 2 && score.size(0) >= 1 && score.size(1) >= 1 && is_float(score.dtype()),
           "rank_metrics: score: expected a float [Q, C], got ", score);
  const int64_t Q = score.size(0), C = score.size(1);
  const std::vector<int64_t> rel = integers_of("rank_metrics: relevance", relevance, score.dims());
  const std::vector<int64_t> use = mask.defined() ? integers_of("rank_metrics: mask", mask, score.dims())
                                                  : std::vector<int64_t>(rel.size(), 1);
  const Tensor wide = score.to(DType::f64).contiguous();
  RankMetrics out;
  for (int64_t q = 0; q < Q; ++q) {
    std::vector<double> scores;
    std::vector<int64_t> candidates;
    for (int64_t c = 0; c < C; ++c) {
      const auto at = static_cast<size_t>(q * C + c);
      if (use[at] == 0) continue;
      scores.push_back(wide.data<double>()[at]);
      candidates.push_back(rel[at]);
      JX_CHECK(!std::isnan(scores.back()), "rank_metrics: score: NaN in row ", q);
      JX_CHECK(rel[at] >= 0, "rank_metrics: relevance: expected 0 or more, got ", rel[at], " in row ", q);
    }
    std::vector<int64_t> ranked;
    for (int64_t c : descending(scores.data(), static_cast<int64_t>(scores.size())))
      ranked.push_back(candidates[static_cast<size_t>(c)]);
    const OneQuery one = figures_of(ranked, p);
    out.ndcg.push_back(one.ndcg), out.mrr.push_back(one.mrr), out.map.push_back(one.map);
    out.recall.push_back(one.recall), out.precision.push_back(one.precision), out.hit.push_back(one.hit);
  }
  return out;
}

namespace {

// The items of every user among pairs (user, item).
std::vector<std::set<int64_t>> items_of(const char* who, const Tensor& pairs, int64_t users, int64_t items) {
  JX_CHECK(pairs.defined() && pairs.ndim() == 2 && pairs.size(1) == 2, who, ": expected i64 [n, 2], got ",
           pairs.defined() ? to_text(pairs) : "nothing");
  const std::vector<int64_t> flat = integers_of(who, pairs, pairs.dims());
  std::vector<std::set<int64_t>> out(static_cast<size_t>(users));
  for (size_t i = 0; i < flat.size(); i += 2) {
    JX_CHECK(flat[i] >= 0 && flat[i] < users && flat[i + 1] >= 0 && flat[i + 1] < items, who, ": pair (",
             flat[i], ", ", flat[i + 1], "): expected a user below ", users, " and an item below ", items);
    out[static_cast<size_t>(flat[i])].insert(flat[i + 1]);
  }
  return out;
}

}  // namespace

RecommendationMetrics ranking_metrics(const Tensor& scores, const Tensor& train, const Tensor& test,
                                      const RecommendationParams& p) {
  Matrix s = matrix_of("ranking_metrics: scores", scores, 1);
  const auto learned = items_of("ranking_metrics: train", train, s.rows(), s.cols());
  const auto wanted = items_of("ranking_metrics: test", test, s.rows(), s.cols());
  JX_CHECK(!p.ks.empty(), "ranking_metrics: ks: expected at least one");
  for (int64_t k : p.ks)
    JX_CHECK(k >= 1 && k <= s.cols(), "ranking_metrics: ks: expected 1 to ", static_cast<int64_t>(s.cols()),
             " items, got ", k);
  const int64_t most = *std::max_element(p.ks.begin(), p.ks.end());
  RecommendationMetrics out;
  std::vector<Order> lists;
  double all_wanted = 0;
  for (int64_t u = 0; u < s.rows(); ++u) {
    const auto user = static_cast<size_t>(u);
    if (wanted[user].empty()) continue;
    for (int64_t item : learned[user]) s(u, item) = -std::numeric_limits<double>::infinity();
    Order list = descending(s.data() + u * s.cols(), s.cols());
    list.resize(static_cast<size_t>(most));
    out.users.push_back(u);
    out.topk.insert(out.topk.end(), list.begin(), list.end());
    lists.push_back(std::move(list));
    all_wanted += static_cast<double>(wanted[user].size());
  }
  JX_CHECK(!lists.empty(), "ranking_metrics: test: no user has a test item");
  for (int64_t k : p.ks) {
    double recall = 0, ndcg = 0, precision = 0, all_hits = 0;
    for (size_t i = 0; i < lists.size(); ++i) {
      const std::set<int64_t>& items = wanted[static_cast<size_t>(out.users[i])];
      double hits = 0, dcg = 0, ideal = 0;
      for (int64_t r = 0; r < k; ++r) {
        const bool hit = items.count(lists[i][static_cast<size_t>(r)]) > 0;
        if (hit) hits += 1, dcg += discount(r);
        if (r < static_cast<int64_t>(items.size())) ideal += discount(r);
      }
      recall += hits / static_cast<double>(items.size());
      precision += hits / static_cast<double>(k);
      ndcg += dcg / ideal;
      all_hits += hits;
    }
    const auto n = static_cast<double>(lists.size());
    out.recall.push_back(recall / n), out.ndcg.push_back(ndcg / n), out.precision.push_back(precision / n);
    out.hit_ratio.push_back(all_hits / all_wanted);
  }
  return out;
}

namespace {

// What the ranked list of one query says; `hits` are its references of the right label, in ranked order.
struct LabelQuery {
  bool counts = false;
  std::vector<double> recall;
  double precision_at_1 = 0, r_precision = 0, map_at_r = 0, map = 0, mrr = 0;
};
LabelQuery label_figures(const std::vector<bool>& hits, const std::vector<int64_t>& ks) {
  LabelQuery q;
  const auto R = std::count(hits.begin(), hits.end(), true);
  q.counts = R > 0;
  if (!q.counts) return q;
  double found = 0;
  int64_t first = -1;
  for (size_t r = 0; r < hits.size(); ++r) {
    const bool within = static_cast<int64_t>(r) < R;
    if (!hits[r]) continue;
    if (first < 0) first = static_cast<int64_t>(r);
    found += 1;
    const double precision = found / static_cast<double>(r + 1);
    q.map += precision;
    if (within) q.map_at_r += precision, q.r_precision += 1;
  }
  const auto n = static_cast<double>(R);
  q.map /= n, q.map_at_r /= n, q.r_precision /= n;
  q.mrr = 1.0 / static_cast<double>(first + 1);
  q.precision_at_1 = first == 0 ? 1.0 : 0.0;
  for (int64_t k : ks) q.recall.push_back(first < k ? 1.0 : 0.0);
  return q;
}

LabelRetrieval average_of(const std::vector<LabelQuery>& queries, size_t ks) {
  LabelRetrieval out;
  out.recall.assign(ks, 0.0);
  for (const LabelQuery& q : queries) {
    if (!q.counts) continue;
    ++out.queries;
    for (size_t j = 0; j < ks; ++j) out.recall[j] += q.recall[j];
    out.precision_at_1 += q.precision_at_1, out.r_precision += q.r_precision, out.map_at_r += q.map_at_r;
    out.map += q.map, out.mrr += q.mrr;
  }
  JX_CHECK(out.queries > 0, "label_retrieval: no query has a reference of its label");
  const auto n = static_cast<double>(out.queries);
  for (double& r : out.recall) r /= n;
  for (double* v : {&out.precision_at_1, &out.r_precision, &out.map_at_r, &out.map, &out.mrr}) *v /= n;
  return out;
}

}  // namespace

LabelRetrieval label_retrieval(const Tensor& query, const Tensor& query_labels, const Tensor& reference,
                               const Tensor& reference_labels, const std::vector<int64_t>& k) {
  const bool one_set = !reference.defined();
  for (int64_t each : k) check_k("label_retrieval", each);
  JX_CHECK(one_set == !reference_labels.defined(),
           "label_retrieval: reference and reference_labels are given together or not at all");
  const Matrix q = unit_rows("label_retrieval: query", query, 1);
  const Matrix r = one_set ? q : unit_rows("label_retrieval: reference", reference, 1);
  JX_CHECK(q.cols() == r.cols(), "label_retrieval: reference: expected [M, ", static_cast<int64_t>(q.cols()),
           "], got ", one_set ? query : reference);
  const std::vector<int64_t> ql = integers_of("label_retrieval: query_labels", query_labels, {q.rows()});
  const std::vector<int64_t> rl =
      one_set ? ql : integers_of("label_retrieval: reference_labels", reference_labels, {r.rows()});
  const Matrix columns = r.transpose();
  std::vector<LabelQuery> all(static_cast<size_t>(q.rows()));
  parallel_for(q.rows(), 8, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const std::vector<double> s = dots(q.data() + i * q.cols(), columns);
      std::vector<bool> hits;
      for (int64_t j : descending(s.data(), r.rows()))
        if (!(one_set && i == j)) hits.push_back(rl[static_cast<size_t>(j)] == ql[static_cast<size_t>(i)]);
      all[static_cast<size_t>(i)] = label_figures(hits, k);
    }
  });
  return average_of(all, k.size());
}

namespace {

// Scores of re-ranking: the k best of each row of s take their score in `better`, all others -100.
Matrix rerank(const Matrix& s, const Matrix& better, int64_t k) {
  Matrix out = Matrix::Constant(s.rows(), s.cols(), -100.0);
  for (int64_t i = 0; i < s.rows(); ++i) {
    const Order order = descending(s.data() + i * s.cols(), s.cols());
    for (int64_t r = 0; r < std::min<int64_t>(k, s.cols()); ++r) {
      const int64_t j = order[static_cast<size_t>(r)];
      out(i, j) = better(i, j);
    }
  }
  return out;
}

// Position of the first of row i's order for which `right` holds.
template <class F>
int64_t first_right(const Matrix& s, int64_t i, F right) {
  const Order order = descending(s.data() + i * s.cols(), s.cols());
  return std::find_if(order.begin(), order.end(), right) - order.begin();
}

double recall_percent(const std::vector<int64_t>& ranks, int64_t k) {
  const auto within = std::count_if(ranks.begin(), ranks.end(), [k](int64_t r) { return r < k; });
  return 100.0 * static_cast<double>(within) / static_cast<double>(ranks.size());
}

}  // namespace

ItrRecall itr_recall(const Tensor& sims, const Tensor& txt2img, const Tensor& itm_score, int64_t k_test) {
  Matrix i2t = matrix_of("itr_recall: sims", sims, 1), t2i = i2t.transpose();
  const std::vector<int64_t> image = integers_of("itr_recall: txt2img", txt2img, {i2t.cols()});
  std::vector<bool> captioned(static_cast<size_t>(i2t.rows()), false);
  for (int64_t i : image) {
    JX_CHECK(i >= 0 && i < i2t.rows(), "itr_recall: txt2img: expected 0 to ",
             static_cast<int64_t>(i2t.rows()) - 1, ", got ", i);
    captioned[static_cast<size_t>(i)] = true;
  }
  const auto bare = std::find(captioned.begin(), captioned.end(), false);
  JX_CHECK(bare == captioned.end(), "itr_recall: txt2img: image ", bare - captioned.begin(),
           " has no caption");
  JX_CHECK(k_test >= 0, "itr_recall: k_test: expected 0 or more, got ", k_test);
  ItrRecall out;
  if (k_test > 0) {
    const Matrix itm = matrix_of("itr_recall: itm_score", itm_score, 1);
    JX_CHECK(itm.rows() == i2t.rows() && itm.cols() == i2t.cols(), "itr_recall: itm_score: expected ",
             sims.dims(), ", got ", itm_score);
    i2t = rerank(i2t, itm, k_test);
    t2i = rerank(t2i, itm.transpose(), k_test);
    out.score_i2t = tensor_of(i2t), out.score_t2i = tensor_of(t2i);
  }
  for (int64_t i = 0; i < i2t.rows(); ++i)
    out.rank_text.push_back(
        first_right(i2t, i, [&](int64_t t) { return image[static_cast<size_t>(t)] == i; }));
  for (int64_t t = 0; t < t2i.rows(); ++t)
    out.rank_image.push_back(
        first_right(t2i, t, [&](int64_t i) { return image[static_cast<size_t>(t)] == i; }));
  out.txt_r1 = recall_percent(out.rank_text, 1), out.img_r1 = recall_percent(out.rank_image, 1);
  out.txt_r5 = recall_percent(out.rank_text, 5), out.img_r5 = recall_percent(out.rank_image, 5);
  out.txt_r10 = recall_percent(out.rank_text, 10), out.img_r10 = recall_percent(out.rank_image, 10);
  out.txt_r_mean = mean_of({out.txt_r1, out.txt_r5, out.txt_r10});
  out.img_r_mean = mean_of({out.img_r1, out.img_r5, out.img_r10});
  out.r_mean = mean_of({out.txt_r_mean, out.img_r_mean});
  return out;
}

CodeSearch code_search_mrr(const Tensor& queries, const Tensor& candidates, const Tensor& answer,
                           int64_t cutoff) {
  const Matrix q = matrix_of("code_search_mrr: queries", queries, 1);
  const Matrix c = matrix_of("code_search_mrr: candidates", candidates, 1);
  JX_CHECK(q.cols() == c.cols(), "code_search_mrr: candidates: expected [C, ", static_cast<int64_t>(q.cols()),
           "], got ", candidates);
  JX_CHECK(cutoff >= 1, "code_search_mrr: cutoff: expected at least 1, got ", cutoff);
  const std::vector<int64_t> right = integers_of("code_search_mrr: answer", answer, {q.rows()});
  for (int64_t a : right)
    JX_CHECK(a >= -1 && a < c.rows(), "code_search_mrr: answer: expected -1 to ",
             static_cast<int64_t>(c.rows()) - 1, ", got ", a);
  const Matrix columns = c.transpose();
  CodeSearch out;
  out.rank.assign(right.size(), 0);
  parallel_for(q.rows(), 8, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      const int64_t a = right[static_cast<size_t>(i)];
      if (a < 0) continue;
      const std::vector<double> s = dots(q.data() + i * q.cols(), columns);
      const double mine = s[static_cast<size_t>(a)];
      int64_t rank = 1;
      for (int64_t j = 0; j < c.rows(); ++j) {
        const double other = s[static_cast<size_t>(j)];
        rank += other > mine || (other == mine && j < a);
      }
      out.rank[static_cast<size_t>(i)] = rank <= cutoff ? rank : 0;
    }
  });
  const auto n = static_cast<double>(right.size());
  const auto within = [&](int64_t k) {
    return static_cast<double>(
               std::count_if(out.rank.begin(), out.rank.end(), [k](int64_t r) { return r >= 1 && r <= k; })) /
           n;
  };
  for (int64_t r : out.rank) out.mrr += r > 0 ? 1.0 / static_cast<double>(r) / n : 0.0;
  out.r_at_1 = within(1), out.r_at_5 = within(5), out.r_at_10 = within(10);
  return out;
}

}  // namespace juxta::ssl

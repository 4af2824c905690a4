// Rankings and correlations against examples worked out by hand, and their errors.
#include "ssl/eval/ranking.h"

#include <cmath>

#include "ssl/eval/correlation.h"
#include "ssl/eval/readout.h"
#include "tensor/parallel.h"
#include "tests/harness.h"

namespace juxta::test {
namespace {

using namespace ssl;

Tensor ints(std::initializer_list<int64_t> v, Dims dims) { return Tensor::from<int64_t>(v, dims); }
Tensor reals(std::initializer_list<double> v, Dims dims) { return Tensor::from<double>(v, dims); }
Tensor ints(std::initializer_list<int64_t> v) { return ints(v, {static_cast<int64_t>(v.size())}); }
Tensor reals(std::initializer_list<double> v) { return reals(v, {static_cast<int64_t>(v.size())}); }

TEST(RankMetrics, ByHand) {
  // Order by score: relevances 0, 2, 0, 1; the masked candidate with the best score does not exist.
  const Tensor score = reals({0.9, 0.8, 0.7, 0.6, 1.0}, {1, 5}), rel = ints({0, 2, 0, 1, 2}, {1, 5});
  const Tensor mask = ints({1, 1, 1, 1, 0}, {1, 5});
  const RankMetrics m = rank_metrics(score, rel, mask, {.k = 3, .gain = Gain::exp2});
  const double second = 1 / std::log2(3.0);
  EXPECT_NEAR(m.ndcg[0], 3 * second / (3 + 1 * second), 1e-15);
  EXPECT_EQ(m.mrr[0], 0.5);
  EXPECT_EQ(m.map[0], 0.5 / 2);  // precision 1/2 at rank 2; two relevant
  EXPECT_EQ(m.recall[0], 0.5);
  EXPECT_NEAR(m.precision[0], 1.0 / 3, 1e-15);
  EXPECT_EQ(m.hit[0], 1.0);
  const RankMetrics linear = rank_metrics(score, rel, mask, {.k = 3});
  EXPECT_NEAR(linear.ndcg[0], 2 * second / (2 + second), 1e-15);
}

TEST(RankMetrics, EdgesAndErrors) {
  const Tensor score = reals({0.5, 0.5}, {1, 2});
  EXPECT_EQ(rank_metrics(score, ints({0, 0}, {1, 2}), {}).ndcg[0], 0.0);           // nothing to find
  EXPECT_EQ(rank_metrics(score, ints({0, 1}, {1, 2}), {}, {.k = 1}).hit[0], 0.0);  // ties: the lower first
  EXPECT_EQ(rank_metrics(score, ints({0, 1}, {1, 2}), {}, {.k = 9}).precision[0], 1.0 / 9);
  EXPECT_EQ(rank_metrics(score, ints({1, 1}, {1, 2}), ints({0, 0}, {1, 2})).map[0], 0.0);  // all masked
  expect_error([&] { rank_metrics(score, ints({0, -1}, {1, 2}), {}); }, {"relevance", "-1"});
  expect_error([&] { rank_metrics(score, ints({0, 1}), {}); }, {"relevance", "[1, 2]", "[2]"});
  expect_error([&] { rank_metrics(score, ints({0, 1}, {1, 2}), {}, {.k = 0}); }, {"k", "0"});
  expect_error([&] { rank_metrics(reals({NAN, 0}, {1, 2}), ints({0, 1}, {1, 2}), {}); }, {"score", "NaN"});
}

TEST(RankingMetrics, ByHand) {
  // User 0 learned item 0; wants 2 and 3. User 1 wants nothing. User 2 wants 0, twice in the list.
  const Tensor scores = reals({9, 3, 2, 1, 0, 0, 0, 0, 1, 1, 0, 0}, {3, 4});
  const Tensor train = ints({0, 0}, {1, 2}), test = ints({0, 2, 0, 3, 2, 0, 2, 0}, {4, 2});
  const RecommendationMetrics m = ranking_metrics(scores, train, test, {.ks = {1, 2}});
  EXPECT_EQ(m.users, (std::vector<int64_t>{0, 2}));
  EXPECT_EQ(m.topk, (std::vector<int64_t>{1, 2, 0, 1}));
  EXPECT_EQ(m.recall, (std::vector<double>{0.5, (0.5 + 1) / 2}));
  EXPECT_EQ(m.precision, (std::vector<double>{0.5, 0.5}));
  EXPECT_NEAR(m.hit_ratio[1], 2.0 / 3, 1e-15);  // two hits of three wanted
  const double second = 1 / std::log2(3.0);
  EXPECT_NEAR(m.ndcg[1], (second / (1 + second) + 1) / 2, 1e-15);
  expect_error([&] { ranking_metrics(scores, train, ints({0, 4}, {1, 2})); }, {"test", "4"});
  expect_error([&] { ranking_metrics(scores, train, test, {.ks = {5}}); }, {"ks", "4", "5"});
  expect_error([&] { ranking_metrics(scores, train, ints({}, {0, 2}), {.ks = {1}}); }, {"no user"});
}

TEST(LabelRetrieval, ByHand) {
  // References by cosine with (1, 0): labels 0, 1, 1; the query has label 1.
  const Tensor query = reals({2, 0}, {1, 2}), reference = reals({3, 0, 1, 1, 0, 1}, {3, 2});
  const LabelRetrieval m = label_retrieval(query, ints({1}), reference, ints({0, 1, 1}), {1, 2});
  EXPECT_EQ(m.recall, (std::vector<double>{0, 1}));
  EXPECT_EQ(m.precision_at_1, 0.0);
  EXPECT_EQ(m.mrr, 0.5);
  EXPECT_EQ(m.r_precision, 0.5);  // R = 2
  EXPECT_EQ(m.map_at_r, 0.5 / 2);
  EXPECT_NEAR(m.map, (1.0 / 2 + 2.0 / 3) / 2, 1e-15);
  EXPECT_EQ(m.queries, 1);
  const LabelRetrieval one_set = label_retrieval(reference, ints({0, 1, 1}), {}, {}, {1});
  EXPECT_EQ(one_set.queries, 2);                  // the first has no fellow
  EXPECT_EQ(one_set.recall[0], (0.0 + 1.0) / 2);  // (1, 1) ties between both: the lower row, of label 0
  expect_error([&] { label_retrieval(query, ints({7}), reference, ints({0, 1, 1}), {1}); }, {"no query"});
  expect_error([&] { label_retrieval(query, ints({1}), reference, {}, {1}); }, {"reference_labels"});
  expect_error(
      [&] {
        label_retrieval(query, ints({1}), reals({1, 2, 3}, {1, 3}), ints({1}), {1});
      },
      {"reference", "[M, 2]"});
  expect_error(
      [&] {
        label_retrieval(query, ints({1, 2}), reference, ints({0, 1, 1}), {1});
      },
      {"query_labels", "[1]"});
}

TEST(LabelRetrieval, SameBitsForAnyNumberOfThreads) {
  const Tensor z = normal({100, 8}, 1), labels = indices({100}, 2, 5);
  const int before = num_threads();
  set_num_threads(1);
  const double one = label_retrieval(z, labels, {}, {}, {1}).map;
  set_num_threads(3);
  EXPECT_EQ(one, label_retrieval(z, labels, {}, {}, {1}).map);
  set_num_threads(before);
}

TEST(ItrRecall, ByHandAndReRanked) {
  const Tensor sims = reals({0.9, 0.1, 0.8, 0.7, 0.2, 0.3}, {2, 3}), image = ints({0, 1, 1});
  ItrRecall m = itr_recall(sims, image, {});
  EXPECT_EQ(m.rank_text, (std::vector<int64_t>{0, 1}));      // image 1: captions 0, 2, 1
  EXPECT_EQ(m.rank_image, (std::vector<int64_t>{0, 0, 1}));  // caption 2 prefers image 0
  EXPECT_EQ(m.txt_r1, 50.0);
  EXPECT_NEAR(m.img_r1, 200.0 / 3, 1e-12);
  EXPECT_FALSE(m.score_i2t.defined());
  // Re-ranking image 1's best two, captions 0 and 2, puts caption 2 first.
  m = itr_recall(sims, image, reals({1, 0, 0, -5, 9, 4}, {2, 3}), 2);
  EXPECT_EQ(m.score_i2t.at({1, 1}), -100.0);
  EXPECT_EQ(m.score_i2t.at({1, 2}), 4.0);
  EXPECT_EQ(m.rank_text[1], 0);
  expect_error([&] { itr_recall(sims, ints({0, 0, 0}), {}); }, {"txt2img", "image 1"});
  expect_error([&] { itr_recall(sims, ints({0, 1, 2}), {}); }, {"txt2img", "2"});
  expect_error([&] { itr_recall(sims, image, reals({1}, {1, 1}), 2); }, {"itm_score"});
  expect_error([&] { itr_recall(sims, image, {}, -1); }, {"k_test", "-1"});
}

TEST(CodeSearch, ByHand) {
  const Tensor q = reals({1, 0, 0, 1}, {2, 2}), c = reals({2, 0, 2, 0, 1, 3}, {3, 2});
  CodeSearch m = code_search_mrr(q, c, ints({1, 2}));
  EXPECT_EQ(m.rank, (std::vector<int64_t>{2, 1}));  // its twin has the lower index
  EXPECT_EQ(m.mrr, 0.75);
  EXPECT_EQ(m.r_at_1, 0.5);
  m = code_search_mrr(q, c, ints({1, -1}), 1);
  EXPECT_EQ(m.rank, (std::vector<int64_t>{0, 0}));
  EXPECT_EQ(m.mrr, 0.0);
  expect_error([&] { code_search_mrr(q, c, ints({1, 3})); }, {"answer", "3"});
  expect_error([&] { code_search_mrr(q, reals({1}, {1, 1}), ints({0, 0})); }, {"candidates", "[C, 2]"});
}

TEST(Correlation, ByHand) {
  const std::vector<double> a{1, 2, 2, 4}, b{10, 30, 20, 40};
  EXPECT_EQ(average_ranks(a), (std::vector<double>{1, 2.5, 2.5, 4}));
  EXPECT_NEAR(kendall(a, b), 5 / std::sqrt(5.0 * 6.0), 1e-15);
  EXPECT_NEAR(spearman(a, b), 4.5 / std::sqrt(4.5 * 5.0), 1e-15);
  EXPECT_NEAR(pearson(a, {{2, 4, 4, 8}}), 1.0, 1e-15);
  const std::vector<double> same{1, 1, 1, 1}, one{1};
  expect_error([&] { pearson(a, same); }, {"pearson", "equal"});
  expect_error([&] { kendall(a, one); }, {"kendall", "4", "1"});
  expect_error([&] { spearman(one, one); }, {"spearman", "at least 2"});
}

TEST(Correlation, StsSubsetsAndErrors) {
  const Tensor a = reals({1, 0, 1, 0, 1, 0, 1, 0}, {4, 2}), b = reals({1, 0, 1, 1, 0, 1, 0, 0}, {4, 2});
  const StsSpearman m = sts_spearman(a, b, reals({4, 3, 2, 1}), ints({5, 5, 5, 5}));
  EXPECT_EQ(m.cosine[3], 0.0);  // a zero vector
  EXPECT_NEAR(m.all, 4.5 / std::sqrt(4.5 * 5), 1e-12);
  EXPECT_EQ(m.per_subset, (std::vector<double>{m.all}));
  // Two subsets, 2 before 5: three pairs in perfect order, two in perfect disorder.
  const Tensor x = reals({1, 0, 1, 0, 1, 0, 1, 0, 1, 0}, {5, 2}),
               y = reals({1, 0, 1, 1, 0, 1, 1, 0, 0, 1}, {5, 2});
  const StsSpearman parts = sts_spearman(x, y, reals({3, 2, 1, 1, 2}), ints({5, 5, 5, 2, 2}));
  EXPECT_EQ(parts.per_subset, (std::vector<double>{-1, 1}));
  EXPECT_EQ(parts.mean, 0.0);
  EXPECT_NEAR(parts.wmean, 1.0 / 5, 1e-15);
  expect_error([&] { sts_spearman(a, b, reals({1, 1, 1, 1})); }, {"spearman", "equal"});
  expect_error([&] { sts_spearman(a, b, reals({1, 2})); }, {"gold", "[4]"});
}

TEST(FeaturePrediction, ExactFitsAndErrors) {
  const Tensor z = reals({0, 1, 2, 3}, {4, 1}), f = reals({1, 3, 5, 7}, {4, 1});
  const FeaturePrediction m = feature_prediction_error(z, f, reals({4, 5}, {2, 1}), reals({9, 13}, {2, 1}));
  EXPECT_NEAR(m.weight.item(), 2.0, 1e-12);
  EXPECT_NEAR(m.bias.item(), 1.0, 1e-12);
  EXPECT_NEAR(m.fpe, 2.0, 1e-12);                                         // errors 0 and 2
  EXPECT_NEAR(m.nfpe, 0.5, 1e-12);                                        // variance 4
  EXPECT_LT(feature_prediction_error(z, f, z, f, 5).weight.item(), 1.5);  // 10 / (5 + 5)
  expect_error(
      [&] {
        feature_prediction_error(z, f, z, reals({1, 1, 1, 1}, {4, 1}));
      },
      {"test_f", "constant"});
  expect_error([&] { feature_prediction_error(z, f, z, f, -1); }, {"ridge", "-1"});
  expect_error([&] { feature_prediction_error(z, reals({1}, {1, 1}), z, f); }, {"train_f", "4"});
}

// The mutant of this file: a top-k that breaks ties the other way must show.
TEST(RankMetrics, MutantIsCaught) {
  const Tensor score = reals({1, 1, 1}, {1, 3}), up = ints({1, 0, 0}, {1, 3}), down = ints({0, 0, 1}, {1, 3});
  EXPECT_NE(rank_metrics(score, up, {}).mrr[0], rank_metrics(score, down, {}).mrr[0]);
}

}  // namespace
}  // namespace juxta::test

// Metrics of rankings and correlations.
#include "ssl/eval/correlation.h"
#include "ssl/eval/protocol.h"
#include "ssl/eval/ranking.h"
#include "ssl/eval/readout.h"
#include "ssl/eval/values.h"
#include "ssl/objectives/rows.h"

namespace juxta::ssl {

namespace {

Var list(const std::vector<double>& v) { return Var(tensor_of(v)); }
Var list(const std::vector<int64_t>& v) { return Var(tensor_of(v)); }
Var count(int64_t n) { return Var(Tensor::full({}, static_cast<double>(n), DType::i64)); }
double mean_of(const std::vector<double>& v) {
  double sum = 0;
  for (double x : v) sum += x;
  return sum / static_cast<double>(v.size());
}

Outcome run_rank_metrics(const Inputs& in, Params& f) {
  const auto p = f.read<RankMetricsParams>();
  const RankMetrics m =
      rank_metrics(in.tensor("score"), in.tensor("relevance"), in.optional_tensor("mask"), p);
  Terms out;
  const std::pair<const char*, const std::vector<double>*> all[] = {
      {"ndcg", &m.ndcg},           {"mrr", &m.mrr}, {"map", &m.map}, {"recall", &m.recall},
      {"precision", &m.precision}, {"hit", &m.hit}};
  for (const auto& [name, values] : all) {
    out.emplace_back(name, list(*values));
    out.emplace_back(std::string("mean_") + name, figure(mean_of(*values)));
  }
  return {{}, out};
}

Outcome run_ranking_metrics(const Inputs& in, Params& f) {
  const auto p = f.read<RecommendationParams>();
  const RecommendationMetrics m =
      ranking_metrics(in.tensor("scores"), in.tensor("train"), in.tensor("test"), p);
  const auto users = static_cast<int64_t>(m.users.size());
  return {{},
          {{"recall", list(m.recall)},
           {"ndcg", list(m.ndcg)},
           {"precision", list(m.precision)},
           {"hit_ratio", list(m.hit_ratio)},
           {"topk", Var(tensor_of(m.topk).view({users, -1}))},
           {"users", list(m.users)}}};
}

struct LabelRetrievalParams {
  std::vector<int64_t> k{1, 2, 4, 8};
  void fields(Params& f) { f("k", k); }
};
Outcome run_label_retrieval(const Inputs& in, Params& f) {
  const auto p = f.read<LabelRetrievalParams>();
  const LabelRetrieval m =
      label_retrieval(in.tensor("query"), in.tensor("query_labels"), in.optional_tensor("reference"),
                      in.optional_tensor("reference_labels"), p.k);
  Terms out{{"precision@1", figure(m.precision_at_1)},
            {"r_precision", figure(m.r_precision)},
            {"map@r", figure(m.map_at_r)},
            {"map", figure(m.map)},
            {"mrr", figure(m.mrr)},
            {"num_queries", count(m.queries)}};
  for (size_t j = 0; j < p.k.size(); ++j)
    out.emplace_back("recall@" + std::to_string(p.k[j]), figure(m.recall[j]));
  return {{}, out};
}

struct ItrRecallParams {
  int64_t k_test = 0;
  void fields(Params& f) { f("k_test", k_test); }
};
Outcome run_itr_recall(const Inputs& in, Params& f) {
  const auto p = f.read<ItrRecallParams>();
  const ItrRecall m =
      itr_recall(in.tensor("sims"), in.tensor("txt2img"), in.optional_tensor("itm_score"), p.k_test);
  Terms out{{"rank_text", list(m.rank_text)}, {"rank_image", list(m.rank_image)},
            {"txt_r1", figure(m.txt_r1)},     {"txt_r5", figure(m.txt_r5)},
            {"txt_r10", figure(m.txt_r10)},   {"txt_r_mean", figure(m.txt_r_mean)},
            {"img_r1", figure(m.img_r1)},     {"img_r5", figure(m.img_r5)},
            {"img_r10", figure(m.img_r10)},   {"img_r_mean", figure(m.img_r_mean)},
            {"r_mean", figure(m.r_mean)}};
  if (m.score_i2t.defined()) {
    out.emplace_back("score_i2t", m.score_i2t);
    out.emplace_back("score_t2i", m.score_t2i);
  }
  return {{}, out};
}

struct CodeSearchParams {
  int64_t cutoff = 1000;
  void fields(Params& f) { f("cutoff", cutoff); }
};
Outcome run_code_search(const Inputs& in, Params& f) {
  const auto p = f.read<CodeSearchParams>();
  const CodeSearch m =
      code_search_mrr(in.tensor("queries"), in.tensor("candidates"), in.tensor("answer"), p.cutoff);
  return {{},
          {{"mrr", figure(m.mrr)},
           {"r_at_1", figure(m.r_at_1)},
           {"r_at_5", figure(m.r_at_5)},
           {"r_at_10", figure(m.r_at_10)},
           {"rank", list(m.rank)}}};
}

Outcome run_rank_correlation(const Inputs& in, Params& f) {
  f.read<NoParams>();
  JX_CHECK(in.tensor("a").ndim() == 1 && in.tensor("b").ndim() == 1,
           "rank_correlation: expected a, b [N], got ", in.tensor("a"), " and ", in.tensor("b"));
  const std::vector<double> a = doubles_of("rank_correlation: a", in.tensor("a")),
                            b = doubles_of("rank_correlation: b", in.tensor("b"));
  return {{},
          {{"pearson", figure(pearson(a, b))},
           {"spearman", figure(spearman(a, b))},
           {"kendall", figure(kendall(a, b))},
           {"ranks_a", list(average_ranks(a))}}};
}

Outcome run_sts_spearman(const Inputs& in, Params& f) {
  f.read<NoParams>();
  const StsSpearman m =
      sts_spearman(in.tensor("a"), in.tensor("b"), in.tensor("gold"), in.optional_tensor("subset"));
  return {{},
          {{"cosine", list(m.cosine)},
           {"per_subset", list(m.per_subset)},
           {"all", figure(m.all)},
           {"mean", figure(m.mean)},
           {"wmean", figure(m.wmean)},
           {"pearson_all", figure(m.pearson_all)}}};
}

struct FeaturePredictionParams {
  double ridge = 0;
  void fields(Params& f) { f("ridge", ridge); }
};
Outcome run_feature_prediction(const Inputs& in, Params& f) {
  const auto p = f.read<FeaturePredictionParams>();
  const FeaturePrediction m = feature_prediction_error(in.tensor("train_z"), in.tensor("train_f"),
                                                       in.tensor("test_z"), in.tensor("test_f"), p.ridge);
  return {{},
          {{"W", Var(m.weight)},
           {"b", Var(m.bias)},
           {"mse", list(m.mse)},
           {"fpe", figure(m.fpe)},
           {"nfpe", figure(m.nfpe)}}};
}

Outcome run_knn_weighted(const Inputs& in, Params& f) {
  const auto p = f.read<KnnParams>();
  const KnnResult m = knn_weighted(in.tensor("train"), in.tensor("train_labels"), in.tensor("test"),
                                   in.tensor("test_labels"), p);
  return {{},
          {{"scores", Var(m.scores)},
           {"ranking", Var(m.ranking)},
           {"neighbours", Var(m.neighbours)},
           {"top1", figure(m.top1)},
           {"top5", figure(m.top5)}}};
}

struct LinearProbeParams {
  double l2 = 0.01;
  int64_t num_classes = 0;  // 0: one above the largest label
  void fields(Params& f) { f("l2", l2), f("num_classes", num_classes); }
};
// The convex problem alone, on the features as they are, in double.
Outcome run_linear_probe(const Inputs& in, Params& f) {
  const auto p = f.read<LinearProbeParams>();
  const Tensor train = in.tensor("train").to(DType::f64), test = in.tensor("test").to(DType::f64);
  const Tensor &labels = in.tensor("train_labels"), &wanted = in.tensor("test_labels");
  const SoftmaxRegression m = softmax_regression(
      train, labels, p.num_classes ? p.num_classes : classes_of(labels, wanted), p.l2, 1e-12, 5000);
  const Tensor predicted = m.predict(test);
  return {{},
          {{"weight", Var(m.weight)},
           {"bias", Var(m.bias)},
           {"objective", figure(m.loss)},
           {"prediction", Var(predicted)},
           {"top1", figure(share_equal(predicted, wanted))}}};
}

constexpr InputRow kRanked[] = {
    {"score", "[Q, C]"}, {"relevance", "i64 [Q, C]"}, {"mask", "i64 [Q, C]", true}};
constexpr InputRow kRecommended[] = {{"scores", "[U, I]"}, {"train", "i64 [n, 2]"}, {"test", "i64 [m, 2]"}};
constexpr InputRow kLabelled[] = {{"query", "[N, D]"},
                                  {"query_labels", "i64 [N]"},
                                  {"reference", "[M, D]", true},
                                  {"reference_labels", "i64 [M]", true}};
constexpr InputRow kImageText[] = {{"sims", "[I, T]"}, {"txt2img", "i64 [T]"}, {"itm_score", "[I, T]", true}};
constexpr InputRow kCodeSearch[] = {{"queries", "[Q, D]"}, {"candidates", "[C, D]"}, {"answer", "i64 [Q]"}};
constexpr InputRow kPairs[] = {{"a", "[N]"}, {"b", "[N]"}};
constexpr InputRow kSentences[] = {
    {"a", "[P, D]"}, {"b", "[P, D]"}, {"gold", "[P]"}, {"subset", "i64 [P]", true}};
constexpr InputRow kReadout[] = {
    {"train_z", "[n, D]"}, {"train_f", "[n, F]"}, {"test_z", "[m, D]"}, {"test_f", "[m, F]"}};
constexpr InputRow kSplit[] = {
    {"train", "[n, D]"}, {"train_labels", "i64 [n]"}, {"test", "[m, D]"}, {"test_labels", "i64 [m]"}};

constexpr Objective kRows[] = {
    {"knn_weighted", "evaluation", "Wu et al. 2018, arXiv 1805.01978",
     "score of class c = sum over the k nearest with label c of exp(cos / temperature), or of 1",
     Kind::metric, Across::local, kSplit, list_params<KnnParams>, run_knn_weighted},
    {"linear_probe", "evaluation", "multinomial logistic regression",
     "min over W, b of mean_i CE(W x_i + b, y_i) + l2/2 |W|^2", Kind::metric, Across::local, kSplit,
     list_params<LinearProbeParams>, run_linear_probe},
    {"rank_metrics", "re-ranking", "Jarvelin & Kekalainen 2002, doi 10.1145/582415.582418",
     "NDCG@k, MRR@k, MAP@k, recall, precision and hit rate of ranked candidates", Kind::metric, Across::local,
     kRanked, list_params<RankMetricsParams>, run_rank_metrics},
    {"ranking_metrics", "recommendation",
     "He et al. 2020, arXiv 2002.02126; Yu et al. 2022, arXiv 2209.02544",
     "recall, NDCG, precision and hit ratio at k over all items but the user's training items", Kind::metric,
     Across::local, kRecommended, list_params<RecommendationParams>, run_ranking_metrics},
    {"label_retrieval", "metric learning", "Musgrave et al. 2020, arXiv 2003.08505",
     "recall@k, precision@1, R-precision, MAP@R, MAP and MRR by class label", Kind::metric, Across::local,
     kLabelled, list_params<LabelRetrievalParams>, run_label_retrieval},
    {"itr_recall", "ALBEF", "Li et al. 2021, arXiv 2107.07651",
     "recall at 1, 5, 10 of captions for images and images for captions, in percent; optional re-ranking",
     Kind::metric, Across::local, kImageText, list_params<ItrRecallParams>, run_itr_recall},
    {"code_search_mrr", "CoCoSoDa", "Shi et al. 2022, arXiv 2204.03293",
     "mean of 1 / rank of the right candidate by dot product; recall at 1, 5, 10", Kind::metric,
     Across::local, kCodeSearch, list_params<CodeSearchParams>, run_code_search},
    {"rank_correlation", "all", "Spearman 1904; Kendall 1945",
     "Pearson; Spearman = Pearson of average ranks; tau-b = (C - D) / sqrt((n0 - ties a)(n0 - ties b))",
     Kind::metric, Across::local, kPairs, list_params<NoParams>, run_rank_correlation},
    {"sts_spearman", "ESimCSE", "Conneau & Kiela 2018, arXiv 1803.05449",
     "Spearman of cosines and gold scores, over all pairs and over subsets", Kind::metric, Across::local,
     kSentences, list_params<NoParams>, run_sts_spearman},
    {"feature_prediction_error", "SIRL", "Bobu et al. 2023, arXiv 2301.00810",
     "least squares f ~ W z + b on training rows; mean squared error on test rows, also over the variance",
     Kind::metric, Across::local, kReadout, list_params<FeaturePredictionParams>, run_feature_prediction},
};

}  // namespace

std::span<const Objective> ranking_rows() { return kRows; }

}  // namespace juxta::ssl

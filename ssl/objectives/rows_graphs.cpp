#include "autograd/ops.h"
#include "nn/graph.h"
#include "ssl/data/metapath.h"
#include "ssl/losses/graphs.h"
#include "ssl/losses/recommendation.h"
#include "ssl/objectives/rows.h"

namespace juxta::ssl {

namespace {

constexpr InputRow kMeow[] = {{"anchor", "[N, D]"},
                              {"other", "[N, D]"},
                              {"assign", "i64 [R, N]"},
                              {"proto#", "[K, D]"},
                              {"density#", "[K]"}};
constexpr InputRow kAdameow[] = {{"anchor", "[N, D]"}, {"other", "[N, D]"}, {"W1", "[H, D]"},
                                 {"b1", "[H]"},        {"W2", "[1, H]"},    {"b2", "[1]"}};
constexpr InputRow kEncoder[] = {{"target", "[N, F]"},
                                 {"adj", "[N, N]"},
                                 {"W1", "[F, D]"},
                                 {"W2", "[D, E]"},
                                 {"prelu", "[1]"},
                                 {"context", "[M, F]", true},
                                 {"context_adj", "[N, M]", true},
                                 {"Wagg", "[F, F]", true},
                                 {"cotangent", "[N, E]"}};
constexpr InputRow kCommuting[] = {{"commuting", "i64 [N, N]"}};
constexpr InputRow kViews[] = {
    {"views", "[V, N, D]"}, {"W", "[H, D]"}, {"b", "[H]"}, {"a", "[H]"}, {"cotangent", "[N, D]"}};
constexpr InputRow kBpr[] = {{"user", "[N, D]"}, {"pos", "[N, D]"}, {"neg", "[N, D]"}};
constexpr InputRow kLightgcn[] = {{"user_emb", "[U, D]"},  {"item_emb", "[I, D]"}, {"edges", "i64 [E, 2]"},
                                  {"user_idx", "i64 [N]"}, {"pos_idx", "i64 [N]"}, {"neg_idx", "i64 [N]"}};
constexpr InputRow kSimgcl[] = {{"user_emb", "[U, D]"},
                                {"item_emb", "[I, D]"},
                                {"edges", "i64 [E, 2]"},
                                {"noise1", "[L, U + I, D]", true},
                                {"noise2", "[L, U + I, D]", true},
                                {"user_idx", "i64 [N]"},
                                {"pos_idx", "i64 [N]"},
                                {"neg_idx", "i64 [N]"}};
constexpr InputRow kXsimgcl[] = {{"user_emb", "[U, D]"},  {"item_emb", "[I, D]"},
                                 {"edges", "i64 [E, 2]"}, {"noise", "[L, U + I, D]", true},
                                 {"user_idx", "i64 [N]"}, {"pos_idx", "i64 [N]"},
                                 {"neg_idx", "i64 [N]"}};

Outcome run_meow(const Inputs& in, Params& f) {
  const auto p = f.read<MeowParams>();
  const std::vector<Tensor> centroids = in.numbered_tensors("proto"),
                            density = in.numbered_tensors("density");
  JX_CHECK(centroids.size() == density.size(), "meow_contrast: density: expected one per proto (",
           centroids.size(), "), got ", density.size());
  std::vector<MeowClustering> clusterings;
  for (size_t r = 0; r < centroids.size(); ++r) clusterings.push_back({centroids[r], density[r]});
  return meow_contrast(in["anchor"], in["other"], in.tensor("assign"), clusterings, p);
}

Outcome run_adameow(const Inputs& in, Params& f) {
  const WeightNet net{in["W1"], in["b1"], in["W2"], in["b2"]};
  Outcome out = adameow_contrast(in["anchor"], in["other"], net, f.read<AdameowParams>());
  out.terms.emplace_back("weights", Var(adameow_weights(in["anchor"], in["other"], net)));
  return out;
}

struct EncoderParams {
  bool use_context = true;
  void fields(Params& f) { f("use_context", use_context); }
};
Outcome run_encoder(const Inputs& in, Params& f) {
  Var h = in["target"];
  if (f.read<EncoderParams>().use_context) {
    const nn::MetapathContext context{in["context"], in.tensor("context_adj"), in["Wagg"]};
    h = nn::add_metapath_context(h, {&context, 1});
  }
  const Var out =
      nn::meow_encode(h, SparseMatrix::from_dense(in.tensor("adj")), {in["W1"], in["W2"], in["prelu"]});
  return {sum(mul(out, stop_gradient(in["cotangent"]))), {{"out", out}}};
}

struct PathsimParams {
  int64_t k = 10;
  void fields(Params& f) { f("k", k); }
};
Outcome run_pathsim(const Inputs& in, Params& f) {
  const MetapathGraph g = metapath_pathsim(in.tensor("commuting"), f.read<PathsimParams>().k);
  return {{}, {{"score", Var(g.score)}, {"top", Var(g.top)}, {"norm", Var(g.normalized)}}};
}

Outcome run_semantic_attention(const Inputs& in, Params& f) {
  f.read<NoParams>();
  const nn::SemanticAttention s = nn::semantic_attention(in["views"], in["W"], in["b"], in["a"]);
  return {sum(mul(s.out, stop_gradient(in["cotangent"]))), {{"out", s.out}, {"beta", s.beta}}};
}

RecommendationGraph graph_of(const Inputs& in) {
  return {in["user_emb"], in["item_emb"], in.tensor("edges")};
}
RecommendationBatch batch_of(const Inputs& in) {
  return {in.tensor("user_idx"), in.tensor("pos_idx"), in.tensor("neg_idx")};
}

constexpr const char* kMeowPaper = "Yu et al. 2023, arXiv 2212.13847";

constexpr Objective kRows[] = {
    {"meow_contrast", "MEOW", kMeowPaper,
     "L = mean_i -log [ e^{a_i.o_i/t} / sum_j w_ij e^{a_i.o_j/t} ] + lambda L_proto,  w_ij = clusterings "
     "that "
     "part i and j",
     Kind::loss, Across::negatives, kMeow, list_params<MeowParams>, run_meow},
    {"adameow_contrast", "AdaMEOW", kMeowPaper,
     "L = mean_i -log [ e^{a_i.o_i/t} / sum_j w_ij e^{a_i.o_j/t} ],  w = sigmoid(MLP(a_i + o_j))", Kind::loss,
     Across::negatives, kAdameow, list_params<AdameowParams>, run_adameow},
    {"meow_encoder", "MEOW", kMeowPaper, "LN(A PReLU(A X W1) W2),  X = ELU(h + W_agg mean of context)",
     Kind::layer, Across::local, kEncoder, list_params<EncoderParams>, run_encoder},
    {"metapath_pathsim", "MEOW", "Sun et al. 2011; Yu et al. 2023, arXiv 2212.13847",
     "score_ij = 2 C_ij / (C_ii + C_jj); the k best per row; D^-1/2 top^T D^-1/2", Kind::rule, Across::local,
     kCommuting, list_params<PathsimParams>, run_pathsim},
    {"semantic_attention", "MEOW", "Wang et al. 2019, arXiv 1903.07293",
     "out = sum_v beta_v z_v,  beta = softmax_v( a . mean_i tanh(W z_vi + b) )", Kind::layer, Across::local,
     kViews, list_params<NoParams>, run_semantic_attention},
    {"bpr_loss", "BPR", "Rendle et al. 2009, arXiv 1205.2618",
     "L = mean_b -log( eps + sigmoid(u.p - u.n) ) + reg (|U|_F + |P|_F) / B", Kind::loss, Across::local, kBpr,
     list_params<BprParams>,
     [](const Inputs& in, Params& f) {
       return bpr_loss(in["user"], in["pos"], in["neg"], f.read<BprParams>());
     }},
    {"lightgcn_bpr", "LightGCN", "He et al. 2020, arXiv 2002.02126",
     "BPR on mean(E_0 .. E_L),  E_l = D^-1/2 A D^-1/2 E_{l-1}", Kind::loss, Across::local, kLightgcn,
     list_params<LightgcnParams>,
     [](const Inputs& in, Params& f) {
       return lightgcn_bpr(graph_of(in), batch_of(in), f.read<LightgcnParams>());
     }},
    {"simgcl", "SimGCL", "Yu et al. 2022, arXiv 2112.08679",
     "L = BPR + reg + lambda ( nce(users) + nce(items) ) between two passes with noise", Kind::loss,
     Across::negatives, kSimgcl, list_params<SimgclParams>,
     [](const Inputs& in, Params& f) {
       return simgcl(graph_of(in), in.optional_tensor("noise1"), in.optional_tensor("noise2"), batch_of(in),
                     f.read<SimgclParams>());
     }},
    {"xsimgcl", "XSimGCL", "Yu et al. 2023, arXiv 2209.02544",
     "L = BPR + reg + lambda ( nce(users) + nce(items) ) between mean(E_1 .. E_L) and E_l*", Kind::loss,
     Across::negatives, kXsimgcl, list_params<XsimgclParams>,
     [](const Inputs& in, Params& f) {
       return xsimgcl(graph_of(in), in.optional_tensor("noise"), batch_of(in), f.read<XsimgclParams>());
     }},
};

}  // namespace

std::span<const Objective> graphs_rows() { return kRows; }

}  // namespace juxta::ssl

#include "autograd/ops.h"
#include "nn/graph.h"
#include "nn/moments.h"
#include "ssl/eval/grounding.h"
#include "ssl/losses/grounding.h"
#include "ssl/losses/video.h"
#include "ssl/objectives/rows.h"
#include "ssl/views/background.h"

namespace juxta::ssl {

namespace {

constexpr InputRow kComix[] = {
    {"src_fast", "[N, C]"},     {"src_slow", "[N, C]"},     {"src_mix_fast", "[N, C]"},
    {"src_mix_slow", "[N, C]"}, {"tgt_fast", "[N, C]"},     {"tgt_slow", "[N, C]"},
    {"tgt_mix_fast", "[N, C]"}, {"tgt_mix_slow", "[N, C]"}, {"labels", "i64 [N]"}};
constexpr InputRow kBackground[] = {{"video", "[F, C, H, W]", true},
                                    {"clips", "[B, K, C, F, H, W]", true},
                                    {"bg", "[B, C, 1, H, W]", true},
                                    {"u", "[S]", true}};
constexpr InputRow kTemporalGraph[] = {
    {"x", "[B, K, D]"}, {"W1", "[D, E]"}, {"b1", "[E]"},    {"P1", "[D, D]"},       {"Q1", "[D, D]"},
    {"W2", "[E, E]"},   {"b2", "[E]"},    {"P2", "[E, E]"}, {"Q2", "[E, E]"},       {"W3", "[E, C]"},
    {"b3", "[C]"},      {"P3", "[E, E]"}, {"Q3", "[E, E]"}, {"cotangent", "[B, C]"}};
constexpr InputRow kGeodesic[] = {{"feats", "[N, C]"}, {"anchors", "i64 [Q]"}};
constexpr InputRow kG2l[] = {{"feats", "[B, N, C]"},  {"feats_iou", "[B, N, C]"}, {"sents", "[S, C]"},
                             {"sents_iou", "[S, C]"}, {"video", "i64 [S]"},       {"iou", "[S, N]"},
                             {"sent_iou", "[S, S]"},  {"geo", "[S, N]"}};
constexpr InputRow kShapley[] = {{"moments", "[M, C]"}, {"sents", "[N, C]"}};
constexpr InputRow kClips[] = {{"x", "[D, N]"}};
constexpr InputRow kMetrics[] = {
    {"contrastive", "[S, N, N]"}, {"iou_score", "[S, N, N]"}, {"mask", "i64 [N, N]"}, {"gt", "[S, 2]"}};

Outcome run_comix(const Inputs& in, Params& f) {
  const auto domain = [&](const std::string& name) {
    return ComixLogits{in[name + "_fast"], in[name + "_slow"], in[name + "_mix_fast"],
                       in[name + "_mix_slow"]};
  };
  return comix(domain("src"), domain("tgt"), in.tensor("labels"), f.read<ComixParams>());
}

enum class BackgroundOp { median, mix, slow };
struct BackgroundParams {
  BackgroundOp op = BackgroundOp::mix;
  double gamma = 0.5;
  int64_t clips = 16, slow = 4;
  void fields(Params& f) {
    f("op", op, {"median", "mix", "slow"}), f("gamma", gamma), f("clips", clips), f("slow", slow);
  }
};
// Channels stand before frames, height and width in files.
Outcome run_background(const Inputs& in, Params& f) {
  constexpr const char* kRow = "background_mix";
  const auto p = f.read<BackgroundParams>();
  if (p.op == BackgroundOp::median) {
    const Tensor& video = in.tensor("video");
    JX_CHECK(video.ndim() == 4, kRow, ": video: expected [F, C, H, W], got ", video);
    return {{}, {{"background", Var(median_background(video.permute({0, 2, 3, 1})).permute({2, 0, 1}))}}};
  }
  if (p.op == BackgroundOp::mix) {
    const Tensor &clips = in.tensor("clips"), &bg = in.tensor("bg");
    JX_CHECK(clips.ndim() == 6 && bg.ndim() == 5 && bg.size(2) == 1, kRow,
             ": clips, bg: expected [B, K, C, F, H, W] and [B, C, 1, H, W], got ", clips, " and ", bg);
    const Tensor mixed =
        mix_background(clips.permute({0, 1, 3, 4, 5, 2}), bg.squeeze(2).permute({0, 2, 3, 1}), p.gamma);
    return {{}, {{"mixed", Var(mixed.permute({0, 1, 5, 2, 3, 4}))}}};
  }
  const Tensor u = in.tensor("u").to(DType::f64).contiguous();
  JX_CHECK(u.numel() == p.slow, kRow, ": u: expected ", p.slow, " numbers (slow), got ", u);
  const std::vector<int64_t> pick =
      slow_clips(p.clips, std::vector<double>(u.data<double>(), u.data<double>() + u.numel()));
  return {{}, {{"pick", Var(Tensor::from(std::span<const int64_t>(pick), {u.numel()}))}}};
}

Outcome run_temporal_graph(const Inputs& in, Params& f) {
  f.read<NoParams>();
  std::vector<nn::TemporalGraphLayer> layers;
  for (const std::string l : {"1", "2", "3"})
    layers.push_back({in["W" + l], in["b" + l], in["P" + l], in["Q" + l]});
  const Var logits = nn::temporal_graph(in["x"], layers);
  return {sum(mul(logits, stop_gradient(in["cotangent"]))), {{"logits", logits}}};
}

struct GeodesicParams {
  int64_t k = 5;
  double limit = 0.5;
  void fields(Params& f) { f("k", k), f("limit", limit); }
};
Outcome run_geodesic(const Inputs& in, Params& f) {
  const auto p = f.read<GeodesicParams>();
  return {{}, {{"similarity", Var(g2l_geodesic(in.tensor("feats"), in.tensor("anchors"), p.k, p.limit))}}};
}

Outcome run_g2l(const Inputs& in, Params& f) {
  return g2l_losses({in["feats"], in["feats_iou"], in["sents"], in["sents_iou"], in.tensor("video"),
                     in.tensor("iou"), in.tensor("sent_iou"), in.tensor("geo")},
                    f.read<G2lParams>());
}

struct MomentMapParams {
  std::vector<int64_t> counts{15, 8, 8};
  void fields(Params& f) { f("counts", counts); }
};
Outcome run_moment_map(const Inputs& in, Params& f) {
  const auto p = f.read<MomentMapParams>();
  JX_CHECK(in["x"].ndim() == 2, "moment_map2d: x: expected [D, N], got ", in["x"]);
  const nn::MomentMap m = nn::moment_map(transpose(in["x"], 0, 1), p.counts);
  return {{}, {{"map", m.map}, {"mask", Var(m.mask)}}};
}
constexpr const char* kMapOutputs[] = {"map"};

Outcome run_metrics(const Inputs& in, Params& f) {
  const GroundingMetrics m =
      grounding_metrics(in.tensor("contrastive"), in.tensor("iou_score"), in.tensor("mask"), in.tensor("gt"),
                        f.read<GroundingMetricsParams>());
  return {{}, {{"best", Var(m.best)}, {"recall", Var(m.recall)}}};
}

constexpr const char* kComixPaper = "Sahoo et al. 2021, arXiv 2110.15128";
constexpr const char* kG2lPaper = "Li et al. 2023, arXiv 2307.14277";

constexpr Objective kRows[] = {
    {"comix", "CoMix", kComixPaper,
     "L = CE + lambda_bgm sum_domains SupCon(4 views, video) + lambda_tpl SupCon(kept targets, pseudo-label)",
     Kind::loss, Across::negatives, kComix, list_params<ComixParams>, run_comix},
    {"background_mix", "CoMix", kComixPaper,
     "temporal median; (1 - gamma) clip + gamma background; one clip per run", Kind::rule, Across::local,
     kBackground, list_params<BackgroundParams>, run_background},
    {"temporal_graph", "CoMix", kComixPaper, "y = softmax_i(<P x_i, Q x_j>) (x W) + b, three layers, mean",
     Kind::layer, Across::local, kTemporalGraph, list_params<NoParams>, run_temporal_graph},
    {"g2l_geodesic", "G2L", kG2lPaper, "1 - shortest path in the kNN graph with edge cost 1 - cos",
     Kind::rule, Across::local, kGeodesic, list_params<GeodesicParams>, run_geodesic},
    {"g2l_losses", "G2L", kG2lPaper,
     "L = w_iou BCE(IoU) + w_con (moment -> sentences + sentence -> moments by "
     "geodesic weight)",
     Kind::loss, Across::negatives, kG2l, list_params<G2lParams>, run_g2l},
    {"g2l_shapley", "G2L", kG2lPaper, "L = -mean_j sum_i softmax_i(X_ij/t_i) log softmax_i(cos(s_j, m_i)/t)",
     Kind::loss, Across::local, kShapley, list_params<ShapleyParams>,
     [](const Inputs& in, Params& f) {
       return g2l_shapley(in["moments"], in["sents"], f.read<ShapleyParams>());
     }},
    {"moment_map2d", "G2L", "Zhang et al. 2020, arXiv 1912.03590",
     "map_ij = max of clips i .. j, sparse i, j", Kind::layer, Across::local, kClips,
     list_params<MomentMapParams>, run_moment_map, kMapOutputs},
    {"grounding_metrics", "G2L", kG2lPaper, "score (c/2 + 1/2)^power s; NMS; R@n at IoU > m", Kind::metric,
     Across::local, kMetrics, list_params<GroundingMetricsParams>, run_metrics},
};

}  // namespace

std::span<const Objective> video_rows() { return kRows; }

}  // namespace juxta::ssl

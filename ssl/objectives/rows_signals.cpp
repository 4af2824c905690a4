// Biosignals, experts and gates between classes.
#include "autograd/ops.h"
#include "nn/class_gate.h"
#include "nn/expert_fusion.h"
#include "nn/mbconv1d.h"
#include "ssl/losses/biosignal.h"
#include "ssl/losses/class_pairs.h"
#include "ssl/losses/experts.h"
#include "ssl/objectives/rows.h"
#include "ssl/views/timeseries.h"

namespace juxta::ssl {

namespace {

constexpr InputRow kBiosignal[] = {{"student1", "[N, D]"},
                                   {"student2", "[N, D]"},
                                   {"teacher1", "[N, D]"},
                                   {"teacher2", "[N, D]"},
                                   {"pid", "i64 [N]"}};
constexpr InputRow kMbConv[] = {{"x", "[N, C, T]"},     {"cotangent", "[N, O, S]"},
                                {"W0", "[E, C]", true}, {"g0", "[E]", true},
                                {"b0", "[E]", true},    {"Wd", "[E, K]"},
                                {"g1", "[E]"},          {"b1", "[E]"},
                                {"Wr", "[R, E]"},       {"br", "[R]"},
                                {"We", "[E, R]"},       {"be", "[E]"},
                                {"Wp", "[O, E]"},       {"g2", "[O]"},
                                {"b2", "[O]"}};
constexpr InputRow kSeries[] = {{"x", "[T, C]"},
                                {"knots", "[K, .]", true},
                                {"magnitude_knots", "[K, .]", true},
                                {"time_knots", "[K, C]", true},
                                {"noise", "[T, C]", true},
                                {"perm", "i64 [C]", true}};
constexpr InputRow kFusion[] = {{"x", "[E, N, L, D]"}, {"base", "[N, L, D]"},     {"gate_w", "[E, D]"},
                                {"gate_b", "[E]"},     {"keep", "i64 [N]", true}, {"probe", "[N, L, D]"}};
constexpr InputRow kPrealign[] = {
    {"expert", "[E, N, D]"}, {"anchor_m", "[N, D]"}, {"stage_weight", "[E]"}, {"queue", "[Q, D]", true}};
constexpr InputRow kHydra[] = {{"z1", "[B, D]"},  {"z2", "[N, D]"},  {"gate", "[B, D]"},
                               {"y1", "i64 [B]"}, {"y2", "i64 [B]"}, {"yc", "i64 [N]"}};
constexpr InputRow kClassGate[] = {{"embedding", "[C, E]"}, {"w1", "[H, E]"},  {"b1", "[H]"},
                                   {"w2", "[D, H]"},        {"b2", "[D]"},     {"s0", "[E]"},
                                   {"t0", "[E]"},           {"s1", "[H]"},     {"t1", "[H]"},
                                   {"y1", "i64 [B]"},       {"y2", "i64 [B]"}, {"probe", "[B, D]"}};

// What stands for the rest of the network behind a layer: sum of its output times a constant.
Var probed(const char* name, const Var& out, const Inputs& in, const char* input) {
  const Var& probe = in[input];
  JX_CHECK(probe.dims() == out.dims() && probe.dtype() == out.dtype(), name, ": ", input, ": expected ",
           out.dtype(), " ", out.dims(), " like the output, got ", probe);
  return sum(mul(out, stop_gradient(probe)));
}

struct MbConvParams {
  nn::MbConv1dOptions options;
  void fields(Params& f) {
    f("kernel", options.kernel), f("stride", options.stride), f("expansion", options.expansion);
  }
};
Outcome run_mbconv1d(const Inputs& in, Params& f) {
  const auto p = f.read<MbConvParams>();
  JX_CHECK(in["x"].ndim() == 3, "mbconv1d: x: expected [N, C, T], got ", in["x"]);
  nn::MbConv1dWeights w{.expand = in.optional("W0"),
                        .expand_norm = {in.optional("g0"), in.optional("b0")},
                        .depthwise = in["Wd"],
                        .depthwise_norm = {in["g1"], in["b1"]},
                        .squeeze = in["Wr"],
                        .squeeze_bias = in["br"],
                        .excite = in["We"],
                        .excite_bias = in["be"],
                        .project = in["Wp"],
                        .project_norm = {in["g2"], in["b2"]}};
  const Var out = transpose(nn::mbconv1d(transpose(in["x"], 1, 2), w, p.options, true), 1, 2);
  return {probed("mbconv1d", out, in, "cotangent"), {{"out", out}}};
}

enum class SeriesOp { cut_out, magnitude_warp, time_warp, gaussian_noise, channel_permute, zscore, cascade };
struct SeriesParams {
  SeriesOp op = SeriesOp::cascade;
  int64_t start = 0, length = 0;
  double sigma = 0;
  std::vector<int64_t> apply;
  void fields(Params& f) {
    f("op", op,
      {"cut_out", "magnitude_warp", "time_warp", "gaussian_noise", "channel_permute", "zscore", "cascade"});
    f("start", start), f("length", length), f("sigma", sigma), f("apply", apply);
  }
};
Tensor augmented(const Inputs& in, const SeriesParams& p) {
  const Tensor& x = in.tensor("x");
  switch (p.op) {
    case SeriesOp::cut_out:
      return cut_out(x, p.start, p.length);
    case SeriesOp::magnitude_warp:
      return magnitude_warp(x, in.tensor("knots"));
    case SeriesOp::time_warp:
      return time_warp(x, in.tensor("knots"));
    case SeriesOp::gaussian_noise:
      return add_noise(x, in.tensor("noise"), p.sigma);
    case SeriesOp::channel_permute:
      return permute_channels(x, in.tensor("perm"));
    case SeriesOp::zscore:
      return zscore(x);
    case SeriesOp::cascade:
      break;
  }
  Cascade c;
  JX_CHECK(p.apply.size() == c.apply.size(), "timeseries_augment: apply: expected ", c.apply.size(),
           " flags, one per rule, got ", p.apply.size());
  for (size_t i = 0; i < c.apply.size(); ++i) {
    JX_CHECK(p.apply[i] == 0 || p.apply[i] == 1, "timeseries_augment: apply: expected 0 or 1, got ",
             p.apply[i]);
    c.apply[i] = p.apply[i] == 1;
  }
  c.start = p.start, c.length = p.length, c.sigma = p.sigma;
  c.magnitude_knots = in.optional_tensor("magnitude_knots");
  c.time_knots = in.optional_tensor("time_knots");
  c.noise = in.optional_tensor("noise");
  c.order = in.optional_tensor("perm");
  return apply_cascade(x, c);
}

struct FusionParams {
  nn::ExpertFusionOptions options;
  double balance_weight = 0.01;
  bool training = true;
  void fields(Params& f) {
    f("probability", options.probability), f("temperature", options.temperature);
    f("balance_weight", balance_weight), f("training", training);
  }
};
Outcome run_fusion(const Inputs& in, Params& f) {
  const auto p = f.read<FusionParams>();
  const nn::ExpertFusion r = nn::expert_fusion(in["x"], in["base"], in["gate_w"], in["gate_b"],
                                               in.optional_tensor("keep"), p.options, p.training);
  return {add(probed("astrea_fusion", r.out, in, "probe"), affine(r.balance, p.balance_weight, 0.0)),
          {{"out", r.out}, {"weights", r.weights}, {"balance", r.balance}}};
}

struct ClassGateParams {
  bool fuse = true;
  void fields(Params& f) { f("fuse", fuse); }
};
Outcome run_class_gate(const Inputs& in, Params& f) {
  const nn::ClassGateWeights w{.embedding = in["embedding"],
                               .scale0 = in["s0"],
                               .shift0 = in["t0"],
                               .w1 = in["w1"],
                               .b1 = in["b1"],
                               .scale1 = in["s1"],
                               .shift1 = in["t1"],
                               .w2 = in["w2"],
                               .b2 = in["b2"]};
  nn::ClassGateState state;
  const auto start = [](BatchNormState& s, const Var& scale) {
    s.running_mean = Tensor::zeros(scale.dims(), scale.dtype());
    s.running_var = Tensor::full(scale.dims(), 1, scale.dtype());
  };
  start(state.input, w.scale0);
  start(state.hidden, w.scale1);
  const Var gate =
      nn::class_gate(in.tensor("y1"), in.tensor("y2"), w, f.read<ClassGateParams>().fuse, state, true);
  const nn::GateFigures figures = nn::gate_figures(gate);
  return {probed("hydra_gate", gate, in, "probe"),
          {{"gate", gate},
           {"activation", figures.activation},
           {"entropy", figures.entropy},
           {"running0.mean", Var(state.input.running_mean)},
           {"running0.var", Var(state.input.running_var)},
           {"running1.mean", Var(state.hidden.running_mean)},
           {"running1.var", Var(state.hidden.running_var)}}};
}

constexpr const char* kWearables = "Abbaspourazad et al. 2024, arXiv 2312.05409";
constexpr const char* kAstrea = "Yang et al. 2025, arXiv 2503.09445";
constexpr const char* kHydraPaper = "Wu et al. 2024, arXiv 2410.18200";

constexpr Objective kRows[] = {
    {"biosignal_nce_koleo", "wearable biosignals", kWearables,
     "L = 1/2 sum over views [ lambda_sim nce(s, t) + gamma 1/2 (koleo(s) + koleo(t)) ]", Kind::loss,
     Across::negatives, kBiosignal, list_params<BiosignalParams>,
     [](const Inputs& in, Params& f) {
       return biosignal_nce_koleo(in["student1"], in["student2"], in["teacher1"], in["teacher2"],
                                  in.tensor("pid"), f.read<BiosignalParams>());
     }},
    {"mbconv1d", "wearable biosignals", kWearables,
     "y = BN(Wp (h sigmoid(We swish(Wr mean_t h)))) + x,  h = swish(BN(depthwise(swish(BN(W0 x)))))",
     Kind::layer, Across::statistics, kMbConv, list_params<MbConvParams>, run_mbconv1d},
    {"timeseries_augment", "wearable biosignals", kWearables,
     "cut-out, magnitude and time warp by cubic splines, noise, channel permutation", Kind::rule,
     Across::local, kSeries, list_params<SeriesParams>,
     [](const Inputs& in, Params& f) -> Outcome {
       return {{}, {{"y", Var(augmented(in, f.read<SeriesParams>()))}}};
     }},
    {"astrea_fusion", "Astrea", kAstrea,
     "out = sum_e w_e x_e + b base,  w = softmax(G mean x / T);  balance = E sum_e f_e P_e", Kind::layer,
     Across::local, kFusion, list_params<FusionParams>, run_fusion},
    {"astrea_prealign", "Astrea", kAstrea, "L = sum_e s_e mean_i CE(z_ei [a; Q]^T / t, i) / sum_e s_e",
     Kind::loss, Across::negatives, kPrealign, list_params<AstreaPrealignParams>,
     [](const Inputs& in, Params& f) {
       return astrea_prealign(in["expert"], in["anchor_m"], in.tensor("stage_weight"), in.optional("queue"),
                              f.read<AstreaPrealignParams>());
     }},
    {"hydra", "Hydra, SimLAP", kHydraPaper,
     "l_bn = log( e^{c_bn/t} + sum_{m negative} e^{c_bm/t} ) - c_bn/t,  c_bn = cos(g_b z1_b, g_b z2_n)",
     Kind::loss, Across::negatives, kHydra, list_params<HydraParams>,
     [](const Inputs& in, Params& f) {
       return hydra(in["z1"], in["z2"], in["gate"], in.tensor("y1"), in.tensor("y2"), in.tensor("yc"),
                    f.read<HydraParams>());
     }},
    {"hydra_gate", "Hydra, SimLAP", kHydraPaper, "g = sigmoid(MLP( (E[y1] + E[y2]) / 2 ))", Kind::layer,
     Across::statistics, kClassGate, list_params<ClassGateParams>, run_class_gate},
};

}  // namespace

std::span<const Objective> signals_rows() { return kRows; }

}  // namespace juxta::ssl

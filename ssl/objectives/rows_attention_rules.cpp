// Momentum inside attention, attention as learning, local learning, attacks, transport of prototypes, masked
// contrast.
#include <map>

#include "autograd/ops.h"
#include "nn/rotary.h"
#include "ssl/eval/attack.h"
#include "ssl/eval/attention_duality.h"
#include "ssl/eval/transport.h"
#include "ssl/losses/masked_contrast.h"
#include "ssl/objectives/rows.h"
#include "ssl/optim/optimizer.h"
#include "ssl/train/local.h"

namespace juxta::ssl {

namespace {

constexpr InputRow kDual[] = {{"wq", "[E, D]"},   {"wk", "[E, D]"},     {"wv", "[E, D]"},
                              {"demo", "[M, D]"}, {"seen", "[S, D]"},   {"x", "[D]"},
                              {"w0", "[O, D]"},   {"inputs", "[T, D]"}, {"grads", "[T, O]"}};
constexpr InputRow kMomentumAttention[] = {{"q", "[B, H, T, D]"},
                                           {"k", "[B, H, T, D]"},
                                           {"v", "[B, H, T, D]"},
                                           {"eta", "[1 or H]"},
                                           {"weight", "[B, H, T, D]"}};
constexpr InputRow kKinematicAttention[] = {{"q", "[B, H, T, D]"},
                                            {"k", "[B, H, T, D]"},
                                            {"v", "[B, H, T, D]"},
                                            {"gamma", "[1 or H]"},
                                            {"weight", "[B, H, T, D]"}};
constexpr InputRow kFilter[] = {{"gamma", "[G]"}, {"omega", "[W]"}, {"x", "[T, C]"}, {"layers", "i64 [N]"}};
constexpr InputRow kMan[] = {
    {"x", "[N, D]"},      {"y", "i64 [N]"},  {"layer#.w", "[., .]"}, {"layer#.b", "[.]"},
    {"head.w", "[C, E]"}, {"head.b", "[C]"}, {"lb#.w", "[E, E]"},    {"lb#.b", "[E]"},
    {"ema#.w", "[E, E]"}, {"ema#.b", "[E]"}, {"dec#.w", "[D, E]"},   {"dec#.b", "[D]"},
    {"aux#.w", "[A, E]"}, {"aux#.b", "[A]"}, {"out#.w", "[C, A]"},   {"out#.b", "[C]"}};
constexpr InputRow kAttack[] = {{"x", "[N, D]"}, {"y", "i64 [N]"}, {"w1", "[H, D]"},
                                {"b1", "[H]"},   {"w2", "[C, H]"}, {"b2", "[C]"}};
constexpr InputRow kOpta[] = {{"support", "[C, S, D]"}, {"queries", "[Q, D]"}};
constexpr InputRow kMmc[] = {{"recon", "[2N, L, P]"},   {"target", "[2N, L, P]"},  {"mask", "i64 [2N, L]"},
                             {"s_patch", "[2N, L, K]"}, {"t_patch", "[2N, L, K]"}, {"center", "[K]"},
                             {"q", "[2N, D]"},          {"k", "[2N, D]"}};

// Equal tensors as one with a leading axis.
Tensor stacked(const std::vector<Tensor>& parts) {
  Dims dims{static_cast<int64_t>(parts.size())};
  for (const int64_t d : parts.at(0).dims()) dims.push_back(d);
  Tensor out = Tensor::empty(dims, parts[0].dtype());
  for (size_t i = 0; i < parts.size(); ++i)
    out.select(0, static_cast<int64_t>(i)).copy_from(parts[i], "objectives");
  return out;
}

struct DualParams {
  double lr = 0.1, eta = 0.9;
  void fields(Params& f) { f("lr", lr), f("eta", eta); }
};
Outcome run_dual(const Inputs& in, Params& f) {
  const auto p = f.read<DualParams>();
  const DualForm r = dual_form_attention(
      {in.tensor("wq"), in.tensor("wk"), in.tensor("wv"), in.tensor("demo"), in.tensor("seen"),
       in.tensor("x"), in.tensor("w0"), in.tensor("inputs"), in.tensor("grads")},
      p.lr, p.eta);
  return {{},
          {{"w_zsl", Var(r.w_zsl)},
           {"dw_icl", Var(r.dw_icl)},
           {"linear_zero_shot", Var(r.linear_zero_shot)},
           {"linear", Var(r.linear)},
           {"softmax", Var(r.softmax)},
           {"dw_gd", Var(r.dw_gd)},
           {"gd_output", Var(r.gd_output)},
           {"w_heavy_ball", Var(r.w_heavy_ball)}}};
}

// Runs a layer on [B, T, H, D] with inputs and outputs [B, H, T, D]; weight stands for what follows.
template <class F>
Outcome attention_row(const Inputs& in, F layer) {
  const auto time_first = [&](const char* name) {
    JX_CHECK(in[name].ndim() == 4, in.objective(), ": ", name, ": expected [B, H, T, D], got ", in[name]);
    return transpose(in[name], 1, 2);
  };
  const Var out = transpose(layer(time_first("q"), time_first("k"), time_first("v")), 1, 2);
  const Var& weight = in["weight"];
  JX_CHECK(weight.dims() == out.dims(), in.objective(), ": weight: expected ", out.dims(), ", got ", weight);
  return {sum(mul(out, stop_gradient(weight))), {{"out", out}}};
}

struct KinematicParams {
  nn::KinematicOptions options;
  void fields(Params& f) {
    f("placement", options.placement, {"post_rope", "pre_rope", "none"});
    f("boundary", options.boundary, {"zero_momentum", "zero_state"});
    f("base", options.base), f("layout", options.layout, {"half", "interleaved"});
  }
};

struct FilterParams {
  int64_t head_dim = 64;
  double base = 10000;
  void fields(Params& f) { f("head_dim", head_dim), f("base", base); }
};
Outcome run_filter(const Inputs& in, Params& f) {
  const auto p = f.read<FilterParams>();
  const KinematicFilter r = kinematic_filter(in.tensor("gamma"), in.tensor("omega"), in.tensor("x"),
                                             in.tensor("layers"), p.head_dim, p.base);
  return {{},
          {{"magnitude", Var(r.magnitude)},
           {"decibel", Var(r.decibel)},
           {"phase", Var(r.phase)},
           {"rope_gain", Var(r.rope_gain)},
           {"rope_turn", Var(r.rope_turn)},
           {"filtered", Var(r.filtered)},
           {"gamma_star", Var(r.gamma_star)}}};
}

// ---- man_step

struct ManParams {
  int64_t steps = 1;
  double momentum = 0.995, w_rec = 5, w_ce = 0.5, lr = 0.8;
  void fields(Params& f) {
    f("steps", steps), f("momentum", momentum), f("w_rec", w_rec), f("w_ce", w_ce), f("lr", lr);
  }
};

// Modules of two dense ReLU layers each, from the named weights.
class ManNetwork {
 public:
  ManNetwork(const Inputs& in, const ManParams& p) : p_(p), x_(in.tensor("x")), y_(in.tensor("y")) {
    for (const auto& [name, value] : in.all()) {
      if (name == "x" || name == "y") continue;
      const bool follower = name.rfind("ema", 0) == 0;
      weights_[name] = follower ? Var(value.value().clone()) : Var::leaf(value.value().clone());
    }
    int64_t layers = 0;
    while (weights_.count(concat("layer", layers, ".w"))) ++layers;
    JX_CHECK(layers >= 2 && layers % 2 == 0, "man_step: layer#.w: expected two layers per module, got ",
             layers);
    const int64_t modules = layers / 2;
    for (int64_t b = 0; b < modules; ++b) modules_.push_back(module(b, b + 1 == modules));
  }
  ManNetwork(const ManNetwork&) = delete;  // its modules point to it
  ManNetwork& operator=(const ManNetwork&) = delete;
  std::vector<nn::NamedParameter> trained() {
    std::vector<nn::NamedParameter> out;
    for (auto& [name, value] : weights_)
      if (value.requires_grad()) out.push_back({name, &value});
    return out;
  }
  LocalStep step() const { return local_step(modules_, Var(x_), p_.momentum); }
  // Copies of the weights whose names begin so.
  void copies(Terms& out, const std::string& as, const std::string& beginning) const {
    for (const auto& [name, value] : weights_)
      if (name.rfind(beginning, 0) == 0) out.emplace_back(as + name, Var(value.value().clone()));
  }
  void gradients(Terms& out) const {
    for (const auto& [name, value] : weights_)
      if (value.requires_grad())
        out.emplace_back(
            "grad." + name,
            Var(value.grad().defined() ? value.grad().clone() : Tensor::zeros(value.dims(), value.dtype())));
  }

 private:
  const Var& weight(const std::string& name) const {
    const auto found = weights_.find(name);
    JX_CHECK(found != weights_.end(), "man_step: ", name, ": this input is missing");
    return found->second;
  }
  Var dense(const Var& h, const std::string& name, Act act) const {
    return linear(h, weight(name + ".w"), weight(name + ".b"), act);
  }
  LocalModule module(int64_t b, bool last) const {
    const auto layer = [](int64_t i) { return concat("layer", i); };
    LocalModule m;
    m.forward = [this, b, last, layer](const Var& h) {
      const Var out = dense(dense(h, layer(2 * b), Act::relu), layer(2 * b + 1), Act::relu);
      return last ? dense(out, "head", Act::none) : out;
    };
    if (last) {
      m.loss = [this](const Var& logits) { return mean(cross_entropy(logits, y_)); };
      return m;
    }
    m.bias = [this, b](const Var& h) { return dense(h, concat("lb", b), Act::relu); };
    m.follower = [this, b](const Var& h) { return dense(h, concat("ema", b), Act::relu); };
    m.loss = [this, b](const Var& u) {
      const Var logits = dense(dense(u, concat("aux", b), Act::relu), concat("out", b), Act::none);
      return infopro_loss(dense(u, concat("dec", b), Act::none), x_, logits, y_, p_.w_rec, p_.w_ce);
    };
    for (const char* part : {".w", ".b"}) {
      m.follows.push_back(weight(concat("ema", b, part)).value());
      m.leader.push_back(weight(layer(2 * (b + 1)) + part).value());
    }
    return m;
  }

  ManParams p_;
  Tensor x_, y_;
  std::map<std::string, Var> weights_;
  std::vector<LocalModule> modules_;
};

Outcome run_man(const Inputs& in, Params& f) {
  const auto p = f.read<ManParams>();
  JX_CHECK(p.steps >= 1, "man_step: steps: expected 1 or more, got ", p.steps);
  ManNetwork network(in, p);
  Optimizer sgd("sgd", network.trained(), {.momentum = 0});
  std::vector<Tensor> losses, logits;
  Terms out;
  for (int64_t s = 0; s < p.steps; ++s) {
    sgd.zero_grad();
    const LocalStep r = network.step();
    losses.push_back(Tensor::from<double>(r.losses, {static_cast<int64_t>(r.losses.size())}));
    logits.push_back(r.output.value());
    if (s == 0) network.gradients(out);
    sgd.step(p.lr, 0);
    if (s == 0) network.copies(out, "step1.", "ema");
  }
  out.emplace_back("losses", Var(stacked(losses)));
  out.emplace_back("logits", Var(stacked(logits)));
  network.copies(out, "after.", "");
  return {{}, out};
}

struct AttackParams {
  MiFgsmOptions options;
  void fields(Params& f) {
    f("eps", options.eps), f("steps", options.steps), f("mu", options.mu), f("alpha", options.alpha);
    f("norm", options.norm, {"sample", "batch"}), f("low", options.low), f("high", options.high);
    f("targeted", options.targeted);
  }
};
Outcome run_attack(const Inputs& in, Params& f) {
  const auto p = f.read<AttackParams>();
  const auto model = [&](const Var& x) {
    return linear(linear(x, in["w1"], in["b1"], Act::tanh), in["w2"], in["b2"]);
  };
  const Attack a = mi_fgsm(model, in.tensor("x"), in.tensor("y"), p.options);
  return {{},
          {{"x_adv", Var(stacked(a.x))},
           {"momentum", Var(stacked(a.momentum))},
           {"logits", Var(a.logits)},
           {"clean_logits", Var(a.clean_logits)},
           {"fooled", Var(a.fooled)}}};
}

struct OptaParams {
  OptaOptions options;
  void fields(Params& f) {
    f("eps", options.eps), f("max_iter", options.max_iter), f("threshold", options.threshold);
    f("passes", options.passes), f("ratio", options.ratio), f("standardize", options.standardize);
  }
};
Outcome run_opta(const Inputs& in, Params& f) {
  const Opta r = opta(in.tensor("support"), in.tensor("queries"), f.read<OptaParams>().options);
  const auto passes = static_cast<int64_t>(r.iterations.size());
  return {{},
          {{"prototypes", Var(r.prototypes)},
           {"plan", Var(r.plan)},
           {"iterations", Var(Tensor::from<int64_t>(r.iterations, {passes}))}}};
}

constexpr const char* kMaitra = "Maitra 2026, arXiv 2602.04902";
constexpr const char* kDai = "Dai et al. 2023, arXiv 2212.10559";

constexpr Objective kRows[] = {
    {"dual_form_attention", "attention as gradient descent", kDai,
     "(W_0 + sum_i e_i x_i^T) x = W_0 x + LinearAttn(E, X, x)", Kind::rule, Across::local, kDual,
     list_params<DualParams>, run_dual},
    {"momentum_attention_ema", "momentum-based attention", kDai,
     "out_t = softmax(q_t K^T / sqrt(D)) V + sum_{i < t} eta^(t - i) v_i", Kind::layer, Across::local,
     kMomentumAttention, list_params<NoParams>,
     [](const Inputs& in, Params& f) {
       f.read<NoParams>();
       return attention_row(in, [&](const Var& q, const Var& k, const Var& v) {
         return nn::momentum_attention(q, k, v, in["eta"]);
       });
     }},
    {"kinematic_attention", "momentum attention", kMaitra,
     "out = softmax(q' k'^T / sqrt(D), causal) V,  x'_t = x_t + gamma (x_t - x_{t-1})", Kind::layer,
     Across::local, kKinematicAttention, list_params<KinematicParams>,
     [](const Inputs& in, Params& f) {
       const auto p = f.read<KinematicParams>();
       return attention_row(in, [&](const Var& q, const Var& k, const Var& v) {
         return nn::kinematic_attention(q, k, v, in["gamma"], p.options);
       });
     }},
    {"kinematic_filter", "momentum attention", kMaitra, "H(w) = 1 + gamma (1 - e^{-iw})", Kind::metric,
     Across::local, kFilter, list_params<FilterParams>, run_filter},
    {"man_step", "MAN", "Su et al. 2024, arXiv 2407.05623",
     "L_b = w_rec BCE(D(u), image) + w_ce CE(A(u), y),  u = LB_b(x_b) + EMA_b(x_b)", Kind::state,
     Across::local, kMan, list_params<ManParams>, run_man},
    {"mi_fgsm", "SD-MIAE, MI-FGSM", "Dong et al. 2018, arXiv 1710.06081",
     "g <- mu g + grad / |grad|_1,  x <- clip(x + alpha sign(g))", Kind::rule, Across::local, kAttack,
     list_params<AttackParams>, run_attack},
    {"opta", "BECLR", "Poulakakis-Daktylidis & Jamali-Rad 2024, arXiv 2402.02444",
     "P <- diag(pi 1)^-1 pi Z,  pi the entropic plan between prototypes and queries", Kind::rule,
     Across::local, kOpta, list_params<OptaParams>, run_opta},
    {"mmc", "MMC", "Wu et al. 2023, arXiv 2308.11448",
     "L = w_rec L1(masked) + w_dist CE(teacher patches, student patches) + w_con contrast", Kind::loss,
     Across::negatives, kMmc, list_params<MmcParams>,
     [](const Inputs& in, Params& f) {
       return mmc({in["recon"], in["target"], in.tensor("mask"), in["s_patch"], in["t_patch"],
                   in.tensor("center"), in["q"], in["k"]},
                  f.read<MmcParams>());
     }},
};

}  // namespace

std::span<const Objective> attention_rules_rows() { return kRows; }

}  // namespace juxta::ssl

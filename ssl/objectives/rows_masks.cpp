// Masked images, and attacks on classifiers.
#include "autograd/ops.h"
#include "ssl/eval/generator_attack.h"
#include "ssl/losses/masked_images.h"
#include "ssl/objectives/history.h"
#include "ssl/objectives/rows.h"
#include "ssl/views/masking.h"

namespace juxta::ssl {

namespace {

constexpr InputRow kMae[] = {
    {"images", "[N, H, W, C]", false, true}, {"pred", "[N, L, P]"}, {"mask", "i64 [N, L]"}};
constexpr InputRow kNoise[] = {{"tokens", "[N, L, D]"}, {"noise", "[N, L]"}};
constexpr InputRow kSimMim[] = {
    {"images", "[N, S, S, C]", false, true}, {"recon", "[N, S, S, C]", false, true}, {"order", "i64 [N, G]"}};
constexpr InputRow kMiae[] = {{"e", "[N, E]"}, {"z", "[N, Z]"},   {"y", "i64 [N]"}, {"gw1", "[G, E+Z]"},
                              {"gb1", "[G]"},  {"gw2", "[P, G]"}, {"gb2", "[P]"},   {"w1", "[H, P]"},
                              {"b1", "[H]"},   {"w2", "[K, H]"},  {"b2", "[K]"}};

struct MaskingParams {
  double mask_ratio = 0.75;
  void fields(Params& f) { f("mask_ratio", mask_ratio); }
};
Outcome run_mae_masking(const Inputs& in, Params& f) {
  const MaeMask m = mae_mask(in.tensor("noise"), f.read<MaskingParams>().mask_ratio);
  const Var& tokens = in["tokens"];
  JX_CHECK(tokens.ndim() == 3 && tokens.size(1) == m.mask.size(1),
           "mae_masking: tokens: expected [N, L, D] beside noise ", in["noise"], ", got ", tokens);
  return {{},
          {{"ids_keep", Var(m.ids_keep)},
           {"ids_restore", Var(m.ids_restore)},
           {"mask", Var(m.mask)},
           {"kept", keep_tokens(tokens, m.ids_keep)}}};
}

struct SimMimRowParams {
  SimMimMask mask;
  SimMimParams loss;
  void fields(Params& f) {
    f("mask_patch_size", mask.mask_patch_size), f("model_patch_size", mask.model_patch_size);
    f("mask_ratio", mask.mask_ratio);
    loss.fields(f);
  }
};
Outcome run_simmim(const Inputs& in, Params& f) {
  const auto p = f.read<SimMimRowParams>();
  const Var& images = in["images"];
  JX_CHECK(images.ndim() == 4, "simmim: images: expected [N, S, S, C], got ", images);
  const Tensor mask = simmim_mask(in.tensor("order"), images.size(1), p.mask);
  Outcome out = simmim(images, in["recon"], mask, p.loss);
  out.terms.emplace_back("mask", Var(mask));
  return out;
}

struct SdMiaeRowParams : SdMiaeParams {
  void fields(Params& f) {
    f("phase1_steps", phase1_steps), f("lr", lr), f("reg", reg), f("phase2", phase2, {"embedding", "pixel"});
    f("phase2_steps", phase2_steps), f("mu", mu), f("radius", radius), f("step", step);
  }
};

// Steps as [T, ..]; without any, the start alone.
Var steps_of(const std::vector<Tensor>& steps, const Tensor& start) {
  History h;
  if (steps.empty()) h.put(0, 1, start);
  for (size_t t = 0; t < steps.size(); ++t)
    h.put(static_cast<int64_t>(t), static_cast<int64_t>(steps.size()), steps[t]);
  return Var(h.all);
}

// A generator sigma(gw2 tanh(gw1 [e; z] + gb1) + gb2) and a classifier w2 tanh(w1 x + b1) + b2.
Outcome run_sd_miae(const Inputs& in, Params& f) {
  const auto p = f.read<SdMiaeRowParams>();
  const Tensor& e = in.tensor("e");
  JX_CHECK(e.ndim() == 2 && in["z"].ndim() == 2 && in["z"].size(0) == e.size(0), "sd_miae: z: expected [",
           e.size(0), ", Z], got ", in["z"]);
  const FrozenNetwork generator = [&](const Var& x) {
    const Var hidden = tanh(linear(cat(std::vector{x, stop_gradient(in["z"])}, 1), in["gw1"], in["gb1"]));
    return sigmoid(linear(hidden, in["gw2"], in["gb2"]));
  };
  const FrozenNetwork classifier = [&](const Var& x) {
    return linear(tanh(linear(x, in["w1"], in["b1"])), in["w2"], in["b2"]);
  };
  const SdMiae m = sd_miae(generator, classifier, e, in.tensor("y"), p);
  const bool pixel = p.phase2 == MiaePhase::pixel;
  return {{},
          {{"embedding_phase1", steps_of(m.phase1, e)},
           {pixel ? "image_phase2" : "embedding_phase2", steps_of(m.phase2, e)},
           {"momentum", steps_of(m.momentum, e)},
           {"image", Var(m.image)},
           {"logits", Var(m.logits)},
           {"clean_logits", Var(m.clean_logits)},
           {"fooled", Var(m.fooled)}}};
}

constexpr const char* kMaePaper = "He et al. 2022, arXiv 2111.06377";
constexpr Objective kRows[] = {
    {"mae_masking", "MAE", kMaePaper, "the int(L (1 - ratio)) patches with the smallest noise stay",
     Kind::rule, Across::local, kNoise, list_params<MaskingParams>, run_mae_masking},
    {"mae_loss", "MAE", kMaePaper, "L = sum_removed mean (pred - x)^2 / removed,  x normalised per patch",
     Kind::loss, Across::local, kMae, list_params<MaeLossParams>,
     [](const Inputs& in, Params& f) {
       return mae_loss(in["images"], in["pred"], in.tensor("mask"), f.read<MaeLossParams>());
     }},
    {"simmim", "SimMIM", "Xie et al. 2022, arXiv 2111.09886",
     "L = sum_masked |x - recon| / (masked pixels + eps) / C", Kind::loss, Across::local, kSimMim,
     list_params<SimMimRowParams>, run_simmim},
    {"sd_miae", "SD-MIAE", "Haque et al. 2024, arXiv 2410.13122",
     "Adam on -CE + lambda (1 - cos(e, e0)); then g <- mu g + d/|d|_1, e <- clip(e + step sign(g))",
     Kind::rule, Across::local, kMiae, list_params<SdMiaeRowParams>, run_sd_miae},
};

}  // namespace

std::span<const Objective> masks_rows() { return kRows; }

}  // namespace juxta::ssl

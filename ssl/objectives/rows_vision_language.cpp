#include "autograd/ops.h"
#include "nn/fusion.h"
#include "ssl/eval/objects.h"
#include "ssl/eval/values.h"
#include "ssl/losses/image_text.h"
#include "ssl/losses/matching.h"
#include "ssl/losses/momentum_pairs.h"
#include "ssl/objectives/rows.h"
#include "ssl/views/pairing.h"

namespace juxta::ssl {

namespace {

constexpr InputRow kAlbefItc[] = {
    {"image_feat", "[N, D]"},       {"text_feat", "[N, D]"},  {"image_feat_m", "[N, D]"},
    {"text_feat_m", "[N, D]"},      {"temp", "[1]"},          {"image_queue", "[K, D]", true},
    {"text_queue", "[K, D]", true}, {"ids", "i64 [N]", true}, {"queue_ids", "i64 [K]", true}};
constexpr InputRow kMsd[] = {{"image", "[N, D]"},           {"text", "[N, D]"},
                             {"image_m", "[N, D]"},         {"text_m", "[N, D]"},
                             {"log_temperature", "[1]"},    {"image_queue", "[K, D]", true},
                             {"text_queue", "[K, D]", true}};
constexpr InputRow kHardPairs[] = {{"sim_i2t", "[N, C]"},
                                   {"sim_t2i", "[N, C]"},
                                   {"ids", "i64 [N]", true},
                                   {"u_text", "[N]"},
                                   {"u_image", "[N]"}};
constexpr InputRow kItm[] = {{"cls", "[3N, W]"}, {"weight", "[2, W]"}, {"bias", "[2]"}};
constexpr InputRow kMlm[] = {{"logits", "[N, L, V]", true},        {"teacher_logits", "[N, L, V]", true},
                             {"labels", "i64 [N, L]", true},       {"input_ids", "i64 [N, L]", true},
                             {"random_words", "i64 [N, L]", true}, {"u_select", "[N, L]", true},
                             {"u_mask_token", "[N, L]", true},     {"u_random_token", "[N, L]", true}};
constexpr InputRow kFusion[] = {{"hidden", "[N, L, W]"},
                                {"image", "[N, P, I]", true},
                                {"text_mask", "i64 [N, L]", true},
                                {"image_mask", "i64 [N, P]", true},
                                {"probe", "[N, L, W]"},
                                {"self_wq", "[W, W]"},
                                {"self_bq", "[W]"},
                                {"self_wk", "[W, W]"},
                                {"self_bk", "[W]"},
                                {"self_wv", "[W, W]"},
                                {"self_bv", "[W]"},
                                {"self_wo", "[W, W]"},
                                {"self_bo", "[W]"},
                                {"cross_wq", "[W, W]", true},
                                {"cross_bq", "[W]", true},
                                {"cross_wk", "[W, I]", true},
                                {"cross_bk", "[W]", true},
                                {"cross_wv", "[W, I]", true},
                                {"cross_bv", "[W]", true},
                                {"cross_wo", "[W, W]", true},
                                {"cross_bo", "[W]", true},
                                {"w1", "[F, W]"},
                                {"b1", "[F]"},
                                {"w2", "[W, F]"},
                                {"b2", "[W]"},
                                {"ln1_g", "[W]"},
                                {"ln1_b", "[W]"},
                                {"ln2_g", "[W]", true},
                                {"ln2_b", "[W]", true},
                                {"ln3_g", "[W]"},
                                {"ln3_b", "[W]"}};
constexpr InputRow kPromptPatch[] = {{"features", "[M, L, D]"},
                                     {"prompt", "i64 [M]"},
                                     {"object_mask", "i64 [M, H, W]"},
                                     {"thresholds", "[T]"}};
constexpr InputRow kObjects[] = {{"features", "[L, D]"}, {"labels", "i64 [L]"}};
constexpr InputRow kRerank[] = {
    {"hidden", "[N, K, D]"}, {"token_yes", "[D]"}, {"token_no", "[D]"}, {"mask", "i64 [N, K]", true}};
constexpr InputRow kCl2l[] = {{"z_image", "[N, D]"},         {"z_text", "[N, D]"},
                              {"logit_scale", "[1]"},        {"h_image", "[A, N, E]", true},
                              {"h_text", "[A, N, E]", true}, {"h_logit_scale", "[1]", true}};
constexpr InputRow kDcd[] = {{"student_score", "[N, K]"}, {"teacher_score", "[N, K]"}};
constexpr InputRow kTeacher[] = {{"teacher_score", "[B, 1 + F]"}};

struct HardPairsParams {
  int64_t in_batch = 0;
  void fields(Params& f) { f("in_batch", in_batch); }
};
Outcome run_hard_pairs(const Inputs& in, Params& f) {
  const auto p = f.read<HardPairsParams>();
  const int64_t n = in.tensor("sim_i2t").size(0);
  JX_CHECK(p.in_batch == 0 || p.in_batch == n, "albef_hard_negative: in_batch: expected 0 or the ", n,
           " rows of sim_i2t, got ", p.in_batch);
  const HardPairs h = hard_pairs(in.tensor("sim_i2t"), in.tensor("sim_t2i"), in.optional_tensor("ids"),
                                 in.tensor("u_text"), in.tensor("u_image"));
  return {{},
          {{"weight_i2t", Var(h.weight_i2t)},
           {"weight_t2i", Var(h.weight_t2i)},
           {"neg_text_of_image", Var(h.text_of_image)},
           {"neg_image_of_text", Var(h.image_of_text)}}};
}

enum class MlmKind { loss, mask };
struct MlmParams : MaskWordsParams {
  MlmKind kind = MlmKind::loss;
  double alpha = 0.4;
  void fields(Params& f) {
    f("kind", kind, {"loss", "mask"}), f("alpha", alpha), f("ignore_index", ignore_index);
    f("mlm_probability", mlm_probability), f("p_mask_token", p_mask_token),
        f("p_random_token", p_random_token);
    f("pad_id", pad_id), f("cls_id", cls_id), f("mask_id", mask_id);
  }
};
Outcome run_mlm(const Inputs& in, Params& f) {
  const auto p = f.read<MlmParams>();
  if (p.kind == MlmKind::loss)
    return albef_mlm(in["logits"], in.tensor("teacher_logits"), in.tensor("labels"),
                     {p.alpha, p.ignore_index});
  const MaskedWords m = mask_words(in.tensor("input_ids"), in.tensor("random_words"), in.tensor("u_select"),
                                   in.tensor("u_mask_token"), in.tensor("u_random_token"), p);
  return {{}, {{"masked_ids", Var(m.ids)}, {"labels", Var(m.labels)}}};
}

struct FusionParams : nn::FusionOptions {
  bool cross_attention = true;
  void fields(Params& f) { f("heads", heads), f("eps", eps), f("cross_attention", cross_attention); }
};
Outcome run_fusion(const Inputs& in, Params& f) {
  const auto p = f.read<FusionParams>();
  JX_CHECK(p.cross_attention || !in.has("image"), "albef_fusion_layer: image: given without cross_attention");
  const auto attention = [&](const std::string& which) {
    const auto w = [&](const char* name) { return in[which + name]; };
    return nn::AttentionWeights{w("wq"), w("bq"), w("wk"), w("bk"), w("wv"), w("bv"), w("wo"), w("bo")};
  };
  nn::FusionWeights w;
  w.self = attention("self_");
  w.w1 = in["w1"], w.b1 = in["b1"], w.w2 = in["w2"], w.b2 = in["b2"];
  w.ln1_g = in["ln1_g"], w.ln1_b = in["ln1_b"], w.ln3_g = in["ln3_g"], w.ln3_b = in["ln3_b"];
  if (p.cross_attention) w.cross = attention("cross_"), w.ln2_g = in["ln2_g"], w.ln2_b = in["ln2_b"];
  const Var out = nn::fusion_layer(in["hidden"], p.cross_attention ? in["image"] : Var(),
                                   in.optional_tensor("text_mask"), in.optional_tensor("image_mask"), w, p);
  return {sum(mul(out, in["probe"])), {{"hidden_out", stop_gradient(out)}}};
}

Outcome run_prompt_patch(const Inputs& in, Params& f) {
  const PromptPatchResult r =
      prompt_patch_segmentation(in.tensor("features"), in.tensor("prompt"), in.tensor("object_mask"),
                                in.tensor("thresholds"), f.read<PromptPatchParams>());
  return {{},
          {{"similarity", Var(r.similarity)},
           {"iou", Var(r.iou)},
           {"miou", Var(r.miou)},
           {"best_threshold", Var(Tensor::full({}, static_cast<double>(r.best_threshold), DType::i64))},
           {"oracle_iou", figure(r.oracle_iou)},
           {"predicted", Var(r.predicted)}}};
}

struct ObjectParams {
  int64_t bins = 20;
  void fields(Params& f) { f("bins", bins); }
};
Outcome run_objects(const Inputs& in, Params& f) {
  const ObjectSimilarity o =
      object_similarity(in.tensor("features"), in.tensor("labels"), f.read<ObjectParams>().bins);
  return {{},
          {{"intra", figure(o.intra)},
           {"inter", figure(o.inter)},
           {"intra_per_object", Var(tensor_of(std::span<const double>(o.intra_per_object)))},
           {"overlap", figure(o.overlap)},
           {"auc", figure(o.auc)}}};
}

struct TeacherPickParams {
  int64_t hard_negative = 7;
  void fields(Params& f) { f("hard_negative", hard_negative); }
};
Outcome run_teacher_pick(const Inputs& in, Params& f) {
  const TeacherPick t = teacher_pick(in.tensor("teacher_score"), f.read<TeacherPickParams>().hard_negative);
  return {{},
          {{"index", Var(t.index)}, {"teacher_aligned", Var(t.aligned)}, {"teacher_sorted", Var(t.sorted)}}};
}

constexpr const char* kAlbef = "Li et al. 2021, arXiv 2107.07651";
constexpr const char* kMmc = "Wu et al. 2023, arXiv 2308.11448";
constexpr const char* kDcdPaper = "Rao et al. 2022, arXiv 2207.01426";

constexpr Objective kRows[] = {
    {"albef_itc", "ALBEF", kAlbef,
     "L = 1/2 (mean H(y_i2t, v K_t^T/t) + mean H(y_t2i, t K_v^T/t)), y = (1-a) hard + a softmax(v' K_t^T/t)",
     Kind::loss, Across::negatives, kAlbefItc, list_params<AlbefItcParams>,
     [](const Inputs& in, Params& f) {
       return albef_itc(
           in["image_feat"], in["text_feat"], in.tensor("image_feat_m"), in.tensor("text_feat_m"), in["temp"],
           in.optional_tensor("image_queue"), in.optional_tensor("text_queue"),
           {in.optional_tensor("ids"), in.optional_tensor("queue_ids")}, f.read<AlbefItcParams>());
     }},
    {"albef_hard_negative", "ALBEF", kAlbef, "w_ij = softmax_j(s_ij) [id_i != id_j];  j ~ w_i", Kind::rule,
     Across::negatives, kHardPairs, list_params<HardPairsParams>, run_hard_pairs},
    {"albef_itm", "ALBEF", kAlbef, "L = mean_{3N} CE(cls weight^T + bias, [true pair])", Kind::loss,
     Across::local, kItm, list_params<AlbefItmParams>,
     [](const Inputs& in, Params& f) {
       return albef_itm(in["cls"], in["weight"], in["bias"], f.read<AlbefItmParams>());
     }},
    {"albef_mlm", "ALBEF", kAlbef,
     "L = (1-a) mean_masked CE(logits, word) + a mean_masked H(softmax(teacher), softmax(logits))",
     Kind::loss, Across::local, kMlm, list_params<MlmParams>, run_mlm},
    {"albef_fusion_layer", "ALBEF", kAlbef,
     "h = LN(x + SA(x)), h = LN(h + CA(h, image)), out = LN(h + W2 gelu(W1 h))", Kind::layer, Across::local,
     kFusion, list_params<FusionParams>, run_fusion},
    {"msd_loss", "MSD", "Pham et al. 2025, arXiv 2512.02438",
     "L = 1/N sum_i [H(y_i2t, v K_t^T/t) + H(y_t2i, t K_v^T/t)]/2 over micro-batches, keys of all N",
     Kind::loss, Across::negatives, kMsd, list_params<MsdParams>,
     [](const Inputs& in, Params& f) {
       return msd_loss(in["image"], in["text"],
                       {in.tensor("image_m"), in.tensor("text_m"), in.optional_tensor("image_queue"),
                        in.optional_tensor("text_queue")},
                       in["log_temperature"], f.read<MsdParams>());
     }},
    {"prompt_patch_segmentation", "MMC", kMmc, "IoU([cos(F_l, F_prompt) > threshold], object)", Kind::metric,
     Across::local, kPromptPatch, list_params<PromptPatchParams>, run_prompt_patch},
    {"object_similarity", "MMC", kMmc, "cosines inside objects against cosines between objects", Kind::metric,
     Across::local, kObjects, list_params<ObjectParams>, run_objects},
    {"rerank_loss", "reranking by a language model", "Dai et al. 2025, arXiv 2510.14824",
     "cl: -log softmax_0(z_y/t); sft: sum_j -log sigma(+-(z_y - z_n)); url: -W+ d_0 + sum_j W-_j d_j",
     Kind::loss, Across::local, kRerank, list_params<RerankParams>,
     [](const Inputs& in, Params& f) {
       return rerank_loss(in["hidden"], in["token_yes"], in["token_no"], in.optional_tensor("mask"),
                          f.read<RerankParams>());
     }},
    {"cl2l", "CL2L", "Fini et al. 2023, arXiv 2305.08675",
     "L = 1/2 [(g_i + A l_i) + (g_t + A l_t)]/(1 + A): CLIP of weak views and smoothed CLIP of A^2 strong "
     "pairs",
     Kind::loss, Across::negatives, kCl2l, list_params<Cl2lParams>,
     [](const Inputs& in, Params& f) {
       return cl2l(in["z_image"], in["z_text"], in["logit_scale"], in.optional("h_image"),
                   in.optional("h_text"), in.optional("h_logit_scale"), f.read<Cl2lParams>());
     }},
    {"dcd_loss", "DCD", kDcdPaper,
     "L = a sum_i r_i mean_c (t_ic - s_ic)^2 + (1-a) sum_i u_i mean_c BCE(s_ic, [c = 0])", Kind::loss,
     Across::statistics, kDcd, list_params<DcdParams>,
     [](const Inputs& in, Params& f) {
       return dcd_loss(in["student_score"], in.tensor("teacher_score"), f.read<DcdParams>());
     }},
    {"dcd_select", "DCD", kDcdPaper, "[0, the H best-scored false captions]", Kind::rule, Across::local,
     kTeacher, list_params<TeacherPickParams>, run_teacher_pick},
};

}  // namespace

std::span<const Objective> vision_language_rows() { return kRows; }

}  // namespace juxta::ssl

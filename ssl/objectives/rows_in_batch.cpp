#include "autograd/ops.h"
#include "ssl/losses/decoupled.h"
#include "ssl/losses/grad_cache.h"
#include "ssl/losses/image_text.h"
#include "ssl/losses/in_batch.h"
#include "ssl/losses/predictive.h"
#include "ssl/objectives/rows.h"

namespace juxta::ssl {

namespace {

constexpr InputRow kTwoViews[] = {{"z1", "[N, D]"}, {"z2", "[N, D]"}};
constexpr InputRow kThreeViews[] = {{"z1", "[N, D]"}, {"z2", "[N, D]"}, {"z3", "[N, D]", true}};
constexpr InputRow kQueryKeyQueue[] = {{"query", "[N, D]"}, {"key", "[N, D]"}, {"queue", "[M, D]"}};
constexpr InputRow kQueryKeyPast[] = {{"query", "[N, D]"}, {"key", "[N, D]"}, {"queue", "[K, D]"}};
constexpr InputRow kQueriesAndKeys[] = {
    {"q1", "[N, D]"}, {"q2", "[N, D]"}, {"k1", "[N, D]"}, {"k2", "[N, D]"}};
constexpr InputRow kAnchors[] = {{"anchors", "[N, D]"}, {"positives", "[N, D]"}};
constexpr InputRow kNeighbours[] = {
    {"z1", "[N, D]"}, {"z2", "[N, D]"}, {"p1", "[N, D]"}, {"p2", "[N, D]"}, {"queue", "[K, D]"}};
constexpr InputRow kImageText[] = {{"image", "[N, D]"}, {"text", "[N, D]"}, {"logit_scale", "[1]"}};
constexpr InputRow kPair[] = {{"image", "[N, D]"}, {"text", "[N, D]"}};
constexpr InputRow kMetricViews[] = {{"z1", "[N, D]"}, {"z2", "[N, D]"}};

constexpr InputRow kSlip[] = {
    {"image", "[N, D]"}, {"text", "[N, D]"}, {"logit_scale", "[1]"}, {"aug1", "[N, E]"}, {"aug2", "[N, E]"}};
constexpr InputRow kAnchorQueue[] = {{"anchor", "[N, D]"}, {"positive", "[N, D]"}, {"queue", "[M, D]", true}};
constexpr InputRow kSequences[] = {
    {"context", "[N, T, C]"}, {"latent", "[N, T, D]"}, {"weight", "[S, D, C]"}};

// Two towers rep = tanh((x * drop) a^T + b) c^T, encoded in chunks with their dropout masks.
constexpr InputRow kTowers[] = {{"x", "[N, I]"},        {"y", "[N k, I]"},     {"drop_x", "[N, I]"},
                                {"drop_y", "[N k, I]"}, {"ax", "[H, I]"},      {"bx", "[H]"},
                                {"cx", "[D, H]"},       {"ay", "[H, I]"},      {"by", "[H]"},
                                {"cy", "[D, H]"},       {"logit_scale", "[1]"}};
Outcome run_grad_cache(const Inputs& in, Params& f) {
  const auto p = f.read<GradCacheParams>();
  const auto encode = [&](const std::string& side, int64_t chunk) {
    const Var a = in["a" + side], b = in["b" + side], c = in["c" + side];
    const std::vector<Var> rows{in[side], in["drop_" + side]};
    return in_chunks(
        [=](std::span<const Var> part) { return linear(tanh(linear(mul(part[0], part[1]), a, b)), c, {}); },
        rows, chunk);
  };
  const std::vector<Var> reps{encode("x", p.chunk_x), encode("y", p.chunk_y)};
  Outcome out = grad_cache(reps[0], reps[1], in["logit_scale"], p);
  out.terms.emplace_back("rep_x", stop_gradient(reps[0]));
  out.terms.emplace_back("rep_y", stop_gradient(reps[1]));
  if (!out.loss.requires_grad()) return out;
  const std::vector<Tensor> cache = grad({&out.loss, 1}, reps, {}, true);
  out.terms.emplace_back("cache_x", Var(cache[0]));
  out.terms.emplace_back("cache_y", Var(cache[1]));
  return out;
}

constexpr Objective kRows[] = {
    {"dcl", "DCL", "Yeh et al. 2022, arXiv 2110.06848",
     "L = mean_a [ -s_a,a+ + log sum over rows of other samples e^{s_ab} ]", Kind::loss, Across::negatives,
     kTwoViews, list_params<DclParams>,
     [](const Inputs& in, Params& f) { return dcl(in["z1"], in["z2"], f.read<DclParams>()); }},
    {"dclw", "DCL", "Yeh et al. 2022, arXiv 2110.06848",
     "L = mean_a [ -w_a s_a,a+ + log U_a ], w_i = 2 - N softmax_i(cosine / sigma)", Kind::loss,
     Across::negatives, kTwoViews, list_params<DclwParams>,
     [](const Inputs& in, Params& f) { return dclw(in["z1"], in["z2"], f.read<DclwParams>()); }},
    {"dcl_queue", "DCL, MoCo", "Yeh et al. 2022, arXiv 2110.06848",
     "L = mean_i [ -w_i q_i . k_i / temperature + log sum_m e^{q_i . queue_m / temperature} ]", Kind::loss,
     Across::negatives, kQueryKeyQueue, list_params<DclQueueParams>,
     [](const Inputs& in, Params& f) {
       return dcl_queue(in["query"], in["key"], in["queue"], f.read<DclQueueParams>());
     }},
    {"debiased_contrastive", "debiased contrastive learning", "Chuang et al. 2020, arXiv 2007.00224",
     "L = mean_a -log(p / (p + g)), g = max((sum n_j - tau_plus M p) / (1 - tau_plus), M e^{-1/temperature})",
     Kind::loss, Across::negatives, kTwoViews, list_params<DebiasedParams>,
     [](const Inputs& in, Params& f) {
       return debiased_contrastive(in["z1"], in["z2"], f.read<DebiasedParams>());
     }},
    {"hard_negative_contrastive", "HCL", "Robinson et al. 2021, arXiv 2010.04592",
     "as debiased_contrastive with sum_j w_j n_j / mean_j w_j, w_j = n_j^beta", Kind::loss, Across::negatives,
     kTwoViews, list_params<HardNegativeParams>,
     [](const Inputs& in, Params& f) {
       return hard_negative_contrastive(in["z1"], in["z2"], f.read<HardNegativeParams>());
     }},
    {"moco_v3", "MoCo v3", "Chen et al. 2021, arXiv 2104.02057",
     "L = ctr(q1, k2) + ctr(q2, k1), ctr(q, k) = 2 temperature mean_i CE(q_i k^T / temperature, i)",
     Kind::loss, Across::negatives, kQueriesAndKeys, list_params<MocoV3Params>,
     [](const Inputs& in, Params& f) {
       return moco_v3(in["q1"], in["q2"], in["k1"], in["k2"], f.read<MocoV3Params>());
     }},
    {"n_pair", "N-pair", "Sohn 2016, NeurIPS",
     "L = mean_i CE(a_i P^T, i) + l2_reg / 4 (mean |a|^2 + mean |p|^2)", Kind::loss, Across::negatives,
     kAnchors, list_params<NPairParams>,
     [](const Inputs& in, Params& f) {
       return n_pair(in["anchors"], in["positives"], f.read<NPairParams>());
     }},
    {"simcse", "SimCSE", "Gao et al. 2021, arXiv 2104.08821",
     "L = mean_i CE([cos(z1_i, z2) ; cos(z1_i, z3) + weight at i] / temperature, i)", Kind::loss,
     Across::negatives, kThreeViews, list_params<SimCseParams>,
     [](const Inputs& in, Params& f) {
       return simcse(in["z1"], in["z2"], in.optional("z3"), f.read<SimCseParams>());
     }},
    {"nnclr", "NNCLR", "Dwibedi et al. 2021, arXiv 2104.14548",
     "L = 1/2 [ mean_i CE(nn(z1)_i p2^T / temperature, i) + mean_i CE(nn(z2)_i p1^T / temperature, i) ]",
     Kind::loss, Across::negatives, kNeighbours, list_params<NnclrParams>,
     [](const Inputs& in, Params& f) {
       return nnclr(in["z1"], in["z2"], in["p1"], in["p2"], in["queue"], f.read<NnclrParams>());
     }},
    {"ressl", "ReSSL", "Zheng et al. 2021, arXiv 2107.09282",
     "L = mean_i -sum_m softmax_m(k_i Q^T / teacher_temperature) log softmax_m(q_i Q^T / "
     "student_temperature)",
     Kind::loss, Across::negatives, kQueryKeyPast, list_params<RessLParams>,
     [](const Inputs& in, Params& f) {
       return ressl(in["query"], in["key"], in["queue"], f.read<RessLParams>());
     }},
    {"clip", "CLIP", "Radford et al. 2021, arXiv 2103.00020",
     "S = e^logit_scale image text^T, L = 1/2 (mean CE of rows + mean CE of columns)", Kind::loss,
     Across::negatives, kImageText, list_params<ClipParams>,
     [](const Inputs& in, Params& f) {
       return clip(in["image"], in["text"], in["logit_scale"], f.read<ClipParams>());
     }},
    {"info_loob", "InfoLOOB", "Fuerst et al. 2022, arXiv 2110.11316",
     "L = temperature [ mean_i (log sum_{j != i} e^{s_ij} - s_ii) + the same over columns ]", Kind::loss,
     Across::negatives, kTwoViews, list_params<InfoLoobParams>,
     [](const Inputs& in, Params& f) { return info_loob(in["z1"], in["z2"], f.read<InfoLoobParams>()); }},
    {"cloob", "CLOOB", "Fuerst et al. 2022, arXiv 2110.11316",
     "L = loob(ret(I|I), ret(T|I)) + loob(ret(T|T), ret(I|T)), ret(X|M) = unit(softmax(beta X M^T) M)",
     Kind::loss, Across::negatives, kPair, list_params<CloobParams>,
     [](const Inputs& in, Params& f) { return cloob(in["image"], in["text"], f.read<CloobParams>()); }},
    {"slip", "SLIP", "Mu et al. 2022, arXiv 2112.12750",
     "L = clip(image, text) + ssl_scale nt_xent(aug1, aug2; ssl_temperature)", Kind::loss, Across::negatives,
     kSlip, list_params<SlipParams>,
     [](const Inputs& in, Params& f) {
       return slip(in["image"], in["text"], in["logit_scale"], in["aug1"], in["aug2"], f.read<SlipParams>());
     }},
    {"esimcse", "ESimCSE", "Wu et al. 2022, arXiv 2109.04380",
     "L = mean_i CE([cos(a_i, p) ; cos(a_i, queue)] / temperature, i)", Kind::loss, Across::negatives,
     kAnchorQueue, list_params<EsimCseParams>,
     [](const Inputs& in, Params& f) {
       return esimcse(in["anchor"], in["positive"], in.optional("queue"), f.read<EsimCseParams>());
     }},
    {"npc_multiplier", "DCL", "Yeh et al. 2022, arXiv 2110.06848",
     "q_a = sigma(log U_a - s_a,a+): NT-Xent's gradient at anchor a is q_a times that of DCL", Kind::metric,
     Across::negatives, kMetricViews, list_params<NpcMultiplierParams>,
     [](const Inputs& in, Params& f) {
       return npc_multiplier(in["z1"], in["z2"], f.read<NpcMultiplierParams>());
     }},
    {"cpc", "CPC", "van den Oord et al. 2018, arXiv 1807.03748",
     "L = mean_(k,t,i) CE over candidates of z_{t+k}^T W_k c_t", Kind::loss, Across::negatives, kSequences,
     list_params<CpcParams>,
     [](const Inputs& in, Params& f) {
       return cpc(in["context"], in["latent"], in["weight"], f.read<CpcParams>());
     }},
    {"grad_cache", "GradCache", "Gao et al. 2021, arXiv 2101.06983",
     "L = CE(e^logit_scale x Y^T); embeddings made in chunks, their gradients cached, chunks made again",
     Kind::layer, Across::negatives, kTowers, list_params<GradCacheParams>, run_grad_cache},
};

}  // namespace

std::span<const Objective> in_batch_rows() { return kRows; }

}  // namespace juxta::ssl

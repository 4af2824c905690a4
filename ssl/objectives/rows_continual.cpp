#include "autograd/ops.h"
#include "ssl/data/gridworld.h"
#include "ssl/data/mixture.h"
#include "ssl/data/rehearsal.h"
#include "ssl/eval/continual.h"
#include "ssl/eval/values.h"
#include "ssl/losses/continual.h"
#include "ssl/losses/hard_negatives.h"
#include "ssl/momentum/class_queue.h"
#include "ssl/objectives/history.h"
#include "ssl/objectives/rows.h"
#include "ssl/views/crop.h"

namespace juxta::ssl {

namespace {

constexpr InputRow kBank[] = {
    {"query", "[N, D]"}, {"key", "[N, D]"}, {"bank", "[M, D]"}, {"bank_index", "i64 [N]", true}};
constexpr InputRow kSimilarities[] = {{"positive", "[N]"}, {"negative", "[N, M]"}};
constexpr InputRow kNspt[] = {
    {"student", "[N, D]"}, {"teacher", "[N, D]"}, {"labels", "i64 [N]"}, {"rehearsal", "i64 [N]"}};
constexpr InputRow kMm[] = {
    {"audio", "[N, D]"}, {"text", "[N, D]"}, {"labels", "i64 [N]"}, {"is_new", "i64 [N]"}};
constexpr InputRow kHpcl[] = {
    {"q", "[N, D]"}, {"labels", "i64 [N]"}, {"queue0", "[K, D]", true}, {"queue1", "[L, D]", true}};
constexpr InputRow kBeclr[] = {{"p", "[2M, D]"}, {"z_teacher", "[2M, D]"}, {"z_student", "[2M, D]"}};
constexpr InputRow kClassQueue[] = {{"batch", "[S, B, D]"}, {"labels", "i64 [S, B]"}};
constexpr InputRow kCorrect[] = {{"correct", "i64 [T, T]"}, {"total", "i64 [T]"}};
constexpr InputRow kFeatures[] = {{"features", "[N, D]"}, {"labels", "i64 [N]"}};
constexpr InputRow kOrder[] = {{"order", "i64 [dup n_real + n_gen]"}};
constexpr InputRow kUniforms[] = {{"size", "i64 [N, 2]"},
                                  {"crop", "[N, 10, 4]"},
                                  {"flag", "[N, 4]"},
                                  {"jitter", "[N, 4]"},
                                  {"order", "[N, 4]"}};
constexpr InputRow kWorld[] = {{"cells", "i64 [P, T, 2]"}, {"objects", "i64 [O, 2]"},
                               {"scale", "[O + 2]"},       {"weights", "[O + 2]"},
                               {"queries", "i64 [Q, 3]"},  {"pairs", "i64 [R, 2]"}};

struct HardnessParams {
  double temperature = 0.2;
  void fields(Params& f) { f("temperature", temperature); }
};
Outcome run_hardness(const Inputs& in, Params& f) {
  const HardnessWeights h =
      hardness_weights(in.tensor("positive"), in.tensor("negative"), f.read<HardnessParams>().temperature);
  return {{},
          {{"loss", Var(h.loss)},
           {"grad_positive", Var(h.grad_positive)},
           {"grad_negative", Var(h.grad_negative)},
           {"ratio", Var(h.ratio)},
           {"entropy", Var(h.entropy)}}};
}

struct ClassQueueParams {
  int64_t classes = 2, size = 4096, max_per_step = 64;
  void fields(Params& f) { f("classes", classes), f("size", size), f("max_per_step", max_per_step); }
};
Outcome run_class_queue(const Inputs& in, Params& f) {
  const auto p = f.read<ClassQueueParams>();
  const Tensor &batch = in.tensor("batch"), &labels = in.tensor("labels");
  JX_CHECK(batch.ndim() == 3 && labels.ndim() == 2 && labels.size(0) == batch.size(0),
           "class_queue: batch: expected [S, B, D] with labels [S, B], got ", batch, " and ", labels);
  ClassQueue queue(p.classes, p.size, batch.size(2), batch.dtype());
  History keys, count, ptr;
  for (int64_t s = 0; s < batch.size(0); ++s) {
    queue.push(batch.select(0, s), labels.select(0, s).contiguous(), p.max_per_step);
    keys.put(s, batch.size(0), queue.keys());
    count.put(s, batch.size(0), queue.count());
    ptr.put(s, batch.size(0), queue.pointer());
  }
  return {{}, {{"keys", Var(keys.all)}, {"count", Var(count.all)}, {"ptr", Var(ptr.all)}}};
}

struct HerdingParams {
  Herding method = Herding::barycenter;
  int64_t per_class = 10;
  void fields(Params& f) { f("method", method, {"barycenter", "cluster"}), f("per_class", per_class); }
};

struct MixtureParams : Mixture {
  int64_t batch = 256;
  void fields(Params& f) { f("n_real", n_real), f("n_gen", n_gen), f("dup", dup), f("batch", batch); }
};
Outcome run_mixture(const Inputs& in, Params& f) {
  const auto p = f.read<MixtureParams>();
  const MixedBatches b = mixed_batches(p, in.tensor("order"), p.batch);
  return {{},
          {{"source", Var(b.source)},
           {"row", Var(b.row)},
           {"repeats", Var(b.repeats)},
           {"real_fraction", figure(p.real_fraction())},
           {"odds", figure(static_cast<double>(p.dup))}}};
}

// The presets of the table "strong".
struct AugmentParams {
  double crop_min = 0.08, crop_max = 1, p_jitter = 0.8, brightness = 0.8, contrast = 0.8, saturation = 0.8,
         hue = 0.2;
  double p_gray = 0.2, p_blur = 0.5, p_flip = 0.5;
  void fields(Params& f) {
    f("crop_min", crop_min), f("crop_max", crop_max), f("p_jitter", p_jitter), f("brightness", brightness);
    f("contrast", contrast), f("saturation", saturation), f("hue", hue), f("p_gray", p_gray),
        f("p_blur", p_blur);
    f("p_flip", p_flip);
  }
};
Outcome run_augment(const Inputs& in, Params& f) {
  constexpr const char* kName = "adainf_augment";
  const auto p = f.read<AugmentParams>();
  const Tensor size = in.tensor("size").contiguous();
  const int64_t n = size.size(0);
  const auto uniforms = [&](const char* name, int64_t per) {
    Tensor t = in.tensor(name).to(DType::f64).contiguous();
    JX_CHECK(t.numel() == n * per, kName, ": ", name, ": expected ", per, " uniforms per image, got ", t);
    return t;
  };
  const Tensor crop = uniforms("crop", 4 * kCropTries), flag = uniforms("flag", 4),
               jitter = uniforms("jitter", 4), order = uniforms("order", 4);
  Tensor box = Tensor::empty({n, 4}, DType::i64), applied = Tensor::empty({n, 4}, DType::i64),
         op_order = Tensor::empty({n, 4}, DType::i64), factor = Tensor::empty({n, 4}, DType::f64);
  const double chance[4] = {p.p_jitter, p.p_gray, p.p_blur, p.p_flip};
  for (int64_t i = 0; i < n; ++i) {
    const auto of = [&](const Tensor& t, int64_t per) {
      return std::span<const double>(t.data<double>() + i * per, static_cast<size_t>(per));
    };
    const CropBox b = search_crop(size.data<int64_t>()[2 * i], size.data<int64_t>()[2 * i + 1],
                                  {p.crop_min, p.crop_max, 0.75}, of(crop, 4 * kCropTries));
    const int64_t sides[4] = {b.top, b.left, b.height, b.width};
    const auto u = of(jitter, 4);
    const double drawn[4] = {jitter_factor(p.brightness, u[0]), jitter_factor(p.contrast, u[1]),
                             jitter_factor(p.saturation, u[2]), hue_turn(p.hue, u[3])};
    const auto when = jitter_order(of(order, 4));
    const bool jittered = of(flag, 4)[0] < p.p_jitter;
    for (int64_t k = 0; k < 4; ++k) {
      const size_t j = static_cast<size_t>(k);
      box.write<int64_t>(kName)[4 * i + k] = sides[k];
      applied.write<int64_t>(kName)[4 * i + k] = of(flag, 4)[j] < chance[k];
      op_order.write<int64_t>(kName)[4 * i + k] = when[j];
      factor.write<double>(kName)[4 * i + k] = jittered ? drawn[k] : (k < 3 ? 1.0 : 0.0);
    }
  }
  return {
      {},
      {{"box", Var(box)}, {"applied", Var(applied)}, {"factor", Var(factor)}, {"op_order", Var(op_order)}}};
}

struct GridParams {
  int64_t n = 5;
  void fields(Params& f) { f("n", n); }
};
Outcome run_gridworld(const Inputs& in, Params& f) {
  const GridWorld world{f.read<GridParams>().n, in.tensor("objects"), in.tensor("scale"),
                        in.tensor("weights")};
  const Tensor features = gridworld_features(world, in.tensor("cells"));
  return {{},
          {{"features", Var(features)},
           {"answers", Var(similarity_answers(features, in.tensor("queries")))},
           {"labels", Var(preference_labels(world, features, in.tensor("pairs")))}}};
}

Outcome run_continual_metrics(const Inputs& in, Params& f) {
  f.read<NoParams>();
  const ContinualMetrics m = continual_metrics(in.tensor("correct"), in.tensor("total"));
  return {{},
          {{"acc_after", Var(tensor_of(m.acc_after))},
           {"avg_acc", figure(m.avg_acc)},
           {"last_acc", figure(m.last_acc)},
           {"forgetting", figure(m.forgetting)},
           {"backward_transfer", figure(m.backward_transfer)}}};
}

constexpr const char* kBehaviour = "Wang & Liu 2021, arXiv 2012.09740";
constexpr const char* kCoconut = "Cappellazzo et al. 2023, arXiv 2310.02699";
constexpr const char* kAdaInf = "Wang et al. 2024, arXiv 2403.12448";

constexpr Objective kRows[] = {
    {"hard_contrastive", "behaviour of the contrastive loss", kBehaviour,
     "L = mean_i -log [ e^{s_ii/t} / (e^{s_ii/t} + sum_{k: s_ik among the top_k} e^{s_ik/t}) ]", Kind::loss,
     Across::local, kBank, list_params<HardContrastiveParams>,
     [](const Inputs& in, Params& f) {
       return hard_contrastive(in["query"], in["key"], in.tensor("bank"), in.optional_tensor("bank_index"),
                               f.read<HardContrastiveParams>());
     }},
    {"simple_contrastive", "behaviour of the contrastive loss", kBehaviour,
     "L = mean_i -s_ii + lambda sum_{k kept} s_ik", Kind::loss, Across::local, kBank,
     list_params<SimpleContrastiveParams>,
     [](const Inputs& in, Params& f) {
       return simple_contrastive(in["query"], in["key"], in.tensor("bank"), in.optional_tensor("bank_index"),
                                 f.read<SimpleContrastiveParams>());
     }},
    {"hardness_weights", "behaviour of the contrastive loss", kBehaviour,
     "r_ij = |dL/ds_ij| / |dL/ds_ii| = e^{s_ij/t} / sum_k e^{s_ik/t}", Kind::metric, Across::local,
     kSimilarities, list_params<HardnessParams>, run_hardness},
    {"coconut_nspt", "COCONUT", kCoconut,
     "L = mean_k -1/|P| sum_p log [ e^{s_k.t_p/t} / sum_i e^{s_k.s_i/t} ],  k rehearsed", Kind::loss,
     Across::negatives, kNspt, list_params<CoconutNsptParams>,
     [](const Inputs& in, Params& f) {
       return coconut_nspt(in["student"], in["teacher"], in.tensor("labels"), in.tensor("rehearsal"),
                           f.read<CoconutNsptParams>());
     }},
    {"coconut_mm", "COCONUT", kCoconut, "L = mean_k -1/|P| sum_p ( log p(t_p | a_k) + log p(a_p | t_k) )",
     Kind::loss, Across::negatives, kMm, list_params<CoconutMmParams>,
     [](const Inputs& in, Params& f) {
       return coconut_mm(in["audio"], in["text"], in.tensor("labels"), in.tensor("is_new"),
                         f.read<CoconutMmParams>());
     }},
    {"hpcl", "HPCL-Net", "Zhou et al. 2023, arXiv 2308.01251",
     "L = mean_i -1/|P| sum_p log [ e^{q.p/t} / (e^{q.p/t} + sum_{n in Q} e^{q.n/t}) ]", Kind::loss,
     Across::local, kHpcl, list_params<HpclParams>,
     [](const Inputs& in, Params& f) {
       return hpcl(in["q"], in.tensor("labels"), in.optional_tensor("queue0"), in.optional_tensor("queue1"),
                   f.read<HpclParams>());
     }},
    {"class_queue", "HPCL-Net", "Zhou et al. 2023, arXiv 2308.01251", "one ring of unit keys per class",
     Kind::state, Across::local, kClassQueue, list_params<ClassQueueParams>, run_class_queue},
    {"beclr", "BECLR", "Poulakakis-Daktylidis & Jamali-Rad 2024, arXiv 2402.02444",
     "L = -1/2 (mean cos(p1, t2) + mean cos(p2, t1)) + lamb_neg log mean_i mean_j e^{cos(u_i, u_j)/t}",
     Kind::loss, Across::negatives, kBeclr, list_params<BeclrParams>,
     [](const Inputs& in, Params& f) {
       return beclr(in["p"], in["z_teacher"], in["z_student"], f.read<BeclrParams>());
     }},
    {"herding", "iCaRL", "Rebuffi et al. 2017, arXiv 1611.07725", "greedy: argmax_i w . f_i, w += mu - f_i",
     Kind::rule, Across::local, kFeatures, list_params<HerdingParams>,
     [](const Inputs& in, Params& f) {
       const auto p = f.read<HerdingParams>();
       return Outcome{
           {},
           {{"indices", Var(herding(in.tensor("features"), in.tensor("labels"), p.per_class, p.method))}}};
     }},
    {"continual_metrics", "GEM", "Lopez-Paz & Ranzato 2017, arXiv 1706.08840",
     "a_tj of every task after every task: average, last, forgetting, backward transfer", Kind::metric,
     Across::local, kCorrect, list_params<NoParams>, run_continual_metrics},
    {"adainf_mixture", "AdaInf", kAdaInf, "dup copies of the real images, one of the generated", Kind::rule,
     Across::local, kOrder, list_params<MixtureParams>, run_mixture},
    {"adainf_augment", "AdaInf", kAdaInf, "random resized crop, jitter, grey, blur, flip from given uniforms",
     Kind::rule, Across::local, kUniforms, list_params<AugmentParams>, run_augment},
    {"gridworld_features", "SIRL", "Bobu et al. 2023, arXiv 2301.00810",
     "features = scale * path means of object distances, x, |x - y|", Kind::rule, Across::local, kWorld,
     list_params<GridParams>, run_gridworld},
};

}  // namespace

std::span<const Objective> continual_rows() { return kRows; }

}  // namespace juxta::ssl

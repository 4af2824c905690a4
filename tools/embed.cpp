// juxta embed: pooled features of a run's encoder on a data set, or of a named model with foreign weights on
// an array.
#include <cmath>
#include <cstdio>
#include <memory>

#include "ssl/eval/evaluate.h"
#include "tensor/file.h"
#include "tensor/npy.h"
#include "tensor/parallel.h"
#include "tools/commands.h"

namespace juxta::tools {

namespace {

struct Options {
  std::string run, model, weights, data, out, split;
  int threads = 0;
};

Tensor embed_run(const Options& o) {
  ssl::LoadedRun run = ssl::open_run(o.run);
  const ssl::ImageData data =
      ssl::load_images(o.data.empty() ? run.recipe.data.path : o.data,
                       {.strict = run.recipe.data.strict, .image_size = run.recipe.data.image_size});
  const ssl::ImageSet& set = o.split == "test" ? data.test : data.train;
  JX_CHECK(set.size() > 0, "embed: ", data.train.source, ": no ", o.split, " split");
  ssl::build_method(run, data.train);
  std::optional<ssl::PixelStats> stats;
  if (run.recipe.view.normalize) stats = ssl::pixel_stats(data.train);
  return ssl::extract_features(run.recipe.method->encoder(), set, run.recipe.view, stats ? &*stats : nullptr);
}

// Names of classification heads that pretrained files carry and encoders do not.
bool is_head(const std::string& name) {
  for (const char* prefix : {"fc.", "head.", "head_dist.", "classifier."})
    if (name.rfind(prefix, 0) == 0) return true;
  return false;
}

// Features of NaN would be NaN without a word.
void check_finite(const Tensor& t, const std::string& what) {
  if (!is_float(t.dtype())) return;
  const Tensor values = t.to(DType::f32).contiguous();
  const float* v = values.data<float>();
  for (int64_t i = 0; i < values.numel(); ++i)
    JX_CHECK(std::isfinite(v[i]), "embed: ", what, ": element ", i, " is ", v[i],
             ", expected finite numbers");
}

Tensor embed_array(const Options& o) {
  JX_CHECK(!o.weights.empty() && !o.data.empty(),
           "embed: --model needs --weights FILE.safetensors and --data X.npy");
  const Tensor x = load_npy(o.data);
  JX_CHECK(x.ndim() == 4 && x.dtype() == DType::f32 && x.numel() > 0, "embed: ", o.data,
           ": expected f32 [N, H, W, C] with no empty axis, got ", x);
  check_finite(x, o.data);
  nn::ModelConfig config;
  config.name = o.model;
  config.in_channels = x.size(3);
  config.image_size = x.size(1);
  Rng init(0, "init");
  const std::unique_ptr<nn::Encoder> encoder = nn::make_encoder(config, init);
  nn::StateDict state;
  for (auto& [name, t] : load_safetensors(o.weights).tensors)
    if (!is_head(name)) state.emplace_back(name, t);
  for (const auto& [name, t] : state) check_finite(t, o.weights + ": " + name);
  nn::load_state_strict(nn::named_state(*encoder), state, o.weights);
  const NoGrad no_grad;
  Tensor out = Tensor::empty({x.size(0), encoder->feature_dim()});
  constexpr int64_t kBatch = 32;
  for (int64_t begin = 0; begin < x.size(0); begin += kBatch) {
    const int64_t end = std::min(begin + kBatch, x.size(0));
    Tensor rows = out.slice(0, begin, end);
    rows.copy_from(encoder->features(Var(x.slice(0, begin, end)), nn::Ctx{}).value(), "embed");
  }
  return out;
}

int run_embed(const Options& o) {
  if (o.threads > 0) set_num_threads(o.threads);
  JX_CHECK(o.run.empty() != o.model.empty(), "embed: give either a RUN or --model NAME");
  JX_CHECK(o.model.empty() || o.split.empty(), "embed: --split goes with a RUN, not with --model");
  JX_CHECK(o.run.empty() || o.weights.empty(), "embed: --weights goes with --model, not with a RUN");
  JX_CHECK(o.split.empty() || o.split == "train" || o.split == "test",
           "embed: --split: expected train or test, got '", o.split, "'");
  AtomicFile(o.out);  // an output that cannot be written is told before the work, not after
  const Tensor features = o.model.empty() ? embed_run(o) : embed_array(o);
  save_npy(o.out, features);
  std::printf("%s: f32 %s\n", o.out.c_str(), to_text(features.dims()).c_str());
  return kOk;
}

}  // namespace

Command add_embed(CLI::App& app) {
  auto o = std::make_shared<Options>();
  Subcommand c(app, "embed", "write pooled features as .npy");
  c.text("RUN", o->run, "run folder or checkpoint file");
  c.text("--data", o->data, "data set; with --model: float32 .npy [N, H, W, C], fed to the network as it is");
  c.text("-o,--output", o->out, "output file", Need::required);
  c.text("--split", o->split, "train or test [train]");
  c.text("--model", o->model, "an encoder by name instead of a run (juxta models)");
  c.text("--weights", o->weights, "its weights: safetensors with torchvision or timm names");
  c.threads(o->threads);
  return [o] { return run_embed(*o); };
}

}  // namespace juxta::tools

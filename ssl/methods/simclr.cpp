// SimCLR: A Simple Framework for Contrastive Learning of Visual Representations (Chen et al. 2020, arXiv
// 2002.05709).
//
//   for each batch of N images, two views x1, x2:
//     h = f(x), z = g(h)                        encoder and projection head
//     minimise NT-Xent(z1, z2) at temperature tau
//   keep f, throw g away
#include "nn/heads.h"
#include "ssl/losses/batch_contrastive.h"
#include "ssl/methods/systems.h"

namespace juxta::ssl {

namespace {

class SimClr : public Method {
 public:
  void fields(Fields& f) override {
    f("temperature", temperature_, "tau of NT-Xent", kPositive);
    f("projection_dim", projection_dim_, "size of z", kLayerSize);
    f("projection_hidden", projection_hidden_, "hidden size of the head; 0: as wide as the features",
      kLayerSizeOrOwn);
    f("projection_layers", projection_layers_, "layers of the head", Range{1, 16});
    f("projection_batch_norm", projection_batch_norm_, "batch norm after each layer of the head");
  }

  std::vector<ViewSpec> views(const ViewConfig& base) const override {
    return {{"view1", base}, {"view2", base}};
  }

  void build(const Task& task) override {
    Rng init(task.seed, "init");
    encoder_ = nn::make_encoder(task.model, init);
    std::vector<int64_t> sizes{encoder_->feature_dim()};
    for (int64_t i = 1; i < projection_layers_; ++i)
      sizes.push_back(projection_hidden_ ? projection_hidden_ : encoder_->feature_dim());
    sizes.push_back(projection_dim_);
    head_ = nn::MlpHead(
        sizes, {.batch_norm = projection_batch_norm_, .last_batch_norm = projection_batch_norm_}, init);
  }

  StepResult step(const Batch& batch, StepContext& context) override {
    // Two passes: batch norm sees each view's batch by itself, as the paper's per-device statistics and the
    // peers do.
    const auto network = [&](const Var& x) { return head_(encoder_->features(x, context.nn), context.nn); };
    const Var z1 = in_chunks(network, batch["view1"], context.chunk);  // [B, D]
    const Var z2 = in_chunks(network, batch["view2"], context.chunk);
    const Loss loss = nt_xent(z1, z2, {.temperature = temperature_});
    context.minimize(loss.loss);
    return {loss.loss.item(), figures_of(loss), z1.value(), z2.value()};
  }

  void visit(nn::Visitor& v) override { v("encoder", *encoder_), v("head", head_); }
  std::vector<nn::NamedParameter> trainable() override {
    std::vector<nn::NamedParameter> all = nn::parameters(*encoder_, "encoder.");
    for (nn::NamedParameter& p : nn::parameters(head_, "head.")) all.push_back(p);
    return all;
  }
  nn::Encoder& encoder() override { return *encoder_; }

 private:
  double temperature_ = 0.5;
  int64_t projection_dim_ = 128, projection_hidden_ = 0, projection_layers_ = 2;
  bool projection_batch_norm_ = false;
  std::unique_ptr<nn::Encoder> encoder_;
  nn::MlpHead head_;
};

}  // namespace

std::unique_ptr<Method> make_simclr() { return std::make_unique<SimClr>(); }

}  // namespace juxta::ssl

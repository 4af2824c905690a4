// BYOL: Bootstrap Your Own Latent (Grill et al. 2020, arXiv 2006.07733).
//
//   for each batch, two views x1, x2 (view 1 always blurred, view 2 seldom blurred and sometimes solarised):
//     z_v = g(f(x_v)), p_v = q(z_v)                         online: encoder, projector, predictor
//     z'_v = g_xi(f_xi(x_v))                                target, no gradient
//     minimise (2 - 2 cos(p1, z'2)) + (2 - 2 cos(p2, z'1))
//     xi <- m xi + (1 - m) theta                            EMA after the optimiser step; m rises to 1 by a
//                                                           cosine
//   evaluate f
// Buffers: the target's BN runs in training mode on its own batches and keeps its own statistics.
#include "nn/heads.h"
#include "ssl/losses/without_negatives.h"
#include "ssl/methods/ema_schedule.h"
#include "ssl/methods/systems.h"
#include "ssl/momentum/ema.h"

namespace juxta::ssl {

namespace {

class Byol : public Method {
 public:
  void fields(Fields& f) override {
    momentum_.fields(f);
    f("projection_dim", projection_dim_, "size of z", kLayerSize);
    f("projection_hidden", projection_hidden_, "hidden size of projector and predictor", kLayerSize);
    f("asymmetric_views", asymmetric_views_,
      "blur 1.0 / 0.1 and solarise 0 / 0.2 for the two views, as the paper");
  }

  std::vector<ViewSpec> views(const ViewConfig& base) const override {
    ViewConfig first = base, second = base;
    if (asymmetric_views_) {
      first.blur = 1.0, first.solarize = 0.0;
      second.blur = 0.1, second.solarize = 0.2;
    }
    return {{"view1", first}, {"view2", second}};
  }

  void build(const Task& task) override {
    Rng init(task.seed, "init");
    online_ = Network(task.model, projection_hidden_, projection_dim_, init);
    predictor_ =
        nn::MlpHead({projection_dim_, projection_hidden_, projection_dim_}, {.batch_norm = true}, init);
    target_ = Network(task.model, projection_hidden_, projection_dim_, init);
    ema_ = EmaTeacher(nn::named_state(online_), nn::named_state(target_), EmaOrder::after_step,
                      BufferPolicy::own);
  }

  StepResult step(const Batch& batch, StepContext& context) override {
    const Var z1 = forward(online_, batch["view1"], context),
              z2 = forward(online_, batch["view2"], context);  // [B, D]
    const Var p1 = predictor_(z1, context.nn), p2 = predictor_(z2, context.nn);
    const auto [t1, t2] = targets(batch, context);
    const Loss loss = negative_cosine(p1, p2, t1, t2, {.form = CosineForm::byol});
    if (context.minimize(loss.loss)) ema_.update(momentum_.at(context.step, context.total_steps));
    return {loss.loss.item(), figures_of(loss), z1.value(), z2.value()};
  }

  void visit(nn::Visitor& v) override {
    v("online", online_), v("predictor", predictor_), v("target", target_);
  }
  std::vector<nn::NamedParameter> trainable() override {
    std::vector<nn::NamedParameter> all = nn::parameters(online_, "online.");
    for (nn::NamedParameter& p : nn::parameters(predictor_, "predictor.")) all.push_back(p);
    return all;
  }
  nn::Encoder& encoder() override { return *online_.encoder; }

 private:
  struct Network {
    std::unique_ptr<nn::Encoder> encoder;
    nn::MlpHead projector;
    Network() = default;
    Network(const nn::ModelConfig& model, int64_t hidden, int64_t dim, Rng& init)
        : encoder(nn::make_encoder(model, init)) {
      projector = nn::MlpHead({encoder->feature_dim(), hidden, dim}, {.batch_norm = true}, init);
    }
    Var operator()(const Var& x, const nn::Ctx& ctx) { return projector(encoder->features(x, ctx), ctx); }
    void visit(nn::Visitor& v) { v("encoder", *encoder), v("projector", projector); }
  };

  static Var forward(Network& network, const Var& x, const StepContext& context) {
    return in_chunks([&](const Var& part) { return network(part, context.nn); }, x, context.chunk);
  }

  std::pair<Var, Var> targets(const Batch& batch, StepContext& context) {
    const NoGrad constant;
    const Var t1 = forward(target_, batch["view1"], context), t2 = forward(target_, batch["view2"], context);
    return {t1, t2};
  }

  EmaSchedule momentum_{0.99, "cosine"};
  int64_t projection_dim_ = 128, projection_hidden_ = 512;
  bool asymmetric_views_ = true;
  Network online_, target_;
  nn::MlpHead predictor_;
  EmaTeacher ema_;
};

}  // namespace

std::unique_ptr<Method> make_byol() { return std::make_unique<Byol>(); }

}  // namespace juxta::ssl

// A standalone SimCLR trainer: data, two views, an encoder, a head, NT-Xent, AdamW, kNN. Usage: tiny_simclr
// DATA [STEPS]
#include <cstdio>
#include <cstdlib>

#include "nn/encoder.h"
#include "nn/heads.h"
#include "ssl/data/loader.h"
#include "ssl/eval/protocol.h"
#include "ssl/losses/batch_contrastive.h"
#include "ssl/optim/optimizer.h"

using namespace juxta;

int main(int argc, char** argv) try {
  JX_CHECK(argc >= 2, "usage: tiny_simclr DATA [STEPS]");
  const int steps = argc > 2 ? std::atoi(argv[2]) : 200;
  const ssl::ImageData data = ssl::load_images(argv[1]);
  ssl::ViewConfig view;
  view.min_crop = 0.3;
  view.blur = 0;
  ssl::Loader loader(data.train, {{"view1", view}, {"view2", view}}, {.batch = 128, .seed = 1});

  Rng init(1, "init");
  nn::ModelConfig config{.name = "resnet20", .in_channels = data.train.channels(), .width = 8};
  const auto encoder = nn::make_encoder(config, init);
  nn::MlpHead head({encoder->feature_dim(), encoder->feature_dim(), 64}, {}, init);
  std::vector<nn::NamedParameter> parameters = nn::parameters(*encoder);
  for (const auto& p : nn::parameters(head)) parameters.push_back(p);
  ssl::Optimizer optimizer("adamw", parameters, {});

  const nn::Ctx training{.training = true};
  for (int step = 0; step < steps; ++step) {
    const ssl::Batch batch = loader.next();
    const Var z1 = head(encoder->features(batch["view1"], training), training);  // [B, 64]
    const Var z2 = head(encoder->features(batch["view2"], training), training);
    const Var loss = ssl::nt_xent(z1, z2, {.temperature = 0.2}).loss;
    optimizer.zero_grad();
    backward(loss);
    optimizer.step(2e-3, 1e-4);
    if (step % 20 == 0) std::printf("step %d loss %.4f\n", step, loss.item());
  }

  const Tensor bank = ssl::extract_features(*encoder, data.train, view),
               test = ssl::extract_features(*encoder, data.test, view);
  const double knn = ssl::knn_accuracy(bank, data.train.labels, test, data.test.labels,
                                       static_cast<int64_t>(data.train.classes.size()));
  std::printf("kNN %.1f %%\n", 100 * knn);
} catch (const Error& e) {
  std::fprintf(stderr, "tiny_simclr: %s\n", e.what());
  return 2;
}

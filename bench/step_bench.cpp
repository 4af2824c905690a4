// Whole training steps on the workloads of bench/peers/torch_step.py: two views through the encoder, NT-Xent
// at 0.1, AdamW.
//   step/WORKLOAD/DTYPE, items_per_second = samples per second (one sample is two views).
// Beside the peer, in one run:  bench/peers/compare_steps.sh
#include <benchmark/benchmark.h>

#include "nn/encoder.h"
#include "nn/heads.h"
#include "ssl/losses/batch_contrastive.h"
#include "ssl/optim/optimizer.h"

namespace juxta::bench {
namespace {

struct Workload {
  const char* name;
  int64_t batch;
  const char* model;
  int64_t side, channels;
  std::vector<int64_t> head;  // after the features; empty: none
  Act head_act = Act::relu;
};

const Workload kWorkloads[] = {{"resnet20_b256", 256, "resnet20", 28, 1, {64, 128}},
                               {"resnet18_b64", 64, "resnet18", 32, 3, {512, 128}},
                               {"vit_tiny_b64", 64, "vit_tiny", 32, 3, {512, 128}, Act::gelu},
                               {"bert_mini_b64", 64, "bert_mini", 0, 0, {}}};
constexpr int64_t kTokens = 32, kVocabulary = 30522;

Tensor random(Dims dims, uint64_t seed) {
  Tensor t = Tensor::empty(dims);
  const Draw draw{mix_key(seed, stream_id("bench")), 0};
  float* p = t.write<float>("bench");
  for (int64_t i = 0; i < t.numel(); ++i) p[i] = draw.normal(static_cast<uint64_t>(i));
  return t;
}

struct Network {
  std::unique_ptr<nn::Encoder> encoder;
  std::vector<nn::Linear> head;
  void visit(nn::Visitor& v) { v("encoder", *encoder), v("head", head); }
};

Network build(const Workload& w, DType dtype) {
  Rng init(0, "init");
  nn::ModelConfig c;
  c.name = w.model;
  c.in_channels = w.channels;
  c.image_size = w.side;
  c.stem = w.side ? "cifar" : "";
  c.patch = 4;
  c.max_tokens = kTokens;
  c.dropout = w.side ? 0.0 : 0.1;
  c.compute = dtype;
  Network net{nn::make_encoder(c, init), {}};
  int64_t in = net.encoder->feature_dim();
  for (int64_t out : w.head) {
    net.head.emplace_back(in, out, true, init);
    in = out;
  }
  return net;
}

void training_step(benchmark::State& state, const Workload& w, DType dtype) {
  Network net = build(w, dtype);
  ssl::Optimizer adamw("adamw", nn::parameters(net), {});
  Tensor x1, x2;
  if (w.side) {
    x1 = random({w.batch, w.side, w.side, w.channels}, 1), x2 = random(x1.dims(), 2);
  } else {
    x1 = Tensor::empty({w.batch, kTokens}, DType::i64);
    for (int64_t i = 0; i < x1.numel(); ++i) x1.write<int64_t>("bench")[i] = i * 7919 % kVocabulary;
    x2 = x1;
  }
  Rng dropout(0, "dropout");
  const nn::Ctx ctx{.training = true, .rng = &dropout};
  const auto embed = [&](const Tensor& x) {
    Var z = net.encoder->features(Var(x), ctx);
    for (size_t i = 0; i < net.head.size(); ++i)
      z = net.head[i](z, i + 1 < net.head.size() ? w.head_act : Act::none);
    return z;
  };
  const auto step = [&] {
    const Var z1 = embed(x1), z2 = embed(x2);
    const Var loss = ssl::nt_xent(z1, z2, {.temperature = 0.1}).loss;
    adamw.zero_grad();
    backward(loss);
    adamw.step(1e-3, 0.01);
    return loss.item();
  };
  step(), step();
  for (auto _ : state) benchmark::DoNotOptimize(step());
  state.SetItemsProcessed(state.iterations() * w.batch);
}

void loss_alone(benchmark::State& state, DType dtype) {
  constexpr int64_t kRows = 8192, kDim = 128;
  const Var z1 = Var::leaf(random({kRows, kDim}, 1).to(dtype)),
            z2 = Var::leaf(random({kRows, kDim}, 2).to(dtype));
  for (auto _ : state) {
    Var a = z1, b = z2;
    a.clear_grad(), b.clear_grad();
    const Var loss = ssl::nt_xent(a, b, {.temperature = 0.1}).loss;
    backward(loss);
    benchmark::DoNotOptimize(loss.item());
  }
  state.SetItemsProcessed(state.iterations() * kRows);
}

}  // namespace
}  // namespace juxta::bench

int main(int argc, char** argv) {
  using namespace juxta;
  using namespace juxta::bench;
  for (const Workload& w : kWorkloads)
    for (DType d : {DType::f32, DType::bf16})
      benchmark::RegisterBenchmark(concat("step/", w.name, "/", d).c_str(), training_step, w, d)
          ->Unit(benchmark::kMillisecond)
          ->UseRealTime();
  for (DType d : {DType::f32, DType::bf16})
    benchmark::RegisterBenchmark(concat("step/ntxent_8192/", d).c_str(), loss_alone, d)
        ->Unit(benchmark::kMillisecond)
        ->UseRealTime();
  benchmark::Initialize(&argc, argv);
  benchmark::RunSpecifiedBenchmarks();
}

// Modules, layers and encoders: names, shapes, state, modes. Numbers against PyTorch: parity_test.cpp.
#include <cmath>

#include "nn/heads.h"
#include "nn/init.h"
#include "nn/resnet.h"
#include "nn/text.h"
#include "nn/vit.h"
#include "tests/harness.h"

namespace juxta::test {
namespace {

using namespace juxta::nn;

std::unique_ptr<Encoder> make(const ModelConfig& c, uint64_t seed = 1) {
  Rng init(seed, "init");
  return make_encoder(c, init);
}
Tensor images(int64_t n, int64_t side, int64_t channels) {
  return uniform({n, side, side, channels}, 9).to(DType::f32);
}

TEST(Module, StateDictNamesAreThoseOfTorchvisionTimmAndBert) {
  const auto has = [](Encoder& e, const char* name, Dims dims) {
    for (const auto& [n, t] : state_dict(e))
      if (n == name) {
        EXPECT_EQ(t.dims(), dims) << name;
        return;
      }
    ADD_FAILURE() << name << " is missing";
  };
  const auto r18 = make({.name = "resnet18"});
  has(*r18, "conv1.weight", {64, 3, 7, 7});
  has(*r18, "layer2.0.downsample.0.weight", {128, 64, 1, 1});
  has(*r18, "layer2.0.downsample.1.running_var", {128});
  has(*r18, "bn1.num_batches_tracked", {});
  EXPECT_EQ(count_parameters(named_state(*r18)),
            11176512);  // torchvision's 11,689,512 less the classifier's 513,000
  const auto r50 = make({.name = "resnet50"});
  has(*r50, "layer4.2.conv3.weight", {2048, 512, 1, 1});
  EXPECT_EQ(count_parameters(named_state(*r50)), 23508032);
  // torchvision's and timm's counts without their classifiers
  for (const auto& [name, count] : std::vector<std::pair<std::string, int64_t>>{
           {"resnet34", 21284672}, {"vit_small_patch16_224", 21665664}, {"vit_base_patch16_224", 85798656}})
    EXPECT_EQ(count_parameters(named_state(*make({.name = name}))), count) << name;
  const auto vit = make({.name = "vit_tiny_patch16_224"});
  has(*vit, "blocks.11.attn.qkv.weight", {576, 192});
  has(*vit, "pos_embed", {1, 197, 192});
  EXPECT_EQ(count_parameters(named_state(*vit)),
            5524416);  // timm's vit_tiny_patch16_224 with num_classes = 0
  const auto bert = make({.name = "bert_base"});
  has(*bert, "encoder.layer.11.attention.output.LayerNorm.weight", {768});
}

TEST(Module, LoadChecksBeforeItWritesAndReportsNames) {
  const auto a = make({.name = "resnet20", .width = 4}), b = make({.name = "resnet20", .width = 4}, 2);
  const NamedState to = named_state(*b);
  const LoadReport r = load_state(to, state_dict(*a));
  EXPECT_TRUE(r.missing.empty() && r.unexpected.empty());
  EXPECT_TRUE(same_bits(to.parameters[0].var->value(), named_state(*a).parameters[0].var->value()));
  const auto wide = make({.name = "resnet20", .width = 8});
  const Tensor before = to.parameters[0].var->value().clone();
  expect_error([&] { load_state(to, state_dict(*wide)); }, {"conv1.weight", "[4, 3, 3, 3]", "[8, 3, 3, 3]"});
  EXPECT_TRUE(same_bits(to.parameters[0].var->value(), before));
  StateDict whole = state_dict(*a);
  whole[0].second = Tensor::zeros(whole[0].second.dims(), DType::i32);
  expect_error([&] { load_state(to, whole); }, {"conv1.weight", "f32", "i32"});
  StateDict odd = state_dict(*a);
  odd[0].first = "conv_1.weight";
  expect_error([&] { load_state_strict(to, odd, "x.safetensors"); },
               {"x.safetensors", "missing: conv1.weight", "conv_1.weight"});
}

TEST(ResNet, ShapesStemsAndModes) {
  const Ctx eval;
  for (const auto& [name, dim] : std::vector<std::pair<std::string, int64_t>>{
           {"resnet20", 64}, {"resnet18", 512}, {"resnet50", 2048}}) {
    const auto e = make({.name = name, .in_channels = 1, .stem = "cifar"});
    const NoGrad off;
    EXPECT_EQ(e->feature_dim(), dim);
    EXPECT_EQ(e->features(Var(images(2, 16, 1)), eval).dims(), Dims({2, dim})) << name;
  }
  const auto imagenet = make({.name = "resnet18"});
  const NoGrad off;
  EXPECT_EQ(imagenet->feature_map(Var(images(1, 64, 3)), eval).dims(), Dims({1, 2, 2, 512}));
  expect_error([&] { imagenet->features(Var(images(1, 64, 1)), eval); }, {"resnet18", "[N, H, W, 3]"});
  expect_error([&] { make({.name = "resnet19"}); }, {"resnet19", "resnet18"});
}

TEST(ResNet, Bf16StaysNearF32AndTrains) {
  ModelConfig c{.name = "resnet20", .width = 16};
  const auto wide = make(c);
  c.compute = DType::bf16;
  const auto narrow = make(c);
  const Var x(images(4, 16, 3));
  const Ctx training{.training = true};
  const Tensor a = wide->features(x, training).value(), b = narrow->features(x, training).value();
  EXPECT_EQ(b.dtype(), DType::f32);
  EXPECT_LT(max_abs_diff(a, b), 0.1 * max_abs(a));
  backward(sum(square(narrow->features(x, training))));
  for (const auto& p : parameters(*narrow)) {
    ASSERT_TRUE(p.var->grad().defined()) << p.name;
    EXPECT_EQ(p.var->grad().dtype(), DType::f32);
  }
}

TEST(Vit, TokensRegistersMasksAndPooling) {
  const Ctx eval;
  const NoGrad off;
  ModelConfig c{.name = "vit",
                .image_size = 16,
                .width = 24,
                .depth = 2,
                .heads = 3,
                .patch = 4,
                .registers = 2,
                .layer_scale = 1e-5};
  Rng init(1, "init");
  Vit vit(c, init);
  const Var x(images(2, 16, 3));
  EXPECT_EQ(vit.feature_map(x, eval).dims(), Dims({2, 1 + 2 + 16, 24}));
  EXPECT_EQ(vit.tokens(x, eval, {.keep = Tensor::from<int64_t>({3, 0, 9}, {3}), .masked = {}}).dims(),
            Dims({2, 6, 24}));
  EXPECT_EQ(vit.tokens(x, eval, {.keep = Tensor::from<int64_t>({3, 0, 9, 1}, {2, 2}), .masked = {}}).dims(),
            Dims({2, 5, 24}));
  Tensor masked = Tensor::zeros({2, 16}, DType::boolean);
  masked.write<bool>("test")[5] = true;
  expect_error([&] { vit.tokens(x, eval, {.keep = {}, .masked = masked}); }, {"add_mask_token"});
  vit.add_mask_token(init);
  const Tensor plain = vit.feature_map(x, eval).value(),
               with = vit.tokens(x, eval, {.keep = {}, .masked = masked}).value();
  EXPECT_FALSE(same_bits(plain.select(0, 0), with.select(0, 0)));
  EXPECT_TRUE(same_bits(plain.select(0, 1), with.select(0, 1)));
  c.pool = "avg";
  EXPECT_EQ(make(c)->features(x, eval).dims(), Dims({2, 24}));
  expect_error([&] { vit.features(Var(images(1, 20, 3)), eval); }, {"vit", "[N, 16, 16, 3]"});
  c.patch = 5;
  expect_error([&] { make(c); }, {"model.patch", "16", "5"});
}

// Features and gradients of a bf16 transformer beside those of f32, from the same weights.
void expect_bf16_near_f32(ModelConfig c, const Var& x, double tolerance) {
  const auto wide = make(c);
  c.compute = DType::bf16;
  const auto narrow = make(c);
  const Tensor dy = normal({x.size(0), wide->feature_dim()}, 5).to(DType::f32);
  const Ctx eval;
  for (Encoder* e : {wide.get(), narrow.get()}) {
    const Var y = e->features(x, eval);
    EXPECT_EQ(y.dtype(), DType::f32);
    backward(std::span(&y, 1), std::span(&dy, 1));
  }
  EXPECT_LT(max_abs_diff(wide->features(x, eval).value(), narrow->features(x, eval).value()), tolerance * 4);
  const auto a = parameters(*wide), b = parameters(*narrow);
  for (size_t i = 0; i < a.size(); ++i) {
    ASSERT_TRUE(a[i].var->grad().defined() && b[i].var->grad().defined()) << a[i].name;
    EXPECT_EQ(b[i].var->grad().dtype(), DType::f32) << b[i].name;
    const Tensor &want = a[i].var->grad(), &got = b[i].var->grad();
    // The bias of the keys shifts all scores of a query alike: its gradient is rounding alone.
    if (max_abs(want) < 1e-5) continue;
    EXPECT_LT(max_abs_diff(want, got), tolerance * max_abs(want) + 0.02) << a[i].name;
  }
}

TEST(Vit, Bf16StaysNearF32AndTrains) {
  expect_bf16_near_f32({.name = "vit",
                        .image_size = 16,
                        .width = 48,
                        .depth = 2,
                        .heads = 3,
                        .patch = 4,
                        .registers = 2,
                        .layer_scale = 1},
                       Var(images(3, 16, 3)), 0.05);
}

TEST(Text, Bf16StaysNearF32AndTrains) {
  for (const bool pre_norm : {false, true})
    expect_bf16_near_f32({.name = "bert_mini",
                          .width = 32,
                          .depth = 2,
                          .heads = 2,
                          .pool = "mean",
                          .vocab = 50,
                          .max_tokens = 12,
                          .pre_norm = pre_norm},
                         Var(indices({3, 9}, 4, 50)), 0.05);
}

TEST(Text, PaddingDoesNotReachRealTokensAndPoolingIgnoresIt) {
  ModelConfig c{.name = "bert_mini", .width = 16, .depth = 2, .heads = 2, .vocab = 50, .max_tokens = 12};
  const NoGrad off;
  for (bool pre : {false, true}) {
    c.pre_norm = pre;
    c.pool = "mean";
    Rng init(1, "init");
    TextEncoder text(c, init);
    const Tensor ids = indices({2, 9}, 4, 50), lengths = Tensor::from<int64_t>({5, 9}, {2});
    Tensor other = ids.clone();
    other.write<int64_t>("test")[7] = 3;  // behind the end of sample 0
    const Ctx eval;
    // How far the real tokens move with the padding.
    const auto leak = [&](const Tensor& known) {
      return max_abs_diff(text.tokens(ids, known, eval).value().slice(1, 0, 5),
                          text.tokens(other, known, eval).value().slice(1, 0, 5));
    };
    EXPECT_LT(leak(lengths), 1e-6);
    EXPECT_GT(leak({}), 1e-4);  // the mutant of this file: attention that is told no lengths
    const Var a = text.tokens(ids, lengths, eval), b = text.tokens(other, lengths, eval);
    EXPECT_LT(max_abs_diff(text.pool(a, lengths).value(), text.pool(b, lengths).value()), 1e-6);
    expect_error([&] { text.tokens(indices({1, 13}, 1, 50), {}, eval); }, {"13 tokens", "12"});
    expect_error([&] { text.tokens(Tensor::full({1, 2}, 50, DType::i64), {}, eval); }, {"50"});
  }
}

TEST(Layers, DropoutNeedsAStreamAndVanishesInEvaluation) {
  const Dropout d{0.5};
  const Var x(Tensor::full({1000}, 1.0));
  EXPECT_TRUE(same_bits(d(x, {}).value(), x.value()));
  expect_error([&] { d(x, {.training = true}); }, {"dropout", "Ctx::rng"});
  Rng rng(1, "dropout");
  const Tensor y = d(x, {.training = true, .rng = &rng}).value();
  double sum = 0;
  for (int64_t i = 0; i < 1000; ++i) sum += y.at({i});
  EXPECT_NEAR(sum, 1000, 100);
}

TEST(Layers, Conv1dIsAConvolutionOfOneRow) {
  Rng init(1, "init");
  const Conv1d conv(6, 4, 3, {.stride = 2, .padding = 1, .groups = 2}, true, init);
  EXPECT_EQ(conv.weight.value().dims(), Dims({4, 3, 3}));
  const Var x = Var::leaf(normal({2, 9, 6}, 1).to(DType::f32));
  const Var y = conv(x);
  EXPECT_EQ(y.dims(), Dims({2, 5, 4}));
  const Tensor w = conv.weight.value(), b = conv.bias.value();
  for (int64_t o = 0; o < 4; ++o)
    for (int64_t t = 0; t < 5; ++t) {
      double want = b.at({o});
      for (int64_t k = 0; k < 3; ++k)
        for (int64_t c = 0; c < 3; ++c)
          if (const int64_t at = 2 * t + k - 1; at >= 0 && at < 9)
            want += x.value().at({1, at, o / 2 * 3 + c}) * w.at({o, c, k});
      EXPECT_NEAR(y.value().at({1, t, o}), want, 1e-5) << o << " " << t;
    }
  backward(y);
  EXPECT_EQ(conv.weight.var().grad().dims(), Dims({4, 3, 3}));
  EXPECT_EQ(conv.bias.var().grad().at({2}), 10.0);
}

TEST(Layers, GroupNormHasMomentsPerGroup) {
  const GroupNorm norm(3, 6);
  const Var x = Var::leaf(normal({2, 5, 6}, 1, 3.0, 2.0).to(DType::f32));
  const Var y = norm(x);
  for (int64_t g = 0; g < 3; ++g) {
    const Var part(y.value().slice(0, 1, 2).slice(2, 2 * g, 2 * g + 2).contiguous());
    EXPECT_NEAR(mean(part).item(), 0.0, 1e-5);
    EXPECT_NEAR(variance(part, {}, false, false).item(), 1.0, 1e-4);
  }
  backward(sum(square(y)));
  EXPECT_TRUE(norm.weight.var().grad().defined() && norm.bias.var().grad().defined());
  expect_error([] { GroupNorm(4, 6); }, {"GroupNorm", "6", "4"});
}

TEST(Layers, SizesBelowOneAreRefused) {
  Rng init(1, "init");
  expect_error([&] { Linear(0, 3, true, init); }, {"Linear", "in", "at least 1", "0"});
  expect_error([&] { Linear(3, -2, true, init); }, {"Linear", "out", "-2"});
  expect_error([&] { Conv2d(4, 4, 3, {.groups = 0}, true, init); }, {"Conv2d", "groups", "at least 1", "0"});
  expect_error([&] { Conv1d(4, 4, 3, {.groups = 0}, true, init); }, {"Conv1d", "groups", "0"});
  expect_error([&] { Conv2d(4, 4, 0, {}, true, init); }, {"Conv2d", "kernel", "0"});
  expect_error([&] { Conv2d(0, 4, 3, {}, true, init); }, {"Conv2d", "in", "0"});
  expect_error([&] { Conv2d(4, 6, 3, {.groups = 4}, true, init); }, {"Conv2d", "4 -> 6", "4 groups"});
  expect_error([] { BatchNorm(0); }, {"BatchNorm", "channels"});
  expect_error([] { LayerNorm(-1); }, {"LayerNorm", "channels", "-1"});
  expect_error([] { GroupNorm(0, 6); }, {"GroupNorm", "0"});
  expect_error([&] { Embedding(0, 4, 0.02, init); }, {"Embedding", "rows"});
  expect_error([] { LayerScale(0, 1.0); }, {"LayerScale", "channels"});
}

TEST(Models, EveryFieldOfTheConfigIsChecked) {
  const auto refused = [](const ModelConfig& c, const char* field, const char* value) {
    expect_error([&] { make(c); }, {field, "expected", value});
  };
  refused({.name = "resnet20", .in_channels = 0}, "model.in_channels", "got 0");
  refused({.name = "vit_tiny", .image_size = 0}, "model.image_size", "got 0");
  refused({.name = "vit", .width = -8}, "model.width", "got -8");
  refused({.name = "vit", .depth = -1}, "model.depth", "got -1");
  refused({.name = "bert_mini", .heads = -4}, "model.heads", "got -4");
  refused({.name = "vit", .patch = -4}, "model.patch", "got -4");
  refused({.name = "vit", .registers = -1}, "model.registers", "got -1");
  refused({.name = "vit", .drop_path = 1}, "model.drop_path", "got 1");
  refused({.name = "vit", .layer_scale = -1e-5}, "model.layer_scale", "got -1e-05");
  refused({.name = "bert_mini", .dropout = NAN}, "model.dropout", "nan");
  refused({.name = "bert_mini", .vocab = 0}, "model.vocab", "got 0");
  refused({.name = "bert_mini", .max_tokens = 0}, "model.max_tokens", "got 0");
  refused({.name = "resnet20", .compute = DType::f16}, "model.compute", "got f16");
  EXPECT_NO_THROW(make({.name = "resnet20", .image_size = 0, .width = 4}));  // ResNets take any size
}

TEST(Layers, CrossAttentionReadsAnotherSequence) {
  Rng init(1, "init");
  const CrossAttention attention(12, 20, 3, true, init);
  const Var x = Var::leaf(normal({2, 4, 12}, 1).to(DType::f32)),
            memory = Var::leaf(normal({2, 7, 20}, 2).to(DType::f32));
  const Var y = attention(x, memory);
  EXPECT_EQ(y.dims(), Dims({2, 4, 12}));
  backward(sum(square(y)));
  EXPECT_GT(max_abs(memory.grad()), 0.0);
  EXPECT_GT(max_abs(x.grad()), 0.0);
}

TEST(Heads, NormsBiasesAndUnitRows) {
  Rng init(1, "init");
  MlpHead byol({8, 16, 4},
               {.batch_norm = true, .last_batch_norm = true, .last_affine = false, .hidden_bias = false},
               init);
  const Ctx training{.training = true};
  const Var x(normal({6, 8}, 1).to(DType::f32));
  EXPECT_EQ(byol(x, training).dims(), Dims({6, 4}));
  EXPECT_FALSE(byol.layers[0].bias.defined());
  EXPECT_FALSE(byol.norms[1].weight.defined());
  const PrototypeHead prototypes(8, 5, init);
  EXPECT_LE(max_abs(prototypes(x).value()), 1.0 + 1e-6);
  const DinoHead dino(8, 10, 12, 6, init);
  EXPECT_EQ(dino(x).dims(), Dims({6, 10}));
  EXPECT_LE(max_abs(dino(x).value()), 1.0 + 1e-6);
}

TEST(Init, MomentsAndTruncation) {
  Rng rng(1, "init");
  const Tensor t = truncated_normal({20000}, 1.0, rng, 1.0);
  EXPECT_LE(max_abs(t), 1.0);
  double square = 0;
  for (int64_t i = 0; i < t.numel(); ++i) square += t.at({i}) * t.at({i}) / 20000;
  EXPECT_NEAR(square, 0.2911, 0.01);  // variance of a normal cut at one sigma
  EXPECT_NEAR(max_abs(torch_default({10000}, 25, rng)), 0.2, 1e-3);
}

double stddev(const Tensor& t) { return std::sqrt(variance(Var(t.to(DType::f64)), {}, false, false).item()); }
double stddev_of(Encoder& e, const std::string& name) {
  for (const auto& [n, t] : state_dict(e))
    if (n == name) return stddev(t);
  ADD_FAILURE() << name << " is missing";
  return NAN;
}

TEST(Init, StandardDeviationsAreThoseOfThePapers) {
  Rng rng(1, "init");
  const Tensor he = kaiming_normal_fan_out({64, 32, 3, 3}, rng);
  EXPECT_NEAR(stddev(he) / std::sqrt(2.0 / (64 * 9)), 1.0, 0.03);  // by fan-out: 64 channels of 3 x 3
  const Tensor xavier = xavier_uniform({120, 80}, rng);
  EXPECT_NEAR(stddev(xavier) / std::sqrt(2.0 / (120 + 80)), 1.0, 0.03);
  EXPECT_NEAR(max_abs(xavier), std::sqrt(6.0 / (120 + 80)), 1e-3);
  expect_error(
      [&] {
        kaiming_normal_fan_out({4, 0, 3, 3}, rng);
      },
      {"kaiming_normal_fan_out", "[4, 0, 3, 3]"});
  const auto resnet = make({.name = "resnet20"});
  EXPECT_NEAR(stddev_of(*resnet, "layer3.0.conv2.weight") / std::sqrt(2.0 / (64 * 9)), 1.0, 0.03);
  const auto vit = make({.name = "vit_tiny", .depth = 2});
  for (const char* name : {"blocks.1.attn.qkv.weight", "blocks.0.mlp.fc2.weight", "pos_embed"})
    EXPECT_NEAR(stddev_of(*vit, name) / 0.02, 1.0, 0.03) << name;
  EXPECT_EQ(stddev_of(*vit, "blocks.0.mlp.fc1.bias"), 0.0);
  const auto bert = make({.name = "bert_mini", .depth = 1, .vocab = 1000});
  for (const char* name : {"embeddings.word_embeddings.weight", "encoder.layer.0.attention.self.query.weight",
                           "encoder.layer.0.output.dense.weight"})
    EXPECT_NEAR(stddev_of(*bert, name) / 0.02, 1.0, 0.03) << name;
}

}  // namespace
}  // namespace juxta::test

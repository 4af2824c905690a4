// Modules, layers and encoders: names, shapes, state, modes. Numbers against PyTorch: parity_test.cpp.
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
    const Var a = text.tokens(ids, lengths, eval), b = text.tokens(other, lengths, eval);
    EXPECT_LT(max_abs_diff(a.value().slice(1, 0, 5), b.value().slice(1, 0, 5)), 1e-6);
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

}  // namespace
}  // namespace juxta::test

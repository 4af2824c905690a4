// Training steps that PyTorch took (bench/peers/parity.py), repeated here: same weights, batches and SGD.
// Files of tests/parity/, and those of the folder JUXTA_PARITY when it is set (parity.py --full).
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <nlohmann/json.hpp>

#include "nn/encoder.h"
#include "nn/heads.h"
#include "ssl/losses/batch_contrastive.h"
#include "ssl/optim/optimizer.h"
#include "tests/harness.h"

namespace juxta::test {
namespace {

using namespace juxta::ssl;

struct Network {
  std::unique_ptr<nn::Encoder> encoder;
  nn::MlpHead head;
  void visit(nn::Visitor& v) { v("encoder", *encoder), v("head", head); }
};

Network build(const nlohmann::json& c, DType dtype) {
  nn::ModelConfig m;
  m.name = c["name"];
  m.width = c["width"];
  m.in_channels = c.value("in_channels", 3);
  m.image_size = c.value("image_size", 32);
  m.patch = c.value("patch", 0);
  m.depth = c.value("depth", 0);
  m.heads = c.value("heads", 0);
  m.vocab = c.value("vocab", 0);
  m.max_tokens = c.value("max_tokens", 0);
  m.compute = dtype;
  Rng init(1, "init");
  Network net{nn::make_encoder(m, init), {}};
  const int64_t width = net.encoder->feature_dim();
  net.head = nn::MlpHead({width, width, 32}, {}, init);
  nn::convert(nn::named_state(net), dtype);
  return net;
}

nn::StateDict with_prefix(const SafeTensors& file, const std::string& prefix) {
  nn::StateDict out;
  for (const auto& [name, t] : file.tensors)
    if (name.rfind(prefix, 0) == 0) out.emplace_back(name.substr(prefix.size()), t);
  return out;
}

// Every k-th element, as the script samples large tensors.
Tensor sampled(const Tensor& t) {
  const Tensor flat = t.contiguous().view({t.numel()});
  const int64_t step = std::max<int64_t>(1, t.numel() / 1024), n = (t.numel() + step - 1) / step;
  Tensor out = Tensor::empty({n}, DType::f64);
  const Tensor wide = flat.to(DType::f64);
  for (int64_t i = 0; i < n; ++i) out.write<double>("sampled")[i] = wide.data<double>()[i * step];
  return out;
}

// What differs from the file, in words; empty when all agrees.
std::vector<std::string> repeat_steps(const std::string& path, DType dtype, double tolerance,
                                      double weight_decay = 1e-4) {
  std::vector<std::string> faults;
  const SafeTensors file = load_safetensors(path);
  const nlohmann::json config = nlohmann::json::parse(file.metadata.at("config"));
  Network net = build(config, dtype);
  nn::load_state_strict(nn::named_state(net), with_prefix(file, "init/"), path);
  Optimizer sgd("sgd", nn::parameters(net), {.momentum = 0.9});
  for (size_t i = 0; i < sgd.parameters().size(); ++i) sgd.set_decay(i, true);
  const Tensor &x1 = file.at("x1"), &x2 = file.at("x2"), &losses = file.at("loss");
  const nn::Ctx ctx{.training = true};
  for (int64_t step = 0; step < losses.numel(); ++step) {
    const auto embed = [&](const Tensor& x) {
      const Tensor batch = x.select(0, step).contiguous();
      return net.head(net.encoder->features(Var(is_float(batch.dtype()) ? batch.to(dtype) : batch), ctx),
                      ctx);
    };
    const Var z1 = embed(x1), z2 = embed(x2);  // in this order: running statistics depend on it
    const Var loss = nt_xent(z1, z2, {.temperature = config["temperature"]}).loss;
    sgd.zero_grad();
    backward(loss);
    sgd.step(config["lr"], weight_decay);
    const double want = losses.data<double>()[step];
    if (!(std::abs(loss.item() - want) <= tolerance * std::abs(want)))
      faults.push_back(concat(path, ": loss of step ", step, ": ", loss.item(), ", PyTorch had ", want));
  }
  for (const auto& [name, value] : nn::state_dict(net)) {
    const Tensor want = file.at("final/" + name).to(DType::f64);
    const Tensor got = sampled(value).view(want.dims());
    const double error = max_abs_diff(got, want);
    if (!(error <= tolerance * std::max(1e-2, max_abs(want))))
      faults.push_back(concat(path, ": ", name, " is off by ", error));
  }
  return faults;
}

std::vector<std::string> files() {
  std::vector<std::string> list;
  std::vector<std::string> folders{std::string(JUXTA_TEST_DATA) + "/parity"};
  if (const char* more = std::getenv("JUXTA_PARITY")) folders.push_back(more);
  for (const std::string& folder : folders)
    for (const auto& e : std::filesystem::directory_iterator(folder))
      if (e.path().extension() == ".safetensors") list.push_back(e.path().string());
  return list;
}

void expect_equal_steps(DType dtype, double tolerance) {
  for (const std::string& f : files())
    for (const std::string& fault : repeat_steps(f, dtype, tolerance)) ADD_FAILURE() << fault;
}

TEST(Parity, TenStepsInF64AgreeTo1e8) {
  ASSERT_GE(files().size(), 3u);
  expect_equal_steps(DType::f64, 1e-8);
}

TEST(Parity, TenStepsInF32AgreeTo1e4) { expect_equal_steps(DType::f32, 1e-4); }

// The mutant of this file: an optimiser that forgets a tenth of the weight decay.
TEST(Parity, MutantIsCaught) {
  EXPECT_FALSE(
      repeat_steps(JUXTA_TEST_DATA "/parity/vit_small.safetensors", DType::f64, 1e-8, 0.9e-4).empty());
}

}  // namespace
}  // namespace juxta::test

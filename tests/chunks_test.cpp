// GradCache: chunked steps have the gradients of the whole batch, and the memory of one chunk.
#include <cmath>

#include "autograd/ops.h"
#include "ssl/losses/batch_contrastive.h"
#include "tensor/allocator.h"
#include "tests/harness.h"

namespace juxta::test {
namespace {

// A network without batch statistics, x [N, 8] -> [N, 5].
struct Mlp {
  Var w1 = Var::leaf(normal({64, 8}, 1)), g = Var::leaf(normal({64}, 2)), w2 = Var::leaf(normal({5, 64}, 3));
  Var operator()(const Var& x) const { return linear(gelu(layer_norm(linear(x, w1, {}), g, {})), w2, {}); }
  std::vector<Var> parameters() const { return {w1, g, w2}; }
};

struct Step {
  double loss = 0;
  std::vector<Tensor> grads;
};
Step step(const Mlp& net, const Tensor& x1, const Tensor& x2, int64_t chunk) {
  const auto forward = [&](const Var& x) {
    return in_chunks([&](const Var& part) { return net(part); }, x, chunk);
  };
  const Var loss = ssl::nt_xent(forward(Var(x1)), forward(Var(x2))).loss;
  Step s{loss.item(), {}};
  backward(loss);
  for (Var w : net.parameters()) {
    s.grads.push_back(w.grad().clone());
    w.clear_grad();
  }
  return s;
}

TEST(Chunks, GradientsAreThoseOfTheWholeBatch) {
  const Mlp net;
  for (int64_t n : {1, 2, 10}) {
    const Tensor x1 = normal({n, 8}, 4), x2 = normal({n, 8}, 5);
    const Step whole = step(net, x1, x2, 0);
    for (int64_t chunk : {1, 3, 5, 10, 64}) {
      const Step parts = step(net, x1, x2, chunk);
      EXPECT_NEAR(parts.loss, whole.loss, 1e-13) << n << " by " << chunk;
      for (size_t i = 0; i < whole.grads.size(); ++i)
        EXPECT_LT(max_abs_diff(parts.grads[i], whole.grads[i]), 1e-12) << n << " by " << chunk;
    }
  }
}

// The mutant: a loss of every chunk by itself misses the other chunks' negatives.
TEST(Chunks, MutantAveragingChunksDiffers) {
  const Mlp net;
  const Tensor x1 = normal({10, 8}, 4), x2 = normal({10, 8}, 5);
  const auto half = [](const Tensor& t, int64_t from) { return slice(Var(t), 0, from, from + 5).value(); };
  const double parts =
      (step(net, half(x1, 0), half(x2, 0), 0).loss + step(net, half(x1, 5), half(x2, 5), 0).loss) / 2;
  EXPECT_GT(std::abs(step(net, x1, x2, 5).loss - parts), 0.1);
}

TEST(Chunks, MemoryIsThatOfOneChunk) {
  const Mlp net;
  const Tensor x1 = normal({4096, 8}, 4), x2 = normal({4096, 8}, 5);
  const auto peak = [&](int64_t chunk) {
    allocator(Device{}).reset_peak();
    const size_t before = allocator(Device{}).stats().live_bytes;
    step(net, x1, x2, chunk);
    return static_cast<double>(allocator(Device{}).stats().peak_bytes - before);
  };
  const double whole = peak(0), parts = peak(128);
  EXPECT_LT(parts, whole / 3) << whole << " bytes whole, " << parts << " in chunks";
}

TEST(Chunks, Errors) {
  const Mlp net;
  expect_error([&] { step(net, normal({4, 8}, 1), normal({4, 8}, 2), -1); }, {"in_chunks", "rows", "-1"});
  const std::vector<Var> uneven{Var(normal({4, 8}, 1)), Var(normal({3, 8}, 1))};
  expect_error([&] { in_chunks([](std::span<const Var> in) { return in[0]; }, uneven, 2); },
               {"in_chunks", "inputs"});
}

}  // namespace
}  // namespace juxta::test

// Details of NT-Xent and InfoNCE that no table holds: empty queues, memory, terms, errors.
#include "ssl/losses/batch_contrastive.h"

#include <gtest/gtest.h>

#include <cmath>
#include <tuple>

#include "ssl/losses/without_negatives.h"
#include "tensor/allocator.h"
#include "tests/harness.h"

namespace juxta::test {
namespace {

using ssl::Loss;

// Each direction holds its keys constant, so that the gradient is not the derivative of the value.
TEST(BatchContrastive, SymmetricWithAQueueIsTheMeanOfBothDirections) {
  const Var queue = l2_normalize(Var(normal({5, 6}, 3)));
  for (const ssl::Negatives negatives : {ssl::Negatives::queue, ssl::Negatives::both}) {
    const auto run = [&](const Tensor& query, const Tensor& key, bool symmetric) {
      const Var q = Var::leaf(query.clone()), k = Var::leaf(key.clone());
      const Var loss = ssl::info_nce(q, k, queue, {.negatives = negatives, .symmetric = symmetric}).loss;
      backward(loss);
      return std::tuple(loss.item(), q.grad(), k.grad());
    };
    const Tensor a = normal({5, 6}, 1), b = normal({5, 6}, 2);
    const auto [one, one_grad, one_none] = run(a, b, false);
    const auto [other, other_grad, other_none] = run(b, a, false);
    const auto [both, query_grad, key_grad] = run(a, b, true);
    EXPECT_NEAR(both, (one + other) / 2, 1e-12);
    EXPECT_LT(max_abs_diff(query_grad, affine(Var(one_grad), 0.5, 0).value()), 1e-12);
    EXPECT_LT(max_abs_diff(key_grad, affine(Var(other_grad), 0.5, 0).value()), 1e-12);
  }
}

TEST(BatchContrastive, EmptyQueue) {
  for (const DType dtype : {DType::f32, DType::f64}) {
    const Var q = Var::leaf(normal({4, 6}, 1).to(dtype)), k(normal({4, 6}, 2).to(dtype));
    const Var none(Tensor::empty({0, 6}, dtype));
    const Var loss = ssl::info_nce(q, k, none, {}).loss;  // one candidate each: nothing to learn
    backward(loss);
    EXPECT_EQ(loss.item(), 0.0);
    EXPECT_EQ(max_abs(q.grad()), 0.0);
    q.is_leaf();
    const double both = ssl::info_nce(q, k, none, {.negatives = ssl::Negatives::both}).loss.item();
    EXPECT_NEAR(both, ssl::info_nce(q, k, Var(), {.negatives = ssl::Negatives::in_batch}).loss.item(), 1e-6);
  }
}

TEST(BatchContrastive, NoMatrixOfSimilaritiesIsStored) {
  constexpr int64_t kN = 2048, kDepth = 32;
  const Var z1 = Var::leaf(normal({kN, kDepth}, 1).to(DType::f32)),
            z2 = Var::leaf(normal({kN, kDepth}, 2).to(DType::f32));
  CachingAllocator& memory = allocator(kCpu);
  memory.reset_peak();
  const size_t before = memory.stats().live_bytes;
  backward(ssl::nt_xent(z1, z2).loss);
  const size_t used = memory.stats().peak_bytes - before, inputs = 2 * kN * kDepth * sizeof(float);
  EXPECT_LT(
      used,
      3 * inputs);  // the gradients, and a few numbers per row; the matrix would be 128 times the inputs
}

TEST(BatchContrastive, NamedTerms) {
  const Var z(normal({4, 6}, 1));
  const Loss l = ssl::nt_xent(z, z);
  EXPECT_NEAR(l.term("positive").item(), 1.0, 1e-12);
  EXPECT_NEAR(l.term("lse").item() - l.term("positive").item() / 0.5, l.loss.item(), 1e-12);
  expect_error([&] { l.term("negative"); }, {"negative", "positive", "lse"});
}

TEST(BatchContrastive, ErrorsNameLossArgumentAndRule) {
  const Var z(normal({4, 6}, 1)), other(normal({5, 6}, 2)), queue(normal({3, 6}, 3));
  Tensor bad = normal({4, 6}, 1);
  bad.write<double>("test")[9] = std::nan("");
  expect_error([&] { ssl::nt_xent(z, other); }, {"nt_xent", "z2", "[4, 6]", "[5, 6]"});
  expect_error([&] { ssl::nt_xent(z, Var()); }, {"nt_xent", "z2", "missing"});
  expect_error([&] { ssl::nt_xent(z, Var(normal({4, 6}, 1).to(DType::f32))); }, {"z2", "f64", "f32"});
  expect_error([&] { ssl::nt_xent(Var(bad), z); }, {"nt_xent", "z1", "finite", "nan", "row 1"});
  expect_error([&] { ssl::nt_xent(z, z, {.temperature = 0}); }, {"nt_xent", "temperature", "positive", "0"});
  expect_error([&] { ssl::nt_xent(z, z, {.temperature = -0.1}); }, {"temperature", "-0.1"});
  expect_error([&] { ssl::nt_xent(Var(Tensor::zeros({4})), z); }, {"nt_xent", "z1", "[N, D]", "[4]"});
  expect_error([&] { ssl::nt_xent(Var(Tensor::zeros({0, 6})), z); }, {"nt_xent", "z1", "N, D >= 1"});
  expect_error([&] { ssl::info_nce(z, z, Var()); }, {"info_nce", "queue", "in_batch"});
  expect_error(
      [&] {
        ssl::info_nce(z, z, Var(normal({3, 5}, 3)));
      },
      {"info_nce", "queue", "[K, 6]", "[3, 5]"});
  expect_error([&] { ssl::info_nce(z, z, Var(bad)); }, {"info_nce", "queue", "finite"});
  expect_error([&] { ssl::info_nce(z, z, queue, {.negatives = ssl::Negatives::in_batch}); },
               {"queue", "both"});
  expect_error([&] { ssl::info_nce(z, z, queue, {.temperature = std::nan("")}); },
               {"info_nce", "temperature"});
  expect_error([&] { ssl::negative_cosine(z, z, z, other); }, {"negative_cosine", "z2", "[5, 6]"});
  expect_error([&] { ssl::negative_cosine(z, Var(bad), z, z); }, {"negative_cosine", "p2", "finite"});
}

}  // namespace
}  // namespace juxta::test

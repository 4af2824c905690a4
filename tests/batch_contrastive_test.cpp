// Details of NT-Xent and InfoNCE that no table holds: empty queues, memory, terms, errors.
#include "ssl/losses/batch_contrastive.h"

#include <gtest/gtest.h>

#include <cmath>

#include "ssl/losses/in_batch.h"
#include "ssl/losses/without_negatives.h"
#include "tensor/allocator.h"
#include "tests/harness.h"

namespace juxta::test {
namespace {

using ssl::Loss;

// How far loss(a, b, symmetric) is from the mean of both directions.
template <class F>
double off_the_mean(const Var& a, const Var& b, F loss) {
  return std::abs(loss(a, b, true) - (loss(a, b, false) + loss(b, a, false)) / 2);
}

TEST(BatchContrastive, SymmetricWithAQueueIsTheMeanOfBothDirections) {
  const Var queue = l2_normalize(Var(normal({5, 6}, 3)));
  for (const ssl::Negatives negatives : {ssl::Negatives::queue, ssl::Negatives::both}) {
    const auto value = [&](const Var& query, const Var& key, bool symmetric) {
      return ssl::info_nce(query, key, queue, {.negatives = negatives, .symmetric = symmetric}).loss;
    };
    const Var a(normal({5, 6}, 1)), b(normal({5, 6}, 2));
    const auto number = [&](const Var& query, const Var& key, bool symmetric) {
      return value(query, key, symmetric).item();
    };
    EXPECT_LT(off_the_mean(a, b, number), 1e-12);
    // The mutants of this file: one direction alone, and the sum of both.
    EXPECT_GT(off_the_mean(a, b, [&](const Var& q, const Var& k, bool) { return number(q, k, false); }),
              1e-6);
    EXPECT_GT(
        off_the_mean(a, b, [&](const Var& q, const Var& k, bool s) { return (s ? 2 : 1) * number(q, k, s); }),
        1e-6);
    // the query learns in both directions, the key in neither
    const Var q = Var::leaf(a.value().clone()), k = Var::leaf(b.value().clone());
    backward(value(q, k, true));
    EXPECT_FALSE(k.grad().defined() && max_abs(k.grad()) > 0);
    constexpr double kStep = 1e-5;
    for (int64_t i = 0; i < 5; ++i) {
      Tensor up = a.value().clone(), down = a.value().clone();
      up.write<double>("test")[7 * i % 30] += kStep, down.write<double>("test")[7 * i % 30] -= kStep;
      const double slope = (value(Var(up), b, true).item() - value(Var(down), b, true).item()) / (2 * kStep);
      EXPECT_NEAR(q.grad().contiguous().data<double>()[7 * i % 30], slope, 1e-8);
    }
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

// One candidate: the loss is 0 whatever the temperature, also in f32.
TEST(BatchContrastive, RelationsOfOneCandidateCostNothing) {
  const Var queue = l2_normalize(Var(normal({1, 16}, 3).to(DType::f32)));
  const Var q = Var::leaf(normal({40, 16}, 1).to(DType::f32)), k(normal({40, 16}, 2).to(DType::f32));
  const Var loss = ssl::ressl(q, k, queue, {.student_temperature = 0.002, .teacher_temperature = 0.01}).loss;
  backward(loss);
  EXPECT_NEAR(loss.item(), 0, 1e-6);
  EXPECT_LT(max_abs(q.grad()), 2e-6);
}

TEST(BatchContrastive, RelationsOfLongQueuesGoByBlocks) {
  const Var queue = l2_normalize(Var(normal({3000, 4}, 3)));  // 1398 rows a block
  const Tensor query = normal({1500, 4}, 1), key = normal({1500, 4}, 2);
  const auto run = [&](int64_t begin, int64_t end) {
    const Var q = Var::leaf(query.slice(0, begin, end).clone());
    const Loss loss = ssl::ressl(q, Var(key.slice(0, begin, end)), queue);
    backward(loss.loss);
    return std::pair(loss.loss.item(), q.grad());
  };
  const auto [whole, whole_grad] = run(0, 1500);
  const auto [first, first_grad] = run(0, 700);
  const auto [second, second_grad] = run(700, 1500);
  EXPECT_NEAR(whole, (700 * first + 800 * second) / 1500, 1e-12);
  const std::vector<Var> parts{affine(Var(first_grad), 700.0 / 1500, 0),
                               affine(Var(second_grad), 800.0 / 1500, 0)};
  EXPECT_LT(max_abs_diff(whole_grad, cat(parts, 0).value()), 1e-14);
}

// Cosines do not know the length of their rows, also where its square is beyond single precision.
TEST(BatchContrastive, HugeRowsAreAsGoodAsOthers) {
  const auto run = [](double scale, bool queued) {
    const auto leaf = [&](uint64_t seed) {
      return Var::leaf(affine(Var(normal({6, 5}, seed)), scale, 0.0).value().to(DType::f32));
    };
    const Var a = leaf(1), b = leaf(2), queue(l2_normalize(Var(normal({7, 5}, 3).to(DType::f32))));
    const Var loss = queued ? ssl::info_nce(a, b, queue).loss : ssl::nt_xent(a, b).loss;
    backward(loss);
    return std::pair(loss.item(), affine(Var(a.grad().to(DType::f64)), scale, 0.0).value());
  };
  for (const bool queued : {false, true})
    for (const int table : cpu_tables()) {
      const ForceTable force(table);
      const auto [want, want_grad] = run(1, queued);
      for (const double scale : {1e18, 1e20, 1e30}) {
        const auto [loss, gradient] = run(scale, queued);
        EXPECT_NEAR(loss, want, 1e-5) << table_name(table) << " " << scale;
        EXPECT_LT(max_abs_diff(gradient, want_grad), 1e-5) << table_name(table) << " " << scale;
      }
    }
}

// The largest cosine, not the largest product.
TEST(BatchContrastive, NeighboursAreFoundByCosine) {
  const Var z(Tensor::from<double>({1, 0}, {1, 2}));
  const Tensor queue = Tensor::from<double>({3, 3, 1, 0.1}, {2, 2});
  const Loss loss = ssl::nnclr(z, z, z, z, Var(queue));
  EXPECT_EQ(loss.term("index1").item(), 1);
  EXPECT_EQ(loss.term("index2").item(), 1);
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

// EMA teachers and queues.
#include "ssl/momentum/ema.h"
#include "ssl/momentum/queue.h"
#include "tests/harness.h"

namespace juxta::test {
namespace {

using namespace juxta::ssl;

struct Net {
  nn::Parameter weight{Tensor::full({3}, 1.0)};
  Tensor running = Tensor::full({2}, 5.0), count = Tensor::full({}, 7, DType::i64);
  void visit(nn::Visitor& v) { v("weight", weight), v("running", running), v("count", count); }
};

TEST(Ema, FollowsParametersAndTreatsBuffersByPolicy) {
  for (BufferPolicy policy : {BufferPolicy::own, BufferPolicy::copy, BufferPolicy::average}) {
    Net student, teacher;
    EmaTeacher ema(nn::named_state(student), nn::named_state(teacher), EmaOrder::after_step, policy);
    student.weight.var().set_value(Tensor::full({3}, 2.0));
    student.running.fill(9, "test");
    student.count.fill(8, "test");
    ema.update(0.75);
    EXPECT_EQ(teacher.weight.value().at({1}), 1.25);
    EXPECT_EQ(teacher.running.at({0}), policy == BufferPolicy::own    ? 5.0
                                       : policy == BufferPolicy::copy ? 9.0
                                                                      : 6.0);
    EXPECT_EQ(teacher.count.item(), policy == BufferPolicy::own ? 7.0 : 8.0);
  }
}

TEST(Ema, KeepsTheDigitsOfASmallStep) {
  const Tensor t = Tensor::full({1}, 0.0), s = Tensor::full({1}, 1.0);
  ema_update(std::vector<Tensor>{t}, std::vector<Tensor>{s}, 0.9999);
  EXPECT_NEAR(t.item(), 1e-4, 1e-11);  // 1 - 0.9999f would give 1.0002e-4
  expect_error([&] { ema_update(std::vector<Tensor>{t}, std::vector<Tensor>{s}, 1.5); }, {"ema", "1.5"});
  expect_error([&] { ema_update(std::vector<Tensor>{t}, std::vector<Tensor>{Tensor::zeros({2})}, 0.5); },
               {"ema", "[1]", "[2]"});
}

Tensor keys(int64_t first, int64_t n) {
  Tensor t = Tensor::empty({n, 2});
  for (int64_t i = 0; i < n; ++i) {
    t.write<float>("test")[2 * i] = static_cast<float>(first + i);
    t.write<float>("test")[2 * i + 1] = 0;
  }
  return t;
}
std::vector<double> column(const Queue& q) {
  std::vector<double> v;
  for (int64_t i = 0; i < q.rows().size(0); ++i) v.push_back(q.rows().at({i, 0}));
  return v;
}

TEST(Queue, WrapsExactlyAndCountsWrittenRows) {
  Rng rng(1, "queue");
  Queue q(5, 2, QueueInit::empty, rng);
  EXPECT_EQ(q.valid(), 0);
  q.push(keys(0, 3), Tensor::arange(3));
  EXPECT_EQ(q.valid(), 3);
  q.push(keys(3, 3));
  EXPECT_EQ(column(q), (std::vector<double>{5, 1, 2, 3, 4}));
  EXPECT_EQ(q.pointer(), 1);
  EXPECT_EQ(q.ids().at({1}), 1.0);
  EXPECT_EQ(q.ids().at({0}), -1.0);
  q.push(keys(10, 12));  // more than the queue holds
  Queue row_by_row(5, 2, QueueInit::empty, rng);
  for (int64_t i = 0; i < 6; ++i) row_by_row.push(keys(i, 1));
  for (int64_t i = 10; i < 22; ++i) row_by_row.push(keys(i, 1));
  EXPECT_EQ(column(q), column(row_by_row));
  EXPECT_EQ(q.pointer(), row_by_row.pointer());
}

TEST(Queue, TruncateDropsTheTailAndRestarts) {
  Rng rng(1, "queue");
  Queue q(4, 2, QueueInit::empty, rng, QueueOverflow::truncate);
  q.push(keys(0, 3));
  q.push(keys(3, 3));
  EXPECT_EQ(column(q), (std::vector<double>{0, 1, 2, 3}));
  EXPECT_EQ(q.pointer(), 0);
}

TEST(Queue, RandomRowsAreUnitAndAnEarlyPushIsCaught) {
  Rng rng(1, "queue");
  Queue q(6, 2, QueueInit::random, rng);
  EXPECT_EQ(q.valid(), 6);
  for (int64_t i = 0; i < 6; ++i)
    EXPECT_NEAR(std::hypot(q.rows().at({i, 0}), q.rows().at({i, 1})), 1.0, 1e-6);
  const Var x = Var::leaf(Tensor::zeros({6, 2}));
  const Var used = record("uses_queue", {}, {&x}, Tensor::zeros({1}), {{"queue", q.rows()}},
                          [](Backward& b) { b.saved(0); });
  q.push(keys(0, 1));
  expect_error([&] { backward(used); }, {"uses_queue", "queue.push"});
  expect_error([&] { q.push(Tensor::zeros({1, 3})); }, {"queue.push", "[N, 2]", "[1, 3]"});
}

TEST(Queue, StateIsCheckpointed) {
  Rng rng(1, "queue");
  Queue a(5, 2, QueueInit::empty, rng), b(5, 2, QueueInit::random, rng);
  a.push(keys(0, 4), Tensor::arange(4));
  nn::load_state_strict(nn::named_state(b), nn::state_dict(a), "queue");
  a.push(keys(9, 3));
  b.push(keys(9, 3));
  EXPECT_EQ(column(a), column(b));
  EXPECT_EQ(a.pointer(), b.pointer());
  EXPECT_TRUE(same_bits(a.ids(), b.ids()));
}

}  // namespace
}  // namespace juxta::test

// EMA teachers and queues.
#include <cmath>

#include "ssl/losses/batch_contrastive.h"
#include "ssl/momentum/ema.h"
#include "ssl/momentum/queue.h"
#include "ssl/momentum/shuffle_bn.h"
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

// Error of one step of m = 0.9999 from 0 towards 1.
template <class Update>
double small_step_error(Update update) {
  Tensor t = Tensor::full({1}, 0.0);
  update(t, Tensor::full({1}, 1.0), 0.9999);
  return std::abs(t.item() - 1e-4);
}

TEST(Ema, KeepsTheDigitsOfASmallStep) {
  const Tensor t = Tensor::full({1}, 0.0), s = Tensor::full({1}, 1.0);
  EXPECT_LT(small_step_error([](const Tensor& teacher, const Tensor& student, double m) {
              ema_update(std::vector<Tensor>{teacher}, std::vector<Tensor>{student}, m);
            }),
            1e-11);
  // The mutant of this file: 1 - m in single precision.
  EXPECT_GT(small_step_error([](Tensor& teacher, const Tensor& student, double m) {
              const float keep = static_cast<float>(m), from = student.data<float>()[0];
              auto* p = teacher.write<float>("test");
              *p = keep * *p + (1.0f - keep) * from;
            }),
            1e-11);
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

TEST(Queue, StartsFromGivenRows) {
  const Tensor start = keys(7, 3).to(DType::f64);
  Queue counted = Queue::from_rows(start, QueueInit::random),
        empty = Queue::from_rows(start, QueueInit::empty);
  EXPECT_EQ(column(counted), (std::vector<double>{7, 8, 9}));
  EXPECT_EQ(empty.valid(), 0);
  empty.push(keys(1, 2), Tensor::arange(2));
  EXPECT_EQ(column(empty), (std::vector<double>{1, 2}));
  EXPECT_EQ(empty.all_rows().dtype(), DType::f64);
  EXPECT_EQ(empty.all_rows().at({2, 0}), 9.0);
  EXPECT_EQ(empty.all_ids().at({2}), -1.0);
  EXPECT_EQ(start.at({0, 0}), 7.0);  // it is a copy
  expect_error([] { Queue::from_rows(Tensor::zeros({3}), QueueInit::random); }, {"queue", "[K, D]", "[3]"});
  expect_error([&] { empty.push(keys(0, 2), Tensor::zeros({2})); }, {"queue.push", "ids", "[2]"});
}

TEST(Queue, AccuracyOfThePretextTask) {
  const Tensor q = Tensor::from<float>({1, 0, 0, 1}, {2, 2}), k = Tensor::from<float>({1, 0, 1, 0}, {2, 2});
  const Tensor rows = Tensor::from<float>({0.5f, 0.5f}, {1, 2}), none = rows.slice(0, 0, 0);
  EXPECT_EQ(queue_accuracy(q, k, rows), 0.5);  // the second query is nearer to the queue's row
  EXPECT_EQ(queue_accuracy(q, k, none), 1.0);
  const Tensor ids = Tensor::arange(2), same = Tensor::full({1}, 1, DType::i64);
  EXPECT_EQ(queue_accuracy(q, k, rows, ids, same), 1.0);  // its own image does not compete
  EXPECT_EQ(queue_accuracy(q, q, q), 1.0);                // ties go to the key
  expect_error([&] { queue_accuracy(q, k, Tensor::zeros({1, 3})); }, {"queue_accuracy", "[1, 3]"});
}

TEST(Queue, IdsLeaveTheQuerysOwnImageOut) {
  const Tensor row = Tensor::from<float>({0, 1, 1, 0}, {2, 2});
  const Var q(Tensor::from<float>({1, 0}, {1, 2})), queue(row);
  const InfoNceParams p{.temperature = 0.5};
  const Tensor id = Tensor::full({1}, 3, DType::i64), ids = Tensor::from<int64_t>({4, 3}, {2});
  const double masked = info_nce(q, q, queue, p, {id, ids}).loss.item();
  EXPECT_NEAR(masked, info_nce(q, q, Var(row.slice(0, 0, 1)), p).loss.item(), 1e-6);
  EXPECT_GT(info_nce(q, q, queue, p).loss.item(), masked + 0.1);
  const Tensor all = Tensor::full({2}, 3, DType::i64);
  EXPECT_EQ(info_nce(q, q, queue, p, {id, all}).loss.item(), 0.0);  // nothing is left
  expect_error([&] { info_nce(q, q, queue, p, {id, {}}); }, {"info_nce", "ids.queue", "[2]"});
  expect_error(
      [&] {
        info_nce(q, q, queue, {.negatives = Negatives::both}, {id, ids});
      },
      {"info_nce", "ids"});
}

TEST(ShuffleBn, UndoesItsPermutation) {
  const Var x(normal({6, 3}, 1));
  const Tensor perm = Tensor::from<int64_t>({4, 0, 3, 5, 1, 2}, {6});
  const Var y = shuffled(x, perm, [&](const Var& rows) {
    EXPECT_EQ(rows.value().at({0, 0}), x.value().at({4, 0}));
    return rows;
  });
  EXPECT_TRUE(same_bits(y.value(), x.value()));
}

TEST(ShuffleBn, PartsHaveTheirOwnStatisticsAndTheFirstIsKept) {
  const Var x(Tensor::from<double>({0, 10, 2, 30}, {4, 1})), one(Tensor::full({1}, 1.0, DType::f64)),
      zero(Tensor::zeros({1}, DType::f64));
  const Tensor perm = Tensor::from<int64_t>({0, 2, 1, 3}, {4});  // parts {0, 2} and {10, 30}
  BatchNormState state{Tensor::zeros({1}, DType::f64), Tensor::full({1}, 1.0, DType::f64), 0.1};
  const Var y = shuffle_bn(x, perm, one, zero, state, 2, 0.0);
  for (int64_t i = 0; i < 4; ++i) EXPECT_NEAR(y.value().at({i, 0}), i < 1 || i == 1 ? -1.0 : 1.0, 1e-12) << i;
  EXPECT_NEAR(state.running_mean.item(), 0.1, 1e-15);
  EXPECT_NEAR(state.running_var.item(), 0.9 + 0.1 * 2.0, 1e-15);
}

TEST(ShuffleBn, GradientsAndErrors) {
  const OpFn run = [](std::span<const Var> in) -> std::vector<Var> {
    BatchNormState none;
    return {shuffle_bn(in[0], Tensor::from<int64_t>({3, 1, 0, 2, 5, 4}, {6}), in[1], in[2], none, 3)};
  };
  const OpCase c{
      "shuffle_bn", {{normal({6, 2}, 1)}, {normal({2}, 2), Role::param}, {normal({2}, 3), Role::param}}, run};
  EXPECT_TRUE(check_op_case(c).empty());
  const Var x(Tensor::zeros({4, 2})), g(Tensor::zeros({2}));
  BatchNormState none;
  const Tensor perm = Tensor::arange(4);
  expect_error([&] { shuffle_bn(x, perm, g, g, none, 3); }, {"shuffle_bn", "groups", "4", "3"});
  expect_error([&] { shuffle_bn(x, perm, g, g, none, 4); }, {"shuffle_bn", "at least 2"});
  const Tensor twice = Tensor::from<int64_t>({0, 1, 1, 2}, {4}),
               out = Tensor::from<int64_t>({0, 1, 2, 4}, {4});
  expect_error([&] { shuffle_bn(x, twice, g, g, none, 2); }, {"perm", "1", "twice"});
  expect_error([&] { shuffle_bn(x, out, g, g, none, 2); }, {"perm", "4", "out of range"});
  expect_error([&] { shuffle_bn(x, Tensor::arange(3), g, g, none, 2); }, {"perm", "[4]", "[3]"});
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

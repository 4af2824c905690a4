// The graph: order, accumulation, freeing, versions, checkpoint, observers. Ops here are written with
// record() itself, so that the engine is tested apart from the kernels.
#include <thread>

#include "tests/harness.h"

namespace juxta::test {
namespace {

Var scale_op(const Var& x, double s) {  // y = s x
  Tensor y = x.value().clone();
  auto* p = y.write<double>("scale");
  for (int64_t i = 0; i < y.numel(); ++i) p[i] *= s;
  return record("scale", {{"s", s}}, {&x}, y, {}, [s](Backward& b) {
    Tensor dx = b.dy().clone();
    auto* d = dx.write<double>("scale");
    for (int64_t i = 0; i < dx.numel(); ++i) d[i] *= s;
    b.set(0, dx);
  });
}

Var mul_op(const Var& a, const Var& b) {  // y = a b, saves both
  Tensor y = a.value().clone();
  auto* p = y.write<double>("mul");
  for (int64_t i = 0; i < y.numel(); ++i) p[i] *= b.value().data<double>()[i];
  return record("mul", {}, {&a, &b}, y, {{"a", a.value()}, {"b", b.value()}}, [](Backward& back) {
    for (int i : {0, 1}) {
      if (!back.needs(i)) continue;
      Tensor d = back.dy().clone();
      auto* q = d.write<double>("mul");
      for (int64_t k = 0; k < d.numel(); ++k) q[k] *= back.saved(1 - i).data<double>()[k];
      back.set(i, d);
    }
  });
}

Var two() { return Var::leaf(Tensor::from<double>({2.0, 3.0}, {2})); }

TEST(Graph, SharedUseAccumulatesAndCallsAdd) {
  const Var x = two();
  const Var y = mul_op(x, x);
  backward(y, true);
  EXPECT_EQ(x.grad().at({1}), 6.0);
  backward(y);
  EXPECT_EQ(x.grad().at({1}), 12.0);
  expect_error([&] { backward(y); }, {"mul", "already", "keep_graph"});
}

TEST(Graph, AnIdentityRuleDoesNotAliasGradients) {
  // add hands the same tensor to both inputs; an in-place accumulation must not change the other's gradient
  const Var x = two(), z = two();
  const auto add_op = [](const Var& a, const Var& b) {
    Tensor y = a.value().clone();
    auto* p = y.write<double>("add");
    for (int64_t i = 0; i < 2; ++i) p[i] += b.value().data<double>()[i];
    return record("add", {}, {&a, &b}, y, {}, [](Backward& back) {
      back.set(0, back.dy());
      back.set(1, back.dy());
    });
  };
  backward(add_op(add_op(x, z), x));
  EXPECT_EQ(x.grad().at({0}), 2.0);
  EXPECT_EQ(z.grad().at({0}), 1.0);
  const Var a = two(), b = two();  // one tensor handed to two leaves: each owns a copy
  backward(add_op(a, b));
  EXPECT_NE(a.grad().storage().get(), b.grad().storage().get());
}

TEST(Graph, GradReturnsAndLeavesLeavesAlone) {
  const Var x = two();
  const Var h = scale_op(x, 3.0), y = mul_op(h, h);
  const std::vector<Tensor> g = grad(std::vector{y}, std::vector{x, h});
  EXPECT_EQ(g[0].at({0}), 36.0);
  EXPECT_EQ(g[1].at({0}), 12.0);
  EXPECT_FALSE(x.grad().defined());
  const Var unrelated = two();
  EXPECT_FALSE(grad(std::vector{scale_op(x, 1)}, std::vector{unrelated})[0].defined());
  expect_error([&] { grad(std::vector{scale_op(x, 1)}, std::vector{Var(x.value())}); }, {"constant"});
  expect_error([&] { backward(Var(x.value())); }, {"no leaf"});
}

TEST(Graph, WritingASavedTensorIsAnErrorNamingBothSides) {
  const Var x = two(), q(Tensor::from<double>({1.0, 1.0}, {2}));
  const Var y = mul_op(x, q);
  Tensor queue = q.value();
  queue.fill(5, "queue.push");
  expect_error([&] { backward(y); }, {"mul", "'b'", "queue.push"});
}

// Tensors in one arena: a write that changed the bytes of a saved tensor is seen, through whichever of them
// it went, and parts that lie side by side do not accuse each other.
TEST(Graph, WritesThroughAnArenaAndThroughItsPartsAreSeen) {
  Tensor arena = normal({4}, 1), left = arena.slice(0, 0, 2).detach_version(),
         right = arena.slice(0, 2, 4).detach_version();
  const Var x = two(), y = mul_op(x, Var(left));
  right.fill(7, "neighbour");
  backward(y, true);
  EXPECT_EQ(x.grad().at({1}), left.at({1}));
  arena.fill(5, "arena.fill");
  right.fill(8, "neighbour");  // a later write beside the saved tensor takes no blame
  expect_error([&] { backward(y); }, {"mul", "'b'", "arena.fill"});

  const Var z = Var::leaf(normal({4}, 2)), whole = mul_op(z, Var(arena)), half = mul_op(x, Var(left));
  Tensor inner = left.slice(0, 1, 2).detach_version();  // a part of a part
  inner.fill(3, "part.write");
  expect_error([&] { backward(whole); }, {"mul", "'b'", "part.write"});
  expect_error([&] { backward(half); }, {"mul", "'b'", "part.write"});
}

TEST(Graph, HundredThousandChainedNodesRunAndFree) {
  const Var x = Var::leaf(Tensor::from<double>({1.0}, {1}));
  Var y = x;
  for (int i = 0; i < 100000; ++i) y = scale_op(y, 1.0);
  backward(y);
  EXPECT_EQ(x.grad().item(), 1.0);
  for (int i = 0; i < 100000; ++i) y = scale_op(y, 1.0);
  y = Var();  // frees the chain without running it
}

TEST(Graph, NoGradRecordsNothing) {
  const Var x = two();
  const NoGrad off;
  EXPECT_FALSE(scale_op(x, 2.0).requires_grad());
}

TEST(Graph, DumpListsSavedTensorsAndBytes) {
  const Var x = two();
  const std::string text = dump(mul_op(scale_op(x, 2.0), x));
  EXPECT_NE(text.find("mul"), std::string::npos);
  EXPECT_NE(text.find("32 bytes in 3 nodes"), std::string::npos) << text;
}

TEST(Graph, CheckpointGivesTheSameGradientsAndTheSameRandomNumbers) {
  Rng rng(3, "dropout");
  const Var w = two();
  const auto body = [&](const Var& x) { return mul_op(scale_op(x, rng.next().uniform(0)), w); };
  const Var x1 = two();
  const Var plain = body(x1);
  backward(plain);
  const Tensor& dx = x1.grad();
  const Tensor dw = w.grad();  // w loses its own
  w.node()->grad = Tensor();
  rng.set_draws(0);
  const Var x2 = two();
  const Var y = checkpoint(body, x2);
  EXPECT_TRUE(same_bits(y.value(), plain.value()));
  EXPECT_EQ(rng.draws(), 1u);
  backward(y);
  EXPECT_EQ(rng.draws(), 1u);
  EXPECT_TRUE(same_bits(x2.grad(), dx));
  EXPECT_TRUE(same_bits(w.grad(), dw));
  // grad() leaves the parameter inside a checkpoint alone, and can ask for it
  w.node()->grad = Tensor();
  rng.set_draws(0);
  const Var z = checkpoint(body, x2);
  const auto g = grad(std::vector{z}, std::vector{w});
  EXPECT_TRUE(same_bits(g[0], dw));
  EXPECT_FALSE(w.grad().defined());
}

TEST(Graph, TheObserverHearsForwardAndBackward) {
  struct Listener : OpObserver {
    std::vector<std::string> heard;
    void forward(const char* op, std::span<const Attr> attrs, std::span<const Var* const>,
                 std::span<const Tensor>, std::span<const Saved>) override {
      heard.push_back(std::string(op) +
                      (attrs.empty() ? "" : concat(" ", attrs[0].name, "=", attrs[0].value)));
    }
    void backward(const char* op, std::span<const Tensor>, std::span<const Tensor> dx) override {
      heard.push_back(concat("d ", op, " ", dx.size()));
    }
  } listener;
  const Var x = two();
  {
    const ObserverScope scope(listener);
    expect_error([&] { ObserverScope second(listener); }, {"observer"});
    backward(scale_op(x, 2.0));
    const NoGrad off;
    scale_op(x, 4.0);
  }
  scale_op(x, 5.0);
  EXPECT_EQ(listener.heard, (std::vector<std::string>{"scale s=2", "d scale 1", "scale s=4"}));
}

TEST(Graph, TwoThreadsTrainApart) {
  const auto work = [](double* out) {
    const Var x = two();
    for (int i = 0; i < 200; ++i) backward(mul_op(scale_op(x, 2.0), x));
    *out = x.grad().at({0});
  };
  double a = 0, b = 0;
  std::thread ta(work, &a), tb(work, &b);
  ta.join();
  tb.join();
  EXPECT_EQ(a, 1600.0);
  EXPECT_EQ(b, 1600.0);
}

// grad() keeps its notes to itself: threads may differentiate graphs that end in the same leaves.
TEST(Graph, TwoThreadsMayShareLeaves) {
  const Var x = two(), w = two();
  const auto work = [&](double* out) {
    for (int i = 0; i < 2000; ++i) {
      const Var y = mul_op(mul_op(x, w), mul_op(scale_op(w, 3.0), x));  // 3 x^2 w^2
      *out += grad(std::vector{y}, std::vector{x})[0].at({0});
    }
  };
  double a = 0, b = 0;
  std::thread ta(work, &a), tb(work, &b);
  ta.join();
  tb.join();
  EXPECT_EQ(a, 2000 * 6.0 * 2.0 * 4.0);
  EXPECT_EQ(b, a);
  EXPECT_FALSE(x.grad().defined());
}

// More nodes than a call's first table holds, each reached twice, and calls inside a call.
TEST(Graph, WideGraphsAndCallsInsideCallsKeepTheirPlaces) {
  const Var x = two();
  std::vector<Var> layer;
  for (int i = 0; i < 700; ++i) layer.push_back(scale_op(x, static_cast<double>(i)));
  std::vector<Var> roots;
  for (const Var& h : layer)
    roots.push_back(checkpoint([](const Var& v) { return mul_op(scale_op(v, 2.0), v); }, h));
  for (const Var& h : layer) roots.push_back(h);
  backward(roots);
  double want = 0;  // d/dx of 2 i^2 x^2 + i x at x = 2
  for (int i = 0; i < 700; ++i) want += 8.0 * i * i + i;
  EXPECT_EQ(x.grad().at({0}), want);
}

TEST(Graph, ARuleThatGivesAWrongShapeIsNamed) {
  const Var x = two();
  const Var y = record("wrong", {}, {&x}, x.value().clone(), {},
                       [](Backward& b) { b.set(0, Tensor::zeros({3}, DType::f64)); });
  expect_error([&] { backward(y); }, {"wrong", "[2]", "[3]"});
}

// d(x z x) is 2 x z and x^2: every use of x counts, each factor sees the other.
bool right_gradient(Var (*product)(const Var&, const Var&)) {
  const Var x = two(), z = Var::leaf(Tensor::from<double>({5.0, 7.0}, {2}));
  backward(product(product(x, z), x));
  return x.grad().at({0}) == 20.0 && x.grad().at({1}) == 42.0 && z.grad().at({0}) == 4.0 &&
         z.grad().at({1}) == 9.0;
}

// The mutants of this file: a product whose factors see themselves, and one that forgets its second factor.
TEST(Graph, MutantsAreCaught) {
  EXPECT_TRUE(right_gradient(mul_op));
  const auto wrong = [](const Var& a, const Var& b, BackwardFn back) {
    return record("wrong", {}, {&a, &b}, mul_op(Var(a.value()), Var(b.value())).value(),
                  {{"a", a.value()}, {"b", b.value()}}, back);
  };
  static const auto swapped = [wrong](const Var& a, const Var& b) {
    return wrong(a, b, [](Backward& back) {
      for (int i : {0, 1}) back.set(i, mul_op(Var(back.dy()), Var(back.saved(i))).value());
    });
  };
  static const auto half = [wrong](const Var& a, const Var& b) {
    return wrong(a, b,
                 [](Backward& back) { back.set(0, mul_op(Var(back.dy()), Var(back.saved(1))).value()); });
  };
  EXPECT_FALSE(right_gradient([](const Var& a, const Var& b) { return swapped(a, b); }));
  EXPECT_FALSE(right_gradient([](const Var& a, const Var& b) { return half(a, b); }));
}

}  // namespace
}  // namespace juxta::test
